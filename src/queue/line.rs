//! The order in which batches are assembled into one dataset.
//!
//! A batch that is added to a dataset stands in the line of its output, behind those that came before it, and only the
//! first in line is assembled. Who is over leaves the line when the next one asks. The line is one record: whoever decides
//! by it has read it in the same transaction, and whoever changes it writes it, so no two decisions pass each other.

use super::Queue;
use super::error::{Halt, QueueError};
use super::record::{BatchId, BatchRecord, JobRecord, JobStatus};
use super::tx::Tx;
use serde::{Deserialize, Serialize};

/// Batches that stand in one line at most.
pub const LINE_MAX: usize = 256;

/// The batches that are to be assembled into one output, the next one first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineRecord {
    /// None stands there twice.
    pub batches: Vec<BatchId>,
}

impl Queue {
    /// Says, before its recordings are submitted, that a batch is added to the dataset at this output: it is assembled
    /// after those in line, and after `first`, the batch that makes the dataset, where one does. Durable when it returns;
    /// the same again changes nothing.
    pub async fn append_to(
        &self,
        out: &str,
        batch: BatchId,
        first: Option<BatchId>,
    ) -> Result<(), QueueError> {
        self.transact_idempotent("append to", |tx| self.append_once(tx, out, batch, first)).await
    }

    async fn append_once(
        &self,
        mut tx: Tx,
        out: &str,
        batch: BatchId,
        first: Option<BatchId>,
    ) -> Result<(), Halt> {
        let mark = self.keys.append(batch);
        if tx.get(&mark).await?.is_some() {
            return Ok(());
        }
        let key = self.keys.line(out);
        let mut line: LineRecord = tx.read(&key).await?.unwrap_or_default();
        if let Some(first) = first.filter(|_| line.batches.is_empty()) {
            line.batches.push(first);
        }
        self.drop_over(&mut tx, &mut line).await?;
        if line.batches.len() >= LINE_MAX {
            let reason = format!("{LINE_MAX} batches wait to be added to {out}: wait until some are");
            return Err(QueueError::refused(reason).into());
        }
        line.batches.retain(|other| *other != batch);
        line.batches.push(batch);
        tx.write(key, &line)?;
        tx.mark(mark);
        tx.commit().await
    }

    /// Whether a batch is added to a dataset.
    pub async fn is_append(&self, batch: BatchId) -> Result<bool, QueueError> {
        let key = self.keys.append(batch);
        self.transact("is append", |tx| is_there(tx, &key)).await
    }

    /// The batch that a batch's assembly waits for, if it is not its turn. Its place in the line is written with the
    /// transaction.
    pub(super) async fn waits_in_line(
        &self,
        tx: &mut Tx,
        batch: &BatchRecord,
    ) -> Result<Option<BatchId>, Halt> {
        let key = self.keys.line(&batch.out);
        let Some(before) = tx.read::<LineRecord>(&key).await? else { return Ok(None) };
        let mut line = before.clone();
        self.drop_over(tx, &mut line).await?;
        // Back from being over: at the end.
        if !line.batches.contains(&batch.id) {
            line.batches.push(batch.id);
        }
        let first = line.batches.first().copied().filter(|first| *first != batch.id);
        // Whoever goes on writes it, also unchanged: two that are first in their own eyes meet here.
        if first.is_none() || line != before {
            tx.write(key, &line)?;
        }
        Ok(first)
    }

    /// Lets those at the head of the line leave whose dataset is assembled, or never will be.
    async fn drop_over(&self, tx: &mut Tx, line: &mut LineRecord) -> Result<(), Halt> {
        while let Some(first) = line.batches.first().copied() {
            if !self.is_over(tx, first).await? {
                break;
            }
            line.batches.remove(0);
        }
        Ok(())
    }

    async fn is_over(&self, tx: &mut Tx, id: BatchId) -> Result<bool, Halt> {
        let Some(batch) = tx.read::<BatchRecord>(&self.keys.batch(id)).await? else { return Ok(true) };
        let assembly = tx.read::<JobRecord>(&self.keys.job(id.assemble_job())).await?;
        Ok(match assembly.map(|assembly| assembly.status) {
            Some(JobStatus::Completed) => true,
            Some(JobStatus::Ready | JobStatus::Leased) => false,
            Some(JobStatus::Dead | JobStatus::Cancelled) | None => batch.cancelled.is_some(),
        })
    }
}

async fn is_there(mut tx: Tx, key: &[u8]) -> Result<bool, Halt> {
    Ok(tx.get(key).await?.is_some())
}
