//! What becomes of jobs, as OpenTelemetry spans. A job is a trace, by its own id, whichever workers had it; a claim of it is
//! a span, and each state that the machine stood in meanwhile is a span below.
//!
//! They are derived from the machine's steps, as the board and the log are. Nothing is asked for them and nothing waits for
//! them: where spans pile up they are dropped, and a process that is ended from outside loses the last.
//!
//! Architecture Invariant: it decides nothing. Without an endpoint none of it runs.

mod otlp;

pub use otlp::{Exporter, TraceError};

use crate::clock::Clock;
use crate::worker::history::Transition;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use roboflow_fsm::Machine;
use roboflow_fsm::effect::Exit;
use roboflow_fsm::id::{Epoch, JobId};
use roboflow_fsm::machine::Tally;
use std::borrow::Cow;
use std::time::{Duration, SystemTime};

/// The name of the span of a claim.
const CLAIM: &str = "job";

/// The spans of one machine.
#[derive(Debug)]
pub struct Spans {
    sink: Option<(Exporter, Clock)>,
    machine: u32,
    claim: Option<Claim>,
}

/// The claim that the machine holds: a span that has not ended.
#[derive(Debug, Clone)]
struct Claim {
    job: JobId,
    epoch: Epoch,
    span: SpanId,
    begun_ms: u64,
    /// The wall clock when event time was 0, as it stood when the claim began: spans of a claim never overlap because it jumps.
    origin: SystemTime,
}

impl Spans {
    /// Of a machine of the process, by its number. Without an exporter nothing is done.
    pub fn new(exporter: Option<Exporter>, clock: Clock, machine: u32) -> Self {
        Self { sink: exporter.map(|exporter| (exporter, clock)), machine, claim: None }
    }

    /// Notes a step: where it led, and the machine before and after it.
    pub fn stepped(&mut self, at_ms: u64, before: &Machine, after: &Machine, taken: &[Transition]) {
        let Some((exporter, clock)) = self.sink.clone() else { return };
        let holds = |machine: &Machine| machine.held().map(|held| (held.job, held.epoch));
        if self.claim.is_none()
            && let Some((job, epoch)) = holds(after)
        {
            let passed = Duration::from_millis(clock.now_ms());
            let now = SystemTime::now();
            self.claim = Some(Claim {
                job,
                epoch,
                span: new_span(),
                begun_ms: taken.first().map_or(at_ms, |first| first.at_ms.saturating_sub(first.dwell_ms)),
                origin: now.checked_sub(passed).unwrap_or(now),
            });
        }
        let Some(claim) = &self.claim else { return };
        // What it only went through took no time.
        if let Some(first) = taken.first() {
            exporter.export(claim.stood(first, self.machine));
        }
        let is_over = holds(after) != Some((claim.job, claim.epoch)) || after.exit().is_some();
        if is_over {
            let outcome = Outcome::of(before.tally(), after.tally(), after.exit());
            let segments = before.held().map_or(0, |held| held.segments_done);
            exporter.export(claim.ended(at_ms, outcome, segments, self.machine));
            self.claim = None;
        }
    }
}

/// An id of its own; the one of zeros says that there is none.
fn new_span() -> SpanId {
    SpanId::from_bytes(rand::random::<u64>().max(1).to_be_bytes())
}

/// How a claim ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Completed,
    Released,
    Failed,
    Lost,
    LeftToLease,
}

impl Outcome {
    /// By what was counted before and after, and by how the machine ended, if it did.
    fn of(before: Tally, now: Tally, exit: Option<Exit>) -> Self {
        if exit == Some(Exit::LeftToLease) || now.left_to_lease > before.left_to_lease {
            Self::LeftToLease
        } else if now.completed > before.completed {
            Self::Completed
        } else if now.failed > before.failed {
            Self::Failed
        } else if now.lost > before.lost {
            Self::Lost
        } else {
            Self::Released
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Released => "released",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::LeftToLease => "left to the lease",
        }
    }

    fn status(self) -> Status {
        match self {
            // An interruption is no error.
            Self::Completed | Self::Released => Status::Unset,
            Self::Failed | Self::Lost | Self::LeftToLease => Status::error(self.name()),
        }
    }
}

impl Claim {
    fn at(&self, at_ms: u64) -> SystemTime {
        self.origin.checked_add(Duration::from_millis(at_ms)).unwrap_or(self.origin)
    }

    /// The state that a transition left.
    fn stood(&self, taken: &Transition, machine: u32) -> SpanData {
        let begun_ms = taken.at_ms.saturating_sub(taken.dwell_ms);
        let mut span = self.span(taken.from.name().into(), (begun_ms, taken.at_ms), machine);
        span.span_context = self.context(new_span());
        span.parent_span_id = self.span;
        span.attributes.push(KeyValue::new("roboflow.ended_by", taken.cause));
        span
    }

    /// All of it.
    fn ended(&self, at_ms: u64, outcome: Outcome, segments_done: u32, machine: u32) -> SpanData {
        let mut span = self.span(CLAIM.into(), (self.begun_ms, at_ms), machine);
        span.status = outcome.status();
        span.attributes.push(KeyValue::new("roboflow.outcome", outcome.name()));
        span.attributes.push(KeyValue::new("roboflow.segments_done", i64::from(segments_done)));
        span
    }

    fn span(&self, name: Cow<'static, str>, (begun_ms, ended_ms): (u64, u64), machine: u32) -> SpanData {
        SpanData {
            span_context: self.context(self.span),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name,
            start_time: self.at(begun_ms),
            end_time: self.at(ended_ms),
            attributes: vec![
                KeyValue::new("roboflow.job", self.job.to_string()),
                KeyValue::new("roboflow.epoch", i64::try_from(self.epoch.0).unwrap_or(i64::MAX)),
                KeyValue::new("roboflow.machine", i64::from(machine)),
            ],
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("roboflow").build(),
        }
    }

    fn context(&self, span: SpanId) -> SpanContext {
        let trace = TraceId::from_bytes(self.job.0);
        SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_ends_as_the_machine_counted_it() {
        let before = Tally { owned: 9, completed: 5, failed: 1, released: 1, lost: 1, left_to_lease: 0 };
        let counted = |count: fn(&mut Tally)| {
            let mut now = before;
            count(&mut now);
            now
        };
        let cases = [
            (counted(|now| now.completed += 1), None, "completed", false),
            (counted(|now| now.released += 1), Some(Exit::Clean), "released", false),
            (counted(|now| now.failed += 1), None, "failed", true),
            (counted(|now| now.lost += 1), None, "lost", true),
            (counted(|now| now.left_to_lease += 1), None, "left to the lease", true),
            (before, Some(Exit::LeftToLease), "left to the lease", true),
        ];
        for (now, exit, name, is_error) in cases {
            let outcome = Outcome::of(before, now, exit);
            assert_eq!((outcome.name(), matches!(outcome.status(), Status::Error { .. })), (name, is_error));
        }
    }
}
