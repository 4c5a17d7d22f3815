//! From a mapping file's text to a checked [`Mapping`].
//!
//! It checks what the text alone can tell; recordings are met later.

use super::episodes::{Split, episodes};
use super::error::{MappingError, Place};
use super::keys::{Document, Keys};
use super::{
    Content, FEATURES_MAX, FPS_MAX, FeatureMap, Interpolate, LIST_MAX, Located, MAPPING_BYTES_MAX, Mapping,
    OnMissing, RESERVED_NAMES, Rule, SHIFT_FRAMES_MAX, Source, TOLERANCE_MS_MAX, Task, picture, video,
};
use crate::convert::align::Align;
use crate::convert::nearest::{listed, meant};
use crate::convert::source::TimeSource;
use crate::lerobot::feature::Dtype;
use crate::lerobot::info::Version;
use toml::de::DeTable;

const ROOT_KEYS: [&str; 8] = ["fps", "format", "robot_type", "time", "task", "feature", "episodes", "video"];
const TASK_KEYS: [&str; 4] = ["text", "topic", "field", "file"];
const FEATURE_KEYS: [&str; 13] = [
    "name",
    "kind",
    "source",
    "align",
    "tolerance_ms",
    "on_missing",
    "dtype",
    "names",
    "from",
    "shift",
    "crop",
    "rotate",
    "resize",
];
const SOURCE_KEYS: [&str; 5] = ["topic", "field", "select", "partial", "interpolate"];
/// Longest name of a feature, in bytes: it becomes a folder's name for videos.
const NAME_BYTES_MAX: usize = 200;
/// The start of the file, where what is missing from it is reported.
const START: Place = Place { line: 1, column: 1 };

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Vector,
    Image,
    Video,
}

/// A feature whose `from` still is a name.
struct Draft {
    feature: FeatureMap,
    from: Option<Located<String>>,
}

pub(super) fn mapping(file: &str, text: &str) -> Result<Mapping, MappingError> {
    let doc = Document { file, text };
    if text.len() > MAPPING_BYTES_MAX {
        return Err(doc.error(START, format!("a mapping has at most {MAPPING_BYTES_MAX} bytes")));
    }
    let root = DeTable::parse(text).map_err(|error| {
        let place = error.span().map_or(START, |span| doc.place(span.start));
        doc.error(place, format!("not valid TOML: {}", error.message()))
    })?;
    let root = Keys::new(doc, root.get_ref(), "the mapping", START, &ROOT_KEYS)?;
    let fps = root.integer("fps", 1..=FPS_MAX)?.ok_or_else(|| root.lacks("fps", "fps = 30"))?.value;
    let formats = [("v3.0", Version::V30), ("v2.1", Version::V21)];
    let format = root.choice("format", &formats)?.map_or(Version::V30, |format| format.value);
    let robot_type = root.text("robot_type")?.map(|robot| robot.value);
    let times = [("log", TimeSource::Log), ("publish", TimeSource::Publish), ("header", TimeSource::Header)];
    let time = root.choice("time", &times)?.map_or(TimeSource::Log, |time| time.value);
    let episodes = episodes(&root)?;
    let task = task(&root, &episodes.split)?;
    let features = features(&root)?;
    let video = video::video(&root, &features)?;
    Ok(Mapping {
        file: file.to_owned(),
        text: text.to_owned(),
        fps,
        format,
        robot_type,
        time,
        task,
        episodes,
        features,
        video,
    })
}

fn task(root: &Keys<'_>, split: &Split) -> Result<Task, MappingError> {
    const EXAMPLE: &str =
        "text = \"pick the cube\", or topic = \"/task\", or file = \"{recording}.task.txt\"";
    let Some(table) = root.table("task", "[task]", &TASK_KEYS)? else {
        if matches!(split, Split::Ranges(_)) {
            return Ok(Task::Ranges);
        }
        return Err(root.error(
            START,
            format!("no [task]: every LeRobot episode has a task; add a table [task] with {EXAMPLE}"),
        ));
    };
    let (text, topic, file) = (table.text("text")?, table.text("topic")?, table.text("file")?);
    let field = table.text("field")?;
    if let (None, Some(field)) = (&topic, &field) {
        return Err(table.error(field.place, "field needs the topic that has it: topic = \"/task\""));
    }
    match (text, topic, file) {
        (Some(text), None, None) => Ok(Task::Text(text.value)),
        (None, Some(topic), None) => {
            let field = field.unwrap_or_else(|| Located { value: "data".to_owned(), place: topic.place });
            Ok(Task::Topic { topic, field })
        }
        (None, None, Some(file)) => {
            beside(&table, &file, "{recording}.task.txt")?;
            Ok(Task::File(file))
        }
        (None, None, None) => Err(table.lacks("text", EXAMPLE)),
        _ => Err(table.error(table.place, format!("[task] takes one of: {EXAMPLE}"))),
    }
}

/// That the path of a file beside the recording stays in its folder.
pub(super) fn beside(table: &Keys<'_>, file: &Located<String>, example: &str) -> Result<(), MappingError> {
    if file.value.split('/').any(|part| matches!(part, "" | "." | "..")) {
        let what = format!(
            "file is a path from the recording's folder, without . or .. parts, for example: file = {example:?}"
        );
        return Err(table.error(file.place, what));
    }
    Ok(())
}

fn features(root: &Keys<'_>) -> Result<Vec<FeatureMap>, MappingError> {
    let tables = root.tables("feature", "a [[feature]]", &FEATURE_KEYS, FEATURES_MAX)?;
    if tables.is_empty() {
        let example = "\n[[feature]]\nname = \"observation.state\"\nsource = [{ topic = \"/joint_states\", field = \"position\" }]";
        return Err(root.lacks("feature", example));
    }
    let mut drafts: Vec<Draft> = Vec::with_capacity(tables.len());
    for table in &tables {
        let draft = draft(table)?;
        if drafts.iter().any(|other| other.feature.name.value == draft.feature.name.value) {
            let name = &draft.feature.name;
            return Err(table.error(name.place, format!("a second feature named {:?}", name.value)));
        }
        drafts.push(draft);
    }
    let names: Vec<String> = drafts.iter().map(|draft| draft.feature.name.value.clone()).collect();
    let vectors: Vec<bool> =
        drafts.iter().map(|draft| matches!(draft.feature.content, Content::Vector { .. })).collect();
    drafts.into_iter().map(|draft| resolve(root, draft, &names, &vectors)).collect()
}

/// Turns the name in `from` into the place of the feature it names.
fn resolve(
    root: &Keys<'_>,
    draft: Draft,
    names: &[String],
    vectors: &[bool],
) -> Result<FeatureMap, MappingError> {
    let Draft { mut feature, from } = draft;
    let (Some(wanted), Content::Shifted { from, .. }) = (from, &mut feature.content) else {
        return Ok(feature);
    };
    let valid = || names.iter().zip(vectors).filter(|(_, vector)| **vector).map(|(name, _)| name.as_str());
    match names.iter().position(|name| *name == wanted.value) {
        Some(at) if vectors.get(at) == Some(&true) => *from = at,
        found => {
            let why = if found.is_some() { "has no vector source of its own" } else { "is no feature here" };
            let hint = meant(&wanted.value, valid())
                .filter(|near| *near != wanted.value)
                .map_or(String::new(), |near| format!(": did you mean {near:?}?"));
            let what = format!("from = {:?} {why}{hint}; valid are {}", wanted.value, listed(valid(), 12));
            return Err(root.error(wanted.place, what));
        }
    }
    Ok(feature)
}

fn draft(table: &Keys<'_>) -> Result<Draft, MappingError> {
    let name = table.required_text("name", "name = \"observation.state\"")?;
    check_name(table, &name)?;
    let kinds = [("vector", Kind::Vector), ("image", Kind::Image), ("video", Kind::Video)];
    let kind = table.choice("kind", &kinds)?;
    let missing = [("drop", OnMissing::Drop), ("hold", OnMissing::Hold), ("fail", OnMissing::Fail)];
    let on_missing = table.choice("on_missing", &missing)?;
    let kind = kind.map_or(Kind::Vector, |kind| kind.value);
    let is_image = kind != Kind::Vector;
    let from = table.text("from")?;
    let content = match &from {
        Some(from) => shifted(table, from, is_image, on_missing.as_ref())?,
        None if is_image => image(table, kind == Kind::Video)?,
        None => vector(table)?,
    };
    let on_missing = on_missing.map_or(OnMissing::Drop, |policy| policy.value);
    Ok(Draft { feature: FeatureMap { name, content, on_missing }, from })
}

fn check_name(table: &Keys<'_>, name: &Located<String>) -> Result<(), MappingError> {
    let Located { value, place } = name;
    if RESERVED_NAMES.contains(&value.as_str()) {
        return Err(
            table.error(*place, format!("{value:?} is a column that every dataset has; choose another name"))
        );
    }
    if value.len() > NAME_BYTES_MAX || value.contains('/') || value.chars().any(char::is_control) {
        let what = format!(
            "a feature's name has at most {NAME_BYTES_MAX} bytes and no / or control characters: LeRobot separates by dots, \
             for example \"observation.images.front\""
        );
        return Err(table.error(*place, what));
    }
    Ok(())
}

fn shifted(
    table: &Keys<'_>,
    from: &Located<String>,
    is_image: bool,
    on_missing: Option<&Located<OnMissing>>,
) -> Result<Content, MappingError> {
    picture::none_of_them(table)?;
    if is_image {
        return Err(table.error(from.place, "from shifts vectors only; an image feature needs a source"));
    }
    for key in ["source", "align", "tolerance_ms", "dtype", "names"] {
        if let Some(place) = table.place_of(key) {
            let what =
                format!("{key} does not go with from: a shifted feature takes it from {:?}", from.value);
            return Err(table.error(place, what));
        }
    }
    if let Some(Located { value: OnMissing::Fail, place }) = on_missing {
        let what = "the last frames never have a later one, so \"fail\" would always fail; valid with from are \"drop\", \"hold\"";
        return Err(table.error(*place, what));
    }
    let shift_frames = table
        .integer("shift", 1..=SHIFT_FRAMES_MAX)?
        .ok_or_else(|| table.error(from.place, "from needs how many frames later: shift = 1"))?
        .value;
    Ok(Content::Shifted { from: 0, shift_frames })
}

fn image(table: &Keys<'_>, is_video: bool) -> Result<Content, MappingError> {
    only_with_from(table)?;
    for key in ["dtype", "names"] {
        if let Some(place) = table.place_of(key) {
            return Err(table.error(place, format!("{key} is for vectors: an image's is always the same")));
        }
    }
    let rule = rule(table, true)?;
    let mut found = sources(table, rule.align)?;
    let (Some(source), true) = (found.pop(), found.is_empty()) else {
        let place = table.place_of("source").unwrap_or(table.place);
        return Err(table.error(place, "an image has exactly one source"));
    };
    if let Some(first) = source.select.first() {
        return Err(table.error(first.place, "select is for vectors: an image is taken whole"));
    }
    Ok(Content::Image { source, rule, transform: picture::transform(table)?, is_video })
}

fn vector(table: &Keys<'_>) -> Result<Content, MappingError> {
    only_with_from(table)?;
    picture::none_of_them(table)?;
    let dtypes = [
        ("float32", Dtype::Float32),
        ("float64", Dtype::Float64),
        ("int64", Dtype::Int64),
        ("bool", Dtype::Bool),
        ("string", Dtype::String),
    ];
    let dtype = table.choice("dtype", &dtypes)?;
    let rule = rule(table, false)?;
    if let (Align::Linear, Some(dtype)) = (rule.align, &dtype)
        && !matches!(dtype.value, Dtype::Float32 | Dtype::Float64)
    {
        let what = "between two messages there are only floating point values: align = \"linear\" needs dtype float32 or float64";
        return Err(table.error(dtype.place, what));
    }
    let names = table.texts("names")?.map(|names| Located {
        value: names.value.into_iter().map(|name| name.value).collect(),
        place: names.place,
    });
    Ok(Content::Vector { sources: sources(table, rule.align)?, rule, dtype, names })
}

fn only_with_from(table: &Keys<'_>) -> Result<(), MappingError> {
    match table.place_of("shift") {
        Some(place) => {
            Err(table.error(place, "shift needs the feature it shifts: from = \"observation.state\""))
        }
        None => Ok(()),
    }
}

fn rule(table: &Keys<'_>, is_image: bool) -> Result<Rule, MappingError> {
    let aligns = [("latest", Align::Latest), ("nearest", Align::Nearest), ("linear", Align::Linear)];
    let align = table.choice("align", &aligns)?;
    if let Some(Located { value: Align::Linear, place }) = align
        && is_image
    {
        return Err(table.error(place, "an image cannot be \"linear\"; valid are \"latest\", \"nearest\""));
    }
    let tolerance_ns = table
        .number("tolerance_ms", f64::from(TOLERANCE_MS_MAX))?
        .map(|tolerance_ms| (tolerance_ms * 1e6).round() as u64);
    Ok(Rule { align: align.map_or(Align::Latest, |align| align.value), tolerance_ns })
}

/// How a source's values between two messages are made.
fn interpolate(source: &Keys<'_>, align: Align) -> Result<Option<Interpolate>, MappingError> {
    let ways = [("linear", Interpolate::Linear), ("slerp", Interpolate::Slerp)];
    let Some(way) = source.choice("interpolate", &ways)? else { return Ok(None) };
    if align != Align::Linear {
        let what = "interpolate is for values between two messages: it needs align = \"linear\"";
        return Err(source.error(way.place, what));
    }
    if let (Interpolate::Slerp, Some(select)) = (way.value, source.place_of("select")) {
        return Err(source.error(
            select,
            "select does not go with interpolate = \"slerp\": take a quaternion by its field",
        ));
    }
    Ok(Some(way.value))
}

/// Whether messages carry some of the selected elements each.
fn partial(source: &Keys<'_>) -> Result<Option<bool>, MappingError> {
    let Some(partial) = source.boolean("partial")? else { return Ok(None) };
    if source.place_of("select").is_none() {
        let what = "partial is for elements that are chosen by their names: it needs select = [\"joint_1\", \"joint_2\"]";
        return Err(source.error(partial.place, what));
    }
    Ok(Some(partial.value))
}

fn sources(table: &Keys<'_>, align: Align) -> Result<Vec<Source>, MappingError> {
    const EXAMPLE: &str = "source = [{ topic = \"/joint_states\", field = \"position\" }], or from = \"observation.state\" with shift = 1";
    let tables = table.tables("source", "a source", &SOURCE_KEYS, LIST_MAX)?;
    if tables.is_empty() {
        return Err(table.lacks("source", EXAMPLE));
    }
    let read = |source: &Keys<'_>| {
        Ok(Source {
            topic: source.required_text("topic", "topic = \"/joint_states\"")?,
            field: source.text("field")?,
            select: source.texts("select")?.map(|select| select.value).unwrap_or_default(),
            partial: partial(source)?,
            interpolate: interpolate(source, align)?,
        })
    };
    tables.iter().map(read).collect()
}
