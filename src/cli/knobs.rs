//! The table of all options, as `deploy/knobs.md` shows it: made from the definition of the command line, so that it cannot be
//! out of date. Only a test makes it.

use super::Cli;
use clap::{Arg, Command, CommandFactory};
use std::fmt::Write;
use std::path::Path;

const HEAD: &str = "\
# Every knob

Each option of each command, with its name in the environment, its default and its effect. Made from the program itself by
`UPDATE_GOLDEN=1 cargo test --lib knobs`; a test fails when it is out of date. `roboflow config show COMMAND` prints what is in force.
";

/// A text on one line of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn row(arg: &Arg) -> Option<String> {
    let long = arg.get_long().filter(|long| !matches!(*long, "help" | "version"))?;
    let value = match arg.get_num_args() {
        Some(range) if range.takes_values() => {
            let names = arg.get_value_names().unwrap_or_default();
            names.iter().map(|name| format!(" {name}")).collect::<String>()
        }
        _ => String::new(),
    };
    let env = arg.get_env().map_or_else(String::new, |name| format!("`{}`", name.to_string_lossy()));
    let defaults = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned());
    let default = match arg.get_action().takes_values() {
        true => defaults.map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", "),
        false => String::new(),
    };
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let option = cell(&format!("--{long}{value}"));
    Some(format!("| `{option}` | {env} | {} | {} |\n", cell(&default), cell(&help)))
}

fn table(text: &mut String, name: &str, command: &Command) {
    let rows: String = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !arg.is_global_set())
        .filter_map(row)
        .collect();
    if !rows.is_empty() {
        write!(text, "\n## {name}\n\n| option | environment | default | effect |\n|---|---|---|---|\n{rows}")
            .ok();
    }
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        table(text, &format!("{name} {}", sub.get_name()), sub);
    }
}

fn page() -> String {
    let mut command = Cli::command();
    command.build();
    let mut text = HEAD.to_owned();
    let global: String = command.get_arguments().filter(|arg| arg.is_global_set()).filter_map(row).collect();
    write!(
        text,
        "\n## Every command\n\n| option | environment | default | effect |\n|---|---|---|---|\n{global}"
    )
    .ok();
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        table(&mut text, &format!("roboflow {}", sub.get_name()), sub);
    }
    text
}

#[test]
fn golden_knobs_are_those_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/knobs.md");
    let page = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let shown = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(shown == page, "deploy/knobs.md is out of date: UPDATE_GOLDEN=1 cargo test --lib knobs");
}

#[test]
fn every_option_says_what_it_does() {
    fn look(path: &str, command: &Command) {
        for arg in command.get_arguments() {
            let name = arg.get_id();
            assert!(arg.get_help().is_some(), "{path} {name}: it has no help");
        }
        command.get_subcommands().for_each(|sub| look(&format!("{path} {}", sub.get_name()), sub));
    }
    look("roboflow", &Cli::command());
}
