//! Reading on while what was read is being worked on: the bytes behind the last read are fetched before they are asked for.
//!
//! What is held is bounded for each open place and for all together. A place keeps a few streams, one for each stretch of
//! an object that is read forward (columns of a file interleave); a stream that nobody goes on with is the first to go.

use super::S3Storage;
use super::bridge::Pending;
use super::failure::Failure;
use super::read::Version;
use crate::storage::{ObjectInfo, StorageError};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};

/// Stretches that one place follows.
const MAX_STREAMS: usize = 8;
/// A read that begins so far behind the end of the last one still goes on with it: indexes stand between chunks.
const MAX_GAP_BYTES: u64 = 1 << 20;
/// A smaller read fetches so much, since more of it will be asked for.
const MIN_FETCH_BYTES: usize = 256 << 10;
/// One request ahead is no larger: several on their way at once hide how long each takes to be answered.
pub(super) const MAX_FETCH_BYTES: usize = 4 << 20;
/// Requests of one stream that share its reach.
pub(super) const REQUESTS_AT_ONCE: usize = 4;
/// How often the reach of a stream is doubled at most.
const MAX_DOUBLINGS: u32 = 10;

/// Bytes that may be held at once.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    fn take(&self, bytes: usize) -> bool {
        let take = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.limit);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// A share of a place's budget and of all places'. Dropped, it is given back.
#[derive(Debug)]
pub(super) struct Share {
    budgets: [Arc<Budget>; 2],
    bytes: usize,
}

impl Share {
    fn of(budgets: &[Arc<Budget>; 2], bytes: usize) -> Option<Self> {
        let [own, all] = budgets;
        if !own.take(bytes) {
            return None;
        }
        if !all.take(bytes) {
            own.give_back(bytes);
            return None;
        }
        Some(Self { budgets: budgets.clone(), bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        for budget in &self.budgets {
            budget.give_back(self.bytes);
        }
    }
}

/// Bytes that are there, or on their way.
#[derive(Debug)]
pub(super) enum Body {
    Here(Bytes),
    Coming(Pending<Bytes>),
}

/// A range read ahead.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) range: Range<u64>,
    pub(super) body: Body,
    pub(super) _share: Share,
}

/// A stretch of one version that is read forward. Its blocks follow each other without a gap.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) version: Version,
    /// Where the last read ended.
    pub(super) end: u64,
    /// How often a read went on with it.
    pub(super) went_on: u32,
    /// It was announced, up to here: then nothing else is fetched for it.
    pub(super) until: Option<u64>,
    pub(super) blocks: VecDeque<Block>,
}

/// What one place reads ahead.
#[derive(Debug)]
pub(super) struct Ahead {
    budgets: [Arc<Budget>; 2],
    /// Of its own budget.
    limit: usize,
    /// The one that was used last stands last.
    pub(super) streams: VecDeque<Stream>,
    /// What will be read, as far as it is not on its way yet.
    pub(super) announced: VecDeque<(Version, Range<u64>)>,
}

impl Ahead {
    pub(super) fn new(limit: usize, all: &Arc<Budget>) -> Self {
        Self {
            budgets: [Arc::new(Budget::new(limit)), Arc::clone(all)],
            limit,
            streams: VecDeque::new(),
            announced: VecDeque::new(),
        }
    }

    /// Takes the stream that a read goes on with: of several the one that holds its beginning, or ends nearest to it. Another would
    /// fetch the same once more, and go on beside it.
    pub(super) fn take(&mut self, version: &Version, offset: u64) -> Option<Stream> {
        let reaching = self
            .streams
            .iter()
            .enumerate()
            .filter(|(_, stream)| stream.version == *version && stream.reaches(offset));
        let (found, _) = reaching.min_by_key(|(_, stream)| stream.distance(offset))?;
        self.streams.remove(found)
    }

    pub(super) fn put_back(&mut self, stream: Stream) {
        if stream.until.is_some_and(|until| stream.end >= until) {
            return;
        }
        self.streams.push_back(stream);
        if self.streams.len() > MAX_STREAMS {
            // What was announced will be read, whatever is read beside it.
            let oldest = self.streams.iter().position(|stream| stream.until.is_none()).unwrap_or(0);
            self.streams.remove(oldest);
        }
    }

    /// What one more stream may hold beside those that hold something.
    fn room(&self) -> usize {
        let holding = self.streams.iter().filter(|stream| !stream.blocks.is_empty()).count();
        self.limit / (holding + 1)
    }

    /// A share for which nothing else has to go.
    pub(super) fn spare(&self, bytes: usize) -> Option<Share> {
        Share::of(&self.budgets, bytes)
    }

    /// A share, for which streams that were not used for longest make room.
    pub(super) fn share(&mut self, bytes: usize) -> Option<Share> {
        loop {
            if let Some(share) = Share::of(&self.budgets, bytes) {
                return Some(share);
            }
            let oldest = self.streams.iter_mut().find(|stream| !stream.blocks.is_empty())?;
            oldest.blocks.clear();
        }
    }
}

impl Stream {
    fn reaches(&self, offset: u64) -> bool {
        let first = self.blocks.front().map_or(self.end, |block| block.range.start.min(self.end));
        (first..=self.held_end().saturating_add(MAX_GAP_BYTES)).contains(&offset)
    }

    /// How far off a read begins from what is held; none where it is held.
    fn distance(&self, offset: u64) -> Option<u64> {
        let is_held = self.blocks.iter().any(|block| block.range.contains(&offset));
        (!is_held).then(|| offset.abs_diff(self.held_end()))
    }

    /// Where what is held ends.
    pub(super) fn held_end(&self) -> u64 {
        self.blocks.back().map_or(self.end, |block| block.range.end.max(self.end))
    }

    /// Drops what lies before a read.
    pub(super) fn drop_before(&mut self, offset: u64) {
        while self.blocks.front().is_some_and(|block| block.range.end <= offset) {
            self.blocks.pop_front();
        }
    }
}

impl S3Storage {
    /// A range of a version of an object, from what was read ahead as far as it goes.
    pub(super) fn read_ahead(
        &self,
        object: &ObjectInfo,
        offset: u64,
        len: usize,
    ) -> Result<Bytes, StorageError> {
        let full = self.place.key(&object.key)?;
        let rest = object.size.saturating_sub(offset);
        let len = len.min(usize::try_from(rest).unwrap_or(usize::MAX));
        if len == 0 {
            return Ok(Bytes::new());
        }
        let version = Version { bucket: self.place.bucket.clone(), full, object: object.clone() };
        let wanted = offset..offset + len as u64;
        let mut stream = match self.ahead().take(&version, offset) {
            Some(found) => Stream { went_on: found.went_on.saturating_add(1), ..found },
            None => Stream { version, end: offset, went_on: 0, until: None, blocks: VecDeque::new() },
        };
        let fail = |failure: Failure, version: &Version| self.explain(&version.ask(&wanted), &failure);
        stream.drop_before(offset);
        let mut pieces = Vec::new();
        let held =
            self.held(&mut stream, &wanted, &mut pieces).map_err(|failure| fail(failure, &stream.version))?;
        if held < wanted.end {
            let missing = self.fetch(&mut stream, held..wanted.end);
            pieces.push(missing.map_err(|failure| fail(failure, &stream.version))?);
        }
        stream.end = wanted.end;
        match stream.until {
            None => self.go_on(&mut stream, len),
            Some(_) => stream.drop_before(wanted.end),
        }
        let mut ahead = self.ahead();
        ahead.has_read(&stream.version, &wanted);
        ahead.put_back(stream);
        drop(ahead);
        self.fetch_announced();
        Ok(joined(pieces, len))
    }

    pub(super) fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gathers what is held of a range from its beginning. Gives where that ends.
    fn held(
        &self,
        stream: &mut Stream,
        wanted: &Range<u64>,
        pieces: &mut Vec<Bytes>,
    ) -> Result<u64, Failure> {
        let mut at = wanted.start;
        for block in &mut stream.blocks {
            if at >= wanted.end || !block.range.contains(&at) {
                break;
            }
            if let Body::Coming(pending) = &block.body {
                match pending.wait(&self.stop) {
                    Ok(bytes) => block.body = Body::Here(bytes),
                    Err(Failure::Stopped) => return Err(Failure::Stopped),
                    // What was asked for too early may be asked for again.
                    Err(failure) => {
                        tracing::debug!(
                            key = stream.version.object.key,
                            error = failure.shown(),
                            "nothing was read ahead"
                        );
                        break;
                    }
                }
            }
            let Body::Here(bytes) = &block.body else { break };
            let from = usize::try_from(at - block.range.start).unwrap_or(usize::MAX);
            let to =
                usize::try_from(wanted.end.min(block.range.end) - block.range.start).unwrap_or(usize::MAX);
            if from > to || to > bytes.len() {
                break;
            }
            pieces.push(bytes.slice(from..to));
            at = wanted.end.min(block.range.end);
        }
        if at < wanted.end {
            // Behind a hole nothing fits any more.
            stream.blocks.clear();
        }
        Ok(at)
    }

    /// Fetches what is missing; of a small object or read somewhat more, which is kept.
    fn fetch(&self, stream: &mut Stream, missing: Range<u64>) -> Result<Bytes, Failure> {
        let least = missing.start.saturating_add(MIN_FETCH_BYTES as u64);
        let least = least.min(stream.until.unwrap_or(stream.version.object.size));
        let more = least.saturating_sub(missing.end);
        let share =
            usize::try_from(more).ok().filter(|more| *more > 0).and_then(|more| self.ahead().share(more));
        let range = missing.start..if share.is_some() { least } else { missing.end };
        let (requests, version, patience) =
            (Arc::clone(&self.shared.requests), stream.version.clone(), self.patience);
        let whole = range.clone();
        let mut bytes = self
            .shared
            .bridge
            .run(&self.stop, async move { version.get(&requests, patience, whole).await })?;
        let wanted = bytes
            .split_to(usize::try_from(missing.end - missing.start).unwrap_or(usize::MAX).min(bytes.len()));
        if let Some(share) = share {
            stream.blocks.push_back(Block {
                range: missing.end..range.end,
                body: Body::Here(bytes),
                _share: share,
            });
        }
        Ok(wanted)
    }

    /// Sets going what the next reads will want, once reads follow each other: the further ahead the longer they do.
    fn go_on(&self, stream: &mut Stream, len: usize) {
        let size = stream.version.object.size;
        while stream.went_on > 0 && stream.held_end() < size {
            let reach = reach(len, stream.went_on, self.ahead().room());
            let bytes = fetch_bytes(len, reach);
            let held_end = stream.held_end();
            let ahead = held_end - stream.end;
            let range = held_end..held_end.saturating_add(bytes as u64).min(size);
            let fetched = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            // What the next read wants may push out what other streams hold; what lies beyond may not.
            let share = if ahead < len as u64 {
                self.ahead().share(fetched)
            } else {
                (ahead + bytes as u64 <= reach).then(|| self.ahead().spare(fetched)).flatten()
            };
            let Some(share) = share else { return };
            let (requests, version, patience) =
                (Arc::clone(&self.shared.requests), stream.version.clone(), self.patience);
            let wanted = range.clone();
            let pending =
                self.shared.bridge.spawn(async move { version.get(&requests, patience, wanted).await });
            stream.blocks.push_back(Block { range, body: Body::Coming(pending), _share: share });
        }
    }
}

/// What one request ahead fetches, where so much is read at once: the more the further the stream reaches, since each request
/// costs, whatever it moves.
fn fetch_bytes(len: usize, reach: u64) -> usize {
    let share = usize::try_from(reach).unwrap_or(usize::MAX) / REQUESTS_AT_ONCE;
    share.clamp(least_bytes(len), MAX_FETCH_BYTES)
}

/// What the first request ahead fetches, where so much is read at once.
fn least_bytes(len: usize) -> usize {
    len.saturating_mul(2).clamp(MIN_FETCH_BYTES, MAX_FETCH_BYTES)
}

/// How far ahead of a read a stream may hold: one request first, doubled with every read that goes on, up to its room.
fn reach(len: usize, went_on: u32, room: usize) -> u64 {
    let doublings = went_on.saturating_sub(1).min(MAX_DOUBLINGS);
    (least_bytes(len) as u64).saturating_mul(1 << doublings).min(room as u64)
}

/// The pieces as one; a single one is not copied.
fn joined(pieces: Vec<Bytes>, len: usize) -> Bytes {
    if let [only] = pieces.as_slice() {
        return only.clone();
    }
    let mut whole = BytesMut::with_capacity(len);
    for piece in pieces {
        whole.extend_from_slice(&piece);
    }
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(size: u64) -> Version {
        let object = ObjectInfo { key: "k".into(), size, version: "v".into(), modified_ms: None };
        Version { bucket: "b".into(), full: "k".into(), object }
    }

    fn stream(end: u64) -> Stream {
        Stream { version: version(1 << 30), end, went_on: 1, until: None, blocks: VecDeque::new() }
    }

    #[test]
    fn shares_are_bounded_by_both_budgets_and_given_back() {
        let all = Arc::new(Budget::new(100));
        let (mut one, mut two) = (Ahead::new(80, &all), Ahead::new(80, &all));
        let share = one.share(70).unwrap();
        assert!(one.share(20).is_none(), "its own is spent");
        assert!(two.share(40).is_none(), "the common one is spent");
        assert!(two.share(30).is_some());
        drop(share);
        assert!(two.share(80).is_some());
        assert_eq!(all.used.load(Ordering::Acquire), 0);
    }

    #[test]
    fn the_stream_longest_unused_makes_room() {
        let mut ahead = Ahead::new(100, &Arc::new(Budget::new(1000)));
        for end in [0, 1000] {
            let share = ahead.share(50).unwrap();
            let mut stream = stream(end);
            stream.blocks.push_back(Block {
                range: end..end + 50,
                body: Body::Here(Bytes::new()),
                _share: share,
            });
            ahead.put_back(stream);
        }
        let _share = ahead.share(40).unwrap();
        assert_eq!(ahead.streams.iter().map(|stream| stream.blocks.len()).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_read_finds_the_stream_it_goes_on_with() {
        let mut ahead = Ahead::new(100, &Arc::new(Budget::new(100)));
        for number in 0..20 {
            ahead.put_back(stream(number << 24));
        }
        assert_eq!(ahead.streams.len(), MAX_STREAMS);
        assert!(ahead.take(&version(1 << 30), 19 << 24).is_some());
        assert!(ahead.take(&version(1 << 30), (18 << 24) + 5000).is_some(), "an index lies between");
        assert!(ahead.take(&version(1 << 30), (17 << 24) - 1).is_none(), "back is another stretch");
        assert!(ahead.take(&version(1 << 30), (17 << 24) + MAX_GAP_BYTES + 1).is_none());
        assert!(ahead.take(&version(7), 17 << 24).is_none(), "another version");
    }

    #[test]
    fn a_read_goes_on_with_the_stream_that_holds_it() {
        let mut ahead = Ahead::new(1 << 20, &Arc::new(Budget::new(1 << 20)));
        // All of them reach a read at 1,000: one by what lies between chunks, one nearer, one holds it.
        for (end, held) in [(0, None), (900, None), (500, Some(500..1_500)), (990, None)] {
            let mut stream = stream(end);
            stream.blocks.extend(held.map(|range| Block {
                range,
                body: Body::Here(Bytes::new()),
                _share: ahead.share(10).unwrap(),
            }));
            ahead.put_back(stream);
        }
        let ends: Vec<u64> = (0..4).map(|_| ahead.take(&version(1 << 30), 1_000).unwrap().end).collect();
        assert_eq!(ends, [500, 990, 900, 0]);
    }

    #[test]
    fn the_longer_reads_follow_each_other_the_further_ahead_goes_up_to_a_fair_share() {
        const MIB: usize = 1 << 20;
        let reaches: Vec<u64> = (1..=6).map(|went_on| reach(MIB, went_on, 16 * MIB) / MIB as u64).collect();
        assert_eq!(reaches, [2, 4, 8, 16, 16, 16]);
        assert_eq!(reach(1, u32::MAX, usize::MAX), (MIN_FETCH_BYTES as u64) << MAX_DOUBLINGS);
        assert_eq!(fetch_bytes(100 * MIB, 1), MAX_FETCH_BYTES);
        let fetches: Vec<usize> =
            (1..=9).map(|went_on| fetch_bytes(1, reach(1, went_on, 16 * MIB)) >> 10).collect();
        assert_eq!(
            fetches,
            [256, 256, 256, 512, 1024, 2048, 4096, 4096, 4096],
            "small reads in a row, in KiB"
        );
        let mut ahead = Ahead::new(16 * MIB, &Arc::new(Budget::new(64 * MIB)));
        assert_eq!(ahead.room(), 16 * MIB);
        for (end, held) in [(0, true), (1 << 20, false), (2 << 20, true)] {
            let mut stream = stream(end);
            if held {
                let share = ahead.spare(10).unwrap();
                let body = Body::Here(Bytes::new());
                stream.blocks.push_back(Block { range: end..end + 10, body, _share: share });
            }
            ahead.put_back(stream);
        }
        assert_eq!(ahead.room(), 16 * MIB / 3, "a stream that holds nothing needs no room");
        assert!(ahead.spare(16 * MIB).is_none(), "nothing had to go for it");
        assert!(ahead.streams.iter().filter(|stream| !stream.blocks.is_empty()).count() == 2);
    }

    #[test]
    fn pieces_become_one() {
        assert_eq!(joined(vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")], 3), "abc");
        assert_eq!(joined(vec![Bytes::from_static(b"ab")], 2), "ab");
        assert_eq!(joined(Vec::new(), 0), "");
    }
}
