//! `roboflow health`: asks a worker or scanner how it is, for exec probes.

use super::duration::Millis;
use super::exit::{Code, Failure, OrExit, Outcome};
use super::http::AskArgs;
use super::output;
use crate::http::client::ask;
use clap::{Args, ValueEnum};
use std::time::Duration;

const AFTER_HELP: &str = "\
Examples:
  roboflow health                          (ready? asks 127.0.0.1:$HEALTH_PORT, or port 8080)
  roboflow health live --port 8081
  roboflow health all --url http://worker-0:8080

Ends with 0 if the answer is yes, and with 1 if it is no or none comes.";

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Question {
    /// Does it get on? No: restart it
    Live,
    /// Does it take work?
    Ready,
    /// Both, and what its machines do, as JSON; yes where it gets on
    All,
}

impl Question {
    fn path(self) -> &'static str {
        match self {
            Self::Live => "/health/live",
            Self::Ready => "/health/ready",
            Self::All => "/health",
        }
    }
}

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct HealthArgs {
    /// What is asked
    #[arg(value_enum, default_value = "ready", value_name = "live|ready|all", hide_possible_values = true)]
    question: Question,
    #[command(flatten)]
    ask: AskArgs,
    /// How long the answer may take
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    timeout: Millis,
}

pub(super) fn run(args: &HealthArgs) -> Outcome {
    let place = args.ask.place()?;
    let within = Duration::from_millis(args.timeout.0.max(1));
    let answer = ask(&place, "GET", args.question.path(), None, within)
        .map_err(|error| anyhow::Error::new(error).context(format!("{place} does not answer")))
        .or_exit(Code::No)?;
    let text = answer.body.trim_end();
    if answer.status == 200 {
        output::text(&format!("{text}\n"))?;
        return Ok(Code::Ok);
    }
    Err(Failure::new(Code::No, format!("{place} says {}: {text}", answer.status)))
}
