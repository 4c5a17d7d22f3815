//! The transition log: every step of every machine as a line of JSON, for tests and for people after the fact.
//!
//! The first line is the head (version, settings); each further line is one step. Replaying the events of one machine
//! through a fresh `Machine` with those settings gives the same effects. It is no log of messages, and no state is
//! ever restored from it.

use crate::error::{Class, Classified};
use roboflow_fsm::effect::{Effects, Leaf};
use roboflow_fsm::{Event, Settings};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The version that [`Head`] carries.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// [`VERSION`].
    pub version: u32,
    /// What every machine of the process is set to.
    pub settings: Settings,
    /// How many machines the process has.
    pub machines: u32,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The machine's number in the process, from 0.
    pub machine: u32,
    /// The event's name.
    pub name: String,
    /// When the step was done: CLOCK_MONOTONIC in nanoseconds, which all processes of a host share.
    pub monotonic_ns: u64,
    /// The event that was given.
    pub event: Event,
    /// The leaf before.
    pub before: Leaf,
    /// The leaf after.
    pub after: Leaf,
    /// The leaves the step went through.
    pub trail: Vec<Leaf>,
    /// What became of the event: a transition, ignored by name, or a fault.
    pub disposition: String,
    /// The effects that the step gave back.
    pub effects: Effects,
}

/// The log could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the transition log {path}: {source}")]
pub struct TranslogError {
    path: PathBuf,
    source: io::Error,
}

impl Classified for TranslogError {
    fn class(&self) -> Class {
        Class::Permanent
    }
}

/// An open log, shared by all machines of a process.
#[derive(Debug, Clone)]
pub struct Translog {
    path: Arc<PathBuf>,
    file: Arc<Mutex<File>>,
}

impl Translog {
    /// Creates (or cuts) the file and writes the head.
    ///
    /// # Errors
    /// When it cannot be created or written.
    pub fn create(path: &Path, head: &Head) -> Result<Self, TranslogError> {
        let failed = |source| TranslogError { path: path.to_path_buf(), source };
        let file = File::create(path).map_err(failed)?;
        let log = Self { path: Arc::new(path.to_path_buf()), file: Arc::new(Mutex::new(file)) };
        log.write(head)?;
        Ok(log)
    }

    /// Writes one step, with one write: lines of several machines never mix.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn step(&self, line: &Line) -> Result<(), TranslogError> {
        self.write(line)
    }

    fn write(&self, line: &impl Serialize) -> Result<(), TranslogError> {
        let failed = |source| TranslogError { path: self.path.to_path_buf(), source };
        let mut bytes = serde_json::to_vec(line).map_err(|error| failed(error.into()))?;
        bytes.push(b'\n');
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes).map_err(failed)
    }
}
