//! Committing that segments are durable.
//!
//! It writes the job's record alone: the claim in it is the right to write, and the count makes a repetition harmless.

use super::Queue;
use super::error::{Halt, QueueError};
use super::record::{JobRecord, Ownership, WriteId};
use super::tx::Tx;

impl Queue {
    /// Commits that segments `0..segments_done` are durable. Durable when it returns; the same again is no error.
    ///
    /// [`QueueError::Lost`]: the job is no longer ours. [`QueueError::Refused`]: it would move the checkpoint back.
    pub async fn checkpoint(
        &self,
        own: &Ownership,
        by: &WriteId,
        segments_done: u32,
    ) -> Result<(), QueueError> {
        check_writer(own, by)?;
        self.transact("checkpoint", |tx| checkpoint_once(tx, own, segments_done)).await
    }
}

async fn checkpoint_once(mut tx: Tx, own: &Ownership, segments_done: u32) -> Result<(), Halt> {
    let mut job = tx.held_job(own).await?;
    if advance(&mut job, segments_done)? {
        // Whoever gets on is no poison: a long job outlives any number of machines that are taken from under it.
        job.crashes_in_place = 0;
        tx.put_job(&job)?;
    }
    tx.commit().await
}

/// Moves the checkpoint forward; says whether it moved (F9).
pub(super) fn advance(job: &mut JobRecord, segments_done: u32) -> Result<bool, Halt> {
    if segments_done < job.checkpoint {
        return Err(QueueError::refused(format!(
            "the checkpoint of job {} stands at {} segments and never moves back to {segments_done}",
            job.id, job.checkpoint
        ))
        .into());
    }
    let moved = segments_done > job.checkpoint;
    job.checkpoint = segments_done;
    Ok(moved)
}

/// The writer and the owner are one process.
pub(super) fn check_writer(own: &Ownership, by: &WriteId) -> Result<(), QueueError> {
    if own.incarnation == by.incarnation {
        return Ok(());
    }
    Err(QueueError::refused(format!("worker {} writes for worker {}", by.incarnation, own.incarnation)))
}
