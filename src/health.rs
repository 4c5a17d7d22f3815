//! What a process tells of itself to whoever operates it: whether it is alive, whether it takes work, what its machines do.
//!
//! Architecture Invariant: nothing is polled or remembered here. An answer is read off what the drivers wrote in their own
//! steps, so that readiness ends in the very step in which draining begins. It serves nothing by itself: [`crate::http`] does.

use crate::worker::board::Place;
use crate::worker::history::Film;
use roboflow_fsm::event::Mode;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// A process at work, as seen by whoever operates it.
pub trait Operated: fmt::Debug + Send + Sync + 'static {
    /// Why it is to be restarted: it does not get on, and will not by itself. Of machines that do this.
    fn stuck(&self, machines: &[Place]) -> Option<String>;

    /// Why it takes no work, if it takes none. Of machines that do this: one answer is made from one look.
    fn unready(&self, machines: &[Place]) -> Option<Unready>;

    /// What its machines do. A scanner has none.
    fn machines(&self) -> Vec<Place>;

    /// How long ago the last renewal that was confirmed was sent, where there is a lease and there was one.
    fn lease_age(&self) -> Option<Duration>;

    /// What they went through.
    fn films(&self) -> Vec<Film>;

    /// Tells of every transition, where there are any.
    fn changes(&self) -> Option<watch::Receiver<()>>;

    /// The process's time, in ms.
    fn now_ms(&self) -> u64;

    /// Asks it to stop, this hard. Never blocks.
    fn drain(&self, mode: Mode);
}

/// Why a process takes no work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unready {
    /// Not yet.
    Starting(&'static str),
    /// Not any more.
    Draining(&'static str),
}

/// Where a process stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It opens what it needs.
    Starting,
    /// It takes work.
    Ready,
    /// It was asked to stop, or has.
    Draining,
}

impl Standing {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

/// What is told at one instant.
#[derive(Debug, Clone)]
pub struct Report {
    /// Where it stands.
    pub standing: Standing,
    /// Why it takes no work, where it takes none.
    pub reason: Option<&'static str>,
    /// Why it is to be restarted, where it is.
    pub stuck: Option<String>,
    /// What its machines do.
    pub machines: Vec<Place>,
}

impl Report {
    /// Whether it takes work.
    pub fn is_ready(&self) -> bool {
        self.standing == Standing::Ready && self.stuck.is_none()
    }
}

/// One process, from its start to its end.
#[derive(Debug)]
pub struct Health {
    instance: Uuid,
    stage: Mutex<Stage>,
    at_work: watch::Sender<bool>,
}

#[derive(Debug, Clone)]
enum Stage {
    Opening(&'static str),
    Working(Arc<dyn Operated>),
}

impl Default for Health {
    fn default() -> Self {
        let stage = Mutex::new(Stage::Opening("its settings are being read"));
        Self { instance: Uuid::new_v4(), stage, at_work: watch::Sender::new(false) }
    }
}

impl Health {
    /// Tells this process from the next one on the same port.
    pub fn instance(&self) -> Uuid {
        self.instance
    }

    /// Says what is being opened: until something works, the process is alive and not ready.
    pub fn opens(&self, what: &'static str) {
        self.set(Stage::Opening(what));
    }

    /// From now on this is what works.
    pub fn works(&self, operated: Arc<dyn Operated>) {
        self.set(Stage::Working(operated));
        self.at_work.send_replace(true);
    }

    /// What works, once something does.
    pub fn operated(&self) -> Option<Arc<dyn Operated>> {
        match &*self.stage.lock().unwrap_or_else(PoisonError::into_inner) {
            Stage::Opening(_) => None,
            Stage::Working(operated) => Some(Arc::clone(operated)),
        }
    }

    /// Waits until something works.
    pub async fn working(&self) -> Arc<dyn Operated> {
        loop {
            if let Some(operated) = self.operated() {
                return operated;
            }
            // The sender is ours, so it does not go away meanwhile.
            self.at_work.subscribe().wait_for(|at_work| *at_work).await.ok();
        }
    }

    /// What is to be told now.
    pub fn report(&self) -> Report {
        let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let operated = match stage {
            Stage::Opening(what) => {
                let (standing, reason) = (Standing::Starting, Some(what));
                return Report { standing, reason, stuck: None, machines: Vec::new() };
            }
            Stage::Working(operated) => operated,
        };
        let machines = operated.machines();
        let (standing, reason) = match operated.unready(&machines) {
            None => (Standing::Ready, None),
            Some(Unready::Starting(why)) => (Standing::Starting, Some(why)),
            Some(Unready::Draining(why)) => (Standing::Draining, Some(why)),
        };
        Report { standing, reason, stuck: operated.stuck(&machines), machines }
    }

    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }
}
