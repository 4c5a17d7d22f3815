//! The time of a store in a file: the host's time since boot, on a base that is kept in the file.
//!
//! Not the wall clock: stepping that moves nothing. All processes of the host read the same clock. After a reboot the
//! time goes on from the greatest instant that was recorded; it reads like milliseconds since 1970, but is not kept
//! in step with them.

use super::super::StoreTime;
use rustix::time::{ClockId, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

/// How far the recorded instant may lag behind the instants in use: it is written with the first commit after so long.
pub(super) const RECORD_EVERY_MS: u64 = 1_000;

/// Where Linux shows the id of the running boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What the file knows about time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recorded {
    /// The boot under which `base_ms` holds.
    pub(super) boot_id: String,
    /// The store's time at that boot.
    pub(super) base_ms: u64,
    /// The greatest instant that was recorded.
    pub(super) high_ms: u64,
}

/// The clock of one open store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    base_ms: u64,
}

impl Clock {
    pub(super) fn new(recorded: &Recorded) -> Self {
        Self { base_ms: recorded.base_ms }
    }

    pub(super) fn now(self) -> StoreTime {
        StoreTime(self.base_ms.saturating_add(since_boot_ms()))
    }
}

/// What is to be recorded when the store is opened now, given what stood there.
pub(super) fn on_open(
    before: Option<&Recorded>,
    boot_id: &str,
    since_boot_ms: u64,
    wall_ms: u64,
) -> Recorded {
    let Some(before) = before else {
        let base_ms = wall_ms.saturating_sub(since_boot_ms);
        return Recorded {
            boot_id: boot_id.to_owned(),
            base_ms,
            high_ms: base_ms.saturating_add(since_boot_ms),
        };
    };
    // Whatever was in use before lies within one recording interval of what was recorded.
    let at_least_ms = before.high_ms.saturating_add(RECORD_EVERY_MS);
    let goes_on = before.boot_id == boot_id && before.base_ms.saturating_add(since_boot_ms) >= before.high_ms;
    if goes_on {
        return before.clone();
    }
    let base_ms = at_least_ms.saturating_sub(since_boot_ms);
    // A host that has been up for longer than the store's time reads could not be given a negative base.
    Recorded { boot_id: boot_id.to_owned(), base_ms, high_ms: base_ms.saturating_add(since_boot_ms) }
}

/// Milliseconds since this host booted, time asleep included.
pub(super) fn since_boot_ms() -> u64 {
    let at = clock_gettime(ClockId::Boottime);
    let seconds_ms = u64::try_from(at.tv_sec).unwrap_or(0).saturating_mul(1_000);
    seconds_ms.saturating_add(u64::try_from(at.tv_nsec).unwrap_or(0) / 1_000_000)
}

/// Milliseconds since 1970 by the wall clock: read once, when a store is created.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 2)
}

/// The id of the running boot.
pub(super) fn boot_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string(BOOT_ID)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;
    const WALL_MS: u64 = 1_790_000_000_000;

    fn created() -> Recorded {
        on_open(None, "boot-a", 5_000, WALL_MS)
    }

    #[test]
    fn a_new_store_reads_like_unix_time() {
        assert_eq!(created().base_ms + 5_000, WALL_MS);
    }

    #[test]
    fn pitfall_18_stepping_the_wall_clock_moves_nothing() {
        let first = created();
        assert_eq!(on_open(Some(&first), "boot-a", 9_000, WALL_MS + 10 * 60_000), first);
        assert_eq!(on_open(Some(&first), "boot-a", 9_000, WALL_MS - 10 * 60_000), first);
    }

    #[test]
    fn another_boot_goes_on_above_everything_in_use() {
        let before = Recorded { high_ms: WALL_MS + DAY_MS, ..created() };
        let after = on_open(Some(&before), "boot-b", 700, 0);
        assert_eq!(after.base_ms + 700, before.high_ms + RECORD_EVERY_MS);
        assert_eq!(after.boot_id, "boot-b");
    }

    #[test]
    fn a_clock_set_back_under_the_same_boot_id_never_shows() {
        let before = Recorded { high_ms: WALL_MS + DAY_MS, ..created() };
        let after = on_open(Some(&before), "boot-a", 1_000, WALL_MS);
        assert!(after.base_ms + 1_000 > before.high_ms);
    }

    #[test]
    fn time_is_the_same_for_all_and_never_falls() {
        let clock = Clock::new(&created());
        let other = Clock::new(&created());
        let first = clock.now();
        assert!(other.now() >= first);
    }
}
