//! `roboflow reconcile`: whether every claim is accounted for.

use super::exit::{Code, Outcome};
use super::open::{Asked, Open};
use super::output;
use super::receipts::sums;
use crate::queue::Reconciliation;
use crate::queue::invariant::{Account, AccountState};
use clap::Args;
use serde::Serialize;
use std::fmt::Write;

const AFTER_HELP: &str = "\
Examples:
  roboflow reconcile --pd pd-0:2379
  roboflow reconcile --out set --json

Reads the whole queue and checks, for each worker, claims = completed + released + failed + cancelled + expired + held, and
the rules of the queue: each job in one place, no claim ended twice, no lease that ran out and was left. It changes nothing.
Exit 0: everything adds up. Exit 1: something does not, and is printed.";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ReconcileArgs {
    #[command(flatten)]
    place: Asked,
    /// Show each worker's account too
    #[arg(long)]
    workers: bool,
}

#[derive(Debug, Serialize)]
struct ShownAccount<'a> {
    worker: String,
    pod: &'a str,
    state: &'static str,
    held: u64,
    tally: crate::queue::Tally,
}

fn shown(account: &Account) -> ShownAccount<'_> {
    ShownAccount {
        worker: account.incarnation.to_string(),
        pod: &account.pod,
        state: match account.state {
            AccountState::Registered { found: false, .. } => "registered",
            AccountState::Registered { found: true, .. } => "expired, being taken back",
            AccountState::Left => "left",
            AccountState::Expired => "expired",
        },
        held: account.held,
        tally: account.tally,
    }
}

pub(super) fn run(args: &ReconcileArgs) -> Outcome {
    let open = Open::at(&args.place.queue)?;
    let found = open.ask(open.queue.reconcile())?;
    if args.place.json {
        output::json(&serde_json::json!({
            "at": output::instant(found.at.0),
            "jobs": found.accounts.jobs,
            "claims": found.accounts.epochs,
            "held": found.held(),
            "forgotten": found.forgotten(),
            "tally": found.sum(),
            "workers": found.accounts.workers.iter().map(shown).collect::<Vec<_>>(),
            "violations": found.violations.iter().map(|broken| {
                serde_json::json!({ "rule": broken.rule, "what": broken.what })
            }).collect::<Vec<_>>(),
        }))?;
    } else {
        output::text(&text(&found, args.workers))?;
    }
    Ok(if found.violations.is_empty() { Code::Ok } else { Code::No })
}

fn text(found: &Reconciliation, workers: bool) -> String {
    let mut text = String::new();
    if workers {
        for account in &found.accounts.workers {
            let shown = shown(account);
            writeln!(text, "{}  {:24}  {:10}  {}", shown.worker, shown.pod, shown.state, sums(&shown.tally))
                .ok();
        }
    }
    let known = found.accounts.workers.len() as u64;
    writeln!(
        text,
        "{}, {}: {}",
        output::count(found.accounts.jobs, "job"),
        output::count(known, "worker"),
        sums(&found.sum())
    )
    .ok();
    if found.forgotten() > 0 {
        writeln!(
            text,
            "{} of workers whose receipts were removed by their age",
            output::count(found.forgotten(), "earlier claim")
        )
        .ok();
    }
    for broken in &found.violations {
        writeln!(text, "does not add up: {broken}").ok();
    }
    if found.violations.is_empty() {
        text.push_str("everything adds up\n");
    } else {
        let many = output::count(found.violations.len() as u64, "thing");
        writeln!(text, "{many} did not add up, in {} readings", crate::queue::LOOKS).ok();
    }
    text
}
