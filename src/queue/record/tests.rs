//! Records are read back as written; everything else is an error that says why.

use super::*;
use crate::queue::settings::QueueSettings;
use crate::queue::worker::{WorkerInfo, WorkerRecord};
use proptest::prelude::*;

fn worker() -> WorkerRecord {
    let info = WorkerInfo {
        incarnation: Incarnation::from_bytes([5; 16]),
        pod: "pod-0".to_owned(),
        host: "host".to_owned(),
        pid: 77,
        machines: 2,
    };
    WorkerRecord::new(info, StoreTime(1_000), &QueueSettings::default())
}

#[test]
fn a_record_is_read_back() {
    let bytes = encode(b"k", &worker()).unwrap();
    assert_eq!(bytes.first(), Some(&RECORD_VERSION));
    assert_eq!(decode::<WorkerRecord>(&bytes), Ok(worker()));
}

#[test]
fn an_unknown_version_is_told_apart_from_damage_and_names_its_key() {
    let mut bytes = encode(b"k", &worker()).unwrap();
    for version in [0, RECORD_VERSION - 1, RECORD_VERSION + 1, 255] {
        bytes[0] = version;
        let unreadable = decode::<WorkerRecord>(&bytes).unwrap_err();
        assert_eq!(unreadable, Unreadable::Version(version));
        assert!(unreadable.at(b"worker/\x01").to_string().contains("worker/\\x01"));
    }
    bytes[0] = RECORD_VERSION;
    bytes.push(0);
    assert!(matches!(decode::<WorkerRecord>(&bytes), Err(Unreadable::Damaged(_))));
    assert!(matches!(decode::<WorkerRecord>(&[]), Err(Unreadable::Damaged(_))));
}

proptest! {
    #[test]
    fn hostile_bytes_are_refused_without_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [vec![RECORD_VERSION], body].concat();
        let _read = decode::<WorkerRecord>(&bytes);
        let _read = decode::<JobRecord>(&bytes);
    }
}

#[test]
fn the_same_parts_in_other_cuts_give_another_hash() {
    assert_ne!(digest("p", &[b"ab", b"c"]), digest("p", &[b"a", b"bc"]));
    assert_ne!(digest("p", &[b"ab"]), digest("q", &[b"ab"]));
}

#[test]
fn texts_are_cut_at_a_character() {
    assert_eq!(clip("aé", 2), "a");
    assert_eq!(clip("aé", 3), "aé");
}
