//! A session: the runtime, the store handles and the worker of one process, opened in order and closed in order.
//!
//! Architecture Invariant: the store is closed only against the proof that every machine has departed, so that a
//! release never meets a closed store.

use crate::clock::Clock;
use crate::config::WorkerConfig;
use crate::error::{Class, Classified};
use crate::metrics::Metrics;
use crate::queue::{Queue, QueueSettings};
use crate::store::{StoreError, StorePlace};
use crate::traces::Exporter;
use crate::worker::conversion::Opener;
use crate::worker::lease::Home;
use crate::worker::{Departed, Parts, StartError, Worker, watchdog};
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};
use tokio::runtime::{Builder, Handle, Runtime};

/// Threads of the runtime: it only waits for the store.
const RUNTIME_THREADS: usize = 2;
/// What tasks that nobody waits for any more get before the runtime is dropped.
const LINGER: Duration = Duration::from_millis(20);

/// One process's means.
#[derive(Debug)]
pub struct Session {
    place: StorePlace,
    runtime: Runtime,
    queue: Queue,
    clock: Clock,
    metrics: Arc<Metrics>,
    traces: Option<Exporter>,
}

/// A session that could not be opened. Nothing was claimed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No queue there.
    #[error(
        "{path}: there is no queue here; 'roboflow submit' makes one, and 'roboflow run' one below its --out, as .roboflow/queue.db"
    )]
    Missing {
        /// Where.
        path: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The runtime.
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[from] io::Error),
    /// The worker.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Classified for SessionError {
    fn class(&self) -> Class {
        match self {
            Self::Missing { .. } => Class::Permanent,
            Self::Store(error) => error.class(),
            Self::Runtime(_) => Class::Transient,
            Self::Start(error) => error.class(),
        }
    }
}

impl Session {
    /// Opens the queue at this place; a file must be there.
    ///
    /// # Errors
    /// When it is not, or cannot be used.
    pub fn open_existing(
        place: &StorePlace,
        settings: QueueSettings,
        clock: Clock,
    ) -> Result<Self, SessionError> {
        if let Some(path) = place.missing_file() {
            return Err(SessionError::Missing { path: path.display().to_string() });
        }
        Self::open(place, settings, clock)
    }

    /// Opens the queue at this place; a file is made where there is none.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(place: &StorePlace, settings: QueueSettings, clock: Clock) -> Result<Self, SessionError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("store")
            .enable_all()
            .build()?;
        let queue = runtime.block_on(queue(place, &settings))?;
        let metrics = Arc::new(Metrics::default());
        Ok(Self { place: place.clone(), runtime, queue, clock, metrics, traces: None })
    }

    /// The same, counting into these.
    #[must_use]
    pub fn counting_into(mut self, metrics: Arc<Metrics>) -> Self {
        metrics.watch(self.queue.clone());
        self.metrics = metrics;
        self
    }

    /// The same, exporting spans of what becomes of jobs.
    #[must_use]
    pub fn tracing_into(mut self, traces: Option<Exporter>) -> Self {
        self.traces = traces;
        self
    }

    /// The queue.
    pub fn queue(&self) -> Queue {
        self.queue.clone()
    }

    /// Where store operations run.
    pub fn runtime(&self) -> Handle {
        self.runtime.handle().clone()
    }

    /// The counters.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Starts the worker. The lease gets a store handle of its own.
    ///
    /// # Errors
    /// When a thread cannot be started, or the transition log not be written.
    pub fn start(&self, config: &WorkerConfig, opener: Arc<dyn Opener>) -> Result<Worker, SessionError> {
        let lease_ms = config.settings.lease_ms;
        let parts = Parts {
            queue: self.queue(),
            lease_home: self.home()?,
            opener,
            runtime: self.runtime(),
            clock: self.clock,
            metrics: self.metrics(),
            traces: self.traces.clone(),
            bite: Box::new(move |board| watchdog::bite(board, lease_ms)),
        };
        Ok(Worker::start(config, parts)?)
    }

    /// A runtime of its own with a store handle of its own, for what nothing else may delay.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn home(&self) -> Result<Home, SessionError> {
        let home = Home::open(queue(&self.place, self.queue.settings()))?;
        self.metrics.watch(home.queue());
        Ok(home)
    }

    /// Leaves the store to the end of the process, which follows: for one that owns no job, and whose writes are whole or not
    /// at all. Threads may still be waiting for the store; a runtime that ended under them would be a panic.
    pub fn abandon(self) {
        thread::sleep(LINGER);
        std::mem::forget(self.runtime);
    }

    /// Closes the store: every machine has departed.
    pub fn close(self, _proof: Departed) {
        if let Some(traces) = self.traces {
            traces.close();
        }
        self.runtime.block_on(self.queue.settle());
        drop(self.queue);
        self.runtime.shutdown_timeout(LINGER);
    }
}

async fn queue(place: &StorePlace, settings: &QueueSettings) -> Result<Queue, SessionError> {
    Ok(Queue::new(place.open().await?, settings.clone()))
}
