//! Reading what was announced: in its order, across objects, and nothing else. Guesswork is what [`super::ahead`] does without.
//!
//! It lives within the bounds of what is read ahead: a few requests on their way, and what has arrived and was not read.

use super::S3Storage;
use super::ahead::{Ahead, Block, Body, MAX_FETCH_BYTES, REQUESTS_AT_ONCE, Share, Stream};
use super::read::Version;
use crate::storage::ObjectInfo;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// A rest of no more is fetched with what stands before it.
const REST_BYTES: u64 = MAX_FETCH_BYTES as u64 / 2;

impl S3Storage {
    /// Takes note of what will be read, and sets the first of it going.
    pub(super) fn note_announced(&self, ranges: &[(ObjectInfo, Range<u64>)]) {
        let version = |object: &ObjectInfo| {
            let full = self.place.key(&object.key).ok()?;
            Some(Version { bucket: self.place.bucket.clone(), full, object: object.clone() })
        };
        let within = |(object, range): &(ObjectInfo, Range<u64>)| {
            Some((version(object)?, range.start..range.end.min(object.size)))
        };
        let announced = ranges.iter().filter_map(within).filter(|(_, range)| !range.is_empty()).collect();
        self.ahead().announce(announced);
        self.fetch_announced();
    }

    /// Sets going as much of it as there is room for.
    pub(super) fn fetch_announced(&self) {
        let mut ahead = self.ahead();
        while let Some(Next { version, range, until, share }) = ahead.next_announced() {
            let (requests, patience) = (Arc::clone(&self.shared.requests), self.patience);
            let (asked, wanted) = (version.clone(), range.clone());
            let pending =
                self.shared.bridge.spawn(async move { asked.get(&requests, patience, wanted).await });
            let block = Block { range, body: Body::Coming(pending), _share: share };
            ahead.add_announced(version, until, block);
        }
    }
}

/// The next request.
struct Next {
    version: Version,
    range: Range<u64>,
    /// Where what was announced of this object ends.
    until: u64,
    share: Share,
}

impl Ahead {
    fn announce(&mut self, announced: VecDeque<(Version, Range<u64>)>) {
        self.streams.retain(|stream| stream.until.is_none());
        self.announced = announced;
    }

    /// What is read need not be fetched any more.
    pub(super) fn has_read(&mut self, version: &Version, read: &Range<u64>) {
        if let Some((next, left)) = self.announced.front_mut()
            && next == version
            && read.contains(&left.start)
        {
            left.start = read.end;
            if left.is_empty() {
                self.announced.pop_front();
            }
        }
    }

    fn next_announced(&mut self) -> Option<Next> {
        let (_, left) = self.announced.front()?;
        let bytes = left.end - left.start;
        let bytes = if bytes <= MAX_FETCH_BYTES as u64 + REST_BYTES { bytes } else { MAX_FETCH_BYTES as u64 };
        let held: usize = self
            .streams
            .iter()
            .filter(|stream| stream.until.is_some())
            .map(|stream| stream.blocks.len())
            .sum();
        let fetched = usize::try_from(bytes).ok()?;
        // What is read next may push out what others hold; what lies beyond may not.
        let share = match held {
            0 => self.share(fetched),
            1..REQUESTS_AT_ONCE => self.spare(fetched),
            _ => None,
        }?;
        let (version, left) = self.announced.front_mut()?;
        let (version, until) = (version.clone(), left.end);
        let range = left.start..left.start + bytes;
        left.start = range.end;
        if left.is_empty() {
            self.announced.pop_front();
        }
        Some(Next { version, range, until, share })
    }

    fn add_announced(&mut self, version: Version, until: u64, block: Block) {
        let goes_on = |stream: &&mut Stream| {
            stream.until.is_some() && stream.version == version && stream.held_end() == block.range.start
        };
        if let Some(stream) = self.streams.iter_mut().find(goes_on) {
            stream.until = Some(until);
            stream.blocks.push_back(block);
            return;
        }
        let end = block.range.start;
        let blocks = VecDeque::from([block]);
        self.put_back(Stream { version, end, went_on: 0, until: Some(until), blocks });
    }
}

#[cfg(test)]
mod tests {
    use super::super::ahead::Budget;
    use super::*;
    use bytes::Bytes;

    const MIB: u64 = 1 << 20;

    fn version(key: &str) -> Version {
        let object = ObjectInfo { key: key.into(), size: 1 << 30, version: "v".into(), modified_ms: None };
        Version { bucket: "b".into(), full: key.into(), object }
    }

    fn ahead(limit: u64, announced: &[(&str, Range<u64>)]) -> Ahead {
        let mut ahead = Ahead::new(limit as usize, &Arc::new(Budget::new(1 << 30)));
        ahead.announce(announced.iter().map(|(key, range)| (version(key), range.clone())).collect());
        ahead
    }

    /// Sets going what may be.
    fn fetched(ahead: &mut Ahead) -> Vec<(String, Range<u64>)> {
        let mut all = Vec::new();
        while let Some(Next { version, range, until, share }) = ahead.next_announced() {
            all.push((version.full.clone(), range.clone()));
            ahead.add_announced(
                version,
                until,
                Block { range, body: Body::Here(Bytes::new()), _share: share },
            );
        }
        all
    }

    /// Reads up to there, as the storage does.
    fn read(ahead: &mut Ahead, key: &str, range: Range<u64>) {
        let mut stream = ahead.take(&version(key), range.start).unwrap();
        stream.end = range.end;
        stream.drop_before(range.end);
        ahead.has_read(&version(key), &range);
        ahead.put_back(stream);
    }

    #[test]
    fn what_is_announced_is_fetched_in_its_order_and_nothing_else() {
        let a = (3 * MIB)..(12 * MIB);
        let mut ahead = ahead(16 * MIB, &[("a", a), ("b", 7..5 * MIB), ("c", 0..9)]);
        let first = fetched(&mut ahead);
        let of = |key: &str, range: Range<u64>| (key.to_owned(), range);
        assert_eq!(
            first,
            [of("a", 3 * MIB..7 * MIB), of("a", 7 * MIB..12 * MIB), of("b", 7..5 * MIB), of("c", 0..9)],
            "a rest that is small goes with what is before it"
        );
        assert_eq!(ahead.streams.len(), 3, "a stream an object");
        read(&mut ahead, "a", 3 * MIB..12 * MIB);
        assert_eq!(ahead.streams.len(), 2, "one that is read to its end is over");
    }

    #[test]
    fn as_much_is_on_its_way_as_there_is_room_for() {
        let all: Vec<(&str, Range<u64>)> = ["a", "b", "c", "d", "e", "f"].map(|key| (key, 0..9)).to_vec();
        let mut many = ahead(16 * MIB, &all);
        assert_eq!(fetched(&mut many).len(), REQUESTS_AT_ONCE, "requests are bounded");
        read(&mut many, "a", 0..9);
        assert_eq!(fetched(&mut many), [("e".to_owned(), 0..9)]);

        let mut large = ahead(5 * MIB, &[("a", 0..4 * MIB), ("b", 0..4 * MIB)]);
        assert_eq!(fetched(&mut large).len(), 1, "and so are bytes");
        read(&mut large, "a", 0..MIB);
        assert!(fetched(&mut large).is_empty(), "a piece gives back what it took when it is read to its end");
        read(&mut large, "a", MIB..4 * MIB);
        assert_eq!(fetched(&mut large).len(), 1);
        assert!(fetched(&mut ahead(0, &[("a", 0..9)])).is_empty(), "nothing is read ahead at all");
    }

    #[test]
    fn what_was_read_meanwhile_is_not_fetched() {
        let mut ahead = ahead(4 * MIB, &[("a", 0..20 * MIB)]);
        assert_eq!(fetched(&mut ahead).len(), 1);
        // A long read passes what is on its way.
        read(&mut ahead, "a", 0..10 * MIB);
        assert_eq!(fetched(&mut ahead), [("a".to_owned(), 10 * MIB..14 * MIB)]);
        ahead.announce([(version("b"), 0..9)].into());
        assert_eq!(fetched(&mut ahead), [("b".to_owned(), 0..9)], "a new word is the last");
        assert_eq!(ahead.streams.len(), 1);
    }
}
