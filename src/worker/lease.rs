//! The lease: one for the process, renewed from its own OS thread, its own runtime and its own store handle.
//!
//! Architecture Invariant: nothing that the rest of the process does, short of ending, delays a renewal. It stops only
//! when every machine has said that it owns nothing any more, never because a stop was asked for.

use super::board::{Board, Place};
use super::mailbox::Mailbox;
use crate::clock::Clock;
use crate::config;
use crate::metrics::Metrics;
use crate::queue::{HeartbeatNote, Queue, QueueError, Renewal, WorkerInfo};
use crate::reaper::Reaper;
use crate::telemetry;
use roboflow_fsm::id::Generation;
use roboflow_fsm::{Input, policy};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use uuid::Uuid;

/// Between two tries of a renewal that failed.
const RETRY_WAIT: Duration = Duration::from_millis(250);
/// Incarnations remembered, so that a job's release finds the one it was claimed under.
const MAX_REMEMBERED: usize = 16;

/// What the lease is set to.
#[derive(Debug, Clone)]
pub struct LeaseSettings {
    /// Its length, as the store counts it.
    pub lease_ms: u64,
    /// How often it is renewed.
    pub renew_interval_ms: u64,
    /// The name that people see.
    pub pod: String,
    /// Machines that must stop before renewals do.
    pub machines: u32,
}

/// The executors' view of the lease. Copies are the same lease.
#[derive(Debug, Clone)]
pub struct Lease {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    settings: LeaseSettings,
    book: Mutex<VecDeque<(Generation, Uuid)>>,
    /// When the last confirmed renewal was sent, in event time.
    confirmed_ms: watch::Sender<Option<u64>>,
    nudge: Notify,
    out_of_work: Arc<Notify>,
    renewing: AtomicU32,
    metrics: Arc<Metrics>,
}

/// The lease could not be read again in time: nothing may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease could not be confirmed in time")]
pub struct Unconfirmed;

/// What the lease has for itself alone: a runtime, and a handle of the queue that was opened on it.
#[derive(Debug)]
pub struct Home {
    runtime: Runtime,
    queue: Queue,
}

impl Home {
    /// Makes the runtime and opens the queue on it. Blocks for as long as opening takes.
    ///
    /// # Errors
    /// When the runtime cannot be started, or what opening gave.
    pub fn open<E: From<io::Error>>(open: impl Future<Output = Result<Queue, E>>) -> Result<Self, E> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let queue = runtime.block_on(open)?;
        Ok(Self { runtime, queue })
    }

    /// Its queue.
    pub fn queue(&self) -> Queue {
        self.queue.clone()
    }

    /// What it is made of.
    pub fn into_parts(self) -> (Runtime, Queue) {
        (self.runtime, self.queue)
    }
}

impl Lease {
    /// Starts the thread. `mailboxes` hear of what becomes of the lease.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        settings: LeaseSettings,
        home: Home,
        mailboxes: Vec<Mailbox>,
        board: Arc<Board>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let Home { runtime, queue } = home;
        let interval = Duration::from_millis(settings.renew_interval_ms);
        let out_of_work = Arc::new(Notify::new());
        let (told, counted) = (Arc::clone(&out_of_work), Arc::clone(&metrics));
        let reaper = Reaper::new(queue.clone(), interval, mailboxes.clone(), told, counted);
        let renewing = AtomicU32::new(settings.machines);
        let shared = Arc::new(Shared {
            clock,
            settings,
            book: Mutex::new(VecDeque::from([(Generation(1), Uuid::new_v4())])),
            confirmed_ms: watch::Sender::new(None),
            nudge: Notify::new(),
            out_of_work,
            renewing,
            metrics,
        });
        let renewer = Renewer { shared: Arc::clone(&shared), queue, mailboxes, board, registered: false };
        let context = telemetry::process(&shared.settings.pod);
        thread::Builder::new().name("lease".to_owned()).spawn(move || {
            let _context = context.entered();
            runtime.block_on(async move {
                let reaping = tokio::spawn(reaper.run());
                renewer.run().await;
                reaping.abort();
            });
        })?;
        Ok(Self { shared })
    }

    /// The lease that claims are made under now.
    pub fn current(&self) -> (Generation, Uuid) {
        let book = self.shared.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.back().copied().unwrap_or((Generation(0), Uuid::nil()))
    }

    /// When the last confirmed renewal was sent, in event time, if any was.
    pub fn confirmed_ms(&self) -> Option<u64> {
        *self.shared.confirmed_ms.borrow()
    }

    /// Waits until the lease is known to have been ours a short while ago: at once as a rule; after a gap of more than
    /// half a lease since the last confirmed renewal (the process was paused), only once it was read again.
    ///
    /// # Errors
    /// When that does not happen within `within`.
    pub async fn confirmed(&self, within: Duration) -> Result<(), Unconfirmed> {
        let asked_ms = self.shared.clock.now_ms();
        let oldest_ms = asked_ms.saturating_sub(self.shared.settings.lease_ms / 2);
        let mut confirmed = self.shared.confirmed_ms.subscribe();
        if confirmed.borrow().is_some_and(|at_ms| at_ms >= oldest_ms) {
            return Ok(());
        }
        self.shared.metrics.lease_rereads.inc();
        tracing::warn!(
            "the lease was not confirmed for more than half its length: reading it again before writing"
        );
        self.shared.nudge.notify_one();
        match timeout(within, confirmed.wait_for(|at| at.is_some_and(|at_ms| at_ms >= asked_ms))).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Unconfirmed),
        }
    }

    /// A machine found nothing to claim.
    pub fn out_of_work(&self) {
        self.shared.out_of_work.notify_one();
    }

    /// One machine owns nothing any more and never will. After the last one's word the thread ends.
    pub fn stop_renewing(&self) {
        if self.shared.renewing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.nudge.notify_one();
        }
    }
}

/// What a renewal tells of all machines at once.
fn heartbeat(places: &[Place]) -> HeartbeatNote {
    HeartbeatNote {
        leaves: places.iter().map(|place| place.leaf).collect(),
        stopping: places.iter().filter_map(|place| place.stopping).max(),
    }
}

/// What runs on the lease's thread.
struct Renewer {
    shared: Arc<Shared>,
    queue: Queue,
    mailboxes: Vec<Mailbox>,
    board: Arc<Board>,
    registered: bool,
}

impl Renewer {
    async fn run(mut self) {
        let interval = Duration::from_millis(self.shared.settings.renew_interval_ms);
        while self.shared.renewing.load(Ordering::Acquire) > 0 {
            let sent_ms = self.shared.clock.now_ms();
            let answer = timeout(interval, self.ask()).await;
            let wait = match answer {
                Ok(Ok(renewal)) => {
                    self.renewed(sent_ms, &renewal);
                    interval
                }
                Ok(Err(QueueError::Lost { .. })) => {
                    self.lost();
                    Duration::ZERO
                }
                Ok(Err(error)) => self.failed(&error.to_string()),
                Err(_) => self.failed("no answer in time"),
            };
            // Sent on the beat: the time that the answer took is not added.
            let spent = self.shared.clock.now_ms().saturating_sub(sent_ms);
            let wait =
                if wait == interval { interval.saturating_sub(Duration::from_millis(spent)) } else { wait };
            timeout(wait, self.shared.nudge.notified()).await.ok();
        }
        tracing::debug!("nothing is owned any more: renewals end");
    }

    async fn ask(&self) -> Result<Renewal, QueueError> {
        let (_, incarnation) = self.lease();
        if self.registered {
            return self.queue.renew(incarnation, &heartbeat(&self.board.read())).await;
        }
        let info = WorkerInfo {
            incarnation,
            pod: self.shared.settings.pod.clone(),
            host: config::host_name(),
            pid: std::process::id(),
            machines: self.shared.settings.machines,
        };
        self.queue.register(&info).await
    }

    fn lease(&self) -> (Generation, Uuid) {
        Lease { shared: Arc::clone(&self.shared) }.current()
    }

    fn renewed(&mut self, sent_ms: u64, renewal: &Renewal) {
        self.registered = true;
        self.shared.metrics.renewals.inc();
        let took_ms = self.shared.clock.now_ms().saturating_sub(sent_ms);
        self.shared.metrics.renewal_seconds.observe(Duration::from_millis(took_ms));
        let (generation, _) = self.lease();
        let write_until_ms = policy::write_until_ms(sent_ms, self.shared.settings.lease_ms);
        // First the machines, then the waiting writes: a write that goes on is one that its machine may still make.
        self.broadcast(&Input::LeaseRenewed { generation, write_until_ms });
        self.shared.confirmed_ms.send_replace(Some(sent_ms));
        for (job, epoch) in &renewal.cancelled {
            self.broadcast(&Input::CancelRequested { job: *job, epoch: *epoch });
        }
    }

    fn lost(&mut self) {
        let (generation, incarnation) = self.lease();
        self.shared.metrics.leases_lost.inc();
        tracing::warn!(%incarnation, "the lease is lost: its jobs belong to others now");
        self.broadcast(&Input::LeaseLost { generation });
        let mut book = self.shared.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.push_back((Generation(generation.0 + 1), Uuid::new_v4()));
        if book.len() > MAX_REMEMBERED {
            book.pop_front();
        }
        self.registered = false;
    }

    fn failed(&self, error: &str) -> Duration {
        self.shared.metrics.renewal_failures.inc();
        tracing::warn!(error, "the lease could not be renewed: trying again");
        RETRY_WAIT
    }

    fn broadcast(&self, input: &Input) {
        for mailbox in &self.mailboxes {
            mailbox.post(input.clone());
        }
    }
}
