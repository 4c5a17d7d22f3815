//! `/metrics`: in the format that the scraper asks for.

use super::routes::Shared;
use crate::metrics::text;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

pub(super) async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let Ok(open) = shared.exposition.open_metrics() else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n").into_response();
    };
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let wants_open = accepts.into_iter().any(|accept| accept.contains("application/openmetrics-text"));
    let (kind, text) =
        if wants_open { (text::OPEN_METRICS, open) } else { (text::PLAIN, text::plain(&open)) };
    ([(CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}
