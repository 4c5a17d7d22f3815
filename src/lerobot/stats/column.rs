//! All values of a feature over one episode, and their exact statistics.

use super::{QUANTILES, Stats};
use crate::lerobot::error::LerobotError;
use crate::lerobot::feature::{Dtype, Feature};
use arrow::array::{Array, AsArray, BooleanArray, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, Float32Type, Float64Type, Int64Type};

/// The longest episode: 18 hours at 30 frames a second.
pub const MAX_EPISODE_FRAMES: u64 = 2_000_000;
/// The most numbers of one feature in an episode: they are in memory at once for exact quantiles (4 or 8 bytes each).
pub const MAX_EPISODE_VALUES: u64 = 32_000_000;
const _: () = assert!(MAX_EPISODE_VALUES >= 16 * MAX_EPISODE_FRAMES, "a long episode of 16 joints fits");

/// The values of a vector or scalar, frame after frame.
#[derive(Debug, Clone)]
pub struct Column {
    elements: usize,
    values: Values,
}

/// As wide as they came: states are mostly 32-bit floats.
#[derive(Debug, Clone)]
enum Values {
    Narrow(Vec<f32>),
    Wide(Vec<f64>),
}

impl Column {
    /// For a feature of numbers or booleans; none for text and pictures, which have no such statistics.
    pub fn new(feature: &Feature) -> Option<Self> {
        let values = match feature.dtype {
            Dtype::Float32 | Dtype::Bool => Values::Narrow(Vec::new()),
            Dtype::Float64 | Dtype::Int64 => Values::Wide(Vec::new()),
            Dtype::String | Dtype::Image | Dtype::Video => return None,
        };
        let elements = feature.shape.iter().map(|side| *side as usize).product::<usize>().max(1);
        Some(Self { elements, values })
    }

    /// Of double-precision numbers, one a frame.
    pub fn of_numbers(values: impl IntoIterator<Item = f64>) -> Self {
        Self { elements: 1, values: Values::Wide(values.into_iter().collect()) }
    }

    /// Appends a batch's column.
    ///
    /// # Errors
    /// [`LerobotError::Unfit`] when the column is of another type, holds nulls, or grows above
    /// [`MAX_EPISODE_VALUES`].
    pub fn extend(&mut self, name: &str, array: &dyn Array) -> Result<(), LerobotError> {
        let inner = array.as_fixed_size_list_opt().map(|list| list.values().as_ref());
        let flat = inner.unwrap_or(array);
        let unfit = |what: &str| LerobotError::Unfit(format!("the column {name} {what}"));
        if array.null_count() > 0 || flat.null_count() > 0 {
            return Err(unfit("holds nulls"));
        }
        if flat.len() != array.len() * self.elements {
            return Err(unfit("has another shape than its feature"));
        }
        if (self.len() + flat.len()) as u64 > MAX_EPISODE_VALUES {
            return Err(unfit(&format!(
                "has more than {MAX_EPISODE_VALUES} numbers in one episode: split the recording"
            )));
        }
        let taken = match &mut self.values {
            Values::Narrow(values) => {
                append(values, flat.as_primitive_opt::<Float32Type>(), |value| value)
                    || append_flags(values, flat.as_boolean_opt())
            }
            Values::Wide(values) => {
                append(values, flat.as_primitive_opt::<Float64Type>(), |value| value)
                    // Above 2^53 an integer is rounded here: in the statistics only.
                    || append(values, flat.as_primitive_opt::<Int64Type>(), |value| value as f64)
            }
        };
        if taken { Ok(()) } else { Err(unfit("is of another type than its feature")) }
    }

    fn len(&self) -> usize {
        match &self.values {
            Values::Narrow(values) => values.len(),
            Values::Wide(values) => values.len(),
        }
    }

    /// Frames so far.
    pub fn frames(&self) -> usize {
        self.len() / self.elements
    }

    /// The statistics of all frames.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::with_capacity(self.frames() as u64, self.elements);
        for element in 0..self.elements {
            let mut values: Vec<f64> = match &self.values {
                Values::Narrow(all) => {
                    all.iter().skip(element).step_by(self.elements).map(|value| f64::from(*value)).collect()
                }
                Values::Wide(all) => all.iter().skip(element).step_by(self.elements).copied().collect(),
            };
            let frames = values.len();
            values.retain(|value| value.is_finite());
            stats.skipped += (frames - values.len()) as u64;
            push_element(&mut stats, values);
        }
        stats
    }
}

/// Adds an element of the given finite values.
fn push_element(stats: &mut Stats, mut values: Vec<f64>) {
    let count = values.len().max(1) as f64;
    // Summed in the order of the frames, before sorting.
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
    values.sort_unstable_by(f64::total_cmp);
    stats.min.push(values.first().copied().unwrap_or(0.0));
    stats.max.push(values.last().copied().unwrap_or(0.0));
    stats.mean.push(mean);
    stats.std.push(variance.sqrt());
    for ((_, at), list) in QUANTILES.iter().zip(&mut stats.quantiles) {
        list.push(quantile(values.len() as u64, *at, |index| {
            values.get(index as usize).copied().unwrap_or(0.0)
        }));
    }
}

/// The quantile of `count` sorted values, linear between neighbours (numpy's default).
pub(super) fn quantile(count: u64, at: f64, value: impl Fn(u64) -> f64) -> f64 {
    let Some(last) = count.checked_sub(1) else { return 0.0 };
    let position = at * last as f64;
    let below = position.floor();
    let share = position - below;
    let (low, high) = (value(below as u64), value((below as u64 + 1).min(last)));
    low + (high - low) * share
}

fn append<T: ArrowPrimitiveType, V>(
    values: &mut Vec<V>,
    array: Option<&PrimitiveArray<T>>,
    convert: impl Fn(T::Native) -> V,
) -> bool {
    let Some(array) = array else { return false };
    values.extend(array.values().iter().map(|value| convert(*value)));
    true
}

fn append_flags(values: &mut Vec<f32>, array: Option<&BooleanArray>) -> bool {
    let Some(array) = array else { return false };
    values.extend(array.values().iter().map(|flag| f32::from(u8::from(flag))));
    true
}
