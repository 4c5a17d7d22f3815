//! The baseline: transactions of the size of a claim, on keys that nobody else has to do with.
//!
//! What the store does in a second at best, whatever a queue makes of it.

use super::counting::Calls;
use super::{BenchError, Laps, patiently};
use crate::store::{SharedStore, StoreError};
use std::time::Instant;

/// Keys in the range that the first scan reads: a page of a claim.
const RANGE: usize = 16;

/// How large a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    gets: usize,
    scans: usize,
    puts: usize,
    deletes: usize,
    put_bytes: usize,
}

impl Shape {
    /// Of the mean of an operation in one transaction.
    pub(super) fn of(calls: &Calls) -> Self {
        let whole = |count: f64| count.round().max(0.0) as usize;
        let puts = whole(calls.puts).max(1);
        Self {
            gets: whole(calls.gets),
            scans: whole(calls.scans),
            puts,
            deletes: whole(calls.deletes),
            put_bytes: whole(calls.put_bytes / puts as f64),
        }
    }
}

/// One that makes such transactions.
#[derive(Debug)]
pub(super) struct Plain {
    store: SharedStore,
    /// All its keys begin so.
    prefix: String,
    shape: Shape,
}

impl Plain {
    /// Writes what its transactions read.
    pub(super) async fn set_up(store: SharedStore, prefix: String, shape: Shape) -> Result<Self, BenchError> {
        let plain = Self { store, prefix, shape };
        let mut txn = plain.store.begin().await?;
        for number in 0..RANGE {
            txn.put(plain.key("range", number, 0), Vec::new());
        }
        for number in 0..shape.gets {
            txn.put(plain.key("record", number, 0), vec![0; shape.put_bytes]);
        }
        txn.commit().await?;
        Ok(plain)
    }

    /// Makes so many, one after the other.
    pub(super) async fn run(self, count: usize) -> Result<Laps, BenchError> {
        let mut laps = Laps::default();
        for number in 1..=count {
            let began = Instant::now();
            patiently(|| self.one(number)).await?;
            laps.note(began);
        }
        Ok(laps)
    }

    async fn one(&self, round: usize) -> Result<(), StoreError> {
        let Shape { gets, scans, puts, deletes, put_bytes } = self.shape;
        let mut txn = self.store.begin().await?;
        for number in 0..gets {
            txn.get(&self.key("record", number, 0)).await?;
        }
        for number in 0..scans {
            // As a claim's: a page of the index, then single records.
            let (part, limit) = if number == 0 { ("range", RANGE) } else { ("record", 1) };
            txn.scan(&self.key(part, 0, 0), &self.key(part, RANGE, 0), limit).await?;
        }
        for number in 0..puts {
            let value = vec![round.to_le_bytes().first().copied().unwrap_or(0); put_bytes];
            match number < gets {
                true => txn.put(self.key("record", number, 0), value),
                false => txn.put(self.key("new", number, round), value),
            }
        }
        for number in 0..deletes {
            txn.delete(self.key("new", gets + number, round - 1));
        }
        txn.commit().await
    }

    fn key(&self, part: &str, number: usize, round: usize) -> Vec<u8> {
        format!("{}/{part}/{number:04}/{round:08}", self.prefix).into_bytes()
    }
}
