//! `roboflow diagram`: the worker's state machine, drawn.

use super::exit::{Code, OrExit, Outcome};
use super::output;
use clap::Args;
use roboflow_fsm::diagram::{Format, render};
use roboflow_fsm::explore::explore;

const AFTER_HELP: &str = "\
The picture is drawn from what the machine does: every event is given to it in every state that it can reach.

Examples:
  roboflow diagram
  roboflow diagram --format svg > machine.svg";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DiagramArgs {
    /// The language: mermaid, plantuml, dot, scxml, xstate or svg
    #[arg(long, default_value = Format::Mermaid.name(), value_name = "FORMAT")]
    format: Format,
}

pub(super) fn run(args: &DiagramArgs) -> Outcome {
    let table = explore().or_exit(Code::Fault)?;
    output::text(&render(args.format, &table))?;
    Ok(Code::Ok)
}
