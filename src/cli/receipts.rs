//! `roboflow receipts`: how workers stopped, and what became of their jobs.

use super::exit::{Code, Outcome};
use super::open::{Asked, Open};
use super::output;
use crate::queue::{End, Incarnation, Leaving, Receipt, Tally};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fmt::Write;

/// Receipts read at once.
const PAGE: usize = 256;
/// Receipts listed at most, unless asked otherwise.
const DEFAULT_LIMIT: usize = 100;

const AFTER_HELP: &str = "\
Examples:
  roboflow receipts list --pd pd-0:2379
  roboflow receipts list --store sqlite:/var/lib/roboflow/queue.db --json
  roboflow receipts get 3f2a --out set

A worker that says farewell leaves a receipt; for one that was killed, whoever took back its jobs wrote it. Each adds up:
claims = completed + released + failed + cancelled + expired. The scanner removes old ones (--keep-receipts).";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub(super) struct ReceiptsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List receipts, the youngest last
    List {
        #[command(flatten)]
        place: Asked,
        /// At most so many: the youngest
        #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT)]
        limit: usize,
    },
    /// Show a receipt whole
    Get {
        /// The worker's id, or the first digits of it
        #[arg(value_name = "WORKER")]
        id: String,
        #[command(flatten)]
        place: Asked,
    },
}

/// A receipt as it is shown.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    worker: String,
    pod: &'a str,
    host: &'a str,
    pid: u32,
    registered: String,
    ended: String,
    leaving: &'static str,
    machines: Vec<ShownFarewell>,
    tally: Tally,
    ends: Vec<ShownEnd>,
}

#[derive(Debug, Serialize)]
struct ShownFarewell {
    machine: u32,
    cause: String,
    met: &'static str,
    mode: String,
    took_ms: u64,
}

#[derive(Debug, Serialize)]
struct ShownEnd {
    job: String,
    epoch: u64,
    end: &'static str,
    at: String,
}

fn end_name(end: End) -> &'static str {
    match end {
        End::Completed => "completed",
        End::Released => "released",
        End::Failed => "failed",
        End::Cancelled => "cancelled",
        End::Expired => "expired",
    }
}

/// A unit variant's name, as logs have it.
fn lower(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

impl<'a> Shown<'a> {
    fn of(receipt: &'a Receipt) -> Self {
        let machines = receipt.farewells.iter().map(|said| ShownFarewell {
            machine: said.machine,
            cause: lower(&said.farewell.cause),
            met: said.farewell.met.name(),
            mode: lower(&said.farewell.mode),
            took_ms: said.farewell.released_at_ms.saturating_sub(said.farewell.asked_at_ms),
        });
        let ends = receipt.ends.iter().map(|ended| ShownEnd {
            job: ended.job.to_string(),
            epoch: ended.epoch.0,
            end: end_name(ended.end),
            at: output::instant(ended.at.0),
        });
        Self {
            worker: receipt.info.incarnation.to_string(),
            pod: &receipt.info.pod,
            host: &receipt.info.host,
            pid: receipt.info.pid,
            registered: output::instant(receipt.registered.0),
            ended: output::instant(receipt.ended.0),
            leaving: match receipt.leaving {
                Leaving::Left => "left",
                Leaving::Expired { .. } => "lease expired",
            },
            machines: machines.collect(),
            tally: receipt.tally,
            ends: ends.collect(),
        }
    }

    /// What it was asked by, and what that met: of the first machine, with a word when others differ.
    fn stop(&self) -> String {
        let Some(first) = self.machines.first() else { return self.leaving.to_owned() };
        let others = match self.machines.len() {
            0 | 1 => String::new(),
            many => format!(" and {} more", many - 1),
        };
        format!("{} in {} ({}, {} ms){others}", first.cause, first.met, first.mode, first.took_ms)
    }

    fn line(&self) -> String {
        format!("{}  {}  {:24}  {}: {}\n", self.worker, self.ended, self.pod, self.stop(), sums(&self.tally))
    }

    fn text(&self) -> String {
        let mut text = format!(
            "worker         {}\npod            {}\nhost           {}, pid {}\nregistered     {}\nended          {}\n\
             how            {}\nclaims         {}\n",
            self.worker,
            self.pod,
            self.host,
            self.pid,
            self.registered,
            self.ended,
            self.leaving,
            sums(&self.tally)
        );
        for said in &self.machines {
            writeln!(
                text,
                "machine {:<6} asked by {} in {}, stopped as {} after {} ms",
                said.machine, said.cause, said.met, said.mode, said.took_ms
            )
            .ok();
        }
        for ended in &self.ends {
            writeln!(text, "job            {} epoch {} {} {}", ended.job, ended.epoch, ended.end, ended.at)
                .ok();
        }
        text
    }
}

/// A tally in words: what is zero is left out.
pub(super) fn sums(tally: &Tally) -> String {
    let parts = [
        (tally.completes, "completed"),
        (tally.releases, "released"),
        (tally.failures, "failed"),
        (tally.cancelled, "cancelled"),
        (tally.expiries, "expired"),
        (tally.held(), "held"),
    ];
    let said: Vec<String> =
        parts.iter().filter(|(many, _)| *many > 0).map(|(many, what)| format!("{many} {what}")).collect();
    let of = output::count(tally.claims, "claim");
    if said.is_empty() { of } else { format!("{of} = {}", said.join(" + ")) }
}

pub(super) fn run(args: &ReceiptsArgs) -> Outcome {
    match &args.action {
        Action::List { place, limit } => list(place, *limit),
        Action::Get { id, place } => get(id, place),
    }
}

fn list(place: &Asked, limit: usize) -> Outcome {
    let open = Open::at(&place.queue)?;
    let (mut found, mut after): (Vec<Receipt>, Option<Incarnation>) = (Vec::new(), None);
    loop {
        let page = open.ask(open.queue.receipts(after, PAGE))?;
        let Some(last) = page.last() else { break };
        after = Some(last.info.incarnation);
        found.extend(page);
        // Ids do not stand in the order of time: of all that are read, only as many as are shown are kept.
        found.sort_by_key(|receipt| (receipt.ended, receipt.info.incarnation));
        found.drain(..found.len().saturating_sub(limit));
    }
    let shown: Vec<Shown<'_>> = found.iter().map(Shown::of).collect();
    if place.json {
        output::json(&shown)?;
    } else {
        output::text(&shown.iter().map(Shown::line).collect::<String>())?;
    }
    Ok(Code::Ok)
}

fn get(typed: &str, place: &Asked) -> Outcome {
    let open = Open::at(&place.queue)?;
    let open = &open;
    let receipt = open.one("receipt of a worker", typed, |after, limit| async move {
        let page = open.queue.receipts(after.map(Incarnation::from_bytes), limit).await?;
        Ok(page.into_iter().map(|receipt| (*receipt.info.incarnation.as_bytes(), receipt)).collect())
    })?;
    let shown = Shown::of(&receipt);
    if place.json {
        output::json(&shown)?;
    } else {
        output::text(&shown.text())?;
    }
    Ok(Code::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_shows_what_is_not_zero() {
        let tally = Tally { claims: 5, completes: 3, releases: 1, expiries: 1, ..Tally::default() };
        assert_eq!(sums(&tally), "5 claims = 3 completed + 1 released + 1 expired");
        assert_eq!(sums(&Tally { claims: 1, ..Tally::default() }), "1 claim = 1 held");
        assert_eq!(sums(&Tally::default()), "0 claims");
    }
}
