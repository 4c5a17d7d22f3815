//! Keys keep the order that scans rely on, and are read back as they were written.

use super::*;
use proptest::prelude::*;

fn ready(keys: &Keys, shard: u8, priority: u8, not_before: u64, id: u8) -> Vec<u8> {
    let place = [shard, u8::MAX - priority];
    keys.of(READY, &[&place, &not_before.to_be_bytes(), &[id; 16]])
}

proptest! {
    #[test]
    fn ready_keys_sort_by_shard_then_higher_priority_then_time(
        a in any::<(u8, u8, u64, u8)>(), b in any::<(u8, u8, u64, u8)>(),
    ) {
        let keys = Keys::new("p");
        let rank = |(shard, priority, time, id): (u8, u8, u64, u8)| (shard, u8::MAX - priority, time, id);
        let (left, right) = (ready(&keys, a.0, a.1, a.2, a.3), ready(&keys, b.0, b.1, b.2, b.3));
        prop_assert_eq!(left.cmp(&right), rank(a).cmp(&rank(b)));
        let read = keys.parse(&left);
        let (shard, priority, time, id) = a;
        let job = JobId([id; 16]);
        prop_assert_eq!(read, Some(Key::Ready { shard, priority, not_before: StoreTime(time), job }));
        prop_assert!(keys.ready_behind(shard, priority) > left);
    }

    #[test]
    fn any_bytes_parse_or_are_refused(tail in proptest::collection::vec(any::<u8>(), 0..80)) {
        let keys = Keys::new("p");
        let _read = keys.parse(&tail);
        let _read = keys.parse(&[b"p/job/".as_slice(), &tail].concat());
        let _read = keys.parse(&[b"p/ready/".as_slice(), &tail].concat());
    }
}

#[test]
fn every_kind_of_key_is_read_back() {
    let keys = Keys::new("some/prefix");
    let (job, batch, worker) = (JobId([0xff; 16]), BatchId([7; 16]), Incarnation::from_bytes([0x2f; 16]));
    let written = [
        (keys.job(job), Key::Job(job)),
        (keys.leased(worker, job), Key::Leased(worker, job)),
        (keys.worker(worker), Key::Worker(worker)),
        (keys.batch(batch), Key::Batch(batch)),
        (keys.open(batch, job), Key::Open(batch, job)),
        (keys.seen(&[9; 32]), Key::Seen([9; 32])),
        (keys.receipt(worker), Key::Receipt(worker)),
        (keys.config(&[3; 32]), Key::Config([3; 32])),
        (keys.quarantine(job), Key::Quarantine(job)),
        (keys.member(batch, job), Key::Member(batch, job)),
        (keys.failed(batch, job), Key::Failed(batch, job)),
        (keys.active(batch), Key::Active(batch)),
        (keys.leader("scanner/a"), Key::Leader("scanner/a".to_owned())),
        (keys.scan(SeriesId([1; 16])), Key::Scan(SeriesId([1; 16]))),
        (keys.line("s3://b/set"), Key::Line(out_hash("s3://b/set"))),
        (keys.append(batch), Key::Append(batch)),
    ];
    for (bytes, key) in written {
        assert_eq!(keys.parse(&bytes), Some(key));
        assert_eq!(Keys::new("other").parse(&bytes), None);
    }
    for role in [String::new(), "a b".to_owned(), "x".repeat(ROLE_MAX_BYTES + 1)] {
        assert_eq!(keys.parse(&keys.leader(&role)), None);
    }
}

#[test]
fn a_span_holds_its_section_and_nothing_else() {
    let keys = Keys::new("p");
    let span = keys.leased_by(Incarnation::from_bytes([0xff; 16]));
    let inside = keys.leased(Incarnation::from_bytes([0xff; 16]), JobId([0xff; 16]));
    assert!(span.start <= inside && inside < span.end);
    assert!(keys.worker(Incarnation::from_bytes([0; 16])) >= span.end);
    assert!(keys.leased(Incarnation::from_bytes([0xfe; 16]), JobId([0xff; 16])) < span.start);
}
