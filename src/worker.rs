//! The worker: the machines of one process and the threads around them.
//!
//! ```text
//! signals ─▶ Inputs ─▶ mailbox ─▶ driver (one thread a machine) ─▶ executor ─▶ tasks on the runtime ─▶ queue
//!                         ▲                                             └────▶ conversion (one thread a machine)
//!                         ├── answers
//!                         └── lease (one thread, its own runtime and store handle)
//! watchdog (one thread): ends the process when the drivers do not end by the force deadline
//! ```
//! Architecture Invariant: shutdown is a parameter. Nothing here reads a signal or ends the process (the watchdog does
//! what it is given to do), so that tests run workers beside each other.

pub mod board;
pub mod conversion;
pub mod history;
pub mod lease;
pub mod mailbox;
pub mod reserve;
pub mod vitals;
pub mod watchdog;

mod assignment;

pub use assignment::Assignment;

use crate::clock::Clock;
use crate::config::WorkerConfig;
use crate::driver::Driver;
use crate::error::{Class, Classified};
use crate::executor::{Executor, StoreParts};
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::telemetry;
use crate::traces::{Exporter, Spans};
use crate::translog::{self, Translog, TranslogError};
use board::Board;
use conversion::{Conversion, ConversionThread, Note, Opener};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use lease::{Lease, LeaseSettings};
use mailbox::{Inbox, Mailbox, mailbox};
use reserve::Reserve;
use roboflow_fsm::effect::Exit;
use roboflow_fsm::event::{Mode, Signal};
use roboflow_fsm::policy::EXIT_MARGIN_MS;
use roboflow_fsm::{Input, Machine};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};
use tokio::runtime::Handle;
use vitals::Vitals;
use watchdog::Watchdog;

/// What happens when the watchdog's deadline passes: [`watchdog::bite`] in a real process.
pub type Bite = Box<dyn FnOnce(&Board) + Send>;

/// What a worker works with.
pub struct Parts {
    /// The queue, for the machines.
    pub queue: Queue,
    /// What the lease thread has for itself alone.
    pub lease_home: lease::Home,
    /// Opens jobs.
    pub opener: Arc<dyn Opener>,
    /// Where store operations run.
    pub runtime: Handle,
    /// The process's time.
    pub clock: Clock,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Where spans of what becomes of jobs go, if anywhere.
    pub traces: Option<Exporter>,
    /// What the watchdog does.
    pub bite: Bite,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("queue", &self.queue)
            .field("opener", &self.opener)
            .finish_non_exhaustive()
    }
}

/// A worker that could not be started. Nothing was claimed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A thread could not be started.
    #[error("a thread of the worker cannot be started: {0}")]
    Thread(#[from] io::Error),
    /// The transition log cannot be written.
    #[error(transparent)]
    Translog(#[from] TranslogError),
}

impl Classified for StartError {
    fn class(&self) -> Class {
        match self {
            Self::Thread(_) => Class::Transient,
            Self::Translog(error) => error.class(),
        }
    }
}

/// Where the outside tells all machines what happened. Copies are the same.
#[derive(Debug, Clone)]
pub struct Inputs {
    mailboxes: Arc<[Mailbox]>,
    watchdog: Watchdog,
    clock: Clock,
    force_after_ms: u64,
    metrics: Arc<Metrics>,
    /// What is said of the process as a whole.
    context: tracing::Span,
}

impl Inputs {
    /// Tells every machine. Never blocks. What asks for a stop with a deadline, or tells of a kill, arms the watchdog.
    pub fn send(&self, input: &Input) {
        match input {
            Input::Signal(signal) => {
                self.metrics.signals.inc();
                self.context.in_scope(|| tracing::info!(signal = input.name(), "asked to stop"));
                if *signal != Signal::Usr1 {
                    self.arm();
                }
            }
            Input::Drain(mode) if *mode > Mode::Finish => self.arm(),
            Input::TimeLeft { left_ms, .. } => {
                let leave_in_ms = left_ms.saturating_sub(EXIT_MARGIN_MS);
                self.watchdog.arm(self.clock.now_ms().saturating_add(leave_in_ms));
            }
            _ => {}
        }
        for mailbox in self.mailboxes.iter() {
            mailbox.post(input.clone());
        }
    }

    fn arm(&self) {
        self.watchdog.arm(self.clock.now_ms().saturating_add(self.force_after_ms));
    }
}

/// The transition log, where one was asked for.
fn open_log(config: &WorkerConfig) -> Result<Option<Translog>, TranslogError> {
    let settings = config.settings.clone();
    let head = translog::Head { version: translog::VERSION, settings, machines: config.machines };
    config.transition_log.as_deref().map(|path| Translog::create(path, &head)).transpose()
}

/// Proof that every machine of a worker has ended: only then may its store be closed.
#[derive(Debug)]
pub struct Departed(());

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    inputs: Inputs,
    board: Arc<Board>,
    reserve: Arc<Reserve>,
    drivers: Vec<JoinHandle<Exit>>,
    /// Never sent over: each driver holds a sender until it ends, so that it closes with the last of them.
    ended: Receiver<()>,
    running: Option<Sender<()>>,
    lease: Lease,
}

impl Worker {
    /// Starts the machines. Each claims as soon as the lease is confirmed.
    ///
    /// # Errors
    /// When a thread cannot be started or the transition log not be written.
    pub fn start(config: &WorkerConfig, parts: Parts) -> Result<Self, StartError> {
        let settings = config.settings.clone();
        let translog = open_log(config)?;
        let board = Arc::new(Board::new(config.machines));
        let context = telemetry::process(&config.label);
        let (shown, biting) = (Arc::clone(&board), context.clone());
        let watchdog = Watchdog::start(parts.clock, move || biting.in_scope(|| (parts.bite)(&shown)))?;
        let (mailboxes, inboxes): (Vec<Mailbox>, Vec<Inbox>) =
            (0..config.machines).map(|_| mailbox(Arc::clone(&parts.metrics))).unzip();
        let lease = Lease::start(
            LeaseSettings {
                lease_ms: settings.lease_ms,
                renew_interval_ms: settings.renew_interval_ms,
                pod: config.label.clone(),
                machines: config.machines,
            },
            parts.lease_home,
            mailboxes.clone(),
            Arc::clone(&board),
            parts.clock,
            Arc::clone(&parts.metrics),
        )?;
        let inputs = Inputs {
            mailboxes: mailboxes.clone().into(),
            watchdog,
            clock: parts.clock,
            force_after_ms: settings.force_after_ms,
            metrics: Arc::clone(&parts.metrics),
            context,
        };
        let (running, ended) = bounded(0);
        let (reserve, drivers) = (Arc::<Reserve>::default(), Vec::new());
        let mut worker = Self { inputs, board, reserve, drivers, ended, running: Some(running), lease };
        (0..config.machines).for_each(|number| worker.board.beats(number, parts.clock.now_ms()));
        for (number, (mailbox, inbox)) in (0..).zip(mailboxes.into_iter().zip(inboxes)) {
            let note = Note::default();
            let conversion = Conversion::start(ConversionThread {
                machine: number,
                opener: Arc::clone(&parts.opener),
                mailbox: mailbox.clone(),
                note: note.clone(),
                board: Arc::clone(&worker.board),
                metrics: Arc::clone(&parts.metrics),
            })?;
            let store = StoreParts {
                queue: parts.queue.clone(),
                lease: worker.lease.clone(),
                mailbox,
                note,
                metrics: Arc::clone(&parts.metrics),
                reserve: Arc::clone(&worker.reserve),
            };
            worker.drive(Driver {
                worker: config.label.as_str().into(),
                number,
                machine: Machine::new(settings.clone()),
                inbox,
                executor: Executor::new(number, parts.runtime.clone(), store, conversion),
                clock: parts.clock,
                translog: translog.clone(),
                board: Arc::clone(&worker.board),
                watchdog: worker.inputs.watchdog.clone(),
                metrics: Arc::clone(&parts.metrics),
                spans: Spans::new(parts.traces.clone(), parts.clock, number),
                stop_at_ms: None,
            })?;
        }
        worker.running = None;
        Ok(worker)
    }

    fn drive(&mut self, driver: Driver) -> io::Result<()> {
        let guard = FaultGuard { inputs: self.inputs.clone(), _running: self.running.clone() };
        let name = format!("machine-{}", driver.number);
        let context = self.inputs.context.clone();
        let thread = thread::Builder::new().name(name).spawn(move || {
            let _context = context.entered();
            let _guard = guard;
            driver.run()
        })?;
        self.drivers.push(thread);
        Ok(())
    }

    /// Where to tell the machines what happened.
    pub fn inputs(&self) -> Inputs {
        self.inputs.clone()
    }

    /// What the machines do.
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// What the end of a stop takes, as measured.
    pub fn reserve(&self) -> Arc<Reserve> {
        Arc::clone(&self.reserve)
    }

    /// Its signs of life, for whoever operates the process.
    pub fn vitals(&self) -> Vitals {
        Vitals { inputs: self.inputs(), board: self.board(), lease: self.lease.clone() }
    }

    /// Waits at most so long; whether every machine has ended.
    pub fn has_ended_within(&self, wait: Duration) -> bool {
        self.ended.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected)
    }

    /// Waits for the machines to end. How the worst of them ended, and the proof that all have.
    pub fn join(self) -> (Exit, Departed) {
        let mut worst = Exit::Clean;
        for driver in self.drivers {
            worst = worst.max(driver.join().unwrap_or(Exit::Fault));
        }
        self.inputs.watchdog.disarm();
        (worst, Departed(()))
    }
}

/// When one machine dies of a panic, the others hand back what they hold: the process is not to be trusted any more.
struct FaultGuard {
    inputs: Inputs,
    _running: Option<Sender<()>>,
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("a machine died: the others drain, and its job is left to the lease");
            self.inputs.send(&Input::Drain(Mode::Interrupt));
        }
    }
}
