//! What a process holds while it converts recordings at once.

use crate::lab::Lab;
use roboflow_proptests::recording::Robot;

/// What the program promises.
const PEAK_MIB: f64 = 256.0;
/// Frames of four cameras, as large as pictures of 640 x 480 are: a segment of them is 20 MB.
const PICTURE_BYTES: usize = 50_000;

/// The kernel's high-water mark of a process, in MiB; none when it has ended.
fn peak_mib(id: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
}

/// The peak of a run of so many workers on as many recordings.
fn peak_of(workers: usize) -> f64 {
    let robot = Robot {
        seconds: 14.0,
        cameras: 4,
        picture_bytes: PICTURE_BYTES,
        chunk_bytes: 1 << 20,
        ..Robot::default()
    };
    let lab = Lab::with(workers, &robot);
    let mut run = lab.start(&format!("run in --out set --workers {workers}"));
    let mut peak = 0.0_f64;
    let id = run.id();
    // Never true: until it ends.
    run.until("its end", || {
        peak = peak.max(peak_mib(id).unwrap_or(0.0));
        false
    });
    run.wait().expect_code(0);
    peak
}

#[test]
fn recordings_at_once_take_no_more_than_a_process_may() {
    // Twice as many as a run on two cores takes by itself.
    let peak = peak_of(4);
    println!("peak of 4 recordings at once: {peak:.0} MiB");
    assert!(peak > 20.0, "it was seen at work: {peak:.0} MiB");
    assert!(peak < PEAK_MIB, "{peak:.0} MiB");
}
