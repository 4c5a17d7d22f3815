//! The table `[episodes]`: how a recording is split, what is trimmed, and what is too short to keep.
//!
//! Which of its keys go with which split is checked here; recordings are met later.

use super::error::MappingError;
use super::keys::{Keys, Scalar};
use super::{Located, TOLERANCE_MS_MAX};
use crate::convert::split::ranges::Notation;

pub(super) const EPISODES_KEYS: [&str; 12] = [
    "split",
    "gap_ms",
    "topic",
    "field",
    "start",
    "stop",
    "toggle",
    "file",
    "metadata",
    "trim_start_ms",
    "trim_end_ms",
    "min_frames",
];
/// Greatest `min_frames`.
const MIN_FRAMES_MAX: u32 = 1_000_000;

/// How a recording becomes episodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Episodes {
    /// Where they begin and end.
    pub split: Split,
    /// Taken off the begin of each, in nanoseconds.
    pub trim_start_ns: u64,
    /// Taken off the end of each, in nanoseconds.
    pub trim_end_ns: u64,
    /// Episodes with fewer kept frames are left out; at least 1.
    pub min_frames: u32,
}

impl Default for Episodes {
    fn default() -> Self {
        Self { split: Split::File, trim_start_ns: 0, trim_end_ns: 0, min_frames: 1 }
    }
}

/// Where episodes begin and end.
#[derive(Debug, Clone, PartialEq)]
pub enum Split {
    /// A recording is one episode.
    File,
    /// Between silences.
    Gap {
        /// Silences that are longer separate episodes, in nanoseconds.
        gap_ns: u64,
        /// Whose silences; none: those of all mapped topics together.
        topic: Option<Located<String>>,
    },
    /// By the messages of a topic.
    Marker {
        /// The topic.
        topic: Located<String>,
        /// The field that the rule looks at; none when it looks at no value.
        field: Option<Located<String>>,
        /// What the messages mean.
        rule: MarkerRule,
    },
    /// As somebody wrote them down.
    Ranges(RangesIn),
}

/// Where ranges are written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangesIn {
    /// In a file beside the recording.
    File(Located<String>),
    /// In the recording's metadata records of this name.
    Metadata(Located<String>),
}

/// What the messages of a marker topic mean.
#[derive(Debug, Clone, PartialEq)]
pub enum MarkerRule {
    /// Each begins an episode.
    Each,
    /// One begins an episode, the next ends it.
    Toggle,
    /// Each whose value differs from the one before begins an episode.
    Change,
    /// Each with this value begins an episode.
    Start {
        /// The value.
        start: MarkerValue,
    },
    /// The first with one value begins an episode, the first after it with the other ends it.
    StartStop {
        /// The value that begins.
        start: MarkerValue,
        /// The value that ends.
        stop: MarkerValue,
    },
}

/// A marker's value. Booleans are 0 and 1.
#[derive(Debug, Clone, PartialEq)]
pub enum MarkerValue {
    /// A text, compared as it is.
    Text(String),
    /// A number.
    Number(f64),
}

/// Reads the table; without one a recording is one episode.
pub(super) fn episodes(root: &Keys<'_>) -> Result<Episodes, MappingError> {
    let Some(table) = root.table("episodes", "[episodes]", &EPISODES_KEYS)? else {
        return Ok(Episodes::default());
    };
    #[derive(Clone, Copy, PartialEq)]
    enum Word {
        File,
        Gap,
        Marker,
        Ranges,
    }
    let words =
        [("file", Word::File), ("gap", Word::Gap), ("marker", Word::Marker), ("ranges", Word::Ranges)];
    let word = table.choice("split", &words)?.map_or(Word::File, |word| word.value);
    let goes_with: [(&str, &[Word]); 8] = [
        ("gap_ms", &[Word::Gap]),
        ("topic", &[Word::Gap, Word::Marker]),
        ("field", &[Word::Marker]),
        ("start", &[Word::Marker]),
        ("stop", &[Word::Marker]),
        ("toggle", &[Word::Marker]),
        ("file", &[Word::Ranges]),
        ("metadata", &[Word::Ranges]),
    ];
    for (key, valid) in goes_with {
        if let Some(place) = table.place_of(key)
            && !valid.contains(&word)
        {
            let names = words.iter().filter(|(_, word)| valid.contains(word));
            let names: Vec<String> = names.map(|(name, _)| format!("split = {name:?}")).collect();
            return Err(table.error(place, format!("{key} goes with {} only", names.join(" and "))));
        }
    }
    let split = match word {
        Word::File => Split::File,
        Word::Gap => gap(&table)?,
        Word::Marker => marker(&table)?,
        Word::Ranges => Split::Ranges(ranges(&table)?),
    };
    Ok(Episodes {
        split,
        trim_start_ns: milliseconds(&table, "trim_start_ms")?.unwrap_or(0),
        trim_end_ns: milliseconds(&table, "trim_end_ms")?.unwrap_or(0),
        min_frames: table.integer("min_frames", 1..=MIN_FRAMES_MAX)?.map_or(1, |frames| frames.value),
    })
}

/// Milliseconds as nanoseconds.
fn milliseconds(table: &Keys<'_>, key: &str) -> Result<Option<u64>, MappingError> {
    let value = table.number(key, f64::from(TOLERANCE_MS_MAX))?;
    Ok(value.map(|ms| (ms * 1e6).round() as u64))
}

fn gap(table: &Keys<'_>) -> Result<Split, MappingError> {
    let gap_ns = milliseconds(table, "gap_ms")?.ok_or_else(|| table.lacks("gap_ms", "gap_ms = 2000"))?;
    if gap_ns == 0 {
        let place = table.place_of("gap_ms").unwrap_or(table.place);
        return Err(
            table.error(place, "gap_ms must be more than 0: every pause between two messages is longer")
        );
    }
    Ok(Split::Gap { gap_ns, topic: table.text("topic")? })
}

fn marker(table: &Keys<'_>) -> Result<Split, MappingError> {
    let topic = table.required_text("topic", "topic = \"/episode\"")?;
    let mut field = table.text("field")?;
    let (start, stop) = (value(table, "start")?, value(table, "stop")?);
    let toggle = table.boolean("toggle")?.is_some_and(|toggle| toggle.value);
    if toggle {
        for key in ["field", "start", "stop"] {
            if let Some(place) = table.place_of(key) {
                let what = format!(
                    "{key} does not go with toggle = true: by turns, each message begins and ends an episode"
                );
                return Err(table.error(place, what));
            }
        }
    }
    let rule = match (start, stop) {
        (None, Some(stop)) => {
            return Err(
                table.error(stop.place, "stop needs the value that begins an episode: start = \"start\"")
            );
        }
        (Some(start), Some(stop)) if start.value == stop.value => {
            return Err(
                table.error(stop.place, "stop is the same as start; toggle = true begins and ends by turns")
            );
        }
        (Some(start), stop) => {
            let usual = || Located { value: "data".to_owned(), place: topic.place };
            field = Some(field.unwrap_or_else(usual));
            match stop {
                Some(stop) => MarkerRule::StartStop { start: start.value, stop: stop.value },
                None => MarkerRule::Start { start: start.value },
            }
        }
        (None, None) if field.is_some() => MarkerRule::Change,
        (None, None) if toggle => MarkerRule::Toggle,
        (None, None) => MarkerRule::Each,
    };
    Ok(Split::Marker { topic, field, rule })
}

fn value(table: &Keys<'_>, key: &str) -> Result<Option<Located<MarkerValue>>, MappingError> {
    let Some(Located { value, place }) = table.scalar(key)? else { return Ok(None) };
    let value = match value {
        Scalar::Text(text) => MarkerValue::Text(text),
        Scalar::Number(number) => MarkerValue::Number(number),
        Scalar::Boolean(boolean) => MarkerValue::Number(f64::from(u8::from(boolean))),
    };
    Ok(Some(Located { value, place }))
}

fn ranges(table: &Keys<'_>) -> Result<RangesIn, MappingError> {
    const EXAMPLE: &str = "file = \"{recording}.episodes.json\", or metadata = \"episodes\"";
    match (table.text("file")?, table.text("metadata")?) {
        (Some(file), None) => {
            super::check::beside(table, &file, "{recording}.episodes.json")?;
            if Notation::of(&file.value).is_none() {
                return Err(table.error(file.place, "the file's name must end in .json, .toml or .csv"));
            }
            Ok(RangesIn::File(file))
        }
        (None, Some(name)) => Ok(RangesIn::Metadata(name)),
        (None, None) => Err(table.error(table.place, format!("split = \"ranges\" needs {EXAMPLE}"))),
        (Some(_), Some(name)) => {
            Err(table.error(name.place, format!("split = \"ranges\" takes one of: {EXAMPLE}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mapping;
    use super::*;

    const REST: &str = "fps = 1\n[task]\ntext = \"t\"\n[[feature]]\nname = \"a\"\nsource = { topic = \"/a\", field = \"b\" }\n[episodes]\n";

    fn read(lines: &str) -> Episodes {
        Mapping::parse("m", &format!("{REST}{lines}")).unwrap().episodes
    }

    fn refused(lines: &str) -> String {
        Mapping::parse("m", &format!("{REST}{lines}")).unwrap_err().to_string()
    }

    fn field_and_rule(lines: &str) -> (Option<String>, MarkerRule) {
        match read(&format!("split = \"marker\"\ntopic = \"/m\"\n{lines}")).split {
            Split::Marker { field, rule, .. } => (field.map(|field| field.value), rule),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_written_is_one_episode_a_file() {
        assert_eq!(read(""), Episodes::default());
        let trimmed = read("split = \"file\"\ntrim_start_ms = 0.5\ntrim_end_ms = 2\nmin_frames = 30");
        let expected =
            Episodes { split: Split::File, trim_start_ns: 500_000, trim_end_ns: 2_000_000, min_frames: 30 };
        assert_eq!(trimmed, expected);
    }

    #[test]
    fn gaps_are_of_all_topics_or_of_one() {
        assert_eq!(
            read("split = \"gap\"\ngap_ms = 1500").split,
            Split::Gap { gap_ns: 1_500_000_000, topic: None }
        );
        let one = read("split = \"gap\"\ngap_ms = 1500\ntopic = \"/j\"").split;
        assert!(matches!(one, Split::Gap { topic: Some(topic), .. } if topic.value == "/j"));
    }

    #[test]
    fn markers_mean_what_their_keys_say() {
        let (go, data) = (MarkerValue::Text("go".to_owned()), Some("data".to_owned()));
        assert_eq!(field_and_rule(""), (None, MarkerRule::Each));
        assert_eq!(field_and_rule("toggle = true"), (None, MarkerRule::Toggle));
        assert_eq!(field_and_rule("toggle = false"), (None, MarkerRule::Each));
        assert_eq!(field_and_rule("field = \"id\""), (Some("id".to_owned()), MarkerRule::Change));
        assert_eq!(field_and_rule("start = \"go\""), (data.clone(), MarkerRule::Start { start: go }));
        let (start, stop) = (MarkerValue::Number(1.0), MarkerValue::Number(0.0));
        let rule = MarkerRule::StartStop { start, stop };
        assert_eq!(field_and_rule("start = true\nstop = false"), (data.clone(), rule.clone()));
        assert_eq!(field_and_rule("start = 1\nstop = 0.0"), (data, rule));
    }

    #[test]
    fn what_does_not_go_together_is_refused_with_what_would() {
        let expected = [
            (
                "split = \"pause\"",
                "m:8:9: split = \"pause\": valid are \"file\", \"gap\", \"marker\", \"ranges\"",
            ),
            ("gap_ms = 5", "m:8:10: gap_ms goes with split = \"gap\" only"),
            (
                "split = \"ranges\"\ntopic = \"/a\"",
                "m:9:9: topic goes with split = \"gap\" and split = \"marker\" only",
            ),
            ("split = \"gap\"", "m:7:1: [episodes] needs \"gap_ms\", for example: gap_ms = 2000"),
            (
                "split = \"gap\"\ngap_ms = 0",
                "m:9:10: gap_ms must be more than 0: every pause between two messages is longer",
            ),
            ("split = \"marker\"", "m:7:1: [episodes] needs \"topic\", for example: topic = \"/episode\""),
            (
                "split = \"marker\"\ntopic = \"/m\"\nstop = 1",
                "m:10:8: stop needs the value that begins an episode: start = \"start\"",
            ),
            (
                "split = \"marker\"\ntopic = \"/m\"\nstart = true\nstop = 1",
                "m:11:8: stop is the same as start; toggle = true begins and ends by turns",
            ),
            (
                "split = \"marker\"\ntopic = \"/m\"\nstart = [1]",
                "m:10:9: start must be a text, a number or a boolean, not the type array",
            ),
            (
                "split = \"marker\"\ntopic = \"/m\"\ntoggle = true\nfield = \"data\"",
                "m:11:9: field does not go with toggle = true: by turns, each message begins and ends an episode",
            ),
            ("split = \"marker\"\ntopic = \"/m\"\ntoggle = 1", "m:10:10: toggle must be true or false"),
            (
                "split = \"ranges\"",
                "m:7:1: split = \"ranges\" needs file = \"{recording}.episodes.json\", or metadata = \"episodes\"",
            ),
            (
                "split = \"ranges\"\nfile = \"a.txt\"",
                "m:9:8: the file's name must end in .json, .toml or .csv",
            ),
            (
                "split = \"ranges\"\nfile = \"/a.csv\"",
                "m:9:8: file is a path from the recording's folder, without . or .. parts, for example: file = \"{recording}.episodes.json\"",
            ),
            (
                "split = \"ranges\"\nfile = \"a.csv\"\nmetadata = \"m\"",
                "m:10:12: split = \"ranges\" takes one of: file = \"{recording}.episodes.json\", or metadata = \"episodes\"",
            ),
            ("min_frames = 0", "m:8:14: min_frames must be a whole number from 1 to 1000000"),
            ("trim_start_ms = -1", "m:8:17: trim_start_ms must be a number from 0 to 86400000"),
        ];
        for (lines, message) in expected {
            assert_eq!(refused(lines), message);
        }
        assert!(
            refused("gap_m = 3")
                .starts_with("m:8:1: unknown key \"gap_m\" in [episodes]: did you mean \"gap_ms\"?")
        );
    }
}
