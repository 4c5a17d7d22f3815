//! Peak memory of a conversion, for one recording and for one of ten times the data.
//!
//! `cargo bench --bench memory -- [--recordings SMALL LARGE]`; without recordings it writes its own.
//!
//! The peak is the kernel's own high-water mark of the process (VmHWM), read until the process is gone. It asserts nothing.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and ends when something is wrong"
)]

use roboflow_proptests::recording::Robot;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = std::env::args().skip_while(|argument| argument != "--recordings").skip(1);
    let (small, large) = match (arguments.next(), arguments.next()) {
        (Some(small), Some(large)) => (PathBuf::from(small), PathBuf::from(large)),
        _ => (recording(folder.path(), 60.0), recording(folder.path(), 600.0)),
    };
    let [one, ten] = [small, large].map(|recording| peak(folder.path(), &recording));
    println!("{:>10} MiB in, peak {:>8.1} MiB", one.0, one.1);
    println!("{:>10} MiB in, peak {:>8.1} MiB", ten.0, ten.1);
    println!(
        "{:.1} times the data, growth of the peak {:+.1} %",
        ten.0 / one.0,
        (ten.1 / one.1 - 1.0) * 100.0
    );
}

fn recording(folder: &Path, seconds: f64) -> PathBuf {
    let path = folder.join(format!("{seconds}.mcap"));
    Robot { seconds, cameras: 2, ..Robot::default() }.write(&path);
    path
}

/// Size of the recording and peak of its conversion, in MiB.
fn peak(folder: &Path, recording: &Path) -> (f64, f64) {
    let bytes = std::fs::metadata(recording).unwrap().len();
    let out = folder.join(format!("out-{bytes}"));
    let child = Command::new(env!("CARGO_BIN_EXE_roboflow"))
        .arg("run")
        .arg(recording)
        .arg("--out")
        .arg(out)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    ((bytes as f64 / 1_048_576.0 * 10.0).round() / 10.0, high_water(child))
}

fn high_water(mut child: Child) -> f64 {
    let status = format!("/proc/{}/status", child.id());
    let mut kib = 0.0_f64;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let seen = line.and_then(|value| value.trim().trim_end_matches(" kB").parse::<f64>().ok());
        kib = kib.max(seen.unwrap_or_default());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success(), "the conversion failed");
    kib / 1024.0
}
