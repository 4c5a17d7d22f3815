//! Names of files that are still being written, and whether their writer is still there.
//!
//! A name is `.{name}.{place}-{pid}-{start}-{number}.partial`: `place` stands for the boot of the host and the process
//! namespace, `start` for the process's start in clock ticks since that boot. Within one place, pid and start name one
//! process for good, so a leftover is told from a file in use without any clock. Of a file from another place (another
//! host or container that shares the folder, or before a reboot) nothing is known: it counts as left behind only once
//! it has not been touched for [`ABANDONED_AFTER`].

use super::super::ABANDONED_AFTER;
use super::super::key::{PARTIAL_SUFFIX, is_partial};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// How much of the object's own name goes into the partial's, in bytes: file systems take 255 in all.
const NAME_PART_BYTES: usize = 96;

static NUMBER: AtomicU64 = AtomicU64::new(0);
static SELF: LazyLock<Writer> = LazyLock::new(Writer::this_process);

/// One process, for good.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Writer {
    /// Boot and process namespace, hashed.
    place: String,
    pid: u32,
    /// Clock ticks since boot; 0 where the system does not tell.
    start: u64,
}

/// A name for the file that becomes `name`, unlike any other.
pub(super) fn new_name(name: &str) -> String {
    let mut end = name.len().min(NAME_PART_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let Writer { place, pid, start } = &*SELF;
    format!(".{}.{place}-{pid}-{start}-{number}{PARTIAL_SUFFIX}", name.get(..end).unwrap_or_default())
}

/// Whether the file at `path` was left behind by a writer that is gone.
pub(super) fn is_abandoned(name: &str, path: &Path) -> bool {
    let Some(writer) = Writer::parse(name) else { return false };
    if writer.place == SELF.place { !writer.is_alive() } else { untouched_for_long(path) }
}

/// Whether a file belongs to another writer than this process.
pub(super) fn is_of_others(name: &str) -> bool {
    Writer::parse(name).is_some_and(|writer| writer != *SELF)
}

fn untouched_for_long(path: &Path) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|meta| meta.modified());
    let age = modified.ok().and_then(|then| SystemTime::now().duration_since(then).ok());
    age.is_some_and(|age| age > ABANDONED_AFTER)
}

impl Writer {
    fn this_process() -> Self {
        let mut place = Sha256::new();
        place.update(fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default());
        if let Ok(namespace) = fs::read_link("/proc/self/ns/pid") {
            place.update(namespace.as_os_str().as_encoded_bytes());
        }
        let place = place.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let pid = std::process::id();
        Self { place, pid, start: start_of(pid).unwrap_or(0) }
    }

    fn parse(name: &str) -> Option<Self> {
        if !is_partial(name) {
            return None;
        }
        let (_, stamp) = name.strip_suffix(PARTIAL_SUFFIX)?.rsplit_once('.')?;
        let mut parts = stamp.split('-');
        let place = parts.next()?.to_owned();
        let (pid, start, number) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        number.parse::<u64>().ok()?;
        parts.next().is_none().then_some(Self { place, pid, start })
    }

    fn is_alive(&self) -> bool {
        if self.start != 0 {
            return start_of(self.pid) == Some(self.start);
        }
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
    }
}

/// When a process that still runs was started, in clock ticks since boot (`/proc/PID/stat`, field 22).
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in brackets, and may itself hold blanks and brackets.
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_name_says_who_writes() {
        let name = new_name("file-000.parquet");
        assert_eq!(Writer::parse(&name).unwrap(), *SELF);
        assert!(SELF.is_alive());
        assert_ne!(name, new_name("file-000.parquet"));
        assert!(new_name(&"ä".repeat(120)).len() < 200);
    }

    #[test]
    fn the_same_pid_started_at_another_time_is_another_process() {
        let other = Writer { start: SELF.start + 1, ..SELF.clone() };
        assert!(!other.is_alive());
    }

    #[test]
    fn pitfall_28_what_only_looks_like_a_partial_is_not_ours_to_remove() {
        for name in [
            ".x.partial",
            ".x.1-2-3.partial",
            "x.a-1-2-3.partial",
            ".x.a-1-2-3-4.partial",
            ".x.a-b-2-3.partial",
        ] {
            assert_eq!(Writer::parse(name), None, "{name}");
        }
    }

    #[test]
    fn another_places_fresh_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let name = format!(".x.000000000000-1-1-1{PARTIAL_SUFFIX}");
        let path = folder.path().join(&name);
        fs::write(&path, b"x").unwrap();
        assert!(!is_abandoned(&name, &path) && is_of_others(&name));
        assert!(!is_of_others(&new_name("x")));
        let old = SystemTime::now() - ABANDONED_AFTER - Duration::from_secs(60);
        fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert!(is_abandoned(&name, &path));
    }
}
