//! Which numeric fields of a message are taken for state or action.
//!
//! Never headers, stamps, covariances, or what stands in a list of structs.

use crate::convert::decode::{Count, Extractor, FieldInfo, Schema, ValueKind};
use crate::convert::mapping::LIST_MAX;

/// Fields of joint messages, the best first; the others are only mentioned.
const JOINT_FIELDS: [&str; 5] =
    ["position", "points[0].positions", "joints[:].position", "velocity", "effort"];
/// What the names of joints are called beside them. Foxglove's joint states are a list with a name in each.
const NAME_FIELDS: [&str; 4] = ["name", "names", "joint_names", "joints[:].name"];
/// Parts of a path that are never data of a robot.
const SKIPPED_PARTS: [&str; 14] = [
    "header",
    "stamp",
    "timestamp",
    "time",
    "time_from_start",
    "layout",
    "covariance",
    "seq",
    "sec",
    "secs",
    "nanosec",
    "nsec",
    "nsecs",
    "frame_id",
];
/// Most elements of a list that is taken whole: a longer one is no state.
const ELEMENTS_MAX: usize = 256;

/// A field that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) field: String,
    pub(super) select: Vec<String>,
    /// What else the message has, for a comment.
    pub(super) beside: Vec<String>,
}

impl Taken {
    /// All of a field.
    pub(super) fn whole(field: &str) -> Self {
        Self { field: field.to_owned(), select: Vec::new(), beside: Vec::new() }
    }
}

/// The fields to take, given a type and its first message.
pub(super) fn numbers(schema: &Schema, data: &[u8]) -> Vec<Taken> {
    let length = |path: &str| {
        let mut values = Vec::new();
        let read = Extractor::compile(schema, path).ok()?.numbers(data, &mut values);
        (read.is_ok() && (1..=ELEMENTS_MAX).contains(&values.len())).then_some(values.len())
    };
    let fields = schema.fields();
    let is_joints = |path: &&str| {
        let (of_first, each) = (path.replace("[:]", "[0]"), path.contains("[:]"));
        fields.iter().any(|field| field.path == of_first && (each || field.array != Count::One))
    };
    let mut joints =
        JOINT_FIELDS.iter().copied().filter(is_joints).filter_map(|path| Some((path, length(path)?)));
    if let Some((field, count)) = joints.next() {
        let names = names(schema, data);
        let named = names.len() == count && names.len() <= LIST_MAX;
        let select = if named { names } else { Vec::new() };
        return vec![Taken {
            field: field.to_owned(),
            select,
            beside: joints.map(|(path, _)| path.to_owned()).collect(),
        }];
    }
    let plain = |field: &&FieldInfo| {
        let skipped = field.path.split('.').any(|part| SKIPPED_PARTS.contains(&part));
        field.is_numeric() && !field.in_list && !skipped && length(&field.path).is_some()
    };
    group(schema, &fields, fields.iter().filter(plain).map(|field| field.path.as_str()).collect())
}

/// Takes structs whole where all that is in them is taken: `linear` in place of `linear.x`, `linear.y`, `linear.z`.
fn group(schema: &Schema, fields: &[FieldInfo], taken: Vec<&str>) -> Vec<Taken> {
    let mut out: Vec<Taken> = Vec::new();
    for path in &taken {
        let parent = path.rsplit_once('.').map(|(parent, _)| parent);
        let whole = parent.filter(|parent| {
            let inside = |path: &str| path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.'));
            let all_taken =
                fields.iter().filter(|f| inside(&f.path)).all(|f| taken.contains(&f.path.as_str()));
            all_taken && Extractor::compile(schema, parent).is_ok()
        });
        let field = whole.unwrap_or(path);
        if !out.iter().any(|other| other.field == field) {
            out.push(Taken::whole(field));
        }
    }
    out
}

/// The joints' names in a message; empty when there are none, or one twice.
fn names(schema: &Schema, data: &[u8]) -> Vec<String> {
    for path in NAME_FIELDS {
        let Ok(extractor) = Extractor::compile(schema, path) else { continue };
        let mut names = Vec::new();
        if extractor.kind() == ValueKind::Strings && extractor.strings(data, &mut names).is_ok() {
            let mut sorted = names.clone();
            sorted.sort_unstable();
            sorted.dedup();
            let usable = sorted.len() == names.len() && names.iter().all(|name| !name.is_empty());
            return if usable { names } else { Vec::new() };
        }
    }
    Vec::new()
}
