//! Settings that cannot work, refused with the arithmetic that shows why.
//!
//! It does not read configuration; the shell maps [`Impossible`] to its exit code 78.

use super::{RELEASE_RESERVE_MS, Settings, write_margin_ms};
use core::fmt;

/// No time setting may exceed a day: what is longer is a typing error, and sums never overflow.
pub const MAX_SETTING_MS: u64 = 24 * 60 * 60 * 1_000;
/// Renewals that must fit in one lease.
pub const RENEWALS_PER_LEASE: u64 = 3;
/// Renewals that must fit before writing stops: one of them may fail.
pub const RENEWALS_PER_WRITE: u64 = 2;

const _: () = assert!(RENEWALS_PER_WRITE < RENEWALS_PER_LEASE);
const _: () = assert!(MAX_SETTING_MS.checked_mul(RENEWALS_PER_LEASE).is_some());

/// Why settings cannot work. Its `Display` shows the numbers and says which to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Impossible {
    /// Something that must be positive is zero.
    Zero {
        /// The setting's name.
        what: &'static str,
    },
    /// Something is longer than [`MAX_SETTING_MS`].
    TooLong {
        /// The setting's name.
        what: &'static str,
        /// Its value.
        ms: u64,
    },
    /// Fewer than three renewals fit in one lease.
    LeaseTooShort {
        /// The lease.
        lease_ms: u64,
        /// The renewal interval.
        renew_ms: u64,
    },
    /// Fewer than two renewals fit before writing must stop.
    MarginTooShort {
        /// The lease.
        lease_ms: u64,
        /// The renewal interval.
        renew_ms: u64,
    },
    /// Finishing is allowed for longer than draining.
    TimeoutOverBudget {
        /// The shutdown timeout.
        timeout_ms: u64,
        /// The drain budget.
        budget_ms: u64,
    },
    /// The last checkpoint and the release do not fit before the force deadline.
    BudgetOverForce {
        /// The drain budget.
        budget_ms: u64,
        /// The force deadline.
        force_ms: u64,
    },
}

impl Settings {
    /// Refuses numbers that cannot work together.
    ///
    /// # Errors
    /// The first impossibility found; its text shows the sum and what to change.
    pub fn check(&self) -> Result<(), Impossible> {
        let times = [
            ("poll interval", self.poll_interval_ms),
            ("drain budget", self.drain_budget_ms),
            ("force deadline", self.force_after_ms),
            ("checkpoint interval", self.checkpoint_interval_ms),
            ("lease", self.lease_ms),
            ("renewal interval", self.renew_interval_ms),
        ];
        if let Some((what, _)) = times.iter().find(|(_, ms)| *ms == 0) {
            return Err(Impossible::Zero { what });
        }
        if self.checkpoint_interval_frames == 0 {
            return Err(Impossible::Zero { what: "checkpoint interval in frames" });
        }
        let timeout = [("shutdown timeout", self.shutdown_timeout_ms)];
        if let Some((what, ms)) = times.iter().chain(&timeout).find(|(_, ms)| *ms > MAX_SETTING_MS) {
            return Err(Impossible::TooLong { what, ms: *ms });
        }
        self.check_lease()?;
        self.check_budgets()
    }

    fn check_lease(&self) -> Result<(), Impossible> {
        let (lease_ms, renew_ms) = (self.lease_ms, self.renew_interval_ms);
        if lease_ms < renew_ms * RENEWALS_PER_LEASE {
            return Err(Impossible::LeaseTooShort { lease_ms, renew_ms });
        }
        if lease_ms < renew_ms * RENEWALS_PER_WRITE + write_margin_ms(lease_ms) {
            return Err(Impossible::MarginTooShort { lease_ms, renew_ms });
        }
        Ok(())
    }

    fn check_budgets(&self) -> Result<(), Impossible> {
        let (timeout_ms, budget_ms) = (self.shutdown_timeout_ms, self.drain_budget_ms);
        if timeout_ms > budget_ms {
            return Err(Impossible::TimeoutOverBudget { timeout_ms, budget_ms });
        }
        if budget_ms + RELEASE_RESERVE_MS > self.force_after_ms {
            return Err(Impossible::BudgetOverForce { budget_ms, force_ms: self.force_after_ms });
        }
        Ok(())
    }
}

/// Milliseconds as a person writes them: `25 s`, `2.5 s`, `50 ms`.
struct Ms(u64);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, rest) = (self.0 / 1_000, self.0 % 1_000);
        match (seconds, rest) {
            (0, 1..) => write!(f, "{rest} ms"),
            (_, 0) => write!(f, "{seconds} s"),
            (_, rest) if rest % 100 == 0 => write!(f, "{seconds}.{} s", rest / 100),
            (_, rest) => write!(f, "{seconds}.{rest:03} s"),
        }
    }
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Zero { what } => write!(f, "{what} is zero: it must be positive"),
            Self::TooLong { what, ms } => {
                write!(f, "{what} {} is longer than {}: lower it", Ms(ms), Ms(MAX_SETTING_MS))
            }
            Self::LeaseTooShort { lease_ms, renew_ms } => write!(
                f,
                "{RENEWALS_PER_LEASE} renewals at {} each = {} do not fit in the lease {}: raise the lease or lower \
                 the renewal interval",
                Ms(renew_ms),
                Ms(renew_ms * RENEWALS_PER_LEASE),
                Ms(lease_ms)
            ),
            Self::MarginTooShort { lease_ms, renew_ms } => {
                let margin = write_margin_ms(lease_ms);
                write!(
                    f,
                    "{RENEWALS_PER_WRITE} renewals at {} each + write margin {} = {} do not fit in the lease {}: raise \
                     the lease or lower the renewal interval",
                    Ms(renew_ms),
                    Ms(margin),
                    Ms(renew_ms * RENEWALS_PER_WRITE + margin),
                    Ms(lease_ms)
                )
            }
            Self::TimeoutOverBudget { timeout_ms, budget_ms } => write!(
                f,
                "shutdown timeout {} is longer than the drain budget {}: lower --shutdown-timeout or raise \
                 --drain-budget",
                Ms(timeout_ms),
                Ms(budget_ms)
            ),
            Self::BudgetOverForce { budget_ms, force_ms } => write!(
                f,
                "drain budget {} + checkpoint and release {} = {} does not fit before the force deadline {}: raise \
                 --force-after or lower --drain-budget",
                Ms(budget_ms),
                Ms(RELEASE_RESERVE_MS),
                Ms(budget_ms + RELEASE_RESERVE_MS),
                Ms(force_ms)
            ),
        }
    }
}

impl core::error::Error for Impossible {}
