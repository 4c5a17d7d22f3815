//! The executor of one machine: carries each effect out, with one match, and sees to it that each request is answered
//! exactly once.
//!
//! Store operations run as tasks on the worker's runtime and answer through the mailbox; an owed answer that is
//! dropped (the task died) gives itself as "unavailable". Conversions run on the machine's conversion thread.
//!
//! Architecture Invariant: only here is IO done for an effect. It decides nothing that the machine could: it maps the
//! queue's answers to events, and nothing else.

mod owed;
mod store;

use crate::metrics::Metrics;
use crate::worker::Assignment;
use crate::worker::conversion::{Conversion, Order};
use crate::worker::lease::Lease;
use owed::Owed;
use roboflow_fsm::effect::Effect;
use roboflow_fsm::event::ConvertAnswer;
use roboflow_fsm::id::{Epoch, JobId, RequestId};
use std::sync::{Arc, Mutex, PoisonError};
use store::StoreSide;
use tokio::runtime::Handle;
use tracing::Instrument;

/// The job in hand: set by the claim that won it, read when it is converted, checkpointed and handed back.
#[derive(Debug, Clone, Default)]
pub struct Hand(Arc<Mutex<Option<Arc<Assignment>>>>);

impl Hand {
    fn set(&self, assignment: Option<Arc<Assignment>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = assignment;
    }

    fn get(&self) -> Option<Arc<Assignment>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Carries effects out.
#[derive(Debug)]
pub struct Executor {
    machine: u32,
    runtime: Handle,
    store: StoreSide,
    conversion: Conversion,
    lease: Lease,
    hand: Hand,
    stopped_renewing: bool,
    metrics: Arc<Metrics>,
}

pub use store::StoreParts;

impl Executor {
    /// Of a machine. `store` says what its store operations need, `runtime` is where they run.
    pub fn new(machine: u32, runtime: Handle, store: StoreParts, conversion: Conversion) -> Self {
        let hand = Hand::default();
        let (lease, metrics) = (store.lease.clone(), Arc::clone(&store.metrics));
        let store = StoreSide::new(machine, store, hand.clone());
        Self { machine, runtime, store, conversion, lease, hand, stopped_renewing: false, metrics }
    }

    /// Carries one effect out, or starts it.
    pub fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Claim { id, nonce } => {
                self.metrics.claims.inc();
                let owed = self.owed(&effect, id);
                self.spawn(self.store.clone().claim(owed, nonce));
            }
            Effect::ResolveClaim { id, nonce } => {
                self.metrics.claim_resolutions.inc();
                let owed = self.owed(&effect, id);
                self.spawn(self.store.clone().resolve_claim(owed, nonce));
            }
            Effect::Convert { id, job, epoch, segment } => {
                self.metrics.conversions.inc();
                self.convert(id, job, epoch, segment);
            }
            Effect::CancelConvert { convert } => {
                self.metrics.conversion_cancels.inc();
                self.conversion.cancel(convert);
            }
            Effect::Checkpoint { id, nonce, job, epoch, segments_done } => {
                self.metrics.checkpoints.inc();
                let owed = self.owed(&effect, id);
                self.spawn(self.store.clone().checkpoint(owed, nonce, (job, epoch), segments_done));
            }
            Effect::Complete { id, nonce, job, epoch, segments_done } => {
                self.metrics.completions.inc();
                let owed = self.owed(&effect, id);
                self.spawn(self.store.clone().complete(owed, nonce, (job, epoch), segments_done));
            }
            Effect::Release { id, nonce, ref hand_back, ref farewell } => {
                self.metrics.releases.inc();
                self.conversion.close();
                let owed = self.owed(&effect, id);
                let release = self.store.clone().release(owed, nonce, hand_back.clone(), farewell.clone());
                self.spawn(release);
            }
            Effect::StopRenewing => {
                self.metrics.stop_renewings.inc();
                self.stop_renewing();
            }
            Effect::Exit { outcome } => {
                self.metrics.exits.inc();
                self.conversion.close();
                tracing::debug!(machine = self.machine, ?outcome, "the machine is done");
            }
        }
    }

    /// Runs a store operation, which speaks for the machine as it stands now.
    fn spawn(&self, operation: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(operation.in_current_span());
    }

    fn stop_renewing(&mut self) {
        if !std::mem::replace(&mut self.stopped_renewing, true) {
            self.lease.stop_renewing();
        }
    }

    fn owed(&self, effect: &Effect, id: RequestId) -> Owed {
        Owed::new(self.store.mailbox().clone(), effect, id, Arc::clone(&self.metrics))
    }

    fn convert(&mut self, id: RequestId, job: JobId, epoch: Epoch, segment: u32) {
        let in_hand = self.hand.get().filter(|held| held.job == job && held.epoch == epoch);
        let Some(assignment) = in_hand else {
            tracing::error!(job = %job, epoch = epoch.0, "asked to convert a job that is not in hand");
            let input = roboflow_fsm::Input::ConvertAnswered { id, answer: ConvertAnswer::Fault };
            self.store.mailbox().answer(input);
            return;
        };
        let context = tracing::Span::current();
        self.conversion.run(Order { id, assignment, segment, context });
    }
}

impl Drop for Executor {
    /// However a machine ended: it writes nothing any more, so nothing is renewed on its behalf.
    fn drop(&mut self) {
        self.stop_renewing();
    }
}
