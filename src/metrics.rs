//! Every metric of the program, defined once: its name, its kind, its labels and what it means.
//!
//! Counting costs an atomic and needs no registry. What is not counted but stands somewhere (the machines' states, the age
//! of the lease) is read when it is asked for. This file serves nothing: `http` does. The table in `deploy/metrics.md` is
//! made from it.

mod histogram;
mod machines;
pub mod text;

pub use histogram::Histogram;

use crate::health::Health;
use crate::queue::{Queue, QueueDepth};
use machines::Samples;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Before each name.
pub const PREFIX: &str = "roboflow";

/// Requests to object storage that were tried again, by the whole process: storage is opened in many places, most of
/// them before anything counts.
pub static STORAGE_RETRIES: Counter = Counter::new();

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// At 0.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Counts many.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from the process's start.
    Counter,
    /// Comes and goes.
    Gauge,
    /// How many took how long, in seconds.
    Histogram,
}

impl Kind {
    /// As the table and the text formats call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric, for whoever reads it.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Without prefix, and without what its kind adds to it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

impl Definition {
    /// As it is asked for: `roboflow_frames_total`.
    pub fn full_name(&self) -> String {
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{PREFIX}_{}{suffix}", self.name)
    }
}

macro_rules! metrics {
    (
        counters { $($(#[doc = $doc:literal])+ $field:ident: $name:literal,)+ }
        histograms { $($(#[doc = $told:literal])+ $timed:ident: $timed_name:literal $([$($label:ident),*])?,)+ }
    ) => {
        /// The counters and histograms of one process.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $field: Counter,)+
            $($(#[doc = $told])+ pub $timed: Histogram,)+
            /// How deep the queue is, while this process leads and has looked.
            pub depth: Mutex<Option<QueueDepth>>,
            queues: Mutex<Vec<Queue>>,
        }

        impl Metrics {
            /// Name and count of each counter, in the order of their definition.
            pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field.get()),)+]
            }

            fn counted(&self) -> Vec<(Definition, u64)> {
                vec![$((
                    Definition { name: $name, kind: Kind::Counter, labels: &[], help: concat!($($doc),+) },
                    self.$field.get(),
                ),)+]
            }

            fn timed(&self) -> Vec<(Definition, &Histogram)> {
                vec![$((
                    Definition {
                        name: $timed_name,
                        kind: Kind::Histogram,
                        labels: &[$($(stringify!($label)),*)?],
                        help: concat!($($told),+),
                    },
                    &self.$timed,
                ),)+]
            }
        }
    };
}

metrics! {
    counters {
        /// Signals delivered to the machines, each once however many machines there are.
        signals: "signals",
        /// Steps of all machines.
        steps: "steps",
        /// Answers that met no open request: late, or given twice.
        stale_answers: "stale_answers",
        /// Invariants found broken. Anything but 0 is a fault of the program.
        invariant_violations: "invariant_violations",
        /// OpenTelemetry spans that the collector did not take.
        spans_not_exported: "spans_not_exported",
        /// Events that a mailbox had no room for.
        mailbox_overflows: "mailbox_overflows",
        /// Claims asked of the queue, won or not.
        claims: "claims",
        /// Claims of unknown outcome that were read back.
        claim_resolutions: "claim_resolutions",
        /// Segments whose conversion was asked for.
        conversions: "conversions",
        /// Segments whose conversion was asked to stop.
        conversion_cancels: "conversion_cancels",
        /// Checkpoints asked of the queue.
        checkpoints: "checkpoints",
        /// Completions asked of the queue.
        completions: "completions",
        /// Releases asked of the queue.
        releases: "releases",
        /// Machines that own nothing any more and never will.
        stop_renewings: "stop_renewings",
        /// Machines that have ended.
        exits: "exits",
        /// Claims that won a job.
        jobs_claimed: "jobs_claimed",
        /// Jobs completed by this process.
        jobs_completed: "jobs_completed",
        /// Writes of machines that the queue refused, since the job or the lease behind them belongs to somebody else.
        writes_lost: "fenced_writes",
        /// Commits whose outcome was unknown, and was read back.
        commits_unknown: "unknown_commits",
        /// Releases that did not go through, each try.
        release_failures: "release_failures",
        /// Answers made up since the task that owed them died.
        answers_dropped: "dropped_answers",
        /// Writes held back until the lease was read again.
        lease_rereads: "lease_rereads",
        /// Renewals committed.
        renewals: "renewals",
        /// Renewals that failed.
        renewal_failures: "renewal_failures",
        /// Leases found lost.
        leases_lost: "leases_lost",
        /// Jobs of dead workers put back by this process.
        jobs_reclaimed: "jobs_reclaimed",
        /// Leads of a role won.
        leads_won: "leads_won",
        /// Leads of a role lost.
        leads_lost: "leads_lost",
        /// Complete rounds of the scanner.
        scan_rounds: "scan_rounds",
        /// Rounds of the scanner that ended early.
        scan_failures: "scan_failures",
        /// Keys listed in complete rounds.
        scan_listed: "scan_listed",
        /// Recordings enqueued by the scanner.
        scan_recordings: "scan_recordings",
        /// Batches that were over, whose staging was removed.
        batches_swept: "batches_swept",
        /// Old receipts removed.
        receipts_expired: "receipts_expired",
        /// Panics of conversion threads. Anything but 0 is a fault of the program.
        conversion_panics: "conversion_panics",
        /// Frames converted and durable.
        frames: "frames",
        /// Bytes read from recordings.
        read_bytes: "read_bytes",
        /// Bytes written to staging and output.
        written_bytes: "written_bytes",
    }
    histograms {
        /// Seconds that a claim took, whatever came of it.
        claim_seconds: "claim_seconds",
        /// Seconds from the order of a segment until it was durable.
        segment_seconds: "segment_seconds",
        /// Seconds that a checkpoint or completion took, until it was known to be committed.
        checkpoint_seconds: "checkpoint_seconds",
        /// Seconds that a release took, until it was known to be committed.
        release_seconds: "release_seconds",
        /// Seconds that a renewal took, until it was known to be committed.
        renewal_seconds: "renewal_seconds",
        /// Seconds from the step in which a machine was asked to stop until it ended, by how hard it had to be in the end:
        /// finish, interrupt, abort, or force where a job was left to its lease.
        shutdown_seconds: "shutdown_seconds" [rung],
    }
}

macro_rules! read {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(const $constant: Definition =
            Definition { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)+
        /// What is read when it is asked for.
        const READ: &[Definition] = &[$($constant),+];
    };
}

read! {
    BUILD = Gauge "build_info" ["version"] "Always 1; the label tells the version.";
    READY = Gauge "ready" [] "1 while the process takes work: the answer of /health/ready.";
    LIVE = Gauge "live" [] "1 while the process gets on: the answer of /health/live.";
    STATE = Gauge "machine_state" ["machine", "state"] "1 for the state that a machine is in, 0 for each other one.";
    JOBS = Counter "jobs" ["machine", "outcome"] "Claims that ended, by how: completed, failed, released, lost, left_to_lease.";
    LEASE_AGE = Gauge "lease_age_seconds" [] "Seconds since the last renewal that is known to be committed was sent.";
    CONFLICTS = Counter "queue_conflicts" [] "Transactions tried again since another one was faster.";
    EXHAUSTED = Counter "queue_exhausted" [] "Transactions given up after too many conflicts.";
    FENCED = Counter "queue_fenced" [] "Transactions that the queue refused since a lease or claim is gone, renewals among them.";
    SKIPPED = Counter "queue_skipped" [] "Records of newer programs that were left alone.";
    REPAIRED = Counter "queue_repaired" [] "Entries of the ready index that did not agree with their job and were put right.";
    QUARANTINED = Counter "queue_quarantined" [] "Jobs taken out of the ready index since their record cannot be read.";
    RETRIES = Counter "storage_retries" [] "Requests to object storage that were tried again.";
    DEPTH = Gauge "queue_ready_jobs" [] "Jobs that could be claimed now. Only told by the scanner that leads.";
    WAITING = Gauge "queue_waiting_jobs" [] "Jobs that wait for their next attempt. Only told by the scanner that leads.";
    LEASED = Gauge "queue_leased_jobs" [] "Jobs that workers hold. Only told by the scanner that leads.";
    FAILED = Gauge "queue_failed_jobs" [] "Recordings that are dead or cancelled, and were not retried. Only told by the scanner that leads.";
    OLDEST = Gauge "queue_oldest_ready_seconds" [] "Seconds that the job which has waited longest could have been claimed. Only told by the scanner that leads.";
}

impl Metrics {
    /// From now on what this handle of the queue met is shown too.
    pub fn watch(&self, queue: Queue) {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).push(queue);
    }

    /// How deep the queue is, or that this process does not know any more.
    pub fn set_depth(&self, depth: Option<QueueDepth>) {
        *self.depth.lock().unwrap_or_else(PoisonError::into_inner) = depth;
    }

    /// Every metric there is, by name.
    pub fn definitions() -> Vec<Definition> {
        let metrics = Self::default();
        let counted = metrics.counted().into_iter().map(|(definition, _)| definition);
        let timed = metrics.timed().into_iter().map(|(definition, _)| definition);
        let mut all: Vec<Definition> = counted.chain(timed).chain(READ.iter().copied()).collect();
        all.sort_by_key(|definition| definition.name);
        all
    }

    /// The table for people, as Markdown.
    pub fn table() -> String {
        let mut table = "| metric | kind | labels | what it means |\n|---|---|---|---|\n".to_owned();
        for definition in Self::definitions() {
            let (name, kind) = (definition.full_name(), definition.kind.name());
            let labels: Vec<String> = definition.labels.iter().map(|label| format!("`{label}`")).collect();
            table.push_str(&format!(
                "| `{name}` | {kind} | {} | {} |\n",
                labels.join(", "),
                definition.help.trim()
            ));
        }
        table
    }
}

/// All metrics of a process, ready to be shown again and again.
#[derive(Debug)]
pub struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// Of this process.
    pub fn new(metrics: Arc<Metrics>, health: Arc<Health>) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(Shown { metrics, health }));
        Self { registry }
    }

    /// As OpenMetrics 1.0.
    ///
    /// # Errors
    /// When formatting fails, which a `String` never does.
    pub fn open_metrics(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[derive(Debug)]
struct Shown {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let metrics = &self.metrics;
        let mut samples = Samples(&mut encoder);
        for (definition, count) in metrics.counted() {
            samples.counter(&definition, &[([], count)])?;
        }
        for (definition, histogram) in metrics.timed() {
            samples.histogram(&definition, histogram)?;
        }
        samples.gauge(&BUILD, &[([("version", env!("CARGO_PKG_VERSION"))], 1.0)])?;
        samples.counter(&RETRIES, &[([], STORAGE_RETRIES.get())])?;
        self.operated(&mut samples)?;
        self.queues(&mut samples)?;
        self.depth(&mut samples)
    }
}

impl Shown {
    fn operated(&self, samples: &mut Samples) -> Result<(), fmt::Error> {
        let report = self.health.report();
        samples.gauge(&READY, &[([], f64::from(u8::from(report.is_ready())))])?;
        samples.gauge(&LIVE, &[([], f64::from(u8::from(report.stuck.is_none())))])?;
        machines::show(samples, &report.machines)?;
        let age = self.health.operated().and_then(|operated| operated.lease_age());
        let age: Vec<_> = age.map(|age| ([], age.as_secs_f64())).into_iter().collect();
        samples.gauge(&LEASE_AGE, &age)
    }

    fn queues(&self, samples: &mut Samples) -> Result<(), fmt::Error> {
        let queues = self.metrics.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let counts: Vec<_> = queues.iter().map(|queue| queue.counters().counts()).collect();
        drop(queues);
        let mut show = |definition, of: fn(&crate::queue::QueueCounts) -> u64| {
            samples.counter(definition, &[([], counts.iter().map(of).sum())])
        };
        show(&CONFLICTS, |counts| counts.conflicts)?;
        show(&EXHAUSTED, |counts| counts.exhausted)?;
        show(&FENCED, |counts| counts.fenced)?;
        show(&SKIPPED, |counts| counts.skipped)?;
        show(&REPAIRED, |counts| counts.repaired)?;
        show(&QUARANTINED, |counts| counts.quarantined)
    }

    fn depth(&self, samples: &mut Samples) -> Result<(), fmt::Error> {
        let depth = *self.metrics.depth.lock().unwrap_or_else(PoisonError::into_inner);
        let mut show = |definition, of: fn(&QueueDepth) -> f64| {
            let known: Vec<_> = depth.as_ref().map(|depth| ([], of(depth))).into_iter().collect();
            samples.gauge(definition, &known)
        };
        show(&DEPTH, |depth| depth.ready as f64)?;
        show(&WAITING, |depth| depth.waiting as f64)?;
        show(&LEASED, |depth| depth.leased as f64)?;
        show(&FAILED, |depth| depth.failed as f64)?;
        show(&OLDEST, |depth| depth.oldest_ready_ms as f64 / 1e3)
    }
}
