//! What is asked for under which path, and what is answered.
//!
//! A probe's answer is its status; the text says why, for people. Nothing here blocks: it all runs on one thread.

use super::guard::{Peer, Refused};
use super::live::Live;
use super::{Surface, live, machine};
use crate::health::{Report, Standing};
use crate::metrics::Exposition;
use crate::worker::board::Place;
use axum::Router;
use axum::extract::{Extension, Query, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use roboflow_fsm::event::Mode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What all answers are made from.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) surface: Surface,
    pub(super) exposition: Exposition,
    pub(super) live: Live,
    /// The machine's page, whole.
    pub(super) page: String,
}

/// Makes it.
pub(super) fn shared(surface: Surface) -> Arc<Shared> {
    let exposition = Exposition::new(Arc::clone(&surface.metrics), Arc::clone(&surface.health));
    Arc::new(Shared { surface, exposition, live: Live::default(), page: machine::page() })
}

/// All that is served.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    let paths: [(&str, MethodRouter<Arc<Shared>>); 12] = [
        ("/health", get(health)),
        ("/health/live", get(live)),
        ("/livez", get(live)),
        ("/health/ready", get(ready)),
        ("/readyz", get(ready)),
        ("/metrics", get(super::scrape::metrics)),
        ("/machine", get(machine::show)),
        ("/machine.js", get(machine::script)),
        ("/machine.json", get(machine::all)),
        ("/machine/events", get(live::events)),
        ("/jobs", get(machine::jobs)),
        ("/drain", post(drain)),
    ];
    let served: Vec<&str> = paths.iter().map(|(path, _)| *path).collect();
    let known = format!("there is nothing here; there is {}\n", served.join(", "));
    let router = paths.into_iter().fold(Router::new(), |router, (path, method)| router.route(path, method));
    let router = router.method_not_allowed_fallback(wrong_method);
    router.fallback(async move || (StatusCode::NOT_FOUND, known)).with_state(shared)
}

async fn wrong_method(uri: Uri) -> Response {
    let allowed = if uri.path() == "/drain" { "POST" } else { "GET, HEAD" };
    let text = format!("this is asked for with {allowed}\n");
    (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, allowed)], text).into_response()
}

fn verdict(good: bool, text: String) -> Response {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text).into_response()
}

async fn live(State(shared): State<Arc<Shared>>) -> Response {
    match shared.surface.health.report().stuck {
        None => verdict(true, "ok\n".to_owned()),
        Some(why) => verdict(false, format!("stuck: {why}\n")),
    }
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let report = shared.surface.health.report();
    let why = report.stuck.as_deref().or(report.reason).unwrap_or("ok");
    let text = if report.is_ready() { "ok\n".to_owned() } else { format!("{}: {why}\n", standing(&report)) };
    verdict(report.is_ready(), text)
}

/// In one word.
pub(super) fn standing(report: &Report) -> &'static str {
    if report.stuck.is_some() { "stuck" } else { report.standing.name() }
}

/// The answer of `/health`.
#[derive(Debug, Serialize)]
struct HealthAnswer {
    status: &'static str,
    live: bool,
    ready: bool,
    reason: Option<String>,
    version: &'static str,
    /// Another process on the same port has another one.
    instance: String,
    machines: Vec<MachineAnswer>,
}

/// One machine of it.
#[derive(Debug, Serialize)]
struct MachineAnswer {
    machine: usize,
    /// One of the seven names that the outside sees.
    state: &'static str,
    leaf: &'static str,
    stopping: Option<&'static str>,
}

/// How hard a stop is, as it is asked for.
pub(super) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Finish => "finish",
        Mode::Interrupt => "interrupt",
        Mode::Abort => "abort",
    }
}

fn machine_answer((machine, place): (usize, &Place)) -> MachineAnswer {
    let (state, leaf) = (place.leaf.public_name(), place.leaf.name());
    MachineAnswer { machine, state, leaf, stopping: place.stopping.map(mode_name) }
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let report = shared.surface.health.report();
    let answer = HealthAnswer {
        status: standing(&report),
        live: report.stuck.is_none(),
        ready: report.is_ready(),
        reason: report.stuck.clone().or_else(|| report.reason.map(str::to_owned)),
        version: env!("CARGO_PKG_VERSION"),
        instance: shared.surface.health.instance().to_string(),
        machines: report.machines.iter().enumerate().map(machine_answer).collect(),
    };
    let status = if answer.live { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &answer)
}

/// A JSON document, indented: people read them too.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    match serde_json::to_string_pretty(value) {
        Ok(text) => (status, kind, format!("{text}\n")).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// What `POST /drain` may say.
#[derive(Debug, Deserialize)]
struct DrainQuery {
    mode: Option<String>,
}

/// The answer of `POST /drain`.
#[derive(Debug, Serialize)]
struct DrainAnswer {
    draining: &'static str,
    instance: String,
}

async fn drain(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Query(query): Query<DrainQuery>,
) -> Response {
    if let Err(refused) = shared.surface.guard.admit(peer, &headers) {
        tracing::warn!(?peer, ?refused, "a drain was asked for by somebody who may not");
        return refusal(refused);
    }
    let mode = match query.mode.as_deref() {
        None | Some("finish") => Mode::Finish,
        Some("interrupt") => Mode::Interrupt,
        Some(_) => {
            let text = "mode: finish (the job in hand, however long) or interrupt (at the next boundary)\n";
            return (StatusCode::BAD_REQUEST, text).into_response();
        }
    };
    let Some(operated) = shared.surface.health.operated() else {
        let reason = shared.surface.health.report().reason.unwrap_or(Standing::Starting.name());
        let text = format!("starting: {reason}; nothing is held yet, so SIGTERM ends it at once\n");
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    operated.drain(mode);
    let answer =
        DrainAnswer { draining: mode_name(mode), instance: shared.surface.health.instance().to_string() };
    json(StatusCode::ACCEPTED, &answer)
}

fn refusal(refused: Refused) -> Response {
    let (status, text) = match refused {
        Refused::TokenNeeded => (StatusCode::UNAUTHORIZED, "a bearer token is needed from here\n"),
        Refused::WrongToken => (StatusCode::UNAUTHORIZED, "this is not the token\n"),
        Refused::Elsewhere => (
            StatusCode::FORBIDDEN,
            "only this host may ask for it, not through a proxy; or start the process with --admin-token-file\n",
        ),
        Refused::Unreadable => (StatusCode::SERVICE_UNAVAILABLE, "the token's file cannot be read\n"),
    };
    let challenge = [(WWW_AUTHENTICATE, "Bearer")];
    match status {
        StatusCode::UNAUTHORIZED => (status, challenge, text).into_response(),
        _ => (status, text).into_response(),
    }
}
