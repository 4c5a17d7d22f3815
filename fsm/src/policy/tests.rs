//! Properties of the policies, and the texts of refused settings.

use super::*;
use alloc::string::ToString;
use proptest::prelude::*;

#[test]
fn defaults_are_possible() {
    assert_eq!(Settings::default().check(), Ok(()));
}

#[test]
fn pitfall_32_impossible_numbers_are_refused_with_the_arithmetic() {
    let base = Settings::default();
    let cases = [
        (
            Settings { force_after_ms: 20_000, ..base.clone() },
            "drain budget 25 s + checkpoint and release 3 s = 28 s does not fit before the force deadline 20 s: raise \
             --force-after or lower --drain-budget",
        ),
        (
            Settings { lease_ms: 8_500, ..base.clone() },
            "3 renewals at 3 s each = 9 s do not fit in the lease 8.5 s: raise the lease or lower the renewal interval",
        ),
        (
            Settings { lease_ms: 3_000, renew_interval_ms: 1_000, ..base.clone() },
            "2 renewals at 1 s each + write margin 2 s = 4 s do not fit in the lease 3 s: raise the lease or lower the \
             renewal interval",
        ),
        (
            Settings { shutdown_timeout_ms: 26_000, ..base.clone() },
            "shutdown timeout 26 s is longer than the drain budget 25 s: lower --shutdown-timeout or raise \
             --drain-budget",
        ),
        (Settings { poll_interval_ms: 0, ..base.clone() }, "poll interval is zero: it must be positive"),
        (
            Settings { force_after_ms: u64::MAX, ..base.clone() },
            "force deadline 18446744073709551.615 s is longer than 86400 s: lower it",
        ),
    ];
    for (settings, text) in cases {
        assert_eq!(settings.check().unwrap_err().to_string(), text);
    }
}

#[test]
fn a_term_within_two_seconds_is_a_repetition() {
    assert!(!is_repetition(None, 0));
    assert!(is_repetition(Some(1_000), 3_000));
    assert!(!is_repetition(Some(1_000), 3_001));
}

#[test]
fn an_unmeasured_job_is_not_known_to_fit() {
    let settings = Settings::default();
    assert_eq!(predicted_rest_ms(None, Some(1), None), None);
    assert_eq!(predicted_rest_ms(Some(1), None, None), None);
    assert!(!fits(&settings, None));
    assert!(fits(&settings, Some(25_000)));
    assert!(!fits(&settings, Some(25_001)));
    assert!(!fits(&Settings { finish_if_fits: false, ..settings }, Some(1)));
}

proptest! {
    #![proptest_config(crate::testing::config())]

    #[test]
    fn backoff_is_positive_and_capped(attempt: u32, dice: u32, cap in 2u64..1_000_000) {
        let wait = backoff_ms(attempt, cap, dice);
        prop_assert!(wait >= 1 && wait <= cap);
        // Before jitter it never falls with the attempt.
        prop_assert!(backoff_ms(attempt, cap, 0) <= backoff_ms(attempt.saturating_add(1), cap, 0));
    }

    #[test]
    fn a_poll_never_waits_longer_than_the_interval(interval in 1u64..100_000_000, dice: u32) {
        let wait = poll_ms(interval, dice);
        prop_assert!(wait >= 1 && wait <= interval);
        prop_assert!(wait * 10 >= interval * 8);
    }

    #[test]
    fn writing_stops_before_the_lease_ends(lease in 2_000u64..100_000_000, sent in 0u64..1_000_000_000_000) {
        let margin = write_margin_ms(lease);
        prop_assert!(margin >= WRITE_MARGIN_MIN_MS && margin * 100 + 100 > lease * WRITE_MARGIN_PERCENT);
        prop_assert!(write_until_ms(sent, lease) + margin == sent + lease);
    }

    #[test]
    fn an_average_lies_between_its_samples(old: u64, sample: u64) {
        let mean = ewma_ms(Some(old), sample);
        prop_assert!(mean >= old.min(sample) && mean <= old.max(sample));
    }

    #[test]
    fn finishing_never_outlasts_the_cut(
        asked in 0u64..1_000_000_000, cut in 0u64..1_000_000_000, timeout: u64, rest: Option<u64>,
    ) {
        let settings = Settings { shutdown_timeout_ms: timeout, ..Settings::default() };
        let until = finish_until_ms(&settings, asked, cut, rest);
        prop_assert!(until >= asked && until <= asked.max(cut));
    }

    #[test]
    fn a_checkpoint_once_due_stays_due(frames: u32, elapsed: u64) {
        let settings = Settings::default();
        if checkpoint_due(&settings, frames, elapsed) {
            prop_assert!(checkpoint_due(&settings, frames.saturating_add(1), elapsed));
            prop_assert!(checkpoint_due(&settings, frames, elapsed.saturating_add(1)));
        }
    }

    #[test]
    fn checked_settings_leave_room_for_the_release(
        drain in 0u64..100_000, force in 0u64..100_000, timeout in 0u64..100_000, lease in 0u64..100_000,
        renew in 0u64..30_000,
    ) {
        let settings = Settings {
            drain_budget_ms: drain, force_after_ms: force, shutdown_timeout_ms: timeout, lease_ms: lease,
            renew_interval_ms: renew, ..Settings::default()
        };
        if settings.check().is_ok() {
            prop_assert!(timeout <= drain && drain + RELEASE_RESERVE_MS <= force);
            prop_assert!(renew * 3 <= lease && write_until_ms(0, lease) >= renew * 2 && renew > 0);
        } else {
            prop_assert!(!settings.check().unwrap_err().to_string().is_empty());
        }
    }
}
