//! The conversion thread of a machine: one plain OS thread that runs segments as it is told, one at a time.
//!
//! Architecture Invariant: it knows no queue, no lease and no signal. It holds the open [`Work`] of the job in hand and
//! gives exactly one answer an order, also when the work panics.

use super::board::{Board, Task};
use super::mailbox::Mailbox;
use crate::metrics::Metrics;
use crate::queue::JobKind;
use crate::work::{SegmentDone, StopFlag, Work, WorkError};
use crossbeam_channel::{Receiver, Sender, bounded};
use roboflow_fsm::Input;
use roboflow_fsm::event::ConvertAnswer;
use roboflow_fsm::id::{Epoch, RequestId};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use std::{io, thread};

use super::Assignment;

/// Orders that wait at most: one to run, and those that close jobs before it.
const MAX_WAITING_ORDERS: usize = 8;
/// An error note is cut to this.
const MAX_NOTE_BYTES: usize = 2_000;

/// Opens the work of a job. Called on conversion threads; may block.
pub trait Opener: std::fmt::Debug + Send + Sync + 'static {
    /// Opens it.
    ///
    /// # Errors
    /// [`WorkError::Stopped`] when the flag was set meanwhile; else why the job cannot be worked on.
    fn open(&self, assignment: &Assignment, stop: &StopFlag) -> Result<Box<dyn Work>, WorkError>;
}

/// One segment to convert.
#[derive(Debug)]
pub struct Order {
    /// The request to answer.
    pub id: RequestId,
    /// The job.
    pub assignment: Arc<Assignment>,
    /// Which segment, from 0.
    pub segment: u32,
    /// What its lines are said in.
    pub context: tracing::Span,
}

#[derive(Debug)]
enum Command {
    Run(Order, StopFlag),
    Close,
}

/// What the conversion tells of the job in hand, for its completion or its release.
#[derive(Debug, Clone, Default)]
pub struct Note(Arc<Mutex<Told>>);

/// What stands in a [`Note`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The last error, cut to a bounded length.
    pub error: Option<String>,
    /// Frames of the whole job so far.
    pub frames: u64,
    /// Bytes written under this claim.
    pub written_bytes: u64,
    /// What the user should know, a line each, cut to a bounded length.
    pub warnings: String,
}

impl Note {
    fn change(&self, with: impl FnOnce(&mut Told)) {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn failed(&self, text: &str) {
        self.change(|told| told.error = Some(clipped(text)));
    }

    /// What stands there.
    pub fn get(&self) -> Told {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Wipes it: another job begins.
    pub fn clear(&self) {
        self.change(|told| *told = Told::default());
    }
}

fn clipped(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_NOTE_BYTES)).unwrap_or_default().to_owned()
}

/// The executor's end of the thread. Dropping it ends the thread after the segment in flight, which is asked to stop.
#[derive(Debug)]
pub struct Conversion {
    commands: Sender<Command>,
    mailbox: Mailbox,
    in_flight: Option<RequestId>,
    /// Of the work that is open, and of what it opened: they wait by it. Once set it stays so, and what comes next has another.
    stop: StopFlag,
}

impl Conversion {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(thread: ConversionThread) -> io::Result<Self> {
        let (commands, orders) = bounded(MAX_WAITING_ORDERS);
        let mailbox = thread.mailbox.clone();
        thread::Builder::new()
            .name(format!("convert-{}", thread.machine))
            .spawn(move || thread.serve(&orders))?;
        Ok(Self { commands, mailbox, in_flight: None, stop: StopFlag::default() })
    }

    /// Hands over a segment. Its answer goes to the mailbox; a thread that takes no orders any more is a fault.
    pub fn run(&mut self, order: Order) {
        let id = order.id;
        self.in_flight = Some(id);
        // A segment that was cancelled is ordered again, of the same claim, when the lease is confirmed once more.
        if self.stop.is_set() {
            self.stop = StopFlag::default();
        }
        if self.commands.try_send(Command::Run(order, self.stop.clone())).is_err() {
            self.mailbox.answer(Input::ConvertAnswered { id, answer: ConvertAnswer::Fault });
        }
    }

    /// Asks that segment to stop. Does nothing when it is not the one in flight.
    pub fn cancel(&self, convert: RequestId) {
        if self.in_flight == Some(convert) {
            self.stop.set();
        }
    }

    /// The job is no longer in hand: a segment still in flight is asked to stop, and the work is closed.
    pub fn close(&mut self) {
        if self.in_flight.take().is_some() {
            self.stop.set();
        }
        // A full queue means a thread that is stuck; the next order finds that out.
        self.commands.try_send(Command::Close).ok();
    }
}

impl Drop for Conversion {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the thread works with.
#[derive(Debug)]
pub struct ConversionThread {
    /// The machine it works for.
    pub machine: u32,
    /// Opens jobs.
    pub opener: Arc<dyn Opener>,
    /// Where answers go.
    pub mailbox: Mailbox,
    /// Where the last error goes.
    pub note: Note,
    /// Where progress is shown.
    pub board: Arc<Board>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// The work that is open, and whose it is.
struct Open {
    epoch: Epoch,
    task: Task,
    work: Box<dyn Work>,
    /// What it was opened with.
    stop: StopFlag,
}

impl ConversionThread {
    fn serve(self, orders: &Receiver<Command>) {
        let mut open = None;
        for command in orders {
            match command {
                Command::Close => {
                    self.board.works(self.machine, None);
                    open = None;
                }
                Command::Run(order, stop) => {
                    let _context = order.context.enter();
                    let started = Instant::now();
                    let ran = catch_unwind(AssertUnwindSafe(|| {
                        self.run(&mut open, &order, &stop).map_err(|error| meant(error, &stop))
                    }));
                    let answer = self.answer(&mut open, ran, started);
                    self.mailbox.answer(Input::ConvertAnswered { id: order.id, answer });
                }
            }
        }
    }

    fn run(&self, open: &mut Option<Open>, order: &Order, stop: &StopFlag) -> Result<SegmentDone, WorkError> {
        let Assignment { job, epoch, .. } = *order.assignment;
        // What was asked to stop does not go on, even if its segment came to its end.
        let fits = open
            .as_ref()
            .is_some_and(|held| held.task.job == job && held.epoch == epoch && !held.stop.is_set());
        if !fits {
            *open = None;
            let work = self.opener.open(&order.assignment, stop)?;
            let source = order.assignment.source().to_owned();
            let task = task(&order.assignment, source, order.segment, work.as_ref());
            self.board.works(self.machine, Some(task.clone()));
            *open = Some(Open { epoch, task, work, stop: stop.clone() });
        }
        let Some(held) = open.as_mut() else { return Err(WorkError::Stopped) };
        stop.check()?;
        let done = held.work.run(order.segment, stop)?;
        held.task.segments_done = order.segment + 1;
        held.task.frames_done += u64::from(done.frames);
        if held.task.segments_done >= held.task.segments {
            held.task.frames_of = held.task.frames_done;
        }
        if held.task.segments_done >= held.task.segments {
            self.warn(held);
        }
        self.board.works(self.machine, Some(held.task.clone()));
        Ok(done)
    }

    /// Tells what the user should know, once the job is converted: counts grow until then.
    fn warn(&self, held: &Open) {
        let warnings = held.work.warnings();
        for warning in &warnings {
            tracing::warn!(source = held.task.source, job = %held.task.job, "{warning}");
        }
        self.note.change(|told| told.warnings = clipped(&warnings.join("\n")));
    }

    fn answer(
        &self,
        open: &mut Option<Open>,
        ran: thread::Result<Result<SegmentDone, WorkError>>,
        started: Instant,
    ) -> ConvertAnswer {
        let error = match (ran, open.as_ref()) {
            (Ok(Ok(done)), Some(held)) => {
                self.note.change(|told| {
                    told.frames = held.work.frames();
                    told.written_bytes += done.written_bytes;
                });
                self.metrics.segment_seconds.observe(started.elapsed());
                self.metrics.frames.add(u64::from(done.frames));
                self.metrics.read_bytes.add(done.read_bytes);
                self.metrics.written_bytes.add(done.written_bytes);
                return ConvertAnswer::Durable {
                    frames: done.frames,
                    elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                    remaining: held.task.segments.saturating_sub(held.task.segments_done),
                };
            }
            (Ok(Err(WorkError::Stopped)), _) => {
                *open = None;
                return ConvertAnswer::Cancelled;
            }
            (Ok(Err(error)), _) => error,
            (Ok(Ok(_)), None) => WorkError::Transient("the work was closed while it ran".to_owned()),
            (Err(panic), _) => {
                self.metrics.conversion_panics.inc();
                let text = panic_text(panic.as_ref());
                tracing::error!(machine = self.machine, error = text, "the conversion panicked");
                self.note.failed(&format!("the conversion panicked: {text}"));
                *open = None;
                return ConvertAnswer::Fault;
            }
        };
        // The next try opens the work anew: nothing of a failed one is reused.
        *open = None;
        self.note.failed(&error.to_string());
        match error {
            WorkError::Permanent(_) => ConvertAnswer::Permanent,
            WorkError::Transient(_) | WorkError::Stopped => ConvertAnswer::Transient,
        }
    }
}

/// How far a job is that was just opened at a segment. Segments before it count as full.
fn task(assignment: &Assignment, source: String, segment: u32, work: &dyn Work) -> Task {
    let each = u64::from(assignment.batch.segment_frames);
    let segments = work.segments();
    let (frames_done, frames_of) = match assignment.record.kind {
        JobKind::Convert { .. } => (u64::from(segment) * each, u64::from(segments) * each),
        JobKind::Assemble => (0, work.frames()),
    };
    Task { job: assignment.job, source, segments_done: segment, segments, frames_done, frames_of }
}

/// What waited for a storage and was asked to stop says that it got nothing: that is no trouble of the job.
fn meant(error: WorkError, stop: &StopFlag) -> WorkError {
    match error {
        WorkError::Transient(_) if stop.is_set() => WorkError::Stopped,
        error => error,
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "no message"
    }
}
