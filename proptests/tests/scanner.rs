//! Rounds of scanners that are killed, paused and replaced at every step, over recordings that come and grow.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test at once")]

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use roboflow::queue::invariant::check_keyspace;
use roboflow::queue::{NewSeries, SCAN_PAGE_MAX, SeriesId};
use roboflow::scanner::memory::WAITING_MAX;
use roboflow::scanner::round::{CURSOR_EVERY, RoundError};
use roboflow::storage::memory::MemoryStorage;
use roboflow::storage::{ObjectInfo, ObjectIter, ObjectWriter, Storage, StorageError};
use roboflow_proptests::scan_lab::{ScanLab, Steps};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// More than a page, so that a round has a cursor.
const MANY: u32 = SCAN_PAGE_MAX as u32 + 20;

fn series() -> NewSeries {
    let terms = ScanLab::terms();
    NewSeries {
        input: terms.input,
        out: terms.out,
        pattern: terms.pattern,
        config: roboflow::queue::config_hash(roboflow_proptests::scan_lab::MAPPING),
        segment_frames: 100,
        skip_failed: false,
        batch_recordings_max: terms.batch_recordings_max,
        batch_age_max_ms: terms.batch_age_max_ms,
    }
}

fn check(lab: &ScanLab) {
    let violations = check_keyspace(lab.queue().keys(), &lab.store.dump()).err().unwrap_or_default();
    assert!(violations.is_empty(), "{violations:?}");
}

fn names(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| format!("r{number:05}.mcap")).collect()
}

/// Another process takes over and goes on until a round brings nothing new.
fn takes_over(lab: &ScanLab, process: u128) {
    lab.outlive_the_lease();
    let lead = lab.lead(process);
    let mut scan = lab.scanner(&Steps::default());
    while scan.round(&lead).unwrap().new > 0 {}
    check(lab);
}

/// The steps of a first round over so many recordings, and of a second one.
fn steps_of_two_rounds(recordings: u32) -> u64 {
    let lab = ScanLab::new(Duration::ZERO);
    lab.add(0..recordings);
    let steps = Steps::default();
    let (lead, mut scan) = (lab.lead(1), lab.scanner(&steps));
    scan.round(&lead).unwrap();
    scan.round(&lead).unwrap();
    assert_eq!(lab.enqueued(), names(0..recordings));
    steps.taken()
}

/// Every step where few are listed; where many are, those around the pages' commits.
fn every_step(recordings: u32) -> Vec<u64> {
    let all = steps_of_two_rounds(recordings);
    let page = u64::from(SCAN_PAGE_MAX as u32);
    (0..=all).filter(|step| all < 100 || step % 37 == 0 || (step % page) < 12 || all - step < 12).collect()
}

#[test]
fn pitfall_36_a_leader_paused_at_any_step_and_replaced_writes_nothing_when_it_wakes() {
    for recordings in [3, MANY] {
        for step in every_step(recordings) {
            let lab = ScanLab::new(Duration::ZERO);
            lab.add(0..recordings);
            let after = Arc::new(Mutex::new(None));
            let steps = Steps::pause_at(step, {
                let (lab, after) = (lab.clone(), Arc::clone(&after));
                move || {
                    lab.add(recordings..recordings + 2);
                    takes_over(&lab, 2);
                    *after.lock().unwrap() = Some(lab.store.dump());
                }
            });
            let (lead, mut scan) = (lab.lead(1), lab.scanner(&steps));
            let woke = scan.round(&lead).and_then(|_| scan.round(&lead));
            let Some(after) = after.lock().unwrap().take() else {
                assert!(woke.is_ok(), "step {step} of {recordings}: {woke:?}");
                continue;
            };
            // At its very last step it had nothing left to write.
            assert!(matches!(woke, Ok(_) | Err(RoundError::Lost)), "step {step} of {recordings}: {woke:?}");
            assert!(
                lab.store.dump() == after,
                "step {step} of {recordings}: a leader that was replaced wrote"
            );
            assert_eq!(lab.enqueued(), names(0..recordings + 2), "step {step} of {recordings}");
            check(&lab);
        }
    }
}

#[test]
fn a_scan_killed_at_any_step_goes_on_and_nothing_is_enqueued_twice_or_left_out() {
    for recordings in [3, MANY] {
        for step in every_step(recordings) {
            let lab = ScanLab::new(Duration::ZERO);
            lab.add(0..recordings);
            let steps = Steps::kill_at(step);
            let (lead, mut scan) = (lab.lead(1), lab.scanner(&steps));
            let died = scan.round(&lead).and_then(|_| scan.round(&lead));
            assert_eq!(died.is_err(), steps.taken() > step, "step {step} of {recordings}: {died:?}");
            check(&lab);
            takes_over(&lab, 2);
            assert_eq!(lab.enqueued(), names(0..recordings), "step {step} of {recordings}");
        }
    }
}

#[test]
fn a_round_that_fails_once_at_any_step_is_made_good_by_the_next_of_the_same_scanner() {
    for recordings in [3, MANY] {
        for step in every_step(recordings) {
            let lab = ScanLab::new(Duration::ZERO);
            lab.add(0..recordings);
            let steps = Steps::default();
            steps.fail_once_in(step);
            let (lead, mut scan) = (lab.lead(1), lab.scanner(&steps));
            let mut failed = 0;
            for _ in 0..4 {
                failed += u32::from(scan.round(&lead).is_err());
            }
            assert!(failed <= 1, "step {step} of {recordings}");
            assert_eq!(lab.enqueued(), names(0..recordings), "step {step} of {recordings}");
            check(&lab);
        }
    }
}

#[test]
fn a_batch_is_sealed_by_the_first_round_that_brings_nothing_and_in_which_nothing_waits() {
    let lab = ScanLab::new(Duration::from_secs(60));
    lab.add(0..3);
    let (lead, mut scan) = (lab.lead(1), lab.scanner(&Steps::default()));
    let round = |scan: &mut roboflow::scanner::round::Scan| {
        let done = scan.round(&lead).unwrap();
        lab.time.advance(Duration::from_secs(60));
        (done.new, done.waiting, done.sealed.is_some())
    };
    assert_eq!(round(&mut scan), (0, 3, false), "all are fresh");
    assert_eq!(round(&mut scan), (3, 0, false));
    lab.add(3..4);
    assert_eq!(round(&mut scan), (0, 1, false), "one waits: the batch is not over");
    assert_eq!(round(&mut scan), (1, 0, false));
    assert_eq!(round(&mut scan), (0, 0, true));
    assert_eq!(round(&mut scan), (0, 0, false));
    lab.add(4..5);
    assert_eq!(round(&mut scan), (0, 1, false));
    assert_eq!(round(&mut scan), (1, 0, false));
    let queue = lab.queue();
    let record = lab.ask(queue.series(SeriesId::derive("/sets"))).unwrap().unwrap();
    assert_eq!((record.generation, record.enqueued), (2, 5));
    let first = lab.ask(queue.batch(series().batch(1).id)).unwrap();
    assert_eq!((first.jobs, first.sealed, first.out.as_str()), (4, true, "/sets/batch-0001"));
}

#[test]
fn a_growing_recording_waits_until_it_has_not_changed_for_the_settling_time() {
    let lab = ScanLab::new(Duration::from_secs(60));
    let (lead, mut scan) = (lab.lead(1), lab.scanner(&Steps::default()));
    for size in 1..6usize {
        lab.files.put("grows.mcap", &vec![0; size]).unwrap();
        assert_eq!(scan.round(&lead).unwrap().waiting, 1);
        lab.time.advance(Duration::from_secs(61));
    }
    assert_eq!(scan.round(&lead).unwrap().new, 1, "it stayed the same for 61 s");
    let queue = lab.queue();
    let jobs = lab.ask(queue.list(&Default::default(), None, 9)).unwrap().jobs;
    let roboflow::queue::JobKind::Convert { source } = &jobs[0].kind else { unreachable!() };
    assert_eq!((source.size, source.name.as_str()), (5, "grows.mcap"));
}

#[test]
fn a_recording_that_waits_when_the_leader_is_lost_waits_under_the_next_one_too() {
    let lab = ScanLab::new(Duration::from_secs(60));
    lab.add(0..1);
    let (lead, mut scan) = (lab.lead(1), lab.scanner(&Steps::default()));
    assert_eq!(scan.round(&lead).unwrap().waiting, 1);
    lab.time.advance(Duration::from_secs(61));
    lab.outlive_the_lease();
    let (next, mut other) = (lab.lead(2), lab.scanner(&Steps::default()));
    assert_eq!(other.round(&next).unwrap().waiting, 1, "it has seen it once");
    assert!(matches!(scan.round(&lead), Err(RoundError::Lost)));
    lab.time.advance(Duration::from_secs(61));
    assert_eq!(other.round(&next).unwrap().new, 1);
}

#[test]
fn what_waits_before_a_break_in_the_listing_still_keeps_the_batch_open() {
    let lab = ScanLab::new(Duration::from_secs(60));
    lab.files.put("0.mcap", b"first").unwrap();
    for number in 0..CURSOR_EVERY + 50 {
        lab.files.put(&format!("b{number:05}.jpg"), b"").unwrap();
    }
    let steps = Steps::default();
    let (lead, mut scan) = (lab.lead(1), lab.scanner(&steps));
    assert_eq!(scan.round(&lead).unwrap().waiting, 1);
    lab.time.advance(Duration::from_secs(61));
    assert_eq!(scan.round(&lead).unwrap().new, 1);
    lab.files.put("a.mcap", b"fresh").unwrap();
    steps.fail_once_in(CURSOR_EVERY + 30);
    assert!(matches!(scan.round(&lead), Err(RoundError::Storage(_))));
    let rest = scan.round(&lead).unwrap();
    assert!(rest.listed < 100, "it goes on behind its cursor: {rest:?}");
    assert_eq!((rest.new, rest.waiting, rest.sealed), (0, 1, None), "one waits before the cursor");
    lab.time.advance(Duration::from_secs(61));
    assert_eq!(scan.round(&lead).unwrap().new, 1);
    assert!(scan.round(&lead).unwrap().sealed.is_some());
}

#[test]
fn only_recordings_are_taken() {
    let lab = ScanLab::new(Duration::ZERO);
    for key in
        ["a.mcap", "b.MCAP", "notes.txt", ".hidden/c.mcap", "deep/.d.mcap", "deep/e.mcap", "f.mcap.part"]
    {
        lab.files.put(key, b"x").unwrap();
    }
    let (lead, mut scan) = (lab.lead(1), lab.scanner(&Steps::default()));
    let done = scan.round(&lead).unwrap();
    assert_eq!((done.listed, done.matched, done.new), (7, 3, 3));
    assert_eq!(lab.enqueued(), ["a.mcap", "b.MCAP", "deep/e.mcap"]);
}

/// Scanners come and go at random, recordings too: in the end each version is there once.
#[test]
fn scanners_that_come_and_go_at_random_enqueue_each_recording_once() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let (seed, cases) = (number("SEED", 1), number("CASES", 60));
    println!("SEED={seed} CASES={cases}");
    for case in 0..cases {
        let mut dice = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003) ^ case);
        let lab = ScanLab::new(Duration::ZERO);
        let mut added = 0;
        for process in 1..12u128 {
            let more = dice.random_range(0..40);
            lab.add(added..added + more);
            added += more;
            let step = dice.random_range(0..80);
            let steps = match dice.random_range(0..3) {
                0 => Steps::kill_at(step),
                1 => Steps::default(),
                _ => Steps::pause_at(step, {
                    let lab = lab.clone();
                    move || takes_over(&lab, 100 + process)
                }),
            };
            let (lead, mut scan) = (lab.lead(process), lab.scanner(&steps));
            for _ in 0..dice.random_range(1..4) {
                if scan.round(&lead).is_err() {
                    break;
                }
            }
            check(&lab);
            lab.outlive_the_lease();
        }
        takes_over(&lab, 1_000);
        assert_eq!(lab.enqueued(), names(0..added), "case {case} of SEED={seed}");
    }
}

/// An input of a million keys that are made as they are asked for.
#[derive(Debug)]
struct Vast {
    keys: u64,
    /// Every so many-th is a recording.
    each: u64,
    /// The keys that listings began behind.
    began: Arc<Mutex<Vec<String>>>,
    given: Arc<AtomicU64>,
}

impl Vast {
    fn key(&self, number: u64) -> String {
        let is_recording = number.is_multiple_of(self.each);
        format!("k{number:07}.{}", if is_recording { "mcap" } else { "jpg" })
    }
}

impl Storage for Vast {
    fn location(&self) -> String {
        "vast:".to_owned()
    }

    fn list_after(&self, _prefix: &str, after: &str) -> Result<ObjectIter<'_>, StorageError> {
        self.began.lock().unwrap().push(after.to_owned());
        let first = after.get(1..8).map_or(0, |number| number.parse::<u64>().unwrap() + 1);
        Ok(Box::new((first..self.keys).map(|number| {
            self.given.fetch_add(1, Ordering::Relaxed);
            Ok(ObjectInfo { key: self.key(number), size: 1, version: "1".to_owned(), modified_ms: None })
        })))
    }

    fn head(&self, key: &str) -> Result<ObjectInfo, StorageError> {
        Err(StorageError::NotFound { location: self.location(), key: key.to_owned() })
    }

    fn read_at(&self, _object: &ObjectInfo, _offset: u64, _len: usize) -> Result<Bytes, StorageError> {
        unreachable!("a scanner reads nothing")
    }

    fn read(&self, _key: &str, _limit_bytes: u64) -> Result<Bytes, StorageError> {
        unreachable!("a scanner reads nothing")
    }

    fn put(&self, _key: &str, _body: &[u8]) -> Result<(), StorageError> {
        unreachable!("a scanner writes nothing")
    }

    fn writer(&self, _key: &str) -> Result<Box<dyn ObjectWriter>, StorageError> {
        unreachable!("a scanner writes nothing")
    }

    fn delete(&self, _key: &str) -> Result<(), StorageError> {
        unreachable!("a scanner deletes nothing of its input")
    }

    fn delete_all(&self, _prefix: &str) -> Result<u64, StorageError> {
        unreachable!("a scanner deletes nothing of its input")
    }

    fn sweep(&self, _prefix: &str) -> Result<u64, StorageError> {
        unreachable!("a scanner sweeps nothing of its input")
    }

    fn sweep_all(&self, _prefix: &str) -> Result<u64, StorageError> {
        unreachable!("a scanner sweeps nothing of its input")
    }
}

const MILLION: u64 = 1_000_000;

fn vast(settle: Duration, each: u64) -> (ScanLab, Arc<Mutex<Vec<String>>>, Arc<AtomicU64>) {
    let (began, given) = (Arc::default(), Arc::default());
    let input = Vast { keys: MILLION, each, began: Arc::clone(&began), given: Arc::clone(&given) };
    (ScanLab::over(settle, Arc::new(input), MemoryStorage::new()), began, given)
}

#[test]
fn a_million_keys_are_listed_once_in_pages_and_a_kill_costs_no_more_than_a_page() {
    let (lab, began, given) = vast(Duration::ZERO, 1_000);
    let steps = Steps::kill_at(700_000);
    let (lead, mut scan) = (lab.lead(1), lab.scanner(&steps));
    assert!(scan.round(&lead).is_err());
    let listed = given.load(Ordering::Relaxed);
    lab.outlive_the_lease();
    let (lead, mut scan) = (lab.lead(2), lab.scanner(&Steps::default()));
    let done = scan.round(&lead).unwrap();
    assert_eq!((done.new, done.listed < MILLION - listed + CURSOR_EVERY + 1), (1_000, true), "{done:?}");
    assert!(
        given.load(Ordering::Relaxed) <= MILLION + CURSOR_EVERY + 1,
        "no more than a page is listed twice"
    );
    assert_eq!(began.lock().unwrap().len(), 2);
    let commits = lab.store.commits();
    assert_eq!(scan.round(&lead).unwrap().new, 0);
    let (whole, of_pages) = (lab.store.commits() - commits, MILLION / CURSOR_EVERY);
    assert!(whole <= of_pages + 3, "{whole} commits for a round that brings nothing");
    check(&lab);
}

#[test]
fn a_million_fresh_recordings_wait_in_bounded_memory() {
    let (lab, _, _) = vast(Duration::from_secs(60), 1);
    let (lead, mut scan) = (lab.lead(1), lab.scanner(&Steps::default()));
    let done = scan.round(&lead).unwrap();
    assert_eq!((done.matched, done.waiting, done.new), (MILLION, MILLION, 0));
    assert_eq!(scan.remembered(), (WAITING_MAX, 0));
}
