//! The board: a record of each machine of the process, for the watchdog, the heartbeat, the progress bars and whoever
//! asks about health. Counters of the whole process are in [`crate::metrics`].
//!
//! It is written by the drivers and the conversion threads, and decides nothing.

use super::history::History;
use roboflow_fsm::Machine;
use roboflow_fsm::effect::{Exit, Leaf};
use roboflow_fsm::event::Mode;
use roboflow_fsm::id::{Epoch, JobId};
use roboflow_fsm::machine::{Counters, Tally};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The record of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its leaf state.
    pub leaf: Leaf,
    /// The job it holds, with its claim's number.
    pub held: Option<(JobId, Epoch)>,
    /// How hard it was asked to stop, once it was.
    pub stopping: Option<Mode>,
    /// How it ended, once it has.
    pub exit: Option<Exit>,
    /// What it claimed and how that ended.
    pub tally: Tally,
    /// Its events that did not count, and its faults.
    pub counters: Counters,
    /// The work its conversion thread has open.
    pub task: Option<Task>,
    /// When its driver last went round, in event time.
    pub beat_ms: u64,
    /// Segments of the job in hand whose checkpoint is known to be committed.
    pub checkpoint: u32,
    /// How long the rest of the job was predicted to take at its last boundary.
    pub rest_ms: Option<u64>,
    /// When the job in hand is predicted to end, in event time.
    pub end_ms: Option<u64>,
}

/// How far a job's conversion is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The job.
    pub job: JobId,
    /// What is converted, for people.
    pub source: String,
    /// Durable segments, those of earlier claims included.
    pub segments_done: u32,
    /// All segments.
    pub segments: u32,
    /// Frames in the durable ones.
    pub frames_done: u64,
    /// Frames of all, at most.
    pub frames_of: u64,
}

/// One place a machine.
#[derive(Debug)]
pub struct Board {
    places: Mutex<Vec<Place>>,
    /// What they went through.
    pub history: History,
}

impl Board {
    /// A board for that many machines, all idle.
    pub fn new(machines: u32) -> Self {
        let idle = Place {
            leaf: Leaf::Idle,
            held: None,
            stopping: None,
            exit: None,
            tally: Tally::default(),
            counters: Counters::default(),
            task: None,
            beat_ms: 0,
            checkpoint: 0,
            rest_ms: None,
            end_ms: None,
        };
        Self { places: Mutex::new(vec![idle; machines as usize]), history: History::new(machines) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how a machine stands now.
    pub fn stands(&self, number: u32, now_ms: u64, machine: &Machine) {
        if let Some(place) = self.lock().get_mut(number as usize) {
            place.leaf = machine.leaf();
            place.held = machine.held().map(|held| (held.job, held.epoch));
            place.checkpoint = machine.held().map_or(0, |held| held.segments_done);
            let rest_ms = machine.predicted_rest_ms();
            if rest_ms != place.rest_ms {
                // It changes with each boundary, and only there: from then on it is counted down.
                place.end_ms = rest_ms.map(|rest| now_ms.saturating_add(rest));
                place.rest_ms = rest_ms;
            }
            place.stopping = machine.mode();
            place.exit = machine.exit();
            place.tally = machine.tally();
            place.counters = machine.counters();
        }
    }

    /// Notes that a machine's driver goes round.
    pub fn beats(&self, number: u32, now_ms: u64) {
        if let Some(place) = self.lock().get_mut(number as usize) {
            place.beat_ms = now_ms;
        }
    }

    /// Notes what a machine's conversion thread has open.
    pub fn works(&self, machine: u32, task: Option<Task>) {
        if let Some(place) = self.lock().get_mut(machine as usize) {
            place.task = task;
        }
    }

    /// All places, by the machines' numbers.
    pub fn read(&self) -> Vec<Place> {
        self.lock().clone()
    }
}
