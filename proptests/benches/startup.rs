//! How soon the program is at work: `roboflow --version` from start to end, and `roboflow run` on a small recording from its
//! start to the first frames in the staging area and to the whole dataset.
//!
//! `cargo bench --bench startup -- [--rounds 20] [--folder DIR]`. It asserts nothing; the fastest and the middle one of all
//! rounds are shown, as on a busy machine only the fastest tells of the program.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and ends when something is wrong"
)]

use roboflow::bench::robot::Robot;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks for the first frames.
const LOOK: Duration = Duration::from_micros(200);

fn main() {
    let folder = match option("--folder") {
        Some(folder) => tempfile::tempdir_in(folder).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let rounds: u32 = option("--rounds").map_or(20, |rounds| rounds.parse().unwrap());
    let recording = folder.path().join("tiny.mcap");
    let robot = Robot { seconds: 1, cameras: 1, size: (64, 48) };
    robot.write(&recording, &robot.pictures().unwrap()).unwrap();
    let (mut version, mut first, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let began = Instant::now();
        assert!(roboflow().arg("--version").status().unwrap().success(), "the program does not start");
        version.push(began.elapsed());
        let (frames, dataset) = run(&recording, &folder.path().join("out"));
        first.push(frames);
        whole.push(dataset);
    }
    println!("{:44}{:>10}  {:>10}", "", "fastest ms", "middle ms");
    for (name, mut times) in [
        ("--version, to its end", version),
        ("run on 1 s, to its first frames in staging", first),
        ("run on 1 s, to its end", whole),
    ] {
        times.sort_unstable();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "{name:44}{:>10.1}  {:>10.1}",
            ms(*times.first().unwrap()),
            ms(*times.get(times.len() / 2).unwrap())
        );
    }
}

fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn roboflow() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roboflow"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// From the start to the first segment, and to the end.
fn run(recording: &Path, out: &Path) -> (Duration, Duration) {
    let began = Instant::now();
    let mut child = roboflow().arg("run").arg(recording).arg("--out").arg(out).spawn().unwrap();
    let mut first = None;
    while child.try_wait().unwrap().is_none() {
        if first.is_none() && has_parquet(out) {
            first = Some(began.elapsed());
        }
        thread::sleep(LOOK);
    }
    let whole = began.elapsed();
    assert!(child.wait().unwrap().success(), "the conversion failed");
    fs::remove_dir_all(out).unwrap();
    (first.unwrap_or(whole), whole)
}

/// Whether a Parquet file stands anywhere in a folder. What is not there, or goes away meanwhile, has none.
fn has_parquet(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .any(|path| path.extension() == Some(OsStr::new("parquet")) || has_parquet(&path))
}
