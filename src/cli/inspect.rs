//! `roboflow inspect`: what a recording holds, as text, JSON or a page, the mapping that would be inferred from it, or what a
//! mapping would make of it.

use super::exit::{Code, Failure, OrExit, Outcome, input_failure, storage_code};
use super::mapping::MappingArgs;
use super::output::{self, notice};
use super::storage::StorageArgs;
use crate::convert::infer::infer;
use crate::convert::inspect::{Look, Options, Report, inspect, preview};
use crate::convert::mapping::Mapping;
use crate::convert::source::Recording;
use crate::error::{Class, Classified};
use crate::recordings::{self, Kind};
use crate::storage::{self, Places, SharedStorage, StorageError, from_io, is_local, local_path};
use crate::work::{StopFlag, WorkError};
use clap::Args;
use std::io::Write;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  roboflow inspect demo.mcap
  roboflow inspect s3://robots/2026-11-21/demo.mcap --html demo.html
  roboflow inspect demo.mcap --suggest > robot.toml
  roboflow inspect demo.mcap --mapping robot.toml
  roboflow inspect demo.mcap --json | jq '.topics[] | .name, .rate_hz'

Times are taken from the recording's index. --details and --html read every message: latencies, the order of stamps, sizes, \
and the first picture of each camera. The page needs no network and no other file.";

/// Recordings that an error lists.
const MAX_LISTED: usize = 5;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct InspectArgs {
    /// The recording: a path, a file:// URL or an s3:// object; or a folder or prefix that is one, or has one in it
    #[arg(value_name = "FILE")]
    file: String,
    /// Print the mapping that would be inferred, instead of what the recording holds
    #[arg(long)]
    suggest: bool,
    /// Show what this mapping would make of it: features, episodes, what is dropped or left out. Converts nothing
    #[arg(long, value_name = "MAPPING", conflicts_with_all = ["suggest", "html", "details"])]
    mapping: Option<PathBuf>,
    #[command(flatten)]
    options: MappingArgs,
    /// Print JSON
    #[arg(long, conflicts_with = "suggest")]
    json: bool,
    /// Read every message, for what only they tell (with --json; --html does so anyway)
    #[arg(long, requires = "json")]
    details: bool,
    /// Write a page to this file (or s3:// object) instead of printing a text
    #[arg(long, value_name = "OUT", conflicts_with = "suggest")]
    html: Option<String>,
    /// Draw with ASCII only [default: when the locale is not UTF-8]
    #[arg(long)]
    ascii: bool,
    #[command(flatten)]
    storage: StorageArgs,
}

pub(super) fn run(args: &InspectArgs) -> Outcome {
    let (places, stop) = (args.storage.places(), StopFlag::default());
    if let (None, Some(option)) = (&args.mapping, args.options.first()) {
        return Err(Failure::new(Code::Config, format!("{option} goes with --mapping only")));
    }
    if let Some(mapping) = &args.mapping {
        return with_mapping(args, mapping, &places, &stop);
    }
    let page = args.html.as_deref().map(|html| Page::at(html, &args.file)).transpose()?;
    let (storage, key) = place(&args.file, &places, &stop)?;
    let recording = Recording::open(storage, &key, &stop).map_err(|error| work_failure(error.into()))?;
    if args.suggest {
        let inferred = infer(&recording, &stop).map_err(work_failure)?;
        inferred.notes.iter().for_each(|note| notice(note));
        output::text(&inferred.mapping_text)?;
        return Ok(Code::Ok);
    }
    let look = look(args.ascii);
    let fit = (!args.json && page.is_none()).then_some(look);
    let options = Options { fit, details: args.details || page.is_some() };
    let report = inspect(&recording, &options, &stop).map_err(work_failure)?;
    if let Some(page) = &page {
        page.write(&report, &places, &stop).map_err(page_failure)?;
        notice(&format!("wrote {}", page.shown()));
    }
    if args.json {
        output::json(&report)?;
    } else if page.is_none() {
        output::text(&report.render(look))?;
    }
    Ok(Code::Ok)
}

/// What a mapping would make of the recording.
fn with_mapping(args: &InspectArgs, mapping: &Path, places: &Places, stop: &StopFlag) -> Outcome {
    let text = args.options.read(mapping)?;
    let mapping = Mapping::parse(&mapping.display().to_string(), &text).or_exit(Code::Config)?;
    let (storage, key) = place(&args.file, places, stop)?;
    let preview = preview(&storage, &key, &mapping, stop).map_err(work_failure)?;
    if args.json {
        output::json(&preview)?;
    } else {
        output::text(&preview.render(look(args.ascii)))?;
    }
    Ok(Code::Ok)
}

/// A file by its path whatever its name; what is in a bucket, and a folder, by the rules of every command.
fn place(typed: &str, places: &Places, stop: &StopFlag) -> Outcome<(SharedStorage, String)> {
    match is_local(typed).then(|| local_path(typed)).transpose().or_exit(Code::NoInput)? {
        Some(path) if !path.is_dir() => file(&path, places, stop),
        _ => found(typed, places, stop),
    }
}

fn file(path: &Path, places: &Places, stop: &StopFlag) -> Outcome<(SharedStorage, String)> {
    let path = std::path::absolute(path).or_exit(Code::NoInput)?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(Failure::new(Code::NoInput, format!("{}: not a file with a valid name", path.display())));
    };
    let folder = folder.display().to_string();
    Ok((places.open(&folder, stop).or_exit(Code::NoInput)?, name.to_owned()))
}

fn found(typed: &str, places: &Places, stop: &StopFlag) -> Outcome<(SharedStorage, String)> {
    let found = recordings::find(&[typed.to_owned()], None, places, stop).map_err(input_failure)?;
    match found.objects.as_slice() {
        [one] => Ok((found.storage, one.key.clone())),
        many => {
            let names: Vec<&str> = many.iter().take(MAX_LISTED).map(|object| object.key.as_str()).collect();
            let more = if many.len() > MAX_LISTED { ", ..." } else { "" };
            let text = format!(
                "{typed}: {} recordings are here; name one of them: {}{more}",
                many.len(),
                names.join(", ")
            );
            Err(Failure::new(Code::NoInput, text))
        }
    }
}

/// What stdout shows.
fn look(ascii: bool) -> Look {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    // The first of these that is set decides, as for every program of the system.
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
    let utf8 = ["UTF-8", "UTF8"].iter().any(|name| locale.to_ascii_uppercase().contains(name));
    let dumb = set("TERM").is_some_and(|term| term == "dumb");
    let colour = output::is_terminal() && set("NO_COLOR").is_none() && !dumb;
    Look { width: output::width(), unicode: utf8 && !ascii, colour }
}

/// Where a page goes.
#[derive(Debug)]
struct Page {
    folder: String,
    name: String,
}

impl Page {
    /// Refuses what is a recording by its name, and the recording itself: a slip must not cost one.
    fn at(typed: &str, recording: &str) -> Outcome<Self> {
        let refuse = |reason: &str| Err(Failure::new(Code::Config, format!("--html {typed}: {reason}")));
        let place = storage::absolute(typed).or_exit(Code::Config)?;
        let Some((folder, name)) = place.rsplit_once('/').filter(|(_, name)| !name.is_empty()) else {
            return refuse("name a file");
        };
        if place.starts_with("s3://") && folder == "s3:/" {
            return refuse("name an object: s3://BUCKET/report.html");
        }
        if recordings::kind(name) != Kind::Other
            || storage::absolute(recording).is_ok_and(|input| input == place)
        {
            return refuse("that is where a recording stands; give another name, as report.html");
        }
        let folder = if folder.is_empty() { "/" } else { folder };
        Ok(Self { folder: folder.to_owned(), name: name.to_owned() })
    }

    fn shown(&self) -> String {
        format!("{}/{}", self.folder.trim_end_matches('/'), self.name)
    }

    /// Writes it whole or not at all.
    fn write(&self, report: &Report, places: &Places, stop: &StopFlag) -> Result<(), StorageError> {
        let storage = places.create(&self.folder, stop)?;
        let mut writer = storage.writer(&self.name)?;
        let mut buffered = std::io::BufWriter::new(&mut writer);
        let written = report.write_html(&mut buffered).and_then(|()| buffered.flush());
        drop(buffered);
        written.map_err(|error| from_io(&*storage, "writing", &self.name, error))?;
        writer.finish()
    }
}

fn page_failure(error: StorageError) -> Failure {
    Failure { code: storage_code(&error, Code::CannotCreate), error: error.into() }
}

/// The exit code of work that failed.
pub(crate) fn work_failure(error: WorkError) -> Failure {
    let code = if error.class() == Class::Transient { Code::Io } else { Code::Data };
    Failure { code, error: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_never_takes_the_place_of_a_recording() {
        for (html, recording) in [
            ("a.mcap", "b.mcap"),
            ("/data/a.BAG", "b.mcap"),
            ("x/../odd", "x/../odd"),
            ("s3://b/odd", "s3://b/odd"),
        ] {
            assert!(Page::at(html, recording).unwrap_err().error.to_string().contains("recording"), "{html}");
        }
        for html in ["s3://bucket", "/"] {
            assert!(Page::at(html, "a.mcap").unwrap_err().error.to_string().contains("name a"), "{html}");
        }
        assert_eq!(Page::at("s3://b/r.html", "a.mcap").unwrap().shown(), "s3://b/r.html");
        assert_eq!(Page::at("/r.html", "a.mcap").unwrap().shown(), "/r.html");
    }
}
