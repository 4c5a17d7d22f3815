//! Memory over time of `roboflow run`, for recordings of several lengths.
//!
//! `cargo bench --bench memory -- [--minutes 1,10,60] [--cameras 4] [--size 160x120] [--folder DIR]`; or, for recordings that
//! are there, `-- --recordings FILE...`.
//!
//! What is resident is read every few milliseconds until the process is gone; the peak is the kernel's own high-water mark
//! (VmHWM). It asserts nothing. An hour of four cameras at 640 x 480 is 20 GB and takes three times that on the disk: the
//! default is an hour of small pictures, beside which a few minutes of large ones can be measured.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and ends when something is wrong"
)]

use roboflow::bench::robot::Robot;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// Points of a curve that are shown.
const POINTS: usize = 10;
const MIB: f64 = 1_048_576.0;

fn main() {
    let folder = match option("--folder") {
        Some(folder) => tempfile::tempdir_in(folder).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    println!(
        "{:>12}  {:>10}  {:>9}  {:>9}   resident at each tenth of the time, MiB",
        "", "MiB in", "seconds", "peak MiB"
    );
    let given: Vec<PathBuf> = std::env::args()
        .skip_while(|argument| argument != "--recordings")
        .skip(1)
        .map(PathBuf::from)
        .collect();
    for recording in &given {
        measure(folder.path(), recording);
    }
    if given.is_empty() {
        for minutes in option("--minutes").as_deref().unwrap_or("1,10,60").split(',') {
            let recording = make(folder.path(), minutes.parse().unwrap());
            measure(folder.path(), &recording);
            std::fs::remove_file(recording).unwrap();
        }
    }
}

fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn make(folder: &Path, minutes: u32) -> PathBuf {
    let size = option("--size").unwrap_or("160x120".to_owned());
    let (width, height) = size.split_once('x').unwrap();
    let robot = Robot {
        seconds: minutes * 60,
        cameras: option("--cameras").map_or(4, |cameras| cameras.parse().unwrap()),
        size: (width.parse().unwrap(), height.parse().unwrap()),
    };
    let path = folder.join(format!("{minutes}-minutes.mcap"));
    robot.write(&path, &robot.pictures().unwrap()).unwrap();
    path
}

fn measure(folder: &Path, recording: &Path) {
    let out = folder.join("out");
    let child = Command::new(env!("CARGO_BIN_EXE_roboflow"))
        .arg("run")
        .arg(recording)
        .arg("--out")
        .arg(&out)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    let (curve, peak) = watch(child);
    let points = (1..=POINTS).filter_map(|point| curve.get((curve.len() * point / POINTS).checked_sub(1)?));
    let points: Vec<String> = points.map(|mib| format!("{mib:.0}")).collect();
    println!(
        "{:>12}  {:>10.1}  {:>9.1}  {peak:>9.1}   {}",
        recording.file_stem().unwrap().to_string_lossy(),
        std::fs::metadata(recording).unwrap().len() as f64 / MIB,
        began.elapsed().as_secs_f64(),
        points.join(" ")
    );
    std::fs::remove_dir_all(out).unwrap();
}

/// What is resident over time and the peak, in MiB.
fn watch(mut child: Child) -> (Vec<f64>, f64) {
    let status = format!("/proc/{}/status", child.id());
    let (mut curve, mut peak) = (Vec::new(), 0.0_f64);
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse::<f64>().ok()
        };
        if let (Some(high), Some(resident)) = (of("VmHWM:"), of("VmRSS:")) {
            peak = peak.max(high / 1024.0);
            curve.push(resident / 1024.0);
        }
        std::thread::sleep(LOOK);
    }
    assert!(child.wait().unwrap().success(), "the conversion failed");
    (curve, peak)
}
