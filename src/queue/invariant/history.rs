//! The rules that compare two instants of the keyspace.

use super::Violation;
use crate::fsm::id::JobId;
use crate::queue::key::{Key, Keys};
use crate::queue::leader::LeaderRecord;
use crate::queue::record::{BatchId, BatchRecord, Incarnation, JobRecord, JobStatus, SeriesId, decode};
use crate::queue::series::ScanRecord;
use crate::store::Pair;
use std::collections::{BTreeMap, BTreeSet};

/// What the keyspace was before: the rules that compare two instants.
#[derive(Debug, Default)]
pub struct History {
    jobs: BTreeMap<JobId, JobRecord>,
    receipts: BTreeMap<Incarnation, Vec<u8>>,
    batches: BTreeMap<BatchId, BatchRecord>,
    leaders: BTreeMap<String, LeaderRecord>,
    scans: BTreeMap<SeriesId, ScanRecord>,
}

impl History {
    /// Nothing was seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compares with what was seen before: the epoch only grows (Q2), final is final until a reset (Q3), the checkpoint
    /// never moves back (F9), no job goes missing (Q4), no receipt changes, what is over stays over, a leader's term only
    /// grows and has one holder, a series goes on and never back.
    pub fn observe(&mut self, keys: &Keys, pairs: &[Pair]) -> Result<(), Vec<Violation>> {
        let mut violations = Vec::new();
        let mut missing: BTreeSet<JobId> = self.jobs.keys().copied().collect();
        for (key, value) in pairs {
            match keys.parse(key) {
                Some(Key::Job(id)) => {
                    missing.remove(&id);
                    if let Ok(job) = decode::<JobRecord>(value) {
                        if let Some(before) = self.jobs.get(&id) {
                            compare(before, &job, &mut violations);
                        }
                        self.jobs.insert(id, job);
                    }
                }
                Some(Key::Receipt(worker)) => {
                    let before = self.receipts.insert(worker, value.clone());
                    if before.is_some_and(|before| before != *value) {
                        let what = format!("the receipt of worker {worker} changed");
                        violations.push(Violation { rule: "receipt", what });
                    }
                }
                Some(Key::Batch(id)) => {
                    if let Ok(batch) = decode::<BatchRecord>(value) {
                        let before = self.batches.insert(id, batch.clone());
                        violations.extend(before.and_then(|before| batch_fell(&before, &batch)));
                    }
                }
                Some(Key::Leader(role)) => {
                    if let Ok(leader) = decode::<LeaderRecord>(value) {
                        let before = self.leaders.insert(role.clone(), leader.clone());
                        violations.extend(before.and_then(|before| leader_fell(&role, &before, &leader)));
                    }
                }
                Some(Key::Scan(id)) => {
                    if let Ok(scan) = decode::<ScanRecord>(value) {
                        let before = self.scans.insert(id, scan.clone());
                        violations.extend(before.and_then(|before| scan_fell(id, &before, &scan)));
                    }
                }
                _ => {}
            }
        }
        for job in missing {
            violations.push(Violation { rule: "Q4", what: format!("job {job} is gone") });
        }
        if violations.is_empty() { Ok(()) } else { Err(violations) }
    }
}

fn compare(before: &JobRecord, after: &JobRecord, violations: &mut Vec<Violation>) {
    let mut broken =
        |rule, what: String| violations.push(Violation { rule, what: format!("job {}: {what}", after.id) });
    let (was, is) = (before.status, after.status);
    if after.epoch < before.epoch {
        broken("Q2", format!("its epoch fell from {} to {}", before.epoch.0, after.epoch.0));
    }
    let same_claim = was == JobStatus::Leased && before.owner == after.owner;
    if is == JobStatus::Leased && !same_claim && after.epoch <= before.epoch {
        broken("Q2", format!("it was claimed again at epoch {}", after.epoch.0));
    }
    if was.is_final() && is != was && after.resets == before.resets {
        broken("Q3", format!("it was {} and is {}", was.name(), is.name()));
    }
    if after.checkpoint < before.checkpoint {
        broken("F9", format!("its checkpoint fell from {} to {}", before.checkpoint, after.checkpoint));
    }
    if after.resets < before.resets || after.interruptions < before.interruptions {
        broken("F10", "a count fell".to_owned());
    }
    let reset = after.resets > before.resets;
    if after.crashes < before.crashes && !reset {
        broken("F10", format!("its crashes fell from {} to {}", before.crashes, after.crashes));
    }
    if after.crashes_in_place < before.crashes_in_place && !reset && after.checkpoint == before.checkpoint {
        let (was, is) = (before.crashes_in_place, after.crashes_in_place);
        broken("F10", format!("its crashes at one checkpoint fell from {was} to {is}"));
    }
}

fn batch_fell(before: &BatchRecord, after: &BatchRecord) -> Option<Violation> {
    let stands = after.jobs >= before.jobs
        && after.reopened >= before.reopened
        && after.out == before.out
        && (before.closed.is_none() || after.closed == before.closed)
        && (before.swept.is_none() || after.swept == before.swept)
        && (before.closed.is_none() || (after.jobs, after.reopened) == (before.jobs, before.reopened))
        && (before.cancelled.is_none() || after.cancelled.is_some() || after.reopened > before.reopened);
    let what = || format!("batch {} was {before:?} and is {after:?}", after.id);
    (!stands).then(|| Violation { rule: "batch", what: what() })
}

fn leader_fell(role: &str, before: &LeaderRecord, after: &LeaderRecord) -> Option<Violation> {
    let stands = if after.term == before.term {
        after.holder == before.holder && after.until >= before.until && (after.resigned || !before.resigned)
    } else {
        after.term > before.term
    };
    (!stands).then(|| Violation { rule: "leader", what: format!("{role} was {before:?} and is {after:?}") })
}

fn scan_fell(id: SeriesId, before: &ScanRecord, after: &ScanRecord) -> Option<Violation> {
    let stands = after.generation >= before.generation
        && after.rounds >= before.rounds
        && after.enqueued >= before.enqueued
        && after.out == before.out;
    (!stands)
        .then(|| Violation { rule: "scan", what: format!("series {id} was {before:?} and is {after:?}") })
}
