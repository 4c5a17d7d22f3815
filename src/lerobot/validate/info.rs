//! Rules of `meta/info.json`.

use super::column::Column;
use super::or_finding;
use super::rule::{Findings, Rule};
use crate::lerobot::error::LerobotError;
use crate::lerobot::feature::INDEX_COLUMNS;
use crate::lerobot::info::{CODEBASE_VERSION, FeatureInfo, Info};
use crate::lerobot::layout::INFO_KEY;
use crate::storage::SharedStorage;
use serde_json::Value;

/// The file and its features, as far as they make sense; none when it cannot be read at all.
pub(super) fn check(
    storage: &SharedStorage,
    found: &mut Findings,
) -> Result<Option<(Info, Vec<Column>)>, LerobotError> {
    let Some(info) = or_finding(Info::read(storage.as_ref()), INFO_KEY, Rule::InfoReadable, found)? else {
        return Ok(None);
    };
    let mut hold = |holds: bool, rule, what: String| found.hold(holds, INFO_KEY, rule, || what);
    let version = &info.codebase_version;
    if version != CODEBASE_VERSION {
        let what = format!(
            "it is of version {version:?}; only {CODEBASE_VERSION} is checked, and nothing else of this"
        );
        hold(false, Rule::InfoVersion, what);
        return Ok(None);
    }
    hold(info.fps > 0, Rule::InfoFps, "fps is 0".into());
    let sizes = [info.chunks_size, info.data_files_size_in_mb, info.video_files_size_in_mb];
    hold(!sizes.contains(&0), Rule::InfoSizes, format!("chunks_size and the files' sizes are {sizes:?}"));
    check_paths(&info, found);
    check_splits(&info, found);
    let columns = check_features(&info, found);
    Ok(Some((info, columns)))
}

fn check_paths(info: &Info, found: &mut Findings) {
    let mut needs = |path: &str, name: &str, parts: &[&str]| {
        for part in parts {
            let holds = path.contains(part);
            found.hold(holds, INFO_KEY, Rule::InfoPaths, || {
                format!("{name} {path:?} has no place for {part}}}")
            });
        }
        let inside = !path.starts_with('/') && !path.split('/').any(|part| part == "..");
        found.hold(inside, INFO_KEY, Rule::InfoPaths, || format!("{name} {path:?} leads out of the dataset"));
    };
    needs(&info.data_path, "data_path", &["{chunk_index", "{file_index"]);
    let has_video = info.features.0.iter().any(|(_, feature)| feature.dtype == "video");
    match &info.video_path {
        Some(path) => needs(path, "video_path", &["{video_key", "{chunk_index", "{file_index"]),
        None if has_video => found.add(INFO_KEY, Rule::InfoPaths, "video_path is null, but there are videos"),
        None => {}
    }
}

fn check_splits(info: &Info, found: &mut Findings) {
    let splits = &info.splits.0;
    found.hold(!splits.is_empty(), INFO_KEY, Rule::InfoSplits, || "there is no split".into());
    for (name, range) in splits {
        let ends =
            range.split_once(':').and_then(|(from, to)| Some((from.parse::<u64>().ok()?, to.parse().ok()?)));
        let holds = ends.is_some_and(|(from, to)| from <= to && to <= info.total_episodes);
        found.hold(holds, INFO_KEY, Rule::InfoSplits, || {
            format!("split {name} is {range:?}, no range of the {} episodes", info.total_episodes)
        });
    }
}

fn check_features(info: &Info, found: &mut Findings) -> Vec<Column> {
    let mut columns = Vec::new();
    for (name, feature) in &info.features.0 {
        let mut hold = |holds: bool, what: String| {
            found.hold(holds, INFO_KEY, Rule::InfoFeatures, || format!("feature {name:?}: {what}"));
        };
        hold(!name.is_empty() && !name.contains('/'), "a name is not empty and holds no `/`".into());
        let column = Column::new(name, feature);
        let shown =
            format!("dtype {:?} with shape {:?} is none that lerobot has", feature.dtype, feature.shape);
        hold(column.is_some(), shown);
        hold(
            names_fit(feature),
            format!("its names {} do not fit its shape {:?}", feature.names, feature.shape),
        );
        columns.extend(column);
    }
    let last: Vec<_> = info.features.0.iter().rev().take(INDEX_COLUMNS.len()).rev().collect();
    for (at, (name, dtype)) in INDEX_COLUMNS.iter().enumerate() {
        let holds = last.get(at).is_some_and(|(found, feature)| {
            found == name && feature.dtype == dtype.name() && feature.shape == [1]
        });
        found.hold(holds, INFO_KEY, Rule::InfoIndexFeatures, || {
            format!("{name} ({}, shape [1]) is not where it belongs among the last five", dtype.name())
        });
    }
    columns
}

fn names_fit(feature: &FeatureInfo) -> bool {
    let Value::Array(names) = &feature.names else {
        // Null, or an object of lists as older sets have: the loader does not look into it.
        return matches!(feature.names, Value::Null | Value::Object(_));
    };
    let expected = if feature.is_picture() {
        Some(3)
    } else {
        feature.shape.iter().copied().reduce(|a, b| a.saturating_mul(b))
    };
    let one_an_axis = feature.shape.len() > 1 && names.len() == feature.shape.len();
    names.iter().all(Value::is_string) && (Some(names.len() as u64) == expected || one_an_axis)
}
