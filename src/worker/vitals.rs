//! A worker as whoever operates it sees it: read off the board, the lease and the watchdog.
//!
//! It decides nothing that a machine could, and holds nothing of its own.

use super::Inputs;
use super::board::{Board, Place};
use super::history::Film;
use super::lease::Lease;
use crate::health::{Operated, Unready};
use roboflow_fsm::Input;
use roboflow_fsm::event::Mode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A driver beats at least this often, also when nothing happens.
pub const BEAT_INTERVAL_MS: u64 = 1_000;
/// A driver that did not beat for so long is stuck: many beats, since a busy host is not a reason for a restart.
pub const STUCK_AFTER_MS: u64 = 15_000;

const _: () = assert!(STUCK_AFTER_MS >= 10 * BEAT_INTERVAL_MS);

/// The worker's signs of life.
#[derive(Debug, Clone)]
pub struct Vitals {
    pub(super) inputs: Inputs,
    pub(super) board: Arc<Board>,
    pub(super) lease: Lease,
}

/// Whether the driver of a machine that has not ended is not going round any more.
fn is_silent(place: &Place, now_ms: u64) -> bool {
    place.exit.is_none() && now_ms > place.beat_ms.saturating_add(STUCK_AFTER_MS)
}

impl Operated for Vitals {
    fn stuck(&self, machines: &[Place]) -> Option<String> {
        let now_ms = self.inputs.clock.now_ms();
        if self.inputs.watchdog.deadline_ms().is_some_and(|deadline| now_ms > deadline) {
            return Some("the drain is over its deadline, and the process has not ended".to_owned());
        }
        let machine = machines.iter().position(|place| is_silent(place, now_ms))?;
        let limit = STUCK_AFTER_MS / 1_000;
        Some(format!("the driver of machine {machine} has not moved for more than {limit} s"))
    }

    fn unready(&self, machines: &[Place]) -> Option<Unready> {
        let stops = |place: &Place| place.stopping.is_some() || place.exit.is_some();
        if machines.iter().any(stops) {
            return Some(Unready::Draining("it was asked to stop"));
        }
        let waits = "the first renewal of its lease is not confirmed yet";
        (self.lease.confirmed_ms().is_none()).then_some(Unready::Starting(waits))
    }

    fn machines(&self) -> Vec<Place> {
        self.board.read()
    }

    fn lease_age(&self) -> Option<Duration> {
        self.lease
            .confirmed_ms()
            .map(|at_ms| Duration::from_millis(self.inputs.clock.now_ms().saturating_sub(at_ms)))
    }

    fn films(&self) -> Vec<Film> {
        self.board.history.read()
    }

    fn changes(&self) -> Option<watch::Receiver<()>> {
        Some(self.board.history.changes())
    }

    fn now_ms(&self) -> u64 {
        self.inputs.clock.now_ms()
    }

    fn drain(&self, mode: Mode) {
        self.inputs.context.in_scope(|| tracing::info!(?mode, "asked to drain"));
        self.inputs.send(&Input::Drain(mode));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roboflow_fsm::effect::Exit;

    #[test]
    fn a_driver_is_silent_only_after_many_beats_and_never_after_its_machine_has_ended() {
        let board = Board::new(1);
        board.beats(0, 7_000);
        let place = board.read().remove(0);
        assert!(!is_silent(&place, 7_000 + STUCK_AFTER_MS));
        assert!(is_silent(&place, 7_001 + STUCK_AFTER_MS));
        let ended = Place { exit: Some(Exit::Clean), ..place };
        assert!(!is_silent(&ended, u64::MAX));
    }
}
