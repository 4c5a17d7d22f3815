//! Which job a claim tries next: the ready index, walked so that claimers do not meet.
//!
//! This is the one place that says what order is promised. The index is a ring of shards, and a claim walks it once,
//! from a random shard on. Within a shard the highest priority that has a due job comes first; among its due jobs
//! (of those in one page of the index) any may come, by chance. Between shards nothing is promised: an urgent job is
//! found by the claims that begin at or before its shard, whatever waits in others.
//!
//! It only proposes: whether a candidate is claimed its record decides.

use super::error::Halt;
use super::key::{Key, Keys, Span, following, printable};
use super::settings::{CLAIM_PAGE, Dice};
use super::tx::Tx;
use crate::store::StoreTime;
use std::collections::{BTreeSet, VecDeque};

/// One walk around the ring. It remembers what was tried, so that a candidate is proposed once.
#[derive(Debug)]
pub(super) struct Search {
    /// What is not walked yet, first to last.
    spans: VecDeque<Span>,
    /// Candidates at the head of the first span that were proposed.
    tried: BTreeSet<Vec<u8>>,
}

/// What one page of the index holds for a claim.
enum Page {
    /// These are equally urgent; not empty.
    Candidates(Vec<Vec<u8>>),
    /// Nothing untried is due before this key.
    NothingBefore(Vec<u8>),
}

impl Search {
    /// Begins at a random one of so many shards.
    pub(super) fn new(keys: &Keys, shards: u8, dice: &Dice) -> Self {
        let all = keys.all_ready();
        let first = u8::try_from(dice.up_to(u64::from(shards.saturating_sub(1)))).unwrap_or(0);
        let spans = if first == 0 {
            VecDeque::from([all])
        } else {
            let pivot = keys.ready_shard(first);
            let before = Span { start: all.start, end: pivot.clone() };
            VecDeque::from([Span { start: pivot, end: all.end }, before])
        };
        Self { spans, tried: BTreeSet::new() }
    }

    /// The next candidate, or `None` when the ring holds no further one. One scan, or two for an empty ring, unless
    /// there is much that waits for its time.
    pub(super) async fn next(
        &mut self,
        tx: &mut Tx,
        keys: &Keys,
        dice: &Dice,
    ) -> Result<Option<Vec<u8>>, Halt> {
        while let Some(span) = self.spans.front_mut() {
            let pairs = tx.scan(span, CLAIM_PAGE).await?;
            let is_last = pairs.len() < CLAIM_PAGE;
            match look(keys, pairs.into_iter().map(|(key, _)| key), tx.now, &self.tried) {
                Page::Candidates(mut candidates) => {
                    let most = candidates.len().saturating_sub(1);
                    let at = usize::try_from(dice.up_to(most as u64)).unwrap_or(0);
                    let chosen = candidates.swap_remove(at.min(most));
                    self.tried.insert(chosen.clone());
                    return Ok(Some(chosen));
                }
                Page::NothingBefore(key) if !is_last => span.start = key,
                Page::NothingBefore(_) => {
                    self.spans.pop_front();
                }
            }
            self.tried.clear();
        }
        Ok(None)
    }
}

/// The untried candidates of the first shard and priority of a page that has any which are due.
fn look(keys: &Keys, page: impl Iterator<Item = Vec<u8>>, now: StoreTime, tried: &BTreeSet<Vec<u8>>) -> Page {
    let mut candidates: Vec<Vec<u8>> = Vec::new();
    let mut of = None;
    let mut behind: Vec<u8> = Vec::new();
    for key in page {
        if key < behind {
            continue;
        }
        behind = following(key.clone());
        let Some(Key::Ready { shard, priority, not_before, .. }) = keys.parse(&key) else {
            if candidates.is_empty() && !tried.contains(&key) {
                tracing::warn!(key = %printable(&key), "not a key of the ready index");
                candidates.push(key);
            }
            continue;
        };
        if !candidates.is_empty() && of != Some((shard, priority)) {
            break;
        }
        if not_before > now {
            // Within one shard and priority the index is in order of time: the rest is later still.
            behind = keys.ready_behind(shard, priority);
        } else if !tried.contains(&key) {
            of = Some((shard, priority));
            candidates.push(key);
        }
    }
    if candidates.is_empty() { Page::NothingBefore(behind) } else { Page::Candidates(candidates) }
}
