//! Jobs opened as work: the one place that knows both the queue's records and the conversion.
//!
//! It is called on conversion threads, and blocks.

use crate::convert::crew::Crew;
use crate::convert::mapping::Mapping;
use crate::convert::recording::RecordingWork;
use crate::convert::source::rosbag2;
use crate::error::{Class, Classified};
use crate::lerobot::assemble::{AssembleOptions, AssembleWork, Skipped};
use crate::queue::{
    BatchRecord, ConfigHash, JobFilter, JobKind, JobRecord, JobStatus, Queue, QueueError, Source,
};
use crate::storage::{Places, StorageError};
use crate::work::{StopFlag, Work, WorkError};
use crate::worker::Assignment;
use crate::worker::conversion::Opener;
use roboflow_fsm::id::JobId;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How long the store may be away while a job is opened, before that counts as a failed try.
const STORE_PATIENCE: Duration = Duration::from_secs(20);
/// Between two tries meanwhile: the stop flag is looked at so often.
const STORE_RETRY: Duration = Duration::from_millis(40);
/// Jobs read at once.
const PAGE: usize = 512;
/// Where the assembly keeps what is between its segments, below the staging.
const ASSEMBLY_PREFIX: &str = "assembly/";

/// Mappings kept: a worker mostly converts recordings of a few batches.
const MAPPINGS_KEPT: usize = 8;

/// Opens recordings and assemblies, over the queue's records of them.
#[derive(Debug)]
pub struct DatasetOpener {
    queue: Queue,
    runtime: Handle,
    places: Places,
    crew: Crew,
    /// By their hash, the latest used last: what a hash names never changes.
    mappings: Mutex<VecDeque<(ConfigHash, Arc<str>)>>,
}

/// Where a recording's segments are staged, below its batch's staging.
pub fn staging_prefix(job: JobId) -> String {
    format!("{job}/")
}

impl Opener for DatasetOpener {
    fn open(&self, assignment: &Assignment, stop: &StopFlag) -> Result<Box<dyn Work>, WorkError> {
        let record = &assignment.record;
        let batch = &assignment.batch;
        let mapping_text = self.mapping(&batch.config, stop)?;
        match &record.kind {
            JobKind::Convert { source } => self.recording(record.id, source, batch, &mapping_text, stop),
            JobKind::Assemble => self.assembly(batch, mapping_text.to_string(), stop),
        }
    }
}

fn storage(error: StorageError) -> WorkError {
    match error.class() {
        Class::Transient => WorkError::Transient(error.to_string()),
        Class::Permanent | Class::Lost => WorkError::Permanent(error.to_string()),
    }
}

impl DatasetOpener {
    /// Over this queue. `runtime` is where its operations run; never one that the conversion threads belong to.
    /// The crew is the process's.
    pub fn new(queue: Queue, runtime: Handle, places: Places, crew: Crew) -> Self {
        Self { queue, runtime, places, crew, mappings: Mutex::default() }
    }

    fn recording(
        &self,
        job: JobId,
        source: &Source,
        batch: &BatchRecord,
        mapping_text: &str,
        stop: &StopFlag,
    ) -> Result<Box<dyn Work>, WorkError> {
        let mapping = Mapping::parse("the mapping", mapping_text)
            .map_err(|error| WorkError::Permanent(error.to_string()))?;
        let input = self.places.open(&source.location, stop).map_err(storage)?;
        let seen = rosbag2::look(&*input, &source.key)?;
        if (seen.size, &seen.version) != (source.size, &source.version) {
            let text =
                format!("{}: the recording has changed since it was submitted: submit it again", source.name);
            return Err(WorkError::Permanent(text));
        }
        let staging = self.places.create(&batch.staging, stop).map_err(storage)?;
        let work = RecordingWork::open(
            input,
            &source.key,
            &source.name,
            staging,
            &staging_prefix(job),
            &mapping,
            batch.segment_frames,
            &self.crew,
            stop,
        )?;
        Ok(Box::new(work))
    }

    /// A mapping's text, from the queue where it is not one of the latest used.
    fn mapping(&self, config: &ConfigHash, stop: &StopFlag) -> Result<Arc<str>, WorkError> {
        let kept = || self.mappings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut mappings = kept();
        if let Some(found) =
            mappings.iter().position(|(hash, _)| hash == config).and_then(|at| mappings.remove(at))
        {
            let text = Arc::clone(&found.1);
            mappings.push_back(found);
            return Ok(text);
        }
        drop(mappings);
        let text: Arc<str> = self.ask(stop, || self.runtime.block_on(self.queue.config(config)))?.into();
        let mut mappings = kept();
        mappings.retain(|(hash, _)| hash != config);
        mappings.push_back((*config, Arc::clone(&text)));
        if mappings.len() > MAPPINGS_KEPT {
            mappings.pop_front();
        }
        Ok(text)
    }

    fn assembly(
        &self,
        batch: &BatchRecord,
        mapping_text: String,
        stop: &StopFlag,
    ) -> Result<Box<dyn Work>, WorkError> {
        let (mut prefixes, mut skipped) = (Vec::new(), Vec::new());
        let filter = JobFilter { batch: Some(batch.id), status: None };
        let mut after = None;
        loop {
            let page = self.ask(stop, || self.runtime.block_on(self.queue.list(&filter, after, PAGE)))?;
            for job in &page.jobs {
                let JobKind::Convert { source } = &job.kind else { continue };
                match job.status {
                    JobStatus::Completed => prefixes.push(staging_prefix(job.id)),
                    _ => skipped.push(Skipped {
                        source: source.name.clone(),
                        episode: None,
                        reason: reason(job),
                    }),
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        skipped.sort_unstable_by(|a, b| a.source.cmp(&b.source));
        let staging = self.places.create(&batch.staging, stop).map_err(storage)?;
        let out = self.places.create(&batch.out, stop).map_err(storage)?;
        let mapping = Mapping::parse("the mapping", &mapping_text)
            .map_err(|error| WorkError::Permanent(error.to_string()))?;
        let is_append = self.ask(stop, || self.runtime.block_on(self.queue.is_append(batch.id)))?;
        let append = is_append.then(|| batch.id.to_string());
        let options = AssembleOptions {
            robot_type: None,
            skipped,
            mapping_text,
            version: mapping.format,
            scratch: ASSEMBLY_PREFIX.to_owned(),
            append,
        };
        Ok(Box::new(AssembleWork::open(staging, &prefixes, out, options)?))
    }

    /// Asks the queue; patiently while it is away, since that is no fault of the job.
    fn ask<T>(&self, stop: &StopFlag, ask: impl Fn() -> Result<T, QueueError>) -> Result<T, WorkError> {
        let started = Instant::now();
        loop {
            stop.check()?;
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) if error.class() == Class::Transient && started.elapsed() < STORE_PATIENCE => {
                    std::thread::sleep(STORE_RETRY);
                }
                Err(error) if error.class() == Class::Permanent => {
                    return Err(WorkError::Permanent(error.to_string()));
                }
                Err(error) => return Err(WorkError::Transient(error.to_string())),
            }
        }
    }
}

/// The last thing that went wrong with a job.
pub fn reason(job: &JobRecord) -> String {
    match (job.status, job.errors.last()) {
        (JobStatus::Cancelled, _) => "cancelled".to_owned(),
        (_, Some(error)) => error.text.clone(),
        (status, None) => status.name().to_owned(),
    }
}
