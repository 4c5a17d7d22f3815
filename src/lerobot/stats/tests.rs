//! Statistics against numbers worked out by hand or with numpy.

use super::*;
use crate::lerobot::feature::{Dtype, Feature};
use crate::lerobot::staged::ImageCounts;
use arrow::array::{Array, ArrayRef, BooleanArray, Float32Array, Int64Array};
use std::collections::BTreeMap;
use std::sync::Arc;

fn feature(dtype: Dtype, shape: u32) -> Feature {
    Feature { name: "x".into(), dtype, shape: vec![shape], names: None }
}

fn stats_of(dtype: Dtype, array: ArrayRef) -> Stats {
    let mut column = Column::new(&feature(dtype, 1)).unwrap();
    column.extend("x", array.as_ref()).unwrap();
    column.stats()
}

#[test]
fn a_column_as_numpy_has_it() {
    // numpy: a = np.array([3, 1, 4, 1, 5, 9, 2, 6.5]); a.mean(), a.std(), np.quantile(a, [.01, .1, .5, .9, .99])
    let stats =
        stats_of(Dtype::Float32, Arc::new(Float32Array::from(vec![3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.5])));
    assert_eq!((stats.min[0], stats.max[0], stats.count, stats.skipped), (1.0, 9.0, 8, 0));
    assert_eq!(stats.mean[0], 3.9375);
    assert!((stats.std[0] - 2.627_231_194_622_962_7).abs() < 1e-12, "{}", stats.std[0]);
    for (at, want) in [(0, 1.0), (1, 1.0), (2, 3.5), (3, 7.25), (4, 8.825)] {
        assert!((stats.quantiles[at][0] - want).abs() < 1e-12, "{at}: {}", stats.quantiles[at][0]);
    }
}

#[test]
fn what_is_no_number_is_left_out_and_counted() {
    let values = vec![f32::NAN, 1.0, f32::INFINITY, 3.0];
    let stats = stats_of(Dtype::Float32, Arc::new(Float32Array::from(values)));
    assert_eq!((stats.min[0], stats.max[0], stats.mean[0], stats.std[0]), (1.0, 3.0, 2.0, 1.0));
    assert_eq!((stats.count, stats.skipped), (4, 2));
    let none = stats_of(Dtype::Float32, Arc::new(Float32Array::from(vec![f32::NAN; 3])));
    assert_eq!(
        (none.min[0], none.max[0], none.std[0], none.quantiles[2][0], none.skipped),
        (0.0, 0.0, 0.0, 0.0, 3)
    );
}

#[test]
fn flags_and_integers_are_numbers_and_text_is_not() {
    let flags = stats_of(Dtype::Bool, Arc::new(BooleanArray::from(vec![true, false, false, true])));
    assert_eq!((flags.min[0], flags.max[0], flags.mean[0]), (0.0, 1.0, 0.5));
    let whole = stats_of(Dtype::Int64, Arc::new(Int64Array::from(vec![-3, 5])));
    assert_eq!((whole.min[0], whole.max[0], whole.quantiles[2][0]), (-3.0, 5.0, 1.0));
    assert!(Column::new(&feature(Dtype::String, 1)).is_none());
}

#[test]
fn a_wrong_column_is_refused() {
    let mut column = Column::new(&feature(Dtype::Float32, 1)).unwrap();
    for (array, word) in [
        (Arc::new(Int64Array::from(vec![1])) as ArrayRef, "type"),
        (Arc::new(Float32Array::from(vec![Some(1.0), None])), "nulls"),
    ] {
        let message = column.extend("speed", array.as_ref()).unwrap_err().to_string();
        assert!(message.contains(word) && message.contains("speed"), "{message}");
    }
    let mut pair = Column::new(&feature(Dtype::Float32, 2)).unwrap();
    let message = pair.extend("x", &Float32Array::from(vec![1.0]) as &dyn Array).unwrap_err().to_string();
    assert!(message.contains("shape"), "{message}");
    let long = Arc::new(Float32Array::from(vec![0.0; 1 << 20]));
    let most = MAX_EPISODE_VALUES as usize >> 20;
    for _ in 0..most {
        column.extend("x", long.as_ref()).unwrap();
    }
    assert!(column.extend("x", long.as_ref()).unwrap_err().to_string().contains("split"));
}

#[test]
fn pixels_are_counted_exactly() {
    let mut levels = vec![0u64; 256];
    levels[0] = 1;
    levels[51] = 2;
    levels[255] = 1;
    let segment =
        ImageCounts { frames: 1, channels: [levels.clone(), levels.clone(), levels], depth: BTreeMap::new() };
    let mut counts = ImageCounts { frames: 0, channels: [vec![], vec![], vec![]], depth: BTreeMap::new() };
    merge_counts(&mut counts, &segment).unwrap();
    merge_counts(&mut counts, &segment).unwrap();
    let stats = image_stats(&counts, 3);
    assert_eq!((stats.count, stats.min[0], stats.max[2]), (2, 0.0, 1.0));
    assert!((stats.mean[1] - 0.35).abs() < 1e-12);
    // numpy: np.quantile([0, 0, .2, .2, .2, .2, 1, 1], q)
    for (at, want) in [(0, 0.0), (1, 0.0), (2, 0.2), (3, 1.0), (4, 1.0)] {
        assert!((stats.quantiles[at][0] - want).abs() < 1e-12, "{at}");
    }
    let short = ImageCounts { frames: 1, channels: [vec![1], vec![1], vec![1]], depth: BTreeMap::new() };
    assert!(merge_counts(&mut counts, &short).unwrap_err().to_string().contains("256"));
    assert_eq!(stats.to_json(true).get("min").unwrap(), &serde_json::json!([[[0.0]], [[0.0]], [[0.0]]]));
}

#[test]
fn parts_add_up_to_the_whole() {
    let values: Vec<f64> = (0..97u32).map(|k| f64::from(k * k % 31) - 7.5).collect();
    let whole = Column::of_numbers(values.clone()).stats();
    let mut aggregate = Aggregate::default();
    for part in [&values[..1], &values[1..50], &values[50..]] {
        aggregate.add("x", &Column::of_numbers(part.to_vec()).stats()).unwrap();
    }
    let total = aggregate.finish().unwrap();
    assert_eq!((total.min, total.max, total.count), (whole.min, whole.max, whole.count));
    assert!((total.mean[0] - whole.mean[0]).abs() < 1e-12 && (total.std[0] - whole.std[0]).abs() < 1e-12);
}

#[test]
fn distances_keep_their_unit() {
    // numpy: a = np.repeat([0, 500, 1500, 65535], [2, 5, 2, 1]); a.mean(), a.std(), np.quantile(a, [.1, .5, .99])
    let depth = BTreeMap::from([(0, 2), (500, 5), (1500, 2), (65_535, 1)]);
    let zeros = || vec![0; 256];
    let from = ImageCounts { frames: 3, channels: [zeros(), zeros(), zeros()], depth };
    let mut counts = ImageCounts { frames: 0, channels: Default::default(), depth: BTreeMap::new() };
    merge_counts(&mut counts, &from).unwrap();
    let stats = image_stats(&counts, 1);
    assert_eq!((&stats.min[..], &stats.max[..], stats.count), (&[0.0][..], &[65_535.0][..], 3));
    assert_eq!(stats.mean, [7103.5]);
    assert!((stats.std[0] - 19_483.298_238_491_345).abs() < 1e-8, "{}", stats.std[0]);
    assert_eq!((stats.quantiles[1][0], stats.quantiles[2][0]), (0.0, 500.0));
    assert!((stats.quantiles[4][0] - 59_771.85).abs() < 1e-6, "{}", stats.quantiles[4][0]);
    let full = ImageCounts { depth: BTreeMap::from([(500, u64::MAX)]), ..from };
    assert!(merge_counts(&mut counts, &full).unwrap_err().to_string().contains("overflow"));
}
