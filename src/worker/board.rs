//! The board: what each machine was last seen doing, for the watchdog, the progress bars and whoever asks.
//!
//! It is written by the drivers and the conversion threads, and decides nothing.

use roboflow_fsm::effect::Leaf;
use roboflow_fsm::id::{Epoch, JobId};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What one machine was last seen doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its leaf state.
    pub leaf: Leaf,
    /// The job it holds, with its claim's number.
    pub held: Option<(JobId, Epoch)>,
    /// The work its conversion thread has open.
    pub task: Option<Task>,
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
}

/// One place a machine.
#[derive(Debug)]
pub struct Board {
    places: Mutex<Vec<Place>>,
}

impl Board {
    /// A board for that many machines, all idle.
    pub fn new(machines: u32) -> Self {
        let idle = Place { leaf: Leaf::Idle, held: None, task: None };
        Self { places: Mutex::new(vec![idle; machines as usize]) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a machine does now.
    pub fn stands(&self, machine: u32, leaf: Leaf, held: Option<(JobId, Epoch)>) {
        if let Some(place) = self.lock().get_mut(machine as usize) {
            place.leaf = leaf;
            place.held = held;
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
