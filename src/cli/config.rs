//! `roboflow config show`: what is in force for a command, and where each setting came from.

use super::exit::{Code, Failure, OrExit, Outcome};
use super::file::{FLAG, File};
use super::output;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Subcommand};
use serde::Serialize;
use std::ffi::OsString;
use std::fmt::Write;

const AFTER_HELP: &str = "\
Examples:
  roboflow config show worker
  roboflow --config roboflow.toml config show worker --threads 4
  roboflow config show scanner --json

A flag wins over the environment, the environment over the file (--config, ROBOFLOW_CONFIG), the file over the default. A
file is TOML: an option's long name is the key, above all tables for every command that has it, or below the command's:

  log-format = \"json\"
  [worker]
  threads = 4
  pd = [\"pd-0:2379\", \"pd-1:2379\"]";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what is in force for a command, and where each setting came from; secrets are hidden
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// The command, with what would be typed behind it
        #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}

/// One setting.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Shown {
    option: String,
    value: Option<String>,
    from: String,
}

pub(super) fn run(args: &ConfigArgs, definition: &Command, file: Option<&File>) -> Outcome {
    let Action::Show { json, words } = &args.action;
    let words = std::iter::once(OsString::from("roboflow")).chain(words.iter().cloned());
    // What is required and missing is no reason not to show the rest.
    let matches = definition.clone().ignore_errors(true).try_get_matches_from(words).or_exit(Code::Config)?;
    let (mut command, mut found, mut path) = (definition, &matches, Vec::new());
    while let Some((name, below)) = found.subcommand() {
        let Some(definition) = command.find_subcommand(name) else { break };
        (command, found) = (definition, below);
        path.push(name.to_owned());
    }
    if path.is_empty() {
        return Err(Failure::new(Code::Config, "which command? See 'roboflow --help'"));
    }
    let shown = settings(definition, command, found, &path, file);
    if *json {
        output::json(&shown)?;
    } else {
        output::text(&text(&shown))?;
    }
    Ok(Code::Ok)
}

fn settings(
    root: &Command,
    command: &Command,
    found: &ArgMatches,
    path: &[String],
    file: Option<&File>,
) -> Vec<Shown> {
    let global = root.get_arguments().filter(|arg| arg.is_global_set());
    let mut shown = Vec::new();
    for arg in command.get_arguments().chain(global) {
        let Some(long) = arg.get_long().filter(|long| !matches!(*long, "help" | "version")) else { continue };
        let id = arg.get_id().as_str();
        if shown.iter().any(|other: &Shown| other.option == long) {
            continue;
        }
        let raw = found.try_get_raw(id).ok().flatten();
        let mut value =
            raw.map(|raw| raw.map(|value| redacted(&value.to_string_lossy())).collect::<Vec<_>>().join(","));
        let mut from = match found.try_contains_id(id).ok().and_then(|_| found.value_source(id)) {
            Some(ValueSource::CommandLine) => "flag".to_owned(),
            Some(ValueSource::EnvVariable) => {
                let name = arg.get_env().map(|name| name.to_string_lossy().into_owned());
                format!("environment: {}", name.unwrap_or_default())
            }
            _ if file.is_some_and(|file| file.values(path, long).is_some()) => "file".to_owned(),
            Some(_) => "default".to_owned(),
            None => "not set".to_owned(),
        };
        // The file that this command was given is what the shown one would be given.
        if FLAG.strip_prefix("--") == Some(long)
            && value.is_none()
            && let Some(file) = file
        {
            (value, from) = (Some(file.path().display().to_string()), "flag".to_owned());
        }
        shown.push(Shown { option: long.to_owned(), value, from });
    }
    shown
}

/// A value without what may be a secret in it: the user and password of a URL.
fn redacted(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, behind) = rest.split_at(end);
    match host.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{behind}"),
        None => value.to_owned(),
    }
}

fn text(shown: &[Shown]) -> String {
    let width = |of: fn(&Shown) -> usize| shown.iter().map(of).max().unwrap_or(0);
    let options = width(|one| one.option.len());
    let values = width(|one| one.value.as_ref().map_or(1, String::len)).min(48);
    let mut text = String::new();
    for Shown { option, value, from } in shown {
        let value = value.as_deref().unwrap_or("-");
        writeln!(text, "{option:options$}  {value:values$}  {from}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    fn shown(words: &[&str]) -> Vec<Shown> {
        shown_with(words, None)
    }

    fn shown_with(words: &[&str], file: Option<&File>) -> Vec<Shown> {
        let definition = Command::new("roboflow")
            .arg(Arg::new("config").long("config").global(true))
            .arg(Arg::new("log").long("log-level").global(true).default_value("info"))
            .subcommand(
                Command::new("worker")
                    .arg(Arg::new("threads").long("threads").default_value("2"))
                    .arg(Arg::new("home").long("home").env("HOME"))
                    .arg(Arg::new("url").long("url")),
            );
        let matches = definition.clone().try_get_matches_from(words).unwrap();
        let (name, found) = matches.subcommand().unwrap();
        settings(&definition, definition.find_subcommand(name).unwrap(), found, &[name.to_owned()], file)
    }

    #[test]
    fn the_file_that_is_in_force_is_shown_with_what_it_sets() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[worker]\nthreads = 4\n").unwrap();
        let read = File::read(file.path()).unwrap();
        let of = |all: Vec<Shown>, option: &str| all.into_iter().find(|one| one.option == option).unwrap();
        let config = of(shown_with(&["roboflow", "worker"], Some(&read)), "config");
        let path = Some(file.path().display().to_string());
        assert_eq!((config.value, config.from.as_str()), (path, "flag"));
        let none = of(shown(&["roboflow", "worker"]), "config");
        assert_eq!((none.value, none.from.as_str()), (None, "not set"));
    }

    #[test]
    fn each_setting_says_where_it_came_from() {
        let all = shown(&["roboflow", "worker", "--url", "https://user:pass@host/x", "--log-level", "debug"]);
        let from: Vec<(&str, &str)> =
            all.iter().map(|one| (one.option.as_str(), one.from.as_str())).collect();
        assert_eq!(
            from,
            [
                ("threads", "default"),
                ("home", "environment: HOME"),
                ("url", "flag"),
                ("config", "not set"),
                ("log-level", "flag")
            ]
        );
        assert_eq!(all[2].value.as_deref(), Some("https://***@host/x"));
        assert_eq!(text(&all).lines().count(), 5);
    }

    #[test]
    fn nothing_but_a_urls_user_is_hidden() {
        for plain in ["s3://bucket/a@b", "sqlite:a@b", "pd-0:2379", "https://host:9/x"] {
            assert_eq!(redacted(plain), plain);
        }
        assert_eq!(redacted("http://k:s@h"), "http://***@h");
    }
}
