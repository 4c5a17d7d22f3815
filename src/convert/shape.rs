//! The features' shapes and names, once the first kept frame was read.
//!
//! It writes nothing; the order is the mapping's.

use super::WorkError;
use super::bind::BoundFeature;
use super::mapping::Mapping;
use super::picture::Picture;
use super::tap::Tap;
use crate::lerobot::feature::{Dtype, Feature};
use std::collections::HashSet;

/// Most elements of a vector.
pub(crate) const FEATURE_ELEMENTS_MAX: usize = 65_536;

/// The features as `info.json` describes them.
pub(crate) fn features(
    mapping: &Mapping,
    bound: &[BoundFeature],
    taps: &[Tap],
) -> Result<Vec<Feature>, WorkError> {
    bound.iter().map(|feature| shape(mapping, feature, taps)).collect()
}

fn shape(mapping: &Mapping, feature: &BoundFeature, taps: &[Tap]) -> Result<Feature, WorkError> {
    let BoundFeature { name, dtype, lanes, names } = feature;
    let taps = taps.get(lanes.clone()).unwrap_or_default();
    let described =
        |shape: Vec<u32>, names| Feature { name: name.value.clone(), dtype: *dtype, shape, names };
    match dtype {
        Dtype::Image | Dtype::Video => {
            let shape = taps.first().and_then(Tap::picture).and_then(Picture::shape).unwrap_or_default();
            let [height, width, channels] = shape;
            let side = |side: u32| if *dtype == Dtype::Video { side.next_multiple_of(2) } else { side };
            let shape = [side(height), side(width), channels];
            let names = ["height", "width", "channels"].map(str::to_owned).to_vec();
            Ok(described(shape.to_vec(), Some(names)))
        }
        Dtype::String => Ok(described(vec![1], None)),
        Dtype::Float32 | Dtype::Float64 | Dtype::Int64 | Dtype::Bool => {
            let width = taps.iter().map(Tap::width).sum::<usize>();
            if width > FEATURE_ELEMENTS_MAX {
                let what = format!(
                    "{:?} has {width} elements, and at most {FEATURE_ELEMENTS_MAX} are allowed",
                    name.value
                );
                return Err(mapping.error(name.place, what).into());
            }
            let own = names.as_ref().map(|names| &names.value);
            if let (Some(own), Some(written)) = (own, names)
                && own.len() != width
            {
                let what =
                    format!("{} names for {width} elements: {}", own.len(), element_names(taps).join(", "));
                return Err(mapping.error(written.place, what).into());
            }
            let names = own.cloned().unwrap_or_else(|| element_names(taps));
            Ok(described(vec![u32::try_from(width).unwrap_or(u32::MAX)], Some(names)))
        }
    }
}

/// The elements' names over all sources. Where two are the same, each has its field's name before it, and where that
/// does not help, its place.
fn element_names(taps: &[Tap]) -> Vec<String> {
    let plain: Vec<String> = taps.iter().flat_map(Tap::names).collect();
    if all_differ(&plain) {
        return plain;
    }
    let with_field: Vec<String> = taps
        .iter()
        .flat_map(|tap| tap.names().into_iter().map(|name| format!("{}.{name}", tap.label())))
        .collect();
    if all_differ(&with_field) {
        return with_field;
    }
    plain.iter().enumerate().map(|(at, name)| format!("{name}_{at}")).collect()
}

fn all_differ(names: &[String]) -> bool {
    let mut seen = HashSet::with_capacity(names.len());
    names.iter().all(|name| seen.insert(name))
}
