//! Episodes as somebody wrote them down: in JSON, TOML or CSV beside a recording, or in its metadata.
//!
//! Every entry has a begin and an end, each as nanoseconds (`start_ns`, `end_ns`: stamps) or as seconds from the
//! recording's start (`start_s`, `end_s`), and maybe a task. It reads texts, not files.

use super::{Bounds, EPISODES_MAX};
use crate::convert::grid::Stamp;
use serde::Deserialize;
use serde_json::Value;

/// Largest text, in bytes.
pub(crate) const RANGES_BYTES_MAX: u64 = 8 << 20;
/// Greatest number of seconds: a century, well within 64 bits of nanoseconds.
const SECONDS_MAX: f64 = 3_200_000_000.0;
/// What an entry can say.
const KEYS: [&str; 5] = ["start_ns", "end_ns", "start_s", "end_s", "task"];
/// Where a document keeps its entries.
const LIST_KEY: &str = "episodes";

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    /// A list of objects, or an object with such a list as `episodes`.
    Json,
    /// Tables `[[episodes]]`.
    Toml,
    /// A first line with the names of the columns.
    Csv,
}

impl Notation {
    /// By the ending of a file's name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let (_, ending) = name.rsplit_once('.')?;
        [("json", Self::Json), ("toml", Self::Toml), ("csv", Self::Csv)]
            .into_iter()
            .find(|(known, _)| ending.eq_ignore_ascii_case(known))
            .map(|(_, notation)| notation)
    }
}

/// One episode as written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    start_ns: Option<u64>,
    end_ns: Option<u64>,
    start_s: Option<f64>,
    end_s: Option<f64>,
    task: Option<String>,
}

impl Entry {
    /// An entry whose values are all texts.
    ///
    /// # Errors
    /// A name that no entry has, or a value that is no number.
    pub(crate) fn of_texts<'t>(texts: impl Iterator<Item = (&'t str, &'t str)>) -> Result<Self, String> {
        let mut entry = Self::default();
        for (name, text) in texts.filter(|(_, text)| !text.is_empty()) {
            let whole = || {
                text.trim()
                    .parse::<u64>()
                    .map_err(|_| format!("{name} = {text:?} is no whole number of nanoseconds"))
            };
            let seconds = || {
                text.trim().parse::<f64>().map_err(|_| format!("{name} = {text:?} is no number of seconds"))
            };
            match name {
                "start_ns" => entry.start_ns = Some(whole()?),
                "end_ns" => entry.end_ns = Some(whole()?),
                "start_s" => entry.start_s = Some(seconds()?),
                "end_s" => entry.end_s = Some(seconds()?),
                "task" => entry.task = Some(text.to_owned()),
                other => return Err(format!("there is no {other:?}; valid are {}", KEYS.join(", "))),
            }
        }
        Ok(entry)
    }

    /// Its bounds. `origin_ns` is where the seconds are counted from.
    fn bounds(self, origin_ns: u64) -> Result<Bounds, String> {
        let side = |name: &str, ns: Option<u64>, seconds: Option<f64>| match (ns, seconds) {
            (Some(ns), None) => Ok(ns),
            (None, Some(seconds)) if (0.0..=SECONDS_MAX).contains(&seconds) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "within the range just looked at"
                )]
                let ns = (seconds * 1e9).round() as u64;
                Ok(origin_ns.saturating_add(ns))
            }
            (None, Some(seconds)) => Err(format!("{name}_s = {seconds}: valid are 0 to {SECONDS_MAX}")),
            (Some(_), Some(_)) => Err(format!("it has {name}_ns and {name}_s: one of them is enough")),
            (None, None) => Err(format!(
                "it needs {name}_ns (a stamp in nanoseconds) or {name}_s (seconds from the recording's start)"
            )),
        };
        let begin_ns = side("start", self.start_ns, self.start_s)?;
        let end_ns = side("end", self.end_ns, self.end_s)?;
        if end_ns < begin_ns {
            return Err(format!("it ends at {}, before it begins at {}", Stamp(end_ns), Stamp(begin_ns)));
        }
        Ok(Bounds { begin_ns, end_ns, task: self.task })
    }
}

/// The bounds that entries stand for, in their order.
///
/// # Errors
/// What is wrong with which entry, counted from 1.
pub(crate) fn bounds(entries: Vec<Result<Entry, String>>, origin_ns: u64) -> Result<Vec<Bounds>, String> {
    if entries.is_empty() {
        return Err("it has no episode".to_owned());
    }
    if entries.len() > EPISODES_MAX {
        return Err(format!("it has {} episodes, and at most {EPISODES_MAX} are allowed", entries.len()));
    }
    let numbered = entries.into_iter().enumerate();
    numbered
        .map(|(at, entry)| {
            entry
                .and_then(|entry| entry.bounds(origin_ns))
                .map_err(|what| format!("episode {}: {what}", at + 1))
        })
        .collect()
}

/// The entries of a text.
///
/// # Errors
/// The text as a whole cannot be read.
pub(crate) fn entries(notation: Notation, text: &str) -> Result<Vec<Result<Entry, String>>, String> {
    match notation {
        Notation::Json => {
            let document: Value =
                serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
            listed(document)
        }
        Notation::Toml => {
            let document: Value = toml::from_str(text)
                .map_err(|error: toml::de::Error| format!("it is not TOML: {}", error.message()))?;
            listed(document)
        }
        Notation::Csv => table(text),
    }
}

fn listed(document: Value) -> Result<Vec<Result<Entry, String>>, String> {
    let list = match document {
        Value::Object(mut members) if members.len() == 1 => members.remove(LIST_KEY),
        other => Some(other),
    };
    let Some(Value::Array(items)) = list else {
        return Err(format!(
            "it must hold a list {LIST_KEY:?} and nothing else; each entry has {}",
            KEYS.join(", ")
        ));
    };
    Ok(items
        .into_iter()
        .map(|item| serde_json::from_value(item).map_err(|error| error.to_string()))
        .collect())
}

fn table(text: &str) -> Result<Vec<Result<Entry, String>>, String> {
    let mut lines = rows(text.strip_prefix('\u{feff}').unwrap_or(text))?.into_iter();
    let names: Vec<String> =
        lines.next().unwrap_or_default().into_iter().map(|name| name.trim().to_owned()).collect();
    if let Some(unknown) = names.iter().find(|name| !KEYS.contains(&name.as_str())) {
        return Err(format!(
            "its first line names the columns, and {unknown:?} is none; valid are {}",
            KEYS.join(", ")
        ));
    }
    let entry = |cells: Vec<String>| {
        if cells.len() != names.len() {
            return Err(format!("it has {} cells under {} columns", cells.len(), names.len()));
        }
        Entry::of_texts(names.iter().map(String::as_str).zip(cells.iter().map(String::as_str)))
    };
    Ok(lines.map(entry).collect())
}

/// The cells of a CSV text, line by line: separated by commas, in quotes where they hold such, with `""` for a quote.
/// Empty lines are left out.
fn rows(text: &str) -> Result<Vec<Vec<String>>, String> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut chars) = (false, text.chars().peekable());
    while let Some(letter) = chars.next() {
        match (letter, quoted) {
            ('"', true) if chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            ('"', true) => quoted = false,
            ('"', false) if cell.trim().is_empty() => {
                cell.clear();
                quoted = true;
            }
            (',', false) => row.push(std::mem::take(&mut cell)),
            ('\r', false) if chars.peek() == Some(&'\n') => {}
            ('\n', false) => end_row(&mut rows, &mut row, &mut cell),
            (letter, _) => cell.push(letter),
        }
    }
    if quoted {
        return Err("a quote is opened and never closed".to_owned());
    }
    end_row(&mut rows, &mut row, &mut cell);
    Ok(rows)
}

fn end_row(rows: &mut Vec<Vec<String>>, row: &mut Vec<String>, cell: &mut String) {
    row.push(std::mem::take(cell));
    let row = std::mem::take(row);
    if row.iter().any(|cell| !cell.trim().is_empty()) {
        rows.push(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN_NS: u64 = 1_000_000_000_000;

    fn read(notation: Notation, text: &str) -> Result<Vec<Bounds>, String> {
        bounds(entries(notation, text)?, ORIGIN_NS)
    }

    fn wrong(notation: Notation, text: &str) -> String {
        read(notation, text).unwrap_err()
    }

    #[test]
    fn all_notations_say_the_same() {
        let task = Some("pick, \"gently\"".to_owned());
        let expected = vec![
            Bounds { begin_ns: ORIGIN_NS + 1_500_000_000, end_ns: ORIGIN_NS + 2_000_000_001, task },
            Bounds::of(1_768_471_200_123_456_789, 1_768_471_201_000_000_000),
        ];
        let json = r#"[{"start_s": 1.5, "end_s": 2.000000001, "task": "pick, \"gently\""},
            {"start_ns": 1768471200123456789, "end_ns": 1768471201000000000}]"#;
        assert_eq!(read(Notation::Json, json), Ok(expected.clone()));
        assert_eq!(read(Notation::Json, &format!("{{\"episodes\": {json}}}")), Ok(expected.clone()));
        let toml = "[[episodes]]\nstart_s = 1.5\nend_s = 2.000000001\ntask = 'pick, \"gently\"'\n\
            [[episodes]]\nstart_ns = 1_768_471_200_123_456_789\nend_ns = 1768471201000000000\n";
        assert_eq!(read(Notation::Toml, toml), Ok(expected.clone()));
        let csv = "start_s,end_s,task,start_ns,end_ns\r\n1.5,2.000000001,\"pick, \"\"gently\"\"\",,\r\n\r\n,,,1768471200123456789,1768471201000000000";
        assert_eq!(read(Notation::Csv, csv), Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_entry() {
        let one =
            |entry: &str| wrong(Notation::Json, &format!("[{{\"start_s\": 0, \"end_s\": 1}}, {entry}]"));
        assert_eq!(
            one("{\"start_s\": 3, \"end_s\": 2}"),
            "episode 2: it ends at 1002.000000000 s, before it begins at 1003.000000000 s"
        );
        assert_eq!(
            one("{\"start_s\": 3}"),
            "episode 2: it needs end_ns (a stamp in nanoseconds) or end_s (seconds from the recording's start)"
        );
        assert_eq!(
            one("{\"start_s\": 3, \"start_ns\": 3, \"end_s\": 5}"),
            "episode 2: it has start_ns and start_s: one of them is enough"
        );
        assert_eq!(
            one("{\"start_s\": -1, \"end_s\": 5}"),
            "episode 2: start_s = -1: valid are 0 to 3200000000"
        );
        assert!(one("{\"start\": 3}").contains("unknown field `start`, expected one of `start_ns`"));
        assert!(one("{\"start_ns\": 1.5, \"end_s\": 5}").contains("1.5"));
        assert_eq!(
            wrong(Notation::Csv, "start_s,end_s\n1,x\n"),
            "episode 1: end_s = \"x\" is no number of seconds"
        );
        assert_eq!(wrong(Notation::Csv, "start_s,end_s\n1\n"), "episode 1: it has 1 cells under 2 columns");
        assert!(wrong(Notation::Csv, "start,end_s\n1,2\n").contains("\"start\" is none; valid are start_ns"));
        assert_eq!(wrong(Notation::Csv, "task\n\"x"), "a quote is opened and never closed");
        assert_eq!(wrong(Notation::Csv, ""), "it has no episode");
    }

    #[test]
    fn what_is_no_list_of_entries_is_refused() {
        for (notation, text) in [
            (Notation::Json, "3"),
            (Notation::Json, "{\"episode\": []}"),
            (Notation::Toml, "a = 1"),
            (Notation::Toml, ""),
        ] {
            assert!(wrong(notation, text).starts_with("it must hold a list \"episodes\""), "{text}");
        }
        assert_eq!(wrong(Notation::Json, "[]"), "it has no episode");
        assert!(wrong(Notation::Json, "[").starts_with("it is not JSON"));
        assert!(wrong(Notation::Toml, "[").starts_with("it is not TOML"));
        let many = format!("[{}]", vec!["{}"; EPISODES_MAX + 1].join(","));
        assert!(wrong(Notation::Json, &many).contains("at most 10000 are allowed"));
    }

    #[test]
    fn files_tell_their_notation_by_their_names() {
        assert_eq!(Notation::of("a/b.episodes.JSON"), Some(Notation::Json));
        assert_eq!(Notation::of("b.csv"), Some(Notation::Csv));
        assert_eq!((Notation::of("b.txt"), Notation::of("toml")), (None, None));
    }
}
