//! `/machine/events`: what is new of the machines, as server-sent events.
//!
//! One task tells all subscribers, at most every [`TELL_INTERVAL`] and only what changed. Nobody is waited for: who does not
//! read is behind by a bounded number of messages, and is let go; a page then asks again for the whole.

use super::machine::machines;
use super::routes::Shared;
use axum::body::Body;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};

/// Subscribers at once.
pub const SUBSCRIBERS_MAX: usize = 16;
/// Messages that a subscriber may be behind.
const BEHIND_MAX: usize = 16;
/// Between two messages at least.
const TELL_INTERVAL: Duration = Duration::from_millis(200);
/// Between two messages at most: also when nothing happens, so that both ends see that the other is there.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// Those who listen.
#[derive(Debug, Clone)]
pub(super) struct Live(broadcast::Sender<Bytes>);

impl Default for Live {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND_MAX))
    }
}

/// Tells what is new, for as long as the server runs.
pub(super) async fn tell(shared: Arc<Shared>) {
    let operated = shared.surface.health.working().await;
    let Some(mut changes) = operated.changes() else { return pending().await };
    let mut known: Vec<u64> = Vec::new();
    loop {
        // Whether it changed or was quiet for long, the standing is told.
        if let Ok(Err(_)) = timeout(QUIET_MAX, changes.changed()).await {
            return pending().await;
        }
        if shared.live.0.receiver_count() > 0 {
            let mut told = machines(&shared, |machine| known.get(machine).copied().unwrap_or(0));
            let before = std::mem::replace(&mut known, told.machines.iter().map(|one| one.count).collect());
            told.machines.retain(|one| before.get(one.machine) != Some(&one.count));
            if let Ok(text) = serde_json::to_string(&told) {
                shared.live.0.send(Bytes::from(format!("data: {text}\n\n"))).ok();
            }
        }
        sleep(TELL_INTERVAL).await;
    }
}

pub(super) async fn events(State(shared): State<Arc<Shared>>) -> Response {
    if shared.live.0.receiver_count() >= SUBSCRIBERS_MAX {
        let text = format!("{SUBSCRIBERS_MAX} pages watch already: close one\n");
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "10")], text).into_response();
    }
    let stream = unfold(shared.live.0.subscribe(), |mut messages| async {
        // Behind by too much, or at the end: either way the stream ends.
        let message = messages.recv().await.ok()?;
        Some((Ok::<_, Infallible>(message), messages))
    });
    let kind = [(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))];
    (kind, Body::from_stream(stream)).into_response()
}
