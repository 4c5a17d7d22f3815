//! The process's own time: monotonic milliseconds since it started.
//!
//! It is not a wall clock: leases, budgets and deadlines are durations, and a wall clock jumps. A pause of the whole
//! process (SIGSTOP) counts, since the lease in the store goes on running meanwhile.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// CLOCK_MONOTONIC in nanoseconds: for comparing the logs of several processes of a host, never for decisions.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs().saturating_mul(1_000_000_000).saturating_add(now.tv_nsec.unsigned_abs())
}

/// Milliseconds since a fixed instant. Copies agree with each other.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that reads 0 now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Milliseconds since the start. Never falls.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How long until this clock reads `at_ms`; zero when that has passed.
    pub fn until(&self, at_ms: u64) -> Duration {
        (self.origin + Duration::from_millis(at_ms)).saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_passed_is_no_wait() {
        let clock = Clock::start();
        assert_eq!(clock.until(0), Duration::ZERO);
        assert!(clock.until(60_000) > Duration::from_secs(50));
    }

    #[test]
    fn copies_agree() {
        let clock = Clock::start();
        let copy = clock;
        let first = clock.now_ms();
        assert!(copy.now_ms() >= first);
    }
}
