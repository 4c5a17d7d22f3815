//! Who leads a role: a lease in store time with a term that only grows, and what a leader alone may do for all.
//!
//! Nobody waits for a leader to take back jobs: any worker does that. What a leader writes, it writes under its term,
//! compared in the same transaction: a leader that was paused and replaced changes nothing when it wakes.

use super::Queue;
use super::error::{Halt, QueueError};
use super::key::{Key, Span, following, is_role};
use super::record::{Incarnation, clip, decode};
use super::settings::{LEASE_MIN_MS, PAGE};
use super::tx::Tx;
use super::worker::{LABEL_MAX_BYTES, Receipt};
use crate::store::StoreTime;
use serde::{Deserialize, Serialize};

/// The youngest receipts that may be asked to be removed: what still is on its way is then long settled.
pub const RECEIPT_AGE_MIN_MS: u64 = 60_000;

/// Who leads a role.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// Grows with every new leader, and never falls.
    pub term: u64,
    /// The leading process.
    pub holder: Incarnation,
    /// For people.
    pub label: String,
    /// Its own until then, in store time.
    pub until: StoreTime,
    /// It has stepped down: the next one need not wait.
    pub resigned: bool,
}

/// The right to write as a leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// Of what.
    pub role: String,
    /// Under which term.
    pub term: u64,
    /// By which process.
    pub holder: Incarnation,
    /// The store's time at the start of the transaction that gave it.
    pub now: StoreTime,
    /// It ends then, unless it is renewed. What counts for the process is the difference to `now`, from the instant it
    /// asked.
    pub until: StoreTime,
}

/// What came of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Campaign {
    /// We lead.
    Leads(Leadership),
    /// Somebody else does.
    Follows {
        /// Who, and until when.
        leader: LeaderRecord,
        /// The store's time when that was read.
        now: StoreTime,
    },
}

impl Queue {
    /// Asks to lead a role for `lease_ms` from now on: granted with a new term when nobody leads it, when the lease has
    /// ended in store time, or when the leader stepped down; renewed under the same term when it is ours and has not
    /// ended. Durable when it returns; asked again it renews.
    ///
    /// [`QueueError::Refused`]: no role of 1 to [`super::ROLE_MAX_BYTES`] printable characters, or too short a lease.
    pub async fn campaign(
        &self,
        role: &str,
        holder: Incarnation,
        label: &str,
        lease_ms: u64,
    ) -> Result<Campaign, QueueError> {
        if !is_role(role) {
            let reason = format!(
                "the role {role:?} must be 1 to {} printable ASCII characters without spaces",
                super::ROLE_MAX_BYTES
            );
            return Err(QueueError::refused(reason));
        }
        if lease_ms < LEASE_MIN_MS {
            let reason = format!("a leader's lease of {lease_ms} ms is shorter than {LEASE_MIN_MS} ms");
            return Err(QueueError::refused(reason));
        }
        let label = clip(label, LABEL_MAX_BYTES);
        self.transact_idempotent("campaign", |tx| self.campaign_once(tx, role, holder, &label, lease_ms))
            .await
    }

    async fn campaign_once(
        &self,
        mut tx: Tx,
        role: &str,
        holder: Incarnation,
        label: &str,
        lease_ms: u64,
    ) -> Result<Campaign, Halt> {
        let key = self.keys.leader(role);
        let until = StoreTime(tx.now.0.saturating_add(lease_ms));
        let label = label.to_owned();
        let record = match tx.read::<LeaderRecord>(&key).await? {
            None => LeaderRecord { term: 1, holder, label, until, resigned: false },
            Some(before) if before.resigned || before.until < tx.now => {
                LeaderRecord { term: before.term + 1, holder, label, until, resigned: false }
            }
            Some(before) if before.holder == holder => {
                LeaderRecord { until: until.max(before.until), ..before }
            }
            Some(leader) => return Ok(Campaign::Follows { leader, now: tx.now }),
        };
        tx.write(key, &record)?;
        let now = tx.now;
        tx.commit().await?;
        let LeaderRecord { term, until, .. } = record;
        Ok(Campaign::Leads(Leadership { role: role.to_owned(), term, holder, now, until }))
    }

    /// Steps down, so that the next one need not wait for the lease to end. Durable when it returns.
    ///
    /// [`QueueError::Lost`]: another term has begun; there is nothing to step down from.
    pub async fn resign(&self, lead: &Leadership) -> Result<(), QueueError> {
        self.transact_idempotent("resign", |tx| self.resign_once(tx, lead)).await
    }

    async fn resign_once(&self, mut tx: Tx, lead: &Leadership) -> Result<(), Halt> {
        let mut record = tx.same_term(lead).await?;
        if !record.resigned {
            record.resigned = true;
            tx.write(self.keys.leader(&lead.role), &record)?;
        }
        tx.commit().await
    }

    /// Who leads a role, or led it last.
    pub async fn leader(&self, role: &str) -> Result<Option<LeaderRecord>, QueueError> {
        let key = self.keys.leader(role);
        self.transact("leader", |tx| read_leader(tx, &key)).await
    }

    /// Removes receipts that are older than this, at most `limit`, a page in one transaction. Gives their count.
    ///
    /// [`QueueError::Refused`]: younger ones than [`RECEIPT_AGE_MIN_MS`] are kept.
    pub async fn expire_receipts(
        &self,
        lead: &Leadership,
        older_than_ms: u64,
        limit: usize,
    ) -> Result<usize, QueueError> {
        if older_than_ms < RECEIPT_AGE_MIN_MS {
            let reason =
                format!("receipts are kept for {RECEIPT_AGE_MIN_MS} ms at least, not {older_than_ms} ms");
            return Err(QueueError::refused(reason));
        }
        let mut span = self.keys.receipts_after(None);
        let mut removed = 0;
        while removed < limit {
            let room = limit - removed;
            let (count, behind) = self
                .transact_idempotent("expire receipts", |tx| {
                    self.expire_page(tx, lead, &span, older_than_ms, room)
                })
                .await?;
            removed += count;
            match behind {
                Some(behind) => span.start = behind,
                None => break,
            }
        }
        Ok(removed)
    }

    /// Removes the old ones among the first receipts of the span; says where to go on, if there are more.
    async fn expire_page(
        &self,
        mut tx: Tx,
        lead: &Leadership,
        span: &Span,
        older_than_ms: u64,
        limit: usize,
    ) -> Result<(usize, Option<Vec<u8>>), Halt> {
        tx.check_leads(lead).await?;
        let pairs = tx.scan(span, PAGE).await?;
        let behind = pairs.last().map(|(last, _)| following(last.clone()));
        let mut removed = 0;
        for (key, value) in pairs {
            let Some(Key::Receipt(_)) = self.keys.parse(&key) else {
                continue;
            };
            let is_old = decode::<Receipt>(&value)
                .is_ok_and(|receipt| receipt.ended.0.saturating_add(older_than_ms) < tx.now.0);
            if is_old && removed < limit {
                tx.delete(key);
                removed += 1;
            }
        }
        if removed > 0 {
            tx.commit().await?;
        }
        Ok((removed, behind))
    }
}

impl Tx {
    /// The leader's record, if the term is still this one.
    async fn same_term(&mut self, lead: &Leadership) -> Result<LeaderRecord, Halt> {
        let key = self.keys.leader(&lead.role);
        let record = self.read::<LeaderRecord>(&key).await?;
        let same = |record: &LeaderRecord| record.term == lead.term && record.holder == lead.holder;
        let found = record.as_ref().map_or(0, |record| record.term);
        Ok(record.filter(same).ok_or_else(|| {
            let Leadership { role, term, holder, .. } = lead;
            QueueError::lost(format!("{holder} led {role} in term {term}, which is at term {found} now"))
        })?)
    }

    /// Refuses whoever does not lead. The key it reads makes a change of the term conflict with what is written here.
    ///
    /// The term alone would do for safety: no other leader can have written in between. That the lease has not ended is
    /// compared too, so that a leader that was paused for longer writes nothing even where nobody has replaced it yet:
    /// what it knows of the world outside (a listing, a staging folder) is as old as its pause.
    pub(super) async fn check_leads(&mut self, lead: &Leadership) -> Result<(), Halt> {
        let record = self.same_term(lead).await?;
        if record.resigned || record.until < self.now {
            let Leadership { role, term, holder, .. } = lead;
            let what = format!("the lease of {holder} on {role} in term {term} has ended: campaign again");
            return Err(QueueError::lost(what).into());
        }
        Ok(())
    }
}

async fn read_leader(mut tx: Tx, key: &[u8]) -> Result<Option<LeaderRecord>, Halt> {
    tx.read(key).await
}
