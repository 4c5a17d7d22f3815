//! How an object is cut into parts: the same way each time, so that the same bytes get the same ETag.

use super::options::PART_BYTES;
use md5::{Digest, Md5};

/// S3 takes so many parts of one object.
pub(super) const MAX_PARTS: u32 = 10_000;
/// Up to here parts have [`PART_BYTES`]: all parts of nearly any object are alike, as some servers want it.
const EVEN_PARTS: u32 = 5_000;
/// The parts behind them. What is held in memory grows with them.
const LARGE_PART_BYTES: usize = 64 << 20;
/// S3 takes no smaller part but the last.
const MIN_PART_BYTES: usize = 5 << 20;
const _: () = assert!(PART_BYTES >= MIN_PART_BYTES && LARGE_PART_BYTES >= PART_BYTES);

/// The bytes of a part, by its number from 1. None beyond the last that an object can have.
pub(super) fn part_bytes(number: u32) -> Option<usize> {
    match number {
        1..=EVEN_PARTS => Some(PART_BYTES),
        ..=MAX_PARTS => Some(LARGE_PART_BYTES),
        _ => None,
    }
}

/// The largest object.
pub(super) const fn max_object_bytes() -> u64 {
    EVEN_PARTS as u64 * PART_BYTES as u64 + (MAX_PARTS - EVEN_PARTS) as u64 * LARGE_PART_BYTES as u64
}

/// The checksum of a part.
pub(super) type Sum = [u8; 16];

pub(super) fn sum(bytes: &[u8]) -> Sum {
    Md5::digest(bytes).into()
}

pub(super) fn hex(sum: &[u8]) -> String {
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The version that S3 gives to an object of such parts, where nothing encrypts it.
pub(super) fn whole_version(sums: &[Sum]) -> String {
    format!("{}-{}", hex(&sum(&sums.concat())), sums.len())
}

/// Whether a version is no other checksum than the one that is meant. What is no MD5 says nothing.
pub(super) fn may_be(version: &str, meant: &str) -> bool {
    let is_sum = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let comparable = match (version.split_once('-'), meant.split_once('-')) {
        (None, None) => is_sum(version),
        (Some((sum, parts)), Some((_, meant_parts))) => is_sum(sum) && parts == meant_parts,
        _ => false,
    };
    !comparable || version.eq_ignore_ascii_case(meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_alike_then_grow_and_end() {
        assert_eq!([1, EVEN_PARTS].map(part_bytes), [Some(PART_BYTES); 2]);
        assert_eq!([EVEN_PARTS + 1, MAX_PARTS].map(part_bytes), [Some(LARGE_PART_BYTES); 2]);
        assert_eq!([0, MAX_PARTS + 1].map(part_bytes), [Some(LARGE_PART_BYTES), None]);
        let total: u64 = (1..=MAX_PARTS).filter_map(part_bytes).map(|bytes| bytes as u64).sum();
        assert_eq!(total, max_object_bytes());
        assert!(total > 300 << 30, "{total}");
    }

    #[test]
    fn versions_are_compared_where_they_are_checksums() {
        let one = hex(&sum(b""));
        assert_eq!(one, "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(whole_version(&[sum(b""), sum(b"a")]).split_once('-').unwrap().1, "2");
        assert!(may_be(&one, &one) && may_be(&one.to_uppercase(), &one) && may_be("opaque", &one));
        assert!(!may_be(&hex(&sum(b"x")), &one));
        let whole = whole_version(&[sum(b"")]);
        assert!(may_be(&whole, &whole) && !may_be(&whole_version(&[sum(b"x")]), &whole));
        assert!(may_be(&one, &whole), "a server that puts parts together gives its own kind");
    }
}
