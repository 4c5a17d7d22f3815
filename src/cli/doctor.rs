//! `roboflow doctor`: whether what a worker needs is there, and what to do where it is not.

use super::args::{GraceArgs, StopArgs};
use super::exit::{Code, OrExit, Outcome};
use super::output;
use super::storage::StorageArgs;
use super::store::StoreArgs;
use super::worker::own_pod;
use crate::doctor::{self, Finding, Health};
use clap::Args;
use roboflow_fsm::Settings;
use std::fmt::Write;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  roboflow doctor --pd pd-0:2379 --input s3://bucket/recordings --out s3://bucket/sets
  roboflow doctor --store sqlite:set/.roboflow/queue.db --json
  kubectl exec deploy/roboflow-worker -- roboflow doctor

What is not named is not looked at. It writes one small object below --out and removes it; all else it only reads.
Exit 0: nothing is wrong. Exit 1: something is, and stands there with what to do.";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DoctorArgs {
    /// Where recordings lie: listed, and one byte read
    #[arg(long, value_name = "URL", env = "STORAGE_URL")]
    input: Option<String>,
    /// Where datasets go: an object is written, read and removed
    #[arg(long, value_name = "URL")]
    out: Option<String>,
    /// A folder that must have room
    #[arg(long, value_name = "DIR", default_value = "/tmp")]
    disk: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    stop: StopArgs,
    #[command(flatten)]
    grace: GraceArgs,
}

pub(super) fn run(args: &DoctorArgs) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_exit(Code::Fault)?;
    let mut found = Vec::new();
    if let Some(place) = args.store.place(None)? {
        found.extend(runtime.block_on(doctor::store(&place)));
    }
    let places = args.storage.places();
    found.extend(args.input.iter().map(|url| doctor::input(&places, url)));
    found.extend(args.out.iter().map(|url| doctor::output(&places, url)));
    let machine = Settings {
        drain_budget_ms: args.stop.drain_budget.0,
        force_after_ms: args.stop.force_after.0,
        shutdown_timeout_ms: args.stop.shutdown_timeout.0,
        ..Settings::default()
    };
    machine.check().map_err(|error| anyhow::anyhow!("{error}")).or_exit(Code::Config)?;
    found.push(runtime.block_on(doctor::grace(own_pod(&args.grace), &args.grace.typed(), &machine)));
    found.push(doctor::disk(&args.disk));
    found.push(doctor::limits());
    found.push(doctor::encoder());
    if args.json {
        output::json(&found)?;
    } else {
        output::text(&text(&found))?;
    }
    Ok(if found.iter().any(|finding| finding.health == Health::Bad) { Code::No } else { Code::Ok })
}

fn text(found: &[Finding]) -> String {
    let mut text = String::new();
    for finding in found {
        let health = match finding.health {
            Health::Ok => "ok",
            Health::Skipped => "-",
            Health::Warning => "warning",
            Health::Bad => "BAD",
        };
        writeln!(text, "{:8} {:8} {}", finding.check, health, finding.seen).ok();
        if let Some(todo) = &finding.todo {
            writeln!(text, "{:17} {todo}", "").ok();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_stands_below_what_is_wrong() {
        let bad = Finding {
            check: "store",
            health: Health::Bad,
            seen: "it is away".to_owned(),
            todo: Some("start it".to_owned()),
        };
        assert_eq!(text(&[bad]), "store    BAD      it is away\n                  start it\n");
    }
}
