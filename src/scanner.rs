//! The scanner: leads, looks for new recordings, and keeps house.
//!
//! ```text
//! lead (one thread, its own runtime and store handle) ── Lead, and a flag when it is lost ──┬─▶ scan (one thread)
//!                                                                                           └─▶ house (one thread)
//! ```
//! Any number of scanners run beside each other: of each role one leads, the others wait. Architecture Invariant: what
//! is written as a leader is compared with the term by the queue, in the same transaction. Nothing here reads a signal or
//! ends the process; it is told to stop, and what it was doing is abandoned: every write of it is whole or not at all.

mod folders;
pub mod house;
pub mod leader;
pub mod memory;
pub mod round;
pub mod vitals;

use crate::error::{Class, Classified};
use crate::metrics::Metrics;
use crate::queue::{Queue, SeriesId};
use crate::storage::Places;
use crate::work::StopFlag;
use crate::worker::lease::Home;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use house::House;
use leader::{Lead, Leader, LeaderSettings};
use roboflow_fsm::policy::backoff_ms;
use round::{RoundError, Scan};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, thread};
use tokio::runtime::Handle;
use vitals::Vitals;

/// The role of whoever keeps house, one for a queue.
pub const HOUSE_ROLE: &str = "house";
/// How long a thread waits for a lead before it looks again whether there is anything else to do.
const LEAD_WAIT: Duration = Duration::from_secs(1);
/// Of the interval between two rounds, at most this share is added by chance.
const JITTER_SHARE: u32 = 10;
/// The longest wait after a round that failed.
const RETRY_MAX_MS: u64 = 30_000;
/// Doublings that the first such wait is ahead of a request's first.
const RETRY_SKIPS: u32 = 2;
/// Between two rounds of housekeeping.
const HOUSE_INTERVAL: Duration = Duration::from_secs(3);
/// How long stepping down may take; after that the leases end by themselves.
const RESIGN_LIMIT: Duration = Duration::from_millis(800);

/// The role of whoever scans a series.
pub fn scan_role(series: SeriesId) -> String {
    format!("scanner/{series}")
}

/// When a scanner scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between the beginnings of two rounds, at least.
    pub interval: Duration,
    /// One complete round, then the end.
    pub once: bool,
}

/// What a scanner works with.
#[derive(Debug)]
pub struct Parts {
    /// The queue.
    pub queue: Queue,
    /// Where its operations run.
    pub runtime: Handle,
    /// What the leader has for itself alone.
    pub lead_home: Home,
    /// Opens what is to be swept.
    pub places: Places,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// What ends a scanner.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    /// It was asked to stop.
    Stop,
    /// The one round is done, or another scanner does it.
    Done,
    /// The one round failed.
    Failed(String),
    /// A thread died of a panic.
    Died,
}

/// How a scanner ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As asked.
    Clean,
    /// The one round could not be done.
    Failed(String),
    /// By a fault of its own.
    Fault,
}

/// Tells a scanner to stop. Copies are the same.
#[derive(Debug, Clone)]
pub struct Stopper {
    ender: Sender<Ending>,
    asked: StopFlag,
}

impl Stopper {
    /// Asks it to stop. Never blocks.
    pub fn stop(&self) {
        self.asked.set();
        self.ender.send(Ending::Stop).ok();
    }

    /// Whether it was asked to.
    pub fn was_asked(&self) -> bool {
        self.asked.is_set()
    }
}

/// A running scanner.
#[derive(Debug)]
pub struct Scanner {
    leader: Leader,
    endings: Receiver<Ending>,
    stopper: Stopper,
    /// Closed when the threads should end.
    going: Option<Sender<()>>,
}

impl Scanner {
    /// Starts it. Without a scan it only keeps house.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        parts: Parts,
        scan: Option<(Scan, SeriesId, Pace)>,
        keep_receipts: Duration,
        settings: LeaderSettings,
    ) -> io::Result<Self> {
        let mut roles = vec![HOUSE_ROLE.to_owned()];
        roles.extend(scan.as_ref().map(|(_, series, _)| scan_role(*series)));
        let leader = Leader::start(roles, settings, parts.lead_home, Arc::clone(&parts.metrics))?;
        let (ender, endings) = unbounded();
        let (going, gone) = bounded(0);
        let keep_ms = u64::try_from(keep_receipts.as_millis()).unwrap_or(u64::MAX);
        let house = House::new(parts.queue, parts.runtime, parts.places, keep_ms, Arc::clone(&parts.metrics));
        let crew = Crew { leader: leader.clone(), gone, metrics: parts.metrics };
        let (keeper, guard) = (crew.clone(), Guard(ender.clone()));
        let context = tracing::Span::current();
        let keeping = context.clone();
        thread::Builder::new().name("house".to_owned()).spawn(move || {
            let _guard = guard;
            keeping.in_scope(|| keeper.keep(house));
        })?;
        if let Some((scan, _, pace)) = scan {
            let guard = Guard(ender.clone());
            thread::Builder::new()
                .name("scan".to_owned())
                .spawn(move || context.in_scope(|| crew.scan(scan, pace, &guard.0)))?;
        }
        Ok(Self {
            leader,
            endings,
            stopper: Stopper { ender, asked: StopFlag::default() },
            going: Some(going),
        })
    }

    /// Tells it to stop.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Its signs of life, for whoever operates the process.
    pub fn vitals(&self) -> Vitals {
        Vitals { leader: self.leader.clone(), stopper: self.stopper() }
    }

    /// Waits for its end, and steps down. What the threads are at is abandoned.
    pub fn join(mut self) -> End {
        let ending = self.endings.recv().unwrap_or(Ending::Died);
        self.going = None;
        if !self.leader.resign(RESIGN_LIMIT) {
            tracing::warn!("stepping down was not confirmed in time: the lead is left to its lease");
        }
        match ending {
            Ending::Stop | Ending::Done => End::Clean,
            Ending::Failed(reason) => End::Failed(reason),
            Ending::Died => End::Fault,
        }
    }
}

/// Tells of a thread's panic.
struct Guard(Sender<Ending>);

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.send(Ending::Died).ok();
        }
    }
}

/// What both threads have.
#[derive(Debug, Clone)]
struct Crew {
    leader: Leader,
    gone: Receiver<()>,
    metrics: Arc<Metrics>,
}

impl Crew {
    /// Waits, unless the threads should end. Whether to go on.
    fn waits(&self, wait: Duration) -> bool {
        self.gone.recv_timeout(wait) == Err(crossbeam_channel::RecvTimeoutError::Timeout)
    }

    fn keep(&self, mut house: House) {
        let mut tries = 0;
        while self.waits(Duration::ZERO) {
            let Some(lead) = self.leader.await_lead(0, LEAD_WAIT) else {
                house.forget_depth();
                continue;
            };
            let wait = match house.round(&lead) {
                Ok(kept) => {
                    tries = 0;
                    tracing::debug!(?kept, "kept house");
                    HOUSE_INTERVAL
                }
                Err(error) => {
                    tries += 1;
                    house.forget_depth();
                    report("keeping house", &error.to_string(), error.class(), tries)
                }
            };
            if !self.waits(wait) {
                return;
            }
        }
    }

    fn scan(&self, mut scan: Scan, pace: Pace, ender: &Sender<Ending>) {
        let mut tries = 0;
        while self.waits(Duration::ZERO) {
            let Some(lead) = self.leader.await_lead(1, LEAD_WAIT) else {
                if let Some(other) = self.leader.other(1).filter(|_| pace.once) {
                    tracing::info!(leader = other, "another scanner leads this series: nothing to do");
                    ender.send(Ending::Done).ok();
                    return;
                }
                continue;
            };
            let began = Instant::now();
            let wait = match self.round(&mut scan, &lead) {
                Ok(()) if pace.once => {
                    ender.send(Ending::Done).ok();
                    return;
                }
                Ok(()) => {
                    tries = 0;
                    let jitter = (pace.interval / JITTER_SHARE).mul_f64(rand::random());
                    (pace.interval + jitter).saturating_sub(began.elapsed())
                }
                Err(RoundError::Lost) => Duration::ZERO,
                Err(error) => {
                    tries += 1;
                    self.metrics.scan_failures.inc();
                    if pace.once && error.class() == Class::Permanent {
                        ender.send(Ending::Failed(error.to_string())).ok();
                        return;
                    }
                    report("the scan", &error.to_string(), error.class(), tries)
                }
            };
            if !self.waits(wait) {
                return;
            }
        }
    }

    fn round(&self, scan: &mut Scan, lead: &Lead) -> Result<(), RoundError> {
        let began = Instant::now();
        let done = scan.round(lead)?;
        tracing::info!(
            listed = done.listed,
            matched = done.matched,
            new = done.new,
            waiting = done.waiting,
            sealed = done.sealed.map(|batch| batch.to_string()),
            took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "the round is done"
        );
        Ok(())
    }
}

/// Says what failed, and how long to wait before it is tried again.
fn report(what: &'static str, error: &str, class: Class, tries: u32) -> Duration {
    let wait_ms = backoff_ms(tries.saturating_add(RETRY_SKIPS), RETRY_MAX_MS, rand::random());
    if class == Class::Lost {
        tracing::info!(what, error, "the lead was lost");
    } else {
        tracing::warn!(what, error, tries, again_in_ms = wait_ms, "failed, and is tried again");
    }
    Duration::from_millis(wait_ms)
}
