//! What a scanner remembers of the recordings that it listed: which are in the queue, and which wait to settle.
//!
//! It is forgotten with the process, and nothing is lost: the queue passes over what it has seen, and what waits waits a
//! little longer under the next leader. It does no IO, and time comes in as numbers.

use crate::storage::ObjectInfo;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

/// Recordings that wait and are remembered at most (about 10 MB). More than these wait too, without being counted on.
pub const WAITING_MAX: usize = 100_000;
/// Recordings that are remembered as enqueued at most (about 40 MB). The queue is asked about the rest in each round.
pub const KNOWN_MAX: usize = 1_000_000;
/// How far apart the clocks of storage and scanner may be.
pub const CLOCK_SKEW_MS: u64 = 10 * 60 * 1_000;

type Hash = [u8; 16];

/// What to do with a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the queue.
    Known,
    /// It may be enqueued.
    Ready,
    /// It may still be growing.
    Waits,
}

/// The time of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Of this process, never falling.
    pub monotonic_ms: u64,
    /// Of the wall, since 1970. Decides only about what is much older than clocks are apart.
    pub wall_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    version: Hash,
    since_ms: u64,
    round: u64,
}

/// The memory of one scanner.
#[derive(Debug)]
pub struct Memory {
    settle_ms: u64,
    old_ms: u64,
    round: u64,
    waiting: HashMap<Hash, Waiting>,
    known: HashSet<Hash>,
}

impl Memory {
    /// Of a scanner that looks every `interval_ms` and lets recordings settle for `settle_ms`; 0: they appear whole.
    pub fn new(settle_ms: u64, interval_ms: u64) -> Self {
        Self {
            settle_ms,
            old_ms: settle_ms.max(interval_ms) + CLOCK_SKEW_MS,
            round: 0,
            waiting: HashMap::new(),
            known: HashSet::new(),
        }
    }

    /// Looks at a recording as it is listed now. It is ready when it was listed before with the same size and version, long
    /// enough ago by our own clock, or when by the storage's clock it is older than any skew.
    pub fn look(&mut self, object: &ObjectInfo, now: Now) -> Verdict {
        let version = version_of(object);
        if self.known.contains(&version) {
            return Verdict::Known;
        }
        let is_old = object.modified_ms.is_some_and(|at| at.saturating_add(self.old_ms) <= now.wall_ms);
        if self.settle_ms == 0 || is_old {
            return Verdict::Ready;
        }
        let (key, is_full) = (hash(&[object.key.as_bytes()]), self.waiting.len() >= WAITING_MAX);
        let fresh = Waiting { version, since_ms: now.monotonic_ms, round: self.round };
        match self.waiting.get_mut(&key) {
            Some(waiting) if waiting.version == version => {
                waiting.round = self.round;
                let is_settled = now.monotonic_ms.saturating_sub(waiting.since_ms) >= self.settle_ms;
                return if is_settled { Verdict::Ready } else { Verdict::Waits };
            }
            Some(waiting) => *waiting = fresh,
            None if is_full => {}
            None => {
                self.waiting.insert(key, fresh);
            }
        }
        Verdict::Waits
    }

    /// Whether the queue knows this very version of an object.
    pub fn knows(&self, object: &ObjectInfo) -> bool {
        self.known.contains(&version_of(object))
    }

    /// The queue knows this recording now, for good.
    pub fn enqueued(&mut self, object: &ObjectInfo) {
        self.waiting.remove(&hash(&[object.key.as_bytes()]));
        if self.known.len() < KNOWN_MAX {
            self.known.insert(version_of(object));
        }
    }

    /// A listing is complete: what waited and was in neither this one nor the one before is gone.
    pub fn round_over(&mut self) {
        let round = self.round;
        self.waiting.retain(|_, waiting| waiting.round + 1 >= round);
        self.round += 1;
    }

    /// How many are remembered as waiting, and as enqueued.
    pub fn remembered(&self) -> (usize, usize) {
        (self.waiting.len(), self.known.len())
    }
}

fn version_of(object: &ObjectInfo) -> Hash {
    hash(&[object.key.as_bytes(), object.version.as_bytes(), &object.size.to_be_bytes()])
}

/// Half of a SHA-256: two recordings are never taken for each other.
fn hash(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let whole: [u8; 32] = hasher.finalize().into();
    let mut half = [0; 16];
    half.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str, modified_ms: Option<u64>) -> ObjectInfo {
        ObjectInfo { key: "a.mcap".to_owned(), size: 1, version: version.to_owned(), modified_ms }
    }

    fn at(seconds: u64) -> Now {
        Now { monotonic_ms: seconds * 1_000, wall_ms: 1_000_000_000 + seconds * 1_000 }
    }

    #[test]
    fn a_recording_is_ready_when_it_stayed_the_same_for_long_enough() {
        let mut memory = Memory::new(60_000, 60_000);
        assert_eq!(memory.look(&object("1", None), at(0)), Verdict::Waits);
        assert_eq!(memory.look(&object("1", None), at(59)), Verdict::Waits);
        assert_eq!(memory.look(&object("1", None), at(60)), Verdict::Ready);
        memory.enqueued(&object("1", None));
        assert_eq!(memory.look(&object("1", None), at(61)), Verdict::Known);
    }

    #[test]
    fn one_that_grows_waits_from_its_last_change() {
        let mut memory = Memory::new(60_000, 60_000);
        for (seconds, version, verdict) in [
            (0, "1", Verdict::Waits),
            (60, "2", Verdict::Waits),
            (120, "3", Verdict::Waits),
            (179, "3", Verdict::Waits),
            (180, "3", Verdict::Ready),
        ] {
            assert_eq!(memory.look(&object(version, None), at(seconds)), verdict, "at {seconds} s");
        }
        memory.enqueued(&object("3", None));
        assert_eq!(
            memory.look(&object("4", None), at(200)),
            Verdict::Waits,
            "a new version of one in the queue"
        );
    }

    #[test]
    fn pitfall_18_the_storages_clock_counts_only_beyond_any_skew() {
        let mut memory = Memory::new(60_000, 60_000);
        let wall = at(0).wall_ms;
        let young = [Some(wall + 600_000), Some(wall), Some(wall - 60_000), Some(wall - 659_999), None];
        for modified in young {
            assert_eq!(memory.look(&object("1", modified), at(0)), Verdict::Waits, "{modified:?}");
        }
        assert_eq!(memory.look(&object("1", Some(wall - 660_000)), at(0)), Verdict::Ready);
        let mut slow = Memory::new(60_000, 3_600_000);
        assert_eq!(slow.look(&object("1", Some(wall - 4_199_999)), at(0)), Verdict::Waits);
        assert_eq!(slow.look(&object("1", Some(wall - 4_200_000)), at(0)), Verdict::Ready);
    }

    #[test]
    fn nothing_settles_where_recordings_appear_whole() {
        let mut memory = Memory::new(0, 60_000);
        assert_eq!(memory.look(&object("1", None), at(0)), Verdict::Ready);
    }

    #[test]
    fn what_is_gone_is_forgotten_and_the_memory_is_bounded() {
        let mut memory = Memory::new(60_000, 60_000);
        memory.look(&object("1", None), at(0));
        for remembered in [1, 1, 0] {
            memory.round_over();
            assert_eq!(memory.remembered().0, remembered);
        }
        for number in 0..=WAITING_MAX {
            let one = ObjectInfo { key: format!("{number}.mcap"), ..object("1", None) };
            assert_eq!(memory.look(&one, at(0)), Verdict::Waits);
        }
        assert_eq!(memory.remembered().0, WAITING_MAX);
        let beyond = ObjectInfo { key: format!("{WAITING_MAX}.mcap"), ..object("1", None) };
        assert_eq!(memory.look(&beyond, at(600)), Verdict::Waits, "never enqueued unseen");
    }
}
