//! What the kernel tells of this process: processor time and peak memory. None where it does not tell.

use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::time::Duration;

/// Processor time of all threads so far.
pub(super) fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Begins a new peak of memory. Whether the kernel did.
pub(super) fn reset_peak() -> bool {
    // As proc(5) has it: 5 resets the peak resident set size.
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Peak memory since the last reset, in bytes.
pub(super) fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

/// The load of the machine in the last minute: how many threads wanted to run.
pub(super) fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}
