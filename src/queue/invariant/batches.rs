//! The rules about batches: what belongs to one, what is said of its end, and what a scanner keeps of its series.

use super::View;
use crate::fsm::id::JobId;
use crate::queue::line::LineRecord;
use crate::queue::record::{BatchId, BatchRecord, JobKind, JobRecord, JobStatus, out_hash};
use std::collections::BTreeMap;

impl View {
    /// Each job is a member of its batch and of no other; each recording is in `failed/` exactly while it is dead or
    /// cancelled.
    pub(super) fn check_members(&mut self) {
        let jobs = std::mem::take(&mut self.jobs);
        for job in jobs.values().flatten() {
            let place = (job.batch, job.id);
            if !self.members.contains(&place) {
                self.broken("batch", format!("job {} is no member of its batch {}", job.id, job.batch));
            }
            let has_failed = matches!(job.status, JobStatus::Dead | JobStatus::Cancelled);
            let expected = has_failed && job.kind != JobKind::Assemble;
            if self.failed.contains(&place) != expected {
                let status = job.status.name();
                self.broken("batch", format!("job {} is {status} and failed/ says otherwise", job.id));
            }
        }
        let is_stray = |(batch, id): &(BatchId, JobId)| match jobs.get(id) {
            None => true,
            Some(job) => job.as_ref().is_some_and(|job| job.batch != *batch),
        };
        let members = self.members.iter().map(|place| ("member", *place));
        let failed = self.failed.iter().map(|place| ("failed", *place));
        let stray: Vec<_> = members.chain(failed).filter(|(_, place)| is_stray(place)).collect();
        for (index, (batch, job)) in stray {
            self.broken("batch", format!("{index}/ has job {job} in batch {batch}, where it is not"));
        }
        self.jobs = jobs;
    }

    /// Q4: all that was submitted is in one of the places; a batch has at most one Assemble job, after its recordings.
    pub(super) fn check_batches(&mut self) {
        let mut recordings: BTreeMap<BatchId, u64> = BTreeMap::new();
        let jobs = std::mem::take(&mut self.jobs);
        let batches = std::mem::take(&mut self.batches);
        for job in jobs.values().flatten() {
            let Some(batch) = batches.get(&job.batch) else {
                self.broken("Q4", format!("job {} is of batch {}, which does not exist", job.id, job.batch));
                continue;
            };
            match job.kind {
                JobKind::Convert { .. } => *recordings.entry(job.batch).or_default() += 1,
                JobKind::Assemble => self.check_assembly(job, batch.as_ref()),
            }
        }
        let unreadable = jobs.values().filter(|job| job.is_none()).count() as u64;
        for (id, batch) in &batches {
            let found = recordings.get(id).copied().unwrap_or(0);
            let submitted = batch.as_ref().map_or(found, |batch| batch.jobs);
            if found > submitted || submitted > found + unreadable {
                let what = format!("{submitted} recordings were submitted to batch {id}, {found} are there");
                self.broken("Q4", what);
            }
            if let Some(batch) = batch {
                self.check_end(batch, jobs.get(&id.assemble_job()).and_then(Option::as_ref));
            }
        }
        let stray: Vec<_> = self.active.iter().filter(|id| !batches.contains_key(id)).copied().collect();
        for id in stray {
            self.broken("batch", format!("active/ holds batch {id}, which does not exist"));
        }
        (self.jobs, self.batches) = (jobs, batches);
    }

    fn check_assembly(&mut self, job: &JobRecord, batch: Option<&BatchRecord>) {
        if job.id != job.batch.assemble_job() {
            self.broken("Q4", format!("batch {} has a second Assemble job {}", job.batch, job.id));
        }
        let is_open = matches!(job.status, JobStatus::Ready | JobStatus::Leased);
        let early = self.open.iter().find(|(batch, open)| *batch == job.batch && *open != job.id);
        if let Some((_, open)) = early.filter(|_| is_open) {
            self.broken("Q4", format!("batch {} is assembled while job {open} is open", job.batch));
        }
        if let Some(batch) = batch.filter(|_| is_open || job.status == JobStatus::Completed) {
            let failed = self.failed.iter().filter(|(id, _)| *id == batch.id).count() as u64;
            if !batch.sealed {
                self.broken("batch", format!("batch {} is assembled and not sealed", batch.id));
            }
            if failed >= batch.jobs {
                self.broken("batch", format!("batch {} is assembled of nothing", batch.id));
            }
        }
    }

    /// What is said of a batch's end fits together, and `active/` holds it until then.
    fn check_end(&mut self, batch: &BatchRecord, assembly: Option<&JobRecord>) {
        let id = batch.id;
        if self.active.contains(&id) == batch.swept.is_some() {
            self.broken(
                "batch",
                format!("batch {id} was swept {:?} and active/ says otherwise", batch.swept),
            );
        }
        if batch.swept.is_some() && batch.closed.is_none() {
            self.broken("batch", format!("batch {id} is swept and not closed"));
        }
        if batch.cancelled.is_some() && !batch.sealed {
            self.broken("batch", format!("batch {id} is cancelled and not sealed"));
        }
        let is_assembled = assembly.is_some_and(|job| job.status == JobStatus::Completed);
        let is_open = self.open.iter().any(|(batch, _)| *batch == id);
        if batch.closed.is_some() && (is_open || !(is_assembled || batch.cancelled.is_some())) {
            self.broken("batch", format!("batch {id} is closed, but not over"));
        }
    }

    /// A series stands under its own id, and fills a batch that is there.
    pub(super) fn check_scans(&mut self) {
        for (id, scan) in std::mem::take(&mut self.scans) {
            if scan.id() != id {
                self.broken("scan", format!("series {id} says that it is series {}", scan.id()));
            }
            let Some(open) = scan.open else {
                continue;
            };
            let batch = self.batches.get(&open).and_then(Option::as_ref);
            let fits = |batch: &BatchRecord| {
                scan.generation > 0
                    && batch.jobs > 0
                    && batch.seen_under == scan.out
                    && batch.config == scan.config
            };
            if !batch.is_some_and(fits) {
                self.broken("scan", format!("series {id} fills batch {open}, which is {batch:?}"));
            }
        }
    }

    /// No batch stands in a line twice, or in another output's; of the batches of an output with a line at most one is being
    /// assembled, and that is the first.
    pub(super) fn check_lines(&mut self) {
        for (out, LineRecord { batches: line }) in std::mem::take(&mut self.lines) {
            let mut known: Vec<BatchId> = line.clone();
            known.sort_unstable();
            known.dedup();
            if known.len() != line.len() {
                self.broken("line", format!("a batch stands in it twice: {line:?}"));
            }
            let found = |id: &BatchId| self.batches.get(id).and_then(Option::as_ref);
            let foreign = line.iter().filter_map(found).find(|batch| out_hash(&batch.out) != out);
            if let Some(id) = foreign.map(|batch| batch.id) {
                self.broken("line", format!("batch {id} stands in the line of another output"));
            }
            let own = self.batches.values().flatten().filter(|batch| out_hash(&batch.out) == out);
            let is_open = |batch: &&BatchRecord| {
                let job = self.jobs.get(&batch.id.assemble_job()).and_then(Option::as_ref);
                job.is_some_and(|job| matches!(job.status, JobStatus::Ready | JobStatus::Leased))
            };
            let open: Vec<BatchId> = own.filter(is_open).map(|batch| batch.id).collect();
            if !open.is_empty() && !open.iter().eq(line.iter().take(1)) {
                self.broken("line", format!("{open:?} are assembled, the line is {line:?}"));
            }
        }
    }
}
