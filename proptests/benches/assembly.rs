//! Assembly: against plain copies of the same files, and of thousands of small episodes.
//!
//! `cargo bench --bench assembly`. It asserts nothing but that the datasets are there. Both write to a folder that is
//! removed at its end, each file durable when it counts as written.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and ends when something is wrong"
)]

use roboflow::lerobot::assemble::{AssembleOptions, AssembleWork};
use roboflow::storage::SharedStorage;
use roboflow::storage::fs::FsStorage;
use roboflow::work::{StopFlag, Work};
use roboflow_proptests::staged_episodes::{Episode, stage};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const MB: f64 = 1e6;
/// Threads that stage small episodes.
const STAGERS: u32 = 16;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path());
    for episodes in [1_000, 5_000] {
        small(folder.path(), episodes);
    }
}

/// Large images: what takes time is bytes.
fn images(folder: &Path) {
    let staged = folder.join("images");
    let staging: SharedStorage = Arc::new(FsStorage::create(&staged).unwrap());
    let mut prefixes = Vec::new();
    for number in 0..20 {
        let mut episode = Episode::new(&format!("{number:03}.mcap"), 100, "pick", number);
        episode.padding = 250_000;
        let prefix = format!("{number}/");
        stage(&staging, &prefix, &episode);
        prefixes.push(prefix);
    }
    let bytes = bytes_of(&staged);
    // One after another, and again: the first of each reads what was just written.
    for round in 1..=3 {
        let copied = copy(&staged, &folder.join(format!("copy-{round}")));
        let (assembled, _) = assemble(&staging, &prefixes, &folder.join(format!("set-{round}")));
        let rate = |took: Duration| bytes as f64 / MB / took.as_secs_f64();
        println!(
            "round {round}: {:.0} MB staged: copied at {:.0} MB/s, assembled at {:.0} MB/s ({:.0} %)",
            bytes as f64 / MB,
            rate(copied),
            rate(assembled),
            100.0 * rate(assembled) / rate(copied)
        );
    }
}

/// Small episodes of numbers alone: what takes time is their number.
fn small(folder: &Path, episodes: u32) {
    let staging: SharedStorage =
        Arc::new(FsStorage::create(&folder.join(format!("small-{episodes}"))).unwrap());
    let begun = Instant::now();
    // By many, since each file is made durable: to stage them is not what is measured.
    std::thread::scope(|scope| {
        for first in 0..STAGERS {
            let staging = &staging;
            scope.spawn(move || {
                for number in (first..episodes).step_by(STAGERS as usize) {
                    let mut episode = Episode::new(&format!("{number:05}.mcap"), 5, "pick", number);
                    episode.features.truncate(3);
                    stage(staging, &format!("{number}/"), &episode);
                }
            });
        }
    });
    let staged = begun.elapsed();
    let prefixes: Vec<String> = (0..episodes).map(|number| format!("{number}/")).collect();
    let before = peak_mb();
    let (took, opened) = assemble(&staging, &prefixes, &folder.join(format!("tiny-{episodes}")));
    println!(
        "{episodes} episodes of 5 frames (staged in {:.1} s): opened in {:.2} s, assembled in {:.2} s, {:.2} ms an episode; the process's peak went from {before:.0} to {:.0} MB",
        staged.as_secs_f64(),
        opened.as_secs_f64(),
        took.as_secs_f64(),
        1000.0 * took.as_secs_f64() / f64::from(episodes),
        peak_mb()
    );
}

/// How long it took, and how long until the first segment.
fn assemble(staging: &SharedStorage, prefixes: &[String], to: &Path) -> (Duration, Duration) {
    let out: SharedStorage = Arc::new(FsStorage::create(to).unwrap());
    let begun = Instant::now();
    let options = AssembleOptions { scratch: "assembly/".into(), ..AssembleOptions::default() };
    let mut work = AssembleWork::open(Arc::clone(staging), prefixes, Arc::clone(&out), options).unwrap();
    let opened = begun.elapsed();
    for segment in 0..work.segments() {
        work.run(segment, &StopFlag::default()).unwrap();
    }
    let took = begun.elapsed();
    out.head("meta/info.json").unwrap();
    staging.delete_all("assembly/").unwrap();
    fs::remove_dir_all(to).unwrap();
    (took, opened)
}

/// Copies each file and makes it durable.
fn copy(from: &Path, to: &Path) -> Duration {
    let begun = Instant::now();
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&path, &target).unwrap();
        File::open(&target).unwrap().sync_all().unwrap();
    }
    let took = begun.elapsed();
    fs::remove_dir_all(to).unwrap();
    took
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn bytes_of(folder: &Path) -> u64 {
    files(folder).iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

/// The kernel's high-water mark of this process.
fn peak_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0 / MB
}
