//! The mailbox of a machine: what happens to it, in order, from whatever thread.
//!
//! It is bounded. Broadcasts (signals, renewals) are dropped and counted when it is full, which takes a driver that has
//! been stuck for minutes, and the watchdog sees to that. Answers wait for room: each is owed exactly once.

use crate::metrics::Metrics;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use roboflow_fsm::Input;
use std::sync::Arc;
use std::time::Duration;

/// Inputs that wait at most.
pub const MAX_WAITING_INPUTS: usize = 1024;

/// The writing end. Copies write to the same machine.
#[derive(Debug, Clone)]
pub struct Mailbox {
    sender: Sender<Input>,
    metrics: Arc<Metrics>,
}

/// The reading end, the driver's.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<Input>,
}

/// A mailbox with its inbox.
pub fn mailbox(metrics: Arc<Metrics>) -> (Mailbox, Inbox) {
    let (sender, receiver) = bounded(MAX_WAITING_INPUTS);
    (Mailbox { sender, metrics }, Inbox { receiver })
}

impl Mailbox {
    /// Posts what nobody waits for. Never blocks.
    pub fn post(&self, input: Input) {
        if let Err(TrySendError::Full(input)) = self.sender.try_send(input) {
            self.metrics.mailbox_overflows.inc();
            tracing::error!(
                event = input.name(),
                "a machine's mailbox is full: it does not take events any more"
            );
        }
    }

    /// Posts an answer. Waits for room; does nothing when the machine is gone.
    pub fn answer(&self, input: Input) {
        self.sender.send(input).ok();
    }
}

impl Inbox {
    /// The next input, or `None` when none comes in time.
    pub fn next(&self, within: Duration) -> Option<Input> {
        match self.receiver.recv_timeout(within) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                // Cannot happen while the executor holds a sender; waiting keeps a bug from spinning.
                std::thread::sleep(within);
                None
            }
        }
    }
}
