//! What every storage promises (`roboflow::storage`), as one suite that each implementation runs.
//!
//! It asserts nothing about an engine's own habits: files, folders and requests are the implementations' tests.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a broken promise fails the test at once")]

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use roboflow::error::{Class, Classified};
use roboflow::storage::{ObjectInfo, SharedStorage, StorageError};
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One promise: its name, and the check, given an empty storage.
pub type Promise = (&'static str, fn(&SharedStorage));

/// All promises. A test calls [`check_all`], or runs them one by one to see which is broken.
pub const PROMISES: &[Promise] = &[
    ("what is put is read", what_is_put_is_read),
    ("reads are by range", reads_are_by_range),
    ("ranges of a large object are what lies there", ranges_of_a_large_object_are_what_lies_there),
    ("what is announced changes no read", what_is_announced_changes_no_read),
    ("what is missing is said to be", what_is_missing_is_said_to_be),
    ("wrong keys are refused", wrong_keys_are_refused),
    ("a listing is in the order of the keys' bytes", listing_is_in_byte_order),
    ("nothing is visible before finish", nothing_is_visible_before_finish),
    ("an object is replaced whole", an_object_is_replaced_whole),
    ("reads never mix two versions", reads_never_mix_two_versions),
    ("a version changes with its object", a_version_changes_with_its_object),
    ("deleting is idempotent", deleting_is_idempotent),
    ("deleting all takes what is under the prefix alone", deleting_all_takes_the_prefix_alone),
    ("a sweep leaves objects and living writers alone", a_sweep_leaves_the_living_alone),
    ("writers of one key do not mix", writers_of_one_key_do_not_mix),
];

/// Checks each promise on a storage of its own.
///
/// # Panics
/// When one is broken; its name is printed before.
pub fn check_all(mut make: impl FnMut() -> SharedStorage) {
    for (name, promise) in PROMISES {
        eprintln_name(name);
        promise(&make());
    }
}

#[expect(clippy::print_stderr, reason = "says in a failing test's output which promise it was")]
fn eprintln_name(name: &str) {
    eprintln!("promise: {name}");
}

fn keys(storage: &SharedStorage, prefix: &str) -> Vec<String> {
    keys_after(storage, prefix, "")
}

fn keys_after(storage: &SharedStorage, prefix: &str, after: &str) -> Vec<String> {
    let listed: Result<Vec<_>, _> = storage.list_after(prefix, after).expect("listing starts").collect();
    listed.expect("listing ends").into_iter().map(|info| info.key).collect()
}

fn what_is_put_is_read(storage: &SharedStorage) {
    for (key, body) in [("x", &b""[..]), ("a/b/c.txt", b"text"), ("a/ä ö%#?", &[0, 255, 10, 13])] {
        storage.put(key, body).expect("put");
        assert_eq!(storage.read(key, 100).expect("read"), body);
        let info = storage.head(key).expect("head");
        assert_eq!((info.key.as_str(), info.size), (key, body.len() as u64));
    }
    let mut writer = storage.writer("w").expect("writer");
    let body: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
    for part in body.chunks(70_001) {
        writer.write_all(part).expect("write");
    }
    writer.finish().expect("finish");
    assert!(storage.read("w", body.len() as u64).expect("read") == body);
}

fn reads_are_by_range(storage: &SharedStorage) {
    storage.put("x", b"0123456789").expect("put");
    let object = storage.head("x").expect("head");
    for (offset, len, want) in [
        (0, 4, "0123"),
        (8, 1, "8"),
        (8, 100, "89"),
        (10, 5, ""),
        (99, 5, ""),
        (3, 0, ""),
        (u64::MAX, usize::MAX, ""),
    ] {
        assert_eq!(
            storage.read_at(&object, offset, len).expect("read_at"),
            want.as_bytes(),
            "{offset}+{len}"
        );
    }
    assert_eq!(
        storage.read_at(&object, 0, usize::MAX).expect("no allocation by the length asked for").len(),
        10
    );
    assert!(matches!(storage.read("x", 9), Err(StorageError::Invalid { .. })));
    let ranges = [8..10, 0..4, 3..3, 2..5, 8..100, 10..15, 99..104, 0..10];
    let read = storage.read_ranges(&object, &ranges).expect("read_ranges");
    assert_eq!(read, ["89", "0123", "", "234", "89", "", "", "0123456789"], "{ranges:?}");
    assert!(storage.read_ranges(&object, &[]).expect("none").is_empty());
}

/// As many, as long and as far apart as chance has it.
fn ranges_of_a_large_object_are_what_lies_there(storage: &SharedStorage) {
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 7 % 251) as u8).collect();
    storage.put("large", &body).expect("put");
    let object = storage.head("large").expect("head");
    let mut random = StdRng::seed_from_u64(11);
    for _ in 0..4 {
        let ranges: Vec<Range<u64>> = (0..40)
            .map(|_| {
                let start = random.random_range(0..body.len());
                let end = (start + random.random_range(0..200_000)).min(body.len());
                start as u64..end as u64
            })
            .collect();
        let read = storage.read_ranges(&object, &ranges).expect("read_ranges");
        assert_eq!(read.len(), ranges.len());
        for (range, bytes) in ranges.iter().zip(read) {
            assert!(bytes == body[range.start as usize..range.end as usize], "{range:?}");
        }
    }
    storage.put("large", b"another").expect("put");
    assert!(matches!(
        storage.read_ranges(&object, std::slice::from_ref(&(0..1))),
        Err(StorageError::Changed { .. })
    ));
}

fn what_is_announced_changes_no_read(storage: &SharedStorage) {
    const OBJECTS: usize = 3;
    let body: Vec<u8> = (0..2_000_000_u32).map(|at| (at / 7 % 251) as u8).collect();
    let objects: Vec<ObjectInfo> = (0..OBJECTS)
        .map(|number| {
            let key = format!("o{number}");
            storage.put(&key, &body[number..]).expect("put");
            storage.head(&key).expect("head")
        })
        .collect();
    let mut random = StdRng::seed_from_u64(12);
    for round in 0..6 {
        let ranges: Vec<(ObjectInfo, Range<u64>)> = (0..5)
            .map(|_| {
                let object = objects[random.random_range(0..OBJECTS)].clone();
                let start = random.random_range(0..object.size);
                let end = random.random_range(start..object.size + 1_000);
                (object, start..end)
            })
            .collect();
        storage.announce(&ranges);
        // As announced; then as it comes.
        let piece = random.random_range(10_000..300_000);
        for (object, range) in ranges.iter().take(if round % 2 == 0 { 5 } else { 2 }) {
            let number: usize = object.key[1..].parse().expect("a number");
            let mut at = range.start;
            while at < range.end.min(object.size) {
                let elsewhere = round > 3 && random.random_bool(0.3);
                let offset = if elsewhere { random.random_range(0..object.size) } else { at };
                let len = piece.min((object.size - offset) as usize);
                let read = storage.read_at(object, offset, piece).expect("read_at");
                let from = number + offset as usize;
                assert!(read == body[from..from + len], "{} {offset}", object.key);
                at += if elsewhere { 0 } else { len as u64 };
            }
        }
    }
    let gone = ObjectInfo { key: "gone".to_owned(), ..objects[0].clone() };
    storage.announce(&[(gone.clone(), 0..9), (objects[0].clone(), 0..9)]);
    assert!(matches!(storage.read_at(&gone, 0, 9), Err(StorageError::NotFound { .. })));
    assert!(storage.read_at(&objects[0], 0, 9).expect("read_at") == body[..9]);
    storage.announce(&[(objects[1].clone(), 0..2_000_000)]);
    storage.put("o1", b"another").expect("put");
    // What was fetched before is still of the version that is asked for.
    match storage.read_at(&objects[1], 1_000_000, 9) {
        Ok(read) => assert!(read == body[1_000_001..1_000_010]),
        Err(error) => assert!(matches!(error, StorageError::Changed { .. }), "{error}"),
    }
}

fn what_is_missing_is_said_to_be(storage: &SharedStorage) {
    storage.put("folder/x", b"1").expect("put");
    let there = storage.head("folder/x").expect("head");
    for key in ["y", "folder", "folder/y", "folder/x/below"] {
        for result in [
            storage.head(key).map(|_| ()),
            storage.read(key, 9).map(|_| ()),
            storage.read_at(&ObjectInfo { key: key.to_owned(), ..there.clone() }, 0, 9).map(|_| ()),
        ] {
            let error = result.expect_err(key);
            assert!(matches!(error, StorageError::NotFound { .. }), "{key}: {error}");
            assert!(error.to_string().contains(key) && error.to_string().contains(&storage.location()));
        }
    }
    assert!(keys(storage, "nothing/").is_empty());
}

fn wrong_keys_are_refused(storage: &SharedStorage) {
    let long = "k".repeat(2000);
    for key in [
        "",
        "/",
        "/abs",
        "a//b",
        "a/",
        "./a",
        "a/./b",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "a\0b",
        ".x.partial",
        &long,
    ] {
        let results = [
            storage.head(key).map(|_| ()),
            storage.read(key, 9).map(|_| ()),
            storage
                .read_at(
                    &ObjectInfo { key: key.to_owned(), size: 9, version: "1".into(), modified_ms: None },
                    0,
                    9,
                )
                .map(|_| ()),
            storage.put(key, b"x"),
            storage.writer(key).map(|_| ()),
            storage.delete(key),
        ];
        for result in results {
            let error = result.expect_err(key);
            assert!(matches!(error, StorageError::Invalid { .. }), "{key:?}: {error}");
            assert_eq!(error.class(), Class::Permanent);
            assert!(error.to_string().len() < 500);
        }
    }
    for prefix in ["a", "/", "../", "a/../"] {
        assert!(storage.list(prefix).is_err() && storage.delete_all(prefix).is_err(), "{prefix}");
        assert!(storage.sweep(prefix).is_err() && storage.sweep_all(prefix).is_err(), "{prefix}");
    }
    assert!(keys(storage, "").is_empty());
}

fn listing_is_in_byte_order(storage: &SharedStorage) {
    // '!' and '-' and '.' come before '/', '0' behind it: a walk by folders alone gets these wrong.
    let mut all =
        ["a/b", "a!b", "a-b", "a.b", "a0b", "a", "ab", "b/a/c", "b/a.c", "b/a0", "ä/x", "Z"].to_vec();
    all.retain(|key| *key != "a");
    for key in &all {
        storage.put(key, key.as_bytes()).expect("put");
    }
    all.sort_unstable_by_key(|key| key.as_bytes());
    assert_eq!(keys(storage, ""), all);
    assert_eq!(keys(storage, "a/"), ["a/b"]);
    assert_eq!(keys(storage, "b/"), ["b/a.c", "b/a/c", "b/a0"]);
    for (number, after) in all.iter().enumerate() {
        assert_eq!(keys_after(storage, "", after), all[number + 1..], "behind {after}");
    }
    assert_eq!(keys_after(storage, "", "a/"), all[all.iter().position(|key| *key == "a/b").expect("it")..]);
    assert_eq!(keys_after(storage, "b/", "b/a/bzz"), ["b/a/c", "b/a0"], "a key that is not there");
    assert_eq!(keys_after(storage, "b/", "a"), keys(storage, "b/"), "a key before the prefix");
    assert_eq!(keys_after(storage, "b/", "c"), Vec::<String>::new(), "a key behind the prefix");
    let first = storage.list("b/").expect("list").next().expect("one").expect("whole");
    assert_eq!(first, storage.head("b/a.c").expect("head"));
}

fn nothing_is_visible_before_finish(storage: &SharedStorage) {
    let mut writer = storage.writer("a/x").expect("writer");
    writer.write_all(&[1; 500_000]).expect("write");
    writer.flush().expect("flush");
    assert!(storage.head("a/x").is_err() && keys(storage, "").is_empty());
    drop(writer);
    assert!(storage.head("a/x").is_err() && keys(storage, "").is_empty());
    assert_eq!(storage.sweep("").expect("sweep"), 0, "a dropped writer leaves nothing to sweep");
}

fn an_object_is_replaced_whole(storage: &SharedStorage) {
    const SIZES: [usize; 2] = [200_000, 300_000];
    storage.put("x", &[0; SIZES[0]]).expect("put");
    let done = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (storage, done) = (Arc::clone(storage), Arc::clone(&done));
        move || {
            let mut reads = 0u32;
            while !done.load(Ordering::Acquire) || reads == 0 {
                let body = storage.read("x", 1_000_000).expect("there is an object at every moment");
                let number = usize::from(body[0]);
                assert!(
                    body.len() == SIZES[number % 2] && body.iter().all(|byte| usize::from(*byte) == number)
                );
                reads += 1;
            }
        }
    });
    for number in 1..50u8 {
        storage.put("x", &vec![number; SIZES[usize::from(number) % 2]]).expect("put");
    }
    done.store(true, Ordering::Release);
    reader.join().expect("the reader saw whole objects only");
}

fn reads_never_mix_two_versions(storage: &SharedStorage) {
    storage.put("x", &[1; 3_000_000]).expect("put");
    let first = storage.head("x").expect("head");
    for offset in 0..3 {
        let part = storage.read_at(&first, offset * 100_000, 100_000).expect("read_at");
        assert!(part.len() == 100_000 && part.iter().all(|byte| *byte == 1));
    }
    storage.put("x", &[2; 3_000_000]).expect("put");
    // What was read ahead of the old version may still be given; never a byte of the new one.
    let mut changed = false;
    for offset in 3..30 {
        match storage.read_at(&first, offset * 100_000, 100_000) {
            Ok(part) => assert!(part.len() == 100_000 && part.iter().all(|byte| *byte == 1)),
            Err(error) => {
                assert!(matches!(&error, StorageError::Changed { key, .. } if key == "x"), "{error}");
                changed = true;
            }
        }
    }
    assert!(changed, "a replaced object is noticed before its end");
    let second = storage.head("x").expect("head");
    assert!(storage.read_at(&second, 0, 3_000_000).expect("read_at").iter().all(|byte| *byte == 2));
    storage.delete("x").expect("delete");
    let gone = storage.read_at(&second, 2_999_999, 1).expect_err("it is gone");
    assert!(matches!(gone, StorageError::NotFound { .. } | StorageError::Changed { .. }), "{gone}");
}

fn a_version_changes_with_its_object(storage: &SharedStorage) {
    storage.put("x", b"one").expect("put");
    let one = storage.head("x").expect("head").version;
    assert_eq!(one, storage.head("x").expect("head").version);
    storage.put("x", b"two").expect("put");
    assert_ne!(one, storage.head("x").expect("head").version);
}

fn deleting_is_idempotent(storage: &SharedStorage) {
    storage.put("a/b/x", b"1").expect("put");
    storage.put("a/y", b"1").expect("put");
    for _ in 0..2 {
        storage.delete("a/b/x").expect("delete");
        assert_eq!(keys(storage, ""), ["a/y"]);
    }
    storage.delete("a/b/never").expect("delete");
    storage.put("a/b", b"a key may follow where others were below it").expect("put");
}

fn deleting_all_takes_the_prefix_alone(storage: &SharedStorage) {
    let (below, others) = (["a/b/x", "a/b/y/z", "a/b/ä ö"], ["a/b!", "a/bc/x", "a0"]);
    for key in below.iter().chain(&others) {
        storage.put(key, b"1").expect("put");
    }
    assert_eq!(storage.delete_all("a/b/").expect("delete_all"), 3);
    assert_eq!(storage.delete_all("a/b/").expect("again"), 0);
    assert_eq!(keys(storage, ""), others);
    for number in 0..1_100 {
        storage.put(&format!("many/{number}"), b"").expect("put");
    }
    assert_eq!(storage.delete_all("many/").expect("more than a request takes"), 1_100);
    assert_eq!(storage.delete_all("").expect("everything"), 3);
    assert!(keys(storage, "").is_empty());
}

fn a_sweep_leaves_the_living_alone(storage: &SharedStorage) {
    storage.put("a/x", b"1").expect("put");
    let mut writer = storage.writer("a/y").expect("writer");
    writer.write_all(b"part").expect("write");
    assert_eq!(storage.sweep("").expect("sweep"), 0);
    assert_eq!(storage.sweep("a/").expect("sweep"), 0);
    assert_eq!(storage.sweep_all("a/").expect("sweep_all"), 0, "the writer is this process's own");
    writer.write_all(b"s").expect("write");
    writer.finish().expect("finish");
    assert_eq!(storage.read("a/y", 9).expect("read"), &b"parts"[..]);
    assert_eq!(keys(storage, ""), ["a/x", "a/y"]);
}

fn writers_of_one_key_do_not_mix(storage: &SharedStorage) {
    let threads: Vec<_> = (0..4u8)
        .map(|number| {
            let storage = Arc::clone(storage);
            std::thread::spawn(move || {
                for _ in 0..10 {
                    let mut writer = storage.writer("deep/folder/x").expect("writer");
                    for _ in 0..100 {
                        writer.write_all(&[number; 1000]).expect("write");
                    }
                    writer.finish().expect("finish");
                    // Others write on while the folder is removed and made again.
                    storage.delete("deep/folder/x").expect("delete");
                }
                let mut writer = storage.writer("deep/folder/x").expect("writer");
                writer.write_all(&[number; 100_000]).expect("write");
                writer.finish().expect("finish");
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("every writer finishes");
    }
    let body = storage.read("deep/folder/x", 1_000_000);
    // The last writer's delete may have come before another's finish, never within it.
    let body = body.expect("the last finish stands");
    assert!(body.len() == 100_000 && body.iter().all(|byte| *byte == body[0]));
}
