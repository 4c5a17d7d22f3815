//! The store operations of one machine, as tasks: each ends by giving the answer that it owes.
//!
//! Each is under a time limit of its own, so that an answer always comes; what a limit cuts off may have taken effect,
//! and is answered as unknown. Each owns its handle of the queue: the store cannot be closed before it has ended.

use super::Hand;
use super::owed::Owed;
use crate::metrics::{Histogram, Metrics};
use crate::queue::{self, Claim, FarewellNote, JobResult, Queue, QueueError, ReleaseRequest, WriteId};
use crate::worker::Assignment;
use crate::worker::conversion::Note;
use crate::worker::lease::Lease;
use crate::worker::mailbox::Mailbox;
use crate::worker::reserve::{Recent, Reserve};
use roboflow_fsm::effect::{Farewell, HandBack};
use roboflow_fsm::event::{ClaimAnswer, CommitAnswer, Grant};
use roboflow_fsm::id::{Epoch, Generation, JobId, Nonce};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// After this a store operation is answered as unknown.
const OPERATION_LIMIT: Duration = Duration::from_secs(5);
/// How long a write waits for the lease to be read again.
const CONFIRM_LIMIT: Duration = Duration::from_secs(3);

/// What a machine's store operations need.
#[derive(Debug, Clone)]
pub struct StoreParts {
    /// The queue.
    pub queue: Queue,
    /// The lease that the writes stand on.
    pub lease: Lease,
    /// Where answers go.
    pub mailbox: Mailbox,
    /// What the conversion tells of the job in hand.
    pub note: Note,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What the writes take.
    pub reserve: Arc<Reserve>,
}

/// The store operations of one machine. Cloned into each task.
#[derive(Debug, Clone)]
pub(super) struct StoreSide {
    machine: u32,
    parts: StoreParts,
    hand: Hand,
    /// The claim made last, by which it is read back.
    claim: Arc<Mutex<Option<(WriteId, Generation)>>>,
}

impl StoreSide {
    pub(super) fn new(machine: u32, parts: StoreParts, hand: Hand) -> Self {
        Self { machine, parts, hand, claim: Arc::default() }
    }

    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.parts.mailbox
    }

    pub(super) async fn claim(self, owed: Owed, nonce: Nonce) {
        let (generation, incarnation) = self.parts.lease.current();
        let by = WriteId { incarnation, machine: self.machine, nonce };
        *self.claim.lock().unwrap_or_else(PoisonError::into_inner) = Some((by, generation));
        let asked = Instant::now();
        let claimed = self.write(self.parts.queue.claim(&by)).await;
        self.parts.metrics.claim_seconds.observe(asked.elapsed());
        self.answer_claim(owed, claimed, generation, by);
    }

    pub(super) async fn resolve_claim(self, owed: Owed, nonce: Nonce) {
        let made = *self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((by, generation)) = made.filter(|(by, _)| by.nonce == nonce) else {
            tracing::error!(nonce = nonce.0, "asked what became of a claim that was not the last one");
            return owed.claim(ClaimAnswer::Fault);
        };
        let resolved = self.write(self.parts.queue.resolve_claim(&by)).await;
        self.answer_claim(owed, resolved, generation, by);
    }

    fn answer_claim(
        &self,
        owed: Owed,
        claimed: Result<Option<Claim>, QueueError>,
        generation: Generation,
        by: WriteId,
    ) {
        let claim = match claimed {
            Ok(Some(claim)) => claim,
            Ok(None) => {
                self.parts.lease.out_of_work();
                return owed.claim(ClaimAnswer::Empty);
            }
            Err(error) => {
                self.log("claiming", &error);
                return owed.claim(claim_answer(&error));
            }
        };
        let Claim { job: record, batch, epoch, .. } = claim;
        let grant = Grant { job: record.id, epoch, generation, segments_done: record.checkpoint };
        let incarnation = by.incarnation;
        let assignment = Assignment { job: record.id, epoch, generation, incarnation, record, batch };
        self.parts.metrics.jobs_claimed.inc();
        tracing::info!(
            machine = self.machine,
            job = %assignment.job,
            epoch = assignment.epoch.0,
            source = assignment.source(),
            segments_done = grant.segments_done,
            "claimed"
        );
        self.parts.note.clear();
        self.hand.set(Some(Arc::new(assignment)));
        owed.claim(ClaimAnswer::Won(grant));
    }

    pub(super) async fn checkpoint(
        self,
        owed: Owed,
        nonce: Nonce,
        claim: (JobId, Epoch),
        segments_done: u32,
    ) {
        let Some(held) = self.held(claim) else { return owed.commit(CommitAnswer::Fault) };
        let by = self.write_id(&held, nonce);
        let asked = Instant::now();
        let done = self.write(self.parts.queue.checkpoint(&held.ownership(), &by, segments_done)).await;
        Self::took(&self.parts.metrics.checkpoint_seconds, &self.parts.reserve.checkpoints, asked, &done);
        owed.commit(self.commit_answer("checkpointing", done));
    }

    pub(super) async fn complete(self, owed: Owed, nonce: Nonce, claim: (JobId, Epoch), segments_done: u32) {
        let Some(held) = self.held(claim) else { return owed.commit(CommitAnswer::Fault) };
        let by = self.write_id(&held, nonce);
        let told = self.parts.note.get();
        let result = JobResult { frames: told.frames, bytes: told.written_bytes, note: told.warnings };
        let asked = Instant::now();
        let done =
            self.write(self.parts.queue.complete(&held.ownership(), &by, segments_done, &result)).await;
        Self::took(&self.parts.metrics.checkpoint_seconds, &self.parts.reserve.checkpoints, asked, &done);
        let answer = self.commit_answer("completing", done);
        if answer == CommitAnswer::Committed {
            self.parts.metrics.jobs_completed.inc();
            tracing::info!(machine = self.machine, job = %held.job, source = held.source(), frames = result.frames, "completed");
        }
        owed.commit(answer);
    }

    /// Hands the job back, and leaves when asked to: the queue clears the heartbeat with the last machine's farewell.
    pub(super) async fn release(
        self,
        owed: Owed,
        nonce: Nonce,
        hand_back: Option<HandBack>,
        farewell: Option<Farewell>,
    ) {
        let answer = self.released(nonce, hand_back, farewell).await;
        owed.commit(answer);
    }

    async fn released(
        &self,
        nonce: Nonce,
        hand_back: Option<HandBack>,
        farewell: Option<Farewell>,
    ) -> CommitAnswer {
        let error = self.parts.note.get().error;
        let hand_back = match hand_back {
            None => None,
            Some(back) => match self.held((back.job, back.epoch)) {
                Some(held) => {
                    Some(queue::HandBack { own: held.ownership(), why: back.why, error: error.clone() })
                }
                None => return CommitAnswer::Fault,
            },
        };
        let incarnation = match &hand_back {
            Some(back) => back.own.incarnation,
            None => self.parts.lease.current().1,
        };
        let request = ReleaseRequest {
            by: WriteId { incarnation, machine: self.machine, nonce },
            hand_back,
            farewell: farewell.map(|farewell| FarewellNote { farewell }),
        };
        let asked = Instant::now();
        let done = self.write(self.parts.queue.release(&request)).await;
        Self::took(&self.parts.metrics.release_seconds, &self.parts.reserve.releases, asked, &done);
        if done.is_err() {
            self.parts.metrics.release_failures.inc();
        }
        let answer = self.commit_answer("releasing", done);
        if let (CommitAnswer::Committed, Some(back)) = (&answer, &request.hand_back) {
            tracing::info!(machine = self.machine, job = %back.own.job, why = ?back.why, error, "handed back");
        }
        answer
    }

    /// A write, once the lease is known to have been ours a short while ago, under its own time limit.
    async fn write<T>(&self, write: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
        if let Err(unconfirmed) = self.parts.lease.confirmed(CONFIRM_LIMIT).await {
            return Err(QueueError::Unavailable { reason: unconfirmed.to_string() });
        }
        match timeout(OPERATION_LIMIT, write).await {
            Ok(done) => done,
            Err(elapsed) => Err(QueueError::Unknown { reason: elapsed.to_string() }),
        }
    }

    /// Notes how long a write took: for people, one that is known to be committed; for the end of a stop, any.
    fn took<T>(histogram: &Histogram, recent: &Recent, asked: Instant, done: &Result<T, QueueError>) {
        let took = asked.elapsed();
        recent.took(took);
        if done.is_ok() {
            histogram.observe(took);
        }
    }

    fn held(&self, (job, epoch): (JobId, Epoch)) -> Option<Arc<Assignment>> {
        let held = self.hand.get().filter(|held| held.job == job && held.epoch == epoch);
        if held.is_none() {
            tracing::error!(job = %job, epoch = epoch.0, "asked to write for a job that is not in hand");
        }
        held
    }

    fn write_id(&self, held: &Assignment, nonce: Nonce) -> WriteId {
        WriteId { incarnation: held.incarnation, machine: self.machine, nonce }
    }

    fn commit_answer<T>(&self, action: &'static str, done: Result<T, QueueError>) -> CommitAnswer {
        let Err(error) = done else { return CommitAnswer::Committed };
        self.log(action, &error);
        match error {
            QueueError::Lost { .. } => CommitAnswer::Lost,
            QueueError::Unknown { .. } => CommitAnswer::Unknown,
            QueueError::Unavailable { .. } => CommitAnswer::Unavailable,
            QueueError::Unusable { .. }
            | QueueError::Corrupt { .. }
            | QueueError::NotFound { .. }
            | QueueError::Refused { .. } => CommitAnswer::Fault,
        }
    }

    fn log(&self, action: &'static str, error: &QueueError) {
        match error {
            QueueError::Lost { .. } => self.parts.metrics.writes_lost.inc(),
            QueueError::Unknown { .. } => self.parts.metrics.commits_unknown.inc(),
            _ => {}
        }
        tracing::warn!(machine = self.machine, action, %error, "a store operation did not succeed");
    }
}

fn claim_answer(error: &QueueError) -> ClaimAnswer {
    match error {
        QueueError::Lost { .. } => ClaimAnswer::Lost,
        QueueError::Unknown { .. } => ClaimAnswer::Unknown,
        QueueError::Unavailable { .. } => ClaimAnswer::Unavailable,
        QueueError::Unusable { .. }
        | QueueError::Corrupt { .. }
        | QueueError::NotFound { .. }
        | QueueError::Refused { .. } => ClaimAnswer::Fault,
    }
}
