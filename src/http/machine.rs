//! `/machine`, `/machine.json`, `/jobs`: what the machines do, for people and for tools.
//!
//! The page is whole at the program's build: nothing of a request or of a recording is ever written into markup. What it
//! shows comes as JSON, and its script puts it there as text.

use super::routes::{Shared, json, mode_name, standing};
use crate::health::Operated;
use crate::readable::{instant, name};
use crate::worker::board::Place;
use crate::worker::history::{Film, Transition};
use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use roboflow_fsm::diagram::MACHINE_SVG;
use serde::Serialize;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const PAGE: &str = include_str!("machine.html");
const SCRIPT: &str = include_str!("machine.js");
/// Where the drawing stands in the page.
const DRAWING_MARK: &str = "<!-- machine -->";
/// Nothing from elsewhere, and no script but the one that is served beside the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The page with its drawing.
pub(super) fn page() -> String {
    PAGE.replace(DRAWING_MARK, MACHINE_SVG)
}

pub(super) async fn show(State(shared): State<Arc<Shared>>) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, shared.page.clone()).into_response()
}

pub(super) async fn script() -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"))], SCRIPT).into_response()
}

/// What stands in `/machine.json`, and in each event with what is new.
#[derive(Debug, Serialize)]
pub(super) struct MachinesAnswer {
    instance: String,
    status: &'static str,
    reason: Option<String>,
    /// The process's time, which `at_ms` is told in.
    now_ms: u64,
    pub(super) machines: Vec<MachineAnswer>,
}

/// One machine.
#[derive(Debug, Serialize)]
pub(super) struct MachineAnswer {
    pub(super) machine: usize,
    leaf: &'static str,
    state: &'static str,
    stopping: Option<&'static str>,
    since_ms: u64,
    /// From, event, to, how often.
    edges: Vec<(&'static str, &'static str, &'static str, u64)>,
    transitions: Vec<TransitionAnswer>,
    /// Transitions in all.
    pub(super) count: u64,
}

/// One transition.
#[derive(Debug, Serialize)]
struct TransitionAnswer {
    number: u64,
    at_ms: u64,
    from: &'static str,
    to: &'static str,
    cause: &'static str,
    dwell_ms: u64,
}

fn transition(one: &Transition) -> TransitionAnswer {
    let Transition { number, at_ms, from, to, cause, dwell_ms } = *one;
    TransitionAnswer { number, at_ms, from: from.name(), to: to.name(), cause, dwell_ms }
}

fn machine(machine: usize, place: &Place, film: &Film, after: u64) -> MachineAnswer {
    let edge = |(&(from, event, to), &count): (&_, &_)| edge_answer(from, event, to, count);
    MachineAnswer {
        machine,
        leaf: place.leaf.name(),
        state: place.leaf.public_name(),
        stopping: place.stopping.map(mode_name),
        since_ms: film.since_ms,
        edges: film.edges.iter().map(edge).collect(),
        transitions: film.last.iter().filter(|one| one.number > after).map(transition).collect(),
        count: film.count,
    }
}

fn edge_answer(
    from: roboflow_fsm::effect::Leaf,
    event: &'static str,
    to: roboflow_fsm::effect::Leaf,
    count: u64,
) -> (&'static str, &'static str, &'static str, u64) {
    (from.name(), event, to.name(), count)
}

/// All machines; of each the transitions after the number that is given for it (0: all that are kept).
pub(super) fn machines(shared: &Shared, after: impl Fn(usize) -> u64) -> MachinesAnswer {
    let health = &shared.surface.health;
    let report = health.report();
    let operated = health.operated();
    let films = operated.as_ref().map(|operated| operated.films()).unwrap_or_default();
    let told = report.machines.iter().zip(&films).enumerate();
    MachinesAnswer {
        instance: health.instance().to_string(),
        status: standing(&report),
        reason: report.stuck.clone().or_else(|| report.reason.map(str::to_owned)),
        now_ms: operated.map_or(0, |operated| operated.now_ms()),
        machines: told.map(|(number, (place, film))| machine(number, place, film, after(number))).collect(),
    }
}

pub(super) async fn all(State(shared): State<Arc<Shared>>) -> Response {
    json(StatusCode::OK, &machines(&shared, |_| 0))
}

/// What stands in `/jobs`.
#[derive(Debug, Serialize)]
struct JobsAnswer {
    instance: String,
    jobs: Vec<JobAnswer>,
}

/// A job in hand.
#[derive(Debug, Serialize)]
struct JobAnswer {
    machine: usize,
    job: String,
    epoch: u64,
    /// What is converted, once it is open.
    source: Option<String>,
    /// Segments whose checkpoint is known to be committed: where another worker would go on.
    checkpoint: u32,
    /// Segments that are durable.
    segments_done: Option<u32>,
    segments: Option<u32>,
    frames_done: Option<u64>,
    /// At most: a segment that is not full counts as full until it is done.
    frames_of: Option<u64>,
    predicted_seconds_left: Option<f64>,
    predicted_end: Option<String>,
}

fn job(machine: usize, place: &Place, operated: &dyn Operated) -> Option<JobAnswer> {
    let (job, epoch) = place.held?;
    let task = place.task.as_ref().filter(|task| task.job == job);
    let left_ms = place.end_ms.map(|end_ms| end_ms.saturating_sub(operated.now_ms()));
    let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let end = left_ms.map(|left| instant(u64::try_from(wall_ms).unwrap_or(0).saturating_add(left)));
    Some(JobAnswer {
        machine,
        job: job.to_string(),
        epoch: epoch.0,
        source: task.map(|task| name(&task.source)),
        checkpoint: place.checkpoint,
        segments_done: task.map(|task| task.segments_done),
        segments: task.map(|task| task.segments),
        frames_done: task.map(|task| task.frames_done),
        frames_of: task.map(|task| task.frames_of),
        predicted_seconds_left: left_ms.map(|left| left as f64 / 1e3),
        predicted_end: end,
    })
}

pub(super) async fn jobs(State(shared): State<Arc<Shared>>) -> Response {
    let health = &shared.surface.health;
    let held = health.operated().map(|operated| {
        let places = operated.machines();
        let jobs =
            places.iter().enumerate().filter_map(|(number, place)| job(number, place, operated.as_ref()));
        jobs.collect::<Vec<_>>()
    });
    let answer = JobsAnswer { instance: health.instance().to_string(), jobs: held.unwrap_or_default() };
    json(StatusCode::OK, &answer)
}
