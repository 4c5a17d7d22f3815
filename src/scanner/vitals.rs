//! A scanner as whoever operates it sees it. It has no machines: it leads or waits, and can be told to stop.

use super::Stopper;
use super::leader::Leader;
use crate::health::{Operated, Unready};
use crate::worker::board::Place;
use crate::worker::history::Film;
use roboflow_fsm::event::Mode;
use std::time::Duration;
use tokio::sync::watch;

/// A lead that was not asked for during so long is not asked for any more: the thread is stuck. Each asking has a time limit
/// of its own far below.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// The scanner's signs of life.
#[derive(Debug, Clone)]
pub struct Vitals {
    pub(super) leader: Leader,
    pub(super) stopper: Stopper,
}

impl Operated for Vitals {
    fn stuck(&self, _: &[Place]) -> Option<String> {
        let silent = self.leader.silent_for() > STUCK_AFTER && !self.stopper.was_asked();
        let limit = STUCK_AFTER.as_secs();
        silent.then(|| format!("the lead was not asked for during more than {limit} s"))
    }

    fn unready(&self, _: &[Place]) -> Option<Unready> {
        if self.stopper.was_asked() {
            return Some(Unready::Draining("it was asked to stop"));
        }
        let waits = "the store has not answered who leads yet";
        (!self.leader.was_answered()).then_some(Unready::Starting(waits))
    }

    fn machines(&self) -> Vec<Place> {
        Vec::new()
    }

    fn lease_age(&self) -> Option<Duration> {
        None
    }

    fn films(&self) -> Vec<Film> {
        Vec::new()
    }

    fn changes(&self) -> Option<watch::Receiver<()>> {
        None
    }

    fn now_ms(&self) -> u64 {
        0
    }

    /// It holds no job, so each mode is the same: it steps down and ends.
    fn drain(&self, mode: Mode) {
        tracing::info!(?mode, "asked to drain");
        self.stopper.stop();
    }
}
