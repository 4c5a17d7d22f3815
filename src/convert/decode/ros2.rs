//! Definitions of the standard messages of ROS 2, for recordings that carry none: bags in SQLite of before 2023.
//!
//! Only types whose fields are the same in every release of ROS 2 are known: any other guess could decode wrong numbers.

use super::rosmsg::canonical;
use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

/// Written by `.ci/readers/write_definitions.py`; its head names sources and licences.
const DEFINITIONS: &str = include_str!("ros2_definitions.txt");
/// What stands before each definition, there and in the text of a message's whole definition.
const MARK: &str = "MSG: ";

/// Fields by the type's name.
fn known() -> &'static HashMap<&'static str, Vec<&'static str>> {
    static KNOWN: OnceLock<HashMap<&'static str, Vec<&'static str>>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let mut known = HashMap::new();
        let mut name = "";
        for line in DEFINITIONS.lines().filter(|line| !line.starts_with('#')) {
            match line.strip_prefix(MARK) {
                Some(next) => {
                    name = next;
                    known.insert(name, Vec::new());
                }
                None => known.entry(name).or_default().push(line),
            }
        }
        known
    })
}

/// The whole definition of a type, with all types it needs, as `ros2msg` has it; none for one that is not known.
pub(crate) fn definition(schema: &str) -> Option<String> {
    let known = known();
    let main = canonical(schema);
    let mut text = known.get(main.as_str())?.join("\n");
    text.push('\n');
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = inner(known.get(main.as_str())?).collect();
    while let Some(name) = open.pop() {
        let Some(fields) = known.get(name) else { continue };
        if done.insert(name) {
            let line = "=".repeat(80);
            text.push_str(&format!("{line}\n{MARK}{name}\n{}\n", fields.join("\n")));
            open.extend(inner(fields));
        }
    }
    Some(text)
}

/// The types of fields that are messages.
fn inner<'a>(fields: &'a [&'static str]) -> impl Iterator<Item = &'static str> + 'a {
    let types = fields.iter().filter_map(|field| field.split([' ', '[']).next());
    types.filter(|name| name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::super::rosmsg::{Ros, parse};
    use super::*;

    #[test]
    fn every_known_type_is_a_whole_definition() {
        assert!(known().len() > 150, "{}", known().len());
        for name in known().keys() {
            let text = definition(name).unwrap();
            parse(name, text.as_bytes(), Ros::Two).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    #[test]
    fn names_are_found_in_both_spellings_and_changed_types_are_not_known() {
        let joints = definition("sensor_msgs/msg/JointState").unwrap();
        assert_eq!(Some(&joints), definition("sensor_msgs/JointState").as_ref());
        assert!(joints.contains("float64[] position") && joints.contains("MSG: builtin_interfaces/Time"));
        for name in ["visualization_msgs/msg/Marker", "sensor_msgs/msg/Range", "my_msgs/msg/Own"] {
            assert!(definition(name).is_none(), "{name}");
        }
    }
}
