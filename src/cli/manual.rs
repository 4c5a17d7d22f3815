//! `roboflow completions` and `roboflow man`: what a shell and `man` read, made from the definition of the command line.

use super::exit::{Code, OrExit, Outcome};
use super::output;
use clap::{Args, Command};
use clap_complete::Shell;
use std::path::PathBuf;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  roboflow completions bash > /etc/bash_completion.d/roboflow")]
pub(super) struct CompletionsArgs {
    /// bash, zsh, fish, elvish or powershell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// What was typed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  roboflow man | man -l -\n  roboflow man --dir /usr/local/share/man/man1"
)]
pub(super) struct ManArgs {
    /// Write a page for the program and one for each command into this folder, instead of the program's to stdout
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs, mut definition: Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition, "roboflow", &mut script);
    output::text(&String::from_utf8(script).or_exit(Code::Fault)?)?;
    Ok(Code::Ok)
}

pub(super) fn man(args: &ManArgs, definition: Command) -> Outcome {
    match &args.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).or_exit(Code::CannotCreate)?;
            clap_mangen::generate_to(definition, dir).or_exit(Code::CannotCreate)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(definition).render(&mut page).or_exit(Code::Fault)?;
            output::text(&String::from_utf8(page).or_exit(Code::Fault)?)?;
        }
    }
    Ok(Code::Ok)
}
