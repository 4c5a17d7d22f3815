//! Short ranges that lie far apart, as the indexes between chunks do: several are on their way at once, those that lie near
//! each other as one, and nothing is read ahead of them.

use super::S3Storage;
use super::bridge::Pending;
use super::read::Version;
use crate::storage::{ObjectInfo, StorageError};
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// What lies between two ranges is read too where it is no more: a request costs, whatever it moves.
const NEAR_BYTES: u64 = 128 << 10;
/// Ranges that are read as one have no more, unless one of them alone does.
const TOGETHER_BYTES: u64 = 4 << 20;
/// Requests on their way at once.
const AT_ONCE: usize = 8;

impl S3Storage {
    /// The ranges in their order; fewer bytes only where the object ends.
    pub(super) fn ranges(
        &self,
        object: &ObjectInfo,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, StorageError> {
        let version = Version {
            bucket: self.place.bucket.clone(),
            full: self.place.key(&object.key)?,
            object: object.clone(),
        };
        let within = |range: &Range<u64>| range.start.min(object.size)..range.end.min(object.size);
        let wanted: Vec<Range<u64>> = ranges.iter().map(within).collect();
        let fetches = together(&wanted);
        let mut rest = fetches.iter();
        let mut under_way: VecDeque<Pending<Bytes>> =
            rest.by_ref().take(AT_ONCE).map(|fetch| self.fetched(&version, fetch)).collect();
        let mut got = Vec::with_capacity(fetches.len());
        for fetch in &fetches {
            let Some(pending) = under_way.pop_front() else { break };
            let bytes =
                pending.wait(&self.stop).map_err(|failure| self.explain(&version.ask(fetch), &failure))?;
            got.push((fetch.start, bytes));
            under_way.extend(rest.next().map(|next| self.fetched(&version, next)));
        }
        Ok(wanted.iter().map(|range| part(&got, range)).collect())
    }

    fn fetched(&self, version: &Version, range: &Range<u64>) -> Pending<Bytes> {
        let (requests, version, patience) =
            (Arc::clone(&self.shared.requests), version.clone(), self.patience);
        let range = range.clone();
        self.shared.bridge.spawn(async move { version.get(&requests, patience, range).await })
    }
}

/// What is fetched for these ranges: in order, without overlaps.
fn together(wanted: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> =
        wanted.iter().filter(|range| range.start < range.end).cloned().collect();
    sorted.sort_unstable_by_key(|range| (range.start, range.end));
    let mut fetches: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match fetches.last_mut() {
            Some(last)
                if range.start < last.end
                    || (range.start - last.end <= NEAR_BYTES && range.end - last.start <= TOGETHER_BYTES) =>
            {
                last.end = last.end.max(range.end);
            }
            _ => fetches.push(range),
        }
    }
    fetches
}

/// A range of what was fetched, which holds it.
fn part(got: &[(u64, Bytes)], range: &Range<u64>) -> Bytes {
    let at = got.partition_point(|(start, _)| *start <= range.start);
    let found = at.checked_sub(1).and_then(|at| got.get(at));
    let slice = found.and_then(|(start, bytes)| {
        let from = usize::try_from(range.start - start).ok()?;
        let to = usize::try_from(range.end.checked_sub(*start)?).ok()?;
        (from < to && to <= bytes.len()).then(|| bytes.slice(from..to))
    });
    slice.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_near_is_fetched_as_one_and_nothing_twice() {
        let far = 1_u64 << 30;
        assert_eq!(together(&[far..far + 9, 5..9, 0..6, 9..9]), [0..9, far..far + 9]);
        assert_eq!(together(&[0..1, 1 + NEAR_BYTES..2 + NEAR_BYTES]).len(), 1);
        assert_eq!(together(&[0..1, 2 + NEAR_BYTES..3 + NEAR_BYTES]).len(), 2);
        let large = 0..TOGETHER_BYTES;
        assert_eq!(
            together(&[large.clone(), TOGETHER_BYTES..TOGETHER_BYTES + 1]).len(),
            2,
            "each is bounded"
        );
        let whole = 0..TOGETHER_BYTES + 5;
        assert_eq!(
            together(&[large, 5..whole.end]),
            std::slice::from_ref(&whole),
            "but what overlaps is one"
        );
        assert!(together(&[]).is_empty());
    }

    #[test]
    fn each_range_is_a_part_of_what_was_fetched() {
        let got = [(10, Bytes::from_static(b"abcdef")), (100, Bytes::from_static(b"xyz"))];
        for (range, bytes) in
            [(10..16, "abcdef"), (12..14, "cd"), (100..103, "xyz"), (101..101, ""), (0..0, "")]
        {
            assert_eq!(part(&got, &range), bytes, "{range:?}");
        }
    }
}
