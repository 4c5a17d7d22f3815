//! What the machines of a process went through: how often each edge, and the last transitions with their cause.
//!
//! Written by the drivers, in their own steps; bounded, whatever happens. It decides nothing, and nothing is restored from it.

use roboflow_fsm::effect::Leaf;
use roboflow_fsm::machine::{Disposition, Machine};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// Transitions that are kept of each machine.
pub const TRANSITIONS_KEPT: usize = 100;
/// What a leaf does on being entered, without waiting for an event: as the diagrams call it.
const AT_ONCE: &str = "at once";

/// One transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Counted from 1, over the machine's life.
    pub number: u64,
    /// When, in event time.
    pub at_ms: u64,
    /// The leaf left.
    pub from: Leaf,
    /// The leaf entered.
    pub to: Leaf,
    /// The event's name.
    pub cause: &'static str,
    /// How long it had stood in `from`.
    pub dwell_ms: u64,
}

/// An edge: leaf, event, leaf.
pub type Edge = (Leaf, &'static str, Leaf);

/// What one machine went through.
#[derive(Debug, Clone, Default)]
pub struct Film {
    /// How often each edge was taken.
    pub edges: BTreeMap<Edge, u64>,
    /// The last transitions, the oldest first.
    pub last: VecDeque<Transition>,
    /// Transitions in all.
    pub count: u64,
    /// When the leaf that it stands in was entered, in event time.
    pub since_ms: u64,
}

impl Film {
    fn takes(&mut self, at_ms: u64, (from, cause, to): Edge) -> Transition {
        *self.edges.entry((from, cause, to)).or_default() += 1;
        self.count += 1;
        let dwell_ms = at_ms.saturating_sub(self.since_ms);
        self.since_ms = at_ms;
        if self.last.len() >= TRANSITIONS_KEPT {
            self.last.pop_front();
        }
        let transition = Transition { number: self.count, at_ms, from, to, cause, dwell_ms };
        self.last.push_back(transition);
        transition
    }
}

/// The films of all machines of a process.
#[derive(Debug)]
pub struct History {
    films: Mutex<Vec<Film>>,
    changed: watch::Sender<()>,
}

impl History {
    /// Of so many machines.
    pub fn new(machines: u32) -> Self {
        Self { films: Mutex::new(vec![Film::default(); machines as usize]), changed: watch::Sender::new(()) }
    }

    /// Notes where the last step of a machine led, if anywhere, and gives it back. Never blocks on a reader for longer than
    /// a copy takes.
    pub fn stepped(
        &self,
        number: u32,
        at_ms: u64,
        event: &'static str,
        machine: &Machine,
    ) -> Vec<Transition> {
        let trail = machine.trail();
        if trail.len() < 2 {
            return Vec::new();
        }
        // An ignored event moves nothing; if the step moved, time did.
        let mut cause = match machine.last_disposition() {
            Some(Disposition::Ignored(_)) => "Tick",
            _ => event,
        };
        let mut films = self.films.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(film) = films.get_mut(number as usize) else { return Vec::new() };
        let mut taken = Vec::with_capacity(trail.len() - 1);
        for (from, to) in trail.iter().zip(trail.iter().skip(1)) {
            taken.push(film.takes(at_ms, (*from, cause, *to)));
            cause = AT_ONCE;
        }
        drop(films);
        self.changed.send_replace(());
        taken
    }

    /// All films, by the machines' numbers.
    pub fn read(&self) -> Vec<Film> {
        self.films.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells of every transition from now on; many at once are told once.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roboflow_fsm::event::Signal;
    use roboflow_fsm::id::Generation;
    use roboflow_fsm::{Event, Input, Settings, step};

    #[test]
    fn each_leaf_of_a_step_is_an_edge_with_its_cause_and_how_long_it_was_stood_in() {
        let (history, mut machine) = (History::new(1), Machine::new(Settings::default()));
        let mut go = |at_ms, input| {
            let event = Event { at_ms, dice: 0, input };
            let name = event.name();
            step(&mut machine, event);
            history.stepped(0, at_ms, name, &machine);
        };
        go(5, Input::Tick);
        go(40, Input::LeaseRenewed { generation: Generation(1), write_until_ms: 9_000 });
        go(100, Input::Signal(Signal::Term));
        let film = history.read().remove(0);
        let seen: Vec<_> = film.last.iter().map(|one| (one.from, one.cause, one.to, one.dwell_ms)).collect();
        assert_eq!(
            seen,
            [
                (Leaf::Idle, "LeaseRenewed", Leaf::Claiming, 40),
                (Leaf::Claiming, "SIGTERM", Leaf::AwaitingClaim, 60)
            ]
        );
        assert_eq!((film.count, film.since_ms, film.edges.len()), (2, 100, 2));
    }

    #[test]
    fn only_the_last_are_kept_and_all_are_counted() {
        let mut film = Film::default();
        for at_ms in 0..1_000 {
            film.takes(at_ms, (Leaf::Idle, "Tick", Leaf::Claiming));
        }
        assert_eq!((film.last.len(), film.count), (TRANSITIONS_KEPT, 1_000));
        assert_eq!(film.last.back().map(|last| last.number), Some(1_000));
        assert_eq!(film.edges.values().sum::<u64>(), 1_000);
    }
}
