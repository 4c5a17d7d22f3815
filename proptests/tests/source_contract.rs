//! The contract of sources: every format gives the same stream of one content, from memory and from a disk, whole and cut.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test at once")]

use roboflow::storage::SharedStorage;
use roboflow::storage::fs::FsStorage;
use roboflow::storage::memory::MemoryStorage;
use roboflow_proptests::source_contract::{check_all, check_cut};
use std::sync::Arc;

fn seeds(cases: u64) -> impl Iterator<Item = u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (seed, cases) = (number("SEED"), number("CASES").unwrap_or(cases));
    (0..cases).map(move |case| seed.unwrap_or(case + 1)).take(if seed.is_some() { 1 } else { usize::MAX })
}

#[test]
fn every_format_gives_the_same_stream_from_memory() {
    for seed in seeds(4) {
        check_all(seed, 120 + (seed % 7) as usize * 31, || Arc::new(MemoryStorage::new()));
    }
}

#[test]
fn every_format_gives_the_same_stream_from_a_disk() {
    let mut folders = Vec::new();
    for seed in seeds(1) {
        check_all(seed, 150, || {
            let folder = tempfile::tempdir().unwrap();
            let storage: SharedStorage = Arc::new(FsStorage::create(folder.path()).unwrap());
            folders.push(folder);
            storage
        });
    }
}

#[test]
fn of_cut_files_the_first_messages_count_or_the_file_is_refused() {
    for seed in seeds(3) {
        check_cut(seed, 200, || Arc::new(MemoryStorage::new()));
    }
}
