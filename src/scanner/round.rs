//! One round of a scan: the input listed page by page, what is new enqueued, and the batch sealed when all is in.
//!
//! It blocks, and holds a page in memory at a time. Wherever it ends (an error, the lead lost, the process killed), the
//! next round goes on behind the last page that the queue has.

use super::folders::{Folders, Seen};
use super::leader::Lead;
use super::memory::{Memory, Now, Verdict};
use crate::convert::infer::infer_first;
use crate::error::{Class, Classified};
use crate::metrics::Metrics;
use crate::queue::{
    BatchId, ConfigHash, NewJob, NewSeries, Queue, QueueError, SCAN_PAGE_MAX, ScanRecord, SeriesId,
};
use crate::recordings::{Kind, kind};
use crate::storage::{ObjectInfo, SharedStorage, StorageError};
use crate::submit::job;
use crate::work::{StopFlag, WorkError};
use globset::GlobMatcher;
use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::runtime::Handle;

/// The cursor is saved after so many keys, even when none of them is new.
pub const CURSOR_EVERY: u64 = 10_000;

/// What is scanned for, as it was asked.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Where recordings are looked for, absolute.
    pub input: String,
    /// Below it the batches are numbered, absolute.
    pub out: String,
    /// Which keys are recordings, as typed.
    pub pattern: String,
    /// The mapping's text; without one the series' own, or else one is inferred.
    pub mapping: Option<String>,
    /// Frames in a segment.
    pub segment_frames: u32,
    /// Whether batches are assembled without their failed recordings.
    pub skip_failed: bool,
    /// The greatest is claimed first.
    pub priority: u8,
    /// A batch with so many recordings is sealed.
    pub batch_recordings_max: u64,
    /// A batch of this age is sealed.
    pub batch_age_max_ms: u64,
}

/// Where the time comes from.
pub trait Time: fmt::Debug + Send + Sync {
    /// The time of a look.
    fn now(&self) -> Now;
}

/// The process's and the system's clock.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Time for SystemClock {
    fn now(&self) -> Now {
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { monotonic_ms: ms(self.origin.elapsed()), wall_ms: ms(wall) }
    }
}

/// What a scan works with.
#[derive(Debug)]
pub struct ScanParts {
    /// The queue.
    pub queue: Queue,
    /// Where its operations run; never a runtime that the scanning thread belongs to.
    pub runtime: Handle,
    /// The input, open.
    pub input: SharedStorage,
    /// Which keys are recordings.
    pub pattern: GlobMatcher,
    /// Time.
    pub time: Arc<dyn Time>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// What a complete round amounts to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Keys listed by this process.
    pub listed: u64,
    /// Recordings among them that the pattern takes.
    pub matched: u64,
    /// Recordings enqueued in the round, by whomever.
    pub new: u64,
    /// Recordings that may still be growing.
    pub waiting: u64,
    /// The batch that is complete with it.
    pub sealed: Option<BatchId>,
}

/// Why a round ended early. What it enqueued until then stays so.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// We lead no more.
    #[error("the lead is lost")]
    Lost,
    /// The queue.
    #[error(transparent)]
    Queue(QueueError),
    /// The input.
    #[error("the input cannot be listed: {0}")]
    Storage(#[from] StorageError),
    /// No mapping was given, and none can be made.
    #[error("no mapping can be inferred from {recording}: {reason}; give one with --mapping")]
    Mapping {
        /// The recording that was looked at.
        recording: String,
        /// Why.
        reason: WorkError,
    },
}

impl Classified for RoundError {
    fn class(&self) -> Class {
        match self {
            Self::Lost => Class::Lost,
            Self::Queue(error) => error.class(),
            Self::Storage(error) => error.class(),
            Self::Mapping { reason, .. } => reason.class(),
        }
    }
}

impl From<QueueError> for RoundError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Lost { .. } => Self::Lost,
            error => Self::Queue(error),
        }
    }
}

/// The scan of one series.
#[derive(Debug)]
pub struct Scan {
    parts: ScanParts,
    terms: Terms,
    memory: Memory,
    folders: Folders,
    /// The mapping, once it is stored, and under which term that was found out.
    config: Option<(u64, ConfigHash)>,
    /// How many recordings wait before the cursor of the round under way, if we listed all of that.
    carried: Option<Carried>,
}

#[derive(Debug, Clone, Copy)]
struct Carried {
    term: u64,
    began: u64,
    waiting: u64,
}

/// What a round is about.
enum Found {
    Series(Box<NewSeries>),
    /// There is no recording to infer a mapping from yet.
    Nothing(Report),
}

/// A page on its way.
#[derive(Debug, Default)]
struct Page {
    jobs: Vec<NewJob>,
    objects: Vec<ObjectInfo>,
    /// Keys listed since the last page was saved.
    unsaved: u64,
    last: String,
}

impl Scan {
    /// Begins with an empty memory.
    pub fn new(parts: ScanParts, terms: Terms, memory: Memory) -> Self {
        Self { parts, terms, memory, folders: Folders::default(), config: None, carried: None }
    }

    /// How many recordings it remembers as waiting, and as enqueued.
    pub fn remembered(&self) -> (usize, usize) {
        self.memory.remembered()
    }

    /// Lists the input from where the last round ended, to its end.
    ///
    /// # Errors
    /// When it ended early.
    pub fn round(&mut self, lead: &Lead) -> Result<Report, RoundError> {
        let series = match self.series(lead)? {
            Found::Series(series) => series,
            Found::Nothing(report) => {
                self.over();
                return Ok(report);
            }
        };
        let record = self.ask(self.parts.queue.scan_begin(&lead.leadership, &series))?;
        let (began, cursor) = begun(&record);
        let carried = self.carried.take().filter(|before| {
            cursor.is_some() && before.began == began && before.term == lead.leadership.term
        });
        let mut report = Report { waiting: carried.map_or(0, |before| before.waiting), ..Report::default() };
        let keep = |scan: &mut Self, waiting: u64| {
            scan.carried = Some(Carried { term: lead.leadership.term, began, waiting });
        };
        keep(self, report.waiting);
        let input = Arc::clone(&self.parts.input);
        let mut page = Page::default();
        for object in input.list_after("", cursor.as_deref().unwrap_or_default())? {
            let object = object?;
            report.listed += 1;
            page.unsaved += 1;
            page.last.clone_from(&object.key);
            self.look(object, &mut page, &mut report)?;
            if page.jobs.len() >= SCAN_PAGE_MAX || page.unsaved >= CURSOR_EVERY {
                self.save(lead, &series, &mut page)?;
                keep(self, report.waiting);
            }
            if lead.lost.is_set() {
                return Err(RoundError::Lost);
            }
        }
        if !page.jobs.is_empty() {
            self.save(lead, &series, &mut page)?;
        }
        self.parts.metrics.scan_listed.add(report.listed);
        let end = self.ask(self.parts.queue.scan_round_done(&lead.leadership, &series, report.waiting))?;
        self.carried = None;
        self.over();
        self.parts.metrics.scan_rounds.inc();
        Ok(Report { new: end.new, sealed: end.sealed, ..report })
    }

    fn look(&mut self, object: ObjectInfo, page: &mut Page, report: &mut Report) -> Result<(), StorageError> {
        match self.seen(object)? {
            Seen::Other => {}
            Seen::Known => report.matched += 1,
            Seen::Unfinished => (report.matched, report.waiting) = (report.matched + 1, report.waiting + 1),
            Seen::Recording { object, files } => {
                report.matched += 1;
                match self.memory.look(&object, self.parts.time.now()) {
                    Verdict::Known => {}
                    Verdict::Waits => report.waiting += 1,
                    Verdict::Ready => {
                        page.jobs.push(job(&self.terms.input, &object, self.terms.priority));
                        page.objects.push(object);
                        page.objects.extend(files);
                    }
                }
            }
        }
        Ok(())
    }

    fn over(&mut self) {
        self.memory.round_over();
        self.folders.round_over();
    }

    /// What a listed object is.
    fn seen(&mut self, object: ObjectInfo) -> Result<Seen, StorageError> {
        let kind = kind(&object.key);
        if kind == Kind::Other {
            return Ok(Seen::Other);
        }
        if kind == Kind::File && !self.parts.pattern.is_match(&object.key) {
            return Ok(Seen::Other);
        }
        if self.memory.knows(&object) {
            // A file of a folder is no recording of its own, and was not counted as one.
            return Ok(if self.folders.is_part(&object.key) { Seen::Other } else { Seen::Known });
        }
        self.folders.look(&*self.parts.input, &self.parts.pattern, object, kind)
    }

    /// Enqueues a page and moves the cursor behind it. From then on its recordings are known.
    fn save(&mut self, lead: &Lead, series: &NewSeries, page: &mut Page) -> Result<(), RoundError> {
        let saving = self.parts.queue.scan_page(&lead.leadership, series, &page.jobs, &page.last);
        let done = self.ask(saving)?;
        self.parts.metrics.scan_recordings.add(done.new);
        for object in page.objects.drain(..) {
            self.memory.enqueued(&object);
        }
        page.jobs.clear();
        page.unsaved = 0;
        Ok(())
    }

    /// The series on these terms.
    fn series(&mut self, lead: &Lead) -> Result<Found, RoundError> {
        let term = lead.leadership.term;
        let known = self.config.filter(|(found, _)| *found == term).map(|(_, config)| config);
        let config = match known.map_or_else(|| self.find_config(), |config| Ok(Ok(config)))? {
            Ok(config) => config,
            Err(nothing) => return Ok(Found::Nothing(nothing)),
        };
        self.config = Some((term, config));
        let Terms { input, out, pattern, segment_frames, skip_failed, .. } = self.terms.clone();
        let Terms { batch_recordings_max, batch_age_max_ms, .. } = self.terms;
        Ok(Found::Series(Box::new(NewSeries {
            input,
            out,
            pattern,
            config,
            segment_frames,
            skip_failed,
            batch_recordings_max,
            batch_age_max_ms,
        })))
    }

    /// The mapping that was given; else the one that the series has; else one inferred from the first recording that is
    /// ready, which only the leader does. What was listed, where there is none yet.
    fn find_config(&mut self) -> Result<Result<ConfigHash, Report>, RoundError> {
        if let Some(text) = &self.terms.mapping {
            return Ok(Ok(self.ask(self.parts.queue.put_config(text))?));
        }
        let series = SeriesId::derive(self.terms.out.trim_end_matches('/'));
        if let Some(record) = self.ask(self.parts.queue.series(series))? {
            return Ok(Ok(record.config));
        }
        let mut report = Report::default();
        let input = Arc::clone(&self.parts.input);
        for object in input.list("")? {
            let object = object?;
            report.listed += 1;
            let object = match self.seen(object)? {
                Seen::Other => continue,
                Seen::Recording { object, .. } => Some(object),
                Seen::Known | Seen::Unfinished => None,
            };
            report.matched += 1;
            let now = self.parts.time.now();
            let Some(object) = object.filter(|object| self.memory.look(object, now) == Verdict::Ready) else {
                report.waiting += 1;
                continue;
            };
            let failed = |reason| RoundError::Mapping { recording: object.key.clone(), reason };
            let inferred =
                infer_first(Arc::clone(&input), &object.key, &StopFlag::default()).map_err(failed)?;
            let text = inferred.mapping_text;
            tracing::info!(recording = object.key, mapping = text, "no --mapping: inferred this one");
            return Ok(Ok(self.ask(self.parts.queue.put_config(&text))?));
        }
        Ok(Err(report))
    }

    fn ask<T>(&self, asked: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
        self.parts.runtime.block_on(asked)
    }
}

/// Which round is under way, and behind which key it goes on.
fn begun(record: &ScanRecord) -> (u64, Option<String>) {
    record.round.as_ref().map_or((0, None), |round| (round.began.0, round.cursor.clone()))
}
