//! Policies, tolerances and shifts, against plain recomputations.

use super::*;
use crate::convert::align::Align;
use crate::convert::grid::Span;
use proptest::prelude::*;

const MS: u64 = 1_000_000;

fn lane(align: Align, tolerance_ms: Option<u64>, policy: OnMissing) -> Lane {
    Lane {
        feature: "f".to_owned(),
        topic_name: "/t".to_owned(),
        topic: 0,
        part: None,
        shift_frames: 0,
        rule: Rule { align, tolerance_ns: tolerance_ms.map(|ms| ms * MS) },
        source_policy: policy,
        policy,
    }
}

fn shifted(base: &Lane, shift_frames: u64, policy: OnMissing) -> Lane {
    Lane { shift_frames, policy, ..base.clone() }
}

/// A grid of 100 frames a second over these stamps, in milliseconds.
fn plan(stamps_ms: &[u64], lanes: &[Lane]) -> Result<(Plan, Vec<u64>), PlanError> {
    let stamps: Vec<u64> = stamps_ms.iter().map(|ms| ms * MS).collect();
    let span = Span { first_ns: stamps[0], last_ns: *stamps.last().unwrap() };
    let plan =
        Plan::make(&[stamps], lanes, Grid::shared(&[span], 100).unwrap(), Vec::new(), &StopFlag::default())?;
    let kept = plan.kept.frames(0..u64::MAX);
    Ok((plan, kept))
}

/// What the kept frames of `plan` take from `lane`.
fn picks(stamps_ms: &[u64], plan: &Plan, lane: &Lane) -> Vec<Pick> {
    let stamps: Vec<u64> = stamps_ms.iter().map(|ms| ms * MS).collect();
    let meet = |frame| lane.meet(&stamps, &plan.grid, frame).pick.unwrap();
    plan.kept.frames(0..u64::MAX).into_iter().map(meet).collect()
}

const GAP: [u64; 5] = [0, 10, 50, 60, 70];

#[test]
fn drop_leaves_out_what_is_older_than_the_tolerance() {
    let lanes = [lane(Align::Latest, Some(20), OnMissing::Drop)];
    let (plan, kept) = plan(&GAP, &lanes).unwrap();
    assert_eq!(kept, [0, 1, 2, 3, 5, 6, 7], "40 ms is 30 ms late; 30 ms is within, at exactly 20 ms");
    assert_eq!((plan.sync.grid_frames, plan.sync.dropped_frames), (8, 1));
    let source = &plan.sync.sources[0];
    assert_eq!((source.missing_frames, source.held_frames, source.match_rate), (1, 0, 7.0 / 8.0));
    assert_eq!((source.p50_ms, source.max_ms), (0.0, 30.0));
}

#[test]
fn hold_takes_the_latest_whatever_its_age() {
    for align in [Align::Latest, Align::Nearest, Align::Linear] {
        let lanes = [lane(align, Some(5), OnMissing::Hold)];
        let (plan, kept) = plan(&GAP, &lanes).unwrap();
        assert_eq!(kept, (0..8).collect::<Vec<_>>());
        let held = [0, 1, 1, 1, 1, 2, 3, 4].map(Pick::One);
        assert_eq!(picks(&GAP, &plan, &lanes[0]), held, "{align:?}");
        assert_eq!(plan.sync.sources[0].held_frames, 3);
    }
}

#[test]
fn fail_names_feature_topic_time_distance_and_tolerance() {
    let error = plan(&GAP, &[lane(Align::Latest, Some(20), OnMissing::Fail)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "feature \"f\": the frame at 0.040000000 s has no message of /t within 20 ms (it is 30 ms away); \
         on_missing = \"fail\" asks to fail then: allow a greater tolerance_ms, or \"drop\" or \"hold\""
    );
    assert!(plan(&GAP, &[lane(Align::Latest, Some(30), OnMissing::Fail)]).is_ok());
}

#[test]
fn linear_needs_both_neighbours_within_the_tolerance() {
    let lanes = [lane(Align::Linear, Some(29), OnMissing::Drop)];
    let (plan, kept) = plan(&GAP, &lanes).unwrap();
    assert_eq!(kept, [0, 1, 3, 5, 6, 7], "frames 2 and 4 are 30 ms from one neighbour");
    assert_eq!(picks(&GAP, &plan, &lanes[0])[2], Pick::Between { before: 1, after: 2, weight: 0.5 });
}

#[test]
fn a_shift_drops_the_end_or_holds_it() {
    let base = lane(Align::Latest, None, OnMissing::Drop);
    let lanes = [base.clone(), shifted(&base, 2, OnMissing::Drop)];
    let (dropped, kept) = plan(&GAP, &lanes).unwrap();
    assert_eq!(kept, [0, 1, 2, 3, 4, 5]);
    assert_eq!(picks(&GAP, &dropped, &lanes[1]), [1, 1, 1, 2, 3, 4].map(Pick::One));
    let lanes = [base.clone(), shifted(&base, 2, OnMissing::Hold)];
    let (held, kept) = plan(&GAP, &lanes).unwrap();
    assert_eq!(kept.len(), 8);
    assert_eq!(picks(&GAP, &held, &lanes[1])[5..], [4, 4, 4].map(Pick::One), "the last frame's, for ever");
}

#[test]
fn a_shift_looks_at_the_grid_not_at_what_is_kept() {
    let base = lane(Align::Latest, Some(20), OnMissing::Drop);
    let lanes = [base.clone(), shifted(&base, 1, OnMissing::Drop)];
    let (_, kept) = plan(&GAP, &lanes).unwrap();
    assert_eq!(kept, [0, 1, 2, 5, 6], "4 is missing, so 3 has no next one; 7 is the last");
    let lanes = [base.clone(), shifted(&base, 1, OnMissing::Hold)];
    let (plan, kept) = plan(&GAP, &lanes).unwrap();
    assert_eq!(kept, [0, 1, 2, 3, 5, 6, 7]);
    assert_eq!(picks(&GAP, &plan, &lanes[1])[3], Pick::One(1), "what is latest at the missing frame 4");
}

#[test]
fn a_held_source_has_a_value_at_every_frame_for_its_shift() {
    let base = lane(Align::Latest, Some(5), OnMissing::Hold);
    let lanes = [base.clone(), shifted(&base, 1, OnMissing::Drop)];
    let (_, kept) = plan(&GAP, &lanes).unwrap();
    assert_eq!(kept, [0, 1, 2, 3, 4, 5, 6], "but none beyond the last");
}

#[test]
fn nothing_left_and_nonsense_stamps_are_errors() {
    let base = lane(Align::Latest, None, OnMissing::Drop);
    let all = plan(&GAP, &[base.clone(), shifted(&base, 100, OnMissing::Drop)]).unwrap_err();
    assert!(
        all.to_string().starts_with("all 8 frames of the grid are dropped: /t has no f for 8 of them"),
        "{all}"
    );
    let long = plan(&[0, 9_000_000_000_000], &[base]).unwrap_err();
    assert_eq!(long, PlanError::TooLong { frames: 900_000_000_001 });
}

#[test]
fn a_stop_ends_the_walk() {
    let stop = StopFlag::default();
    stop.set();
    let grid = Grid::shared(&[Span { first_ns: 0, last_ns: 0 }], 1).unwrap();
    let stopped =
        Plan::make(&[vec![0u64]], &[lane(Align::Latest, None, OnMissing::Drop)], grid, Vec::new(), &stop);
    assert_eq!(stopped.unwrap_err(), PlanError::Stopped);
}

#[test]
fn quantiles_are_numpys() {
    assert_eq!(quantile(&[1, 2, 3, 10], 0.5), 2.5);
    assert!((quantile(&[1, 2, 3, 10], 0.95) - 8.95).abs() < 1e-12);
    assert_eq!(quantile(&[], 0.5), 0.0);
}

proptest! {
    #![proptest_config(crate::convert::testing::cases())]

    /// Latest with a tolerance and a shift, recomputed message by message.
    #[test]
    fn latest_equals_a_brute_force_recomputation(
        mut stamps in prop::collection::vec(0u64..400, 1..30),
        tolerance_ms in prop::option::of(0u64..60),
        shift in 0u64..4,
    ) {
        stamps.sort_unstable();
        let base = lane(Align::Latest, tolerance_ms, OnMissing::Drop);
        let lanes = [shifted(&base, shift, OnMissing::Drop)];
        let (first, last) = (stamps[0], stamps[stamps.len() - 1]);
        let expected: Vec<(u64, usize)> = (0..)
            .take_while(|k| first + k * 10 <= last)
            .filter_map(|k| {
                let at = first + (k + shift) * 10;
                let (place, stamp) = stamps.iter().enumerate().rfind(|(_, s)| **s <= at)?;
                let near = tolerance_ms.is_none_or(|most| at - stamp <= most);
                (at <= last && near).then_some((k, place))
            })
            .collect();
        match plan(&stamps, &lanes) {
            Ok((plan, kept)) => {
                let taken = picks(&stamps, &plan, &lanes[0]);
                let got: Vec<_> = kept.into_iter().zip(taken).collect();
                prop_assert_eq!(got, expected.into_iter().map(|(k, at)| (k, Pick::One(at))).collect::<Vec<_>>());
            }
            Err(error) => prop_assert!(expected.is_empty(), "{}", error),
        }
    }
}
