//! The queue that a command looks into or changes: how it is named, opened and asked, and how ids are found by their first
//! digits.

use super::exit::{Code, Failure, Outcome, queue_failure, session_failure};
use super::location;
use super::store::StoreArgs;
use crate::clock::Clock;
use crate::queue::{BatchId, BatchRecord, Queue, QueueError, QueueSettings};
use crate::recipe;
use crate::session::Session;
use crate::store::{Durability, StorePlace};
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::path::PathBuf;

/// Digits of an id.
const DIGITS: usize = 32;

#[derive(Debug, Args)]
pub(super) struct QueuePlace {
    /// The queue of the run that fills this folder. Wins over --store and --pd
    #[arg(long, value_name = "DIR", value_parser = OsStringValueParser::new().try_map(location::parse))]
    out: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

/// A queue, and how what was found is printed.
#[derive(Debug, Args)]
pub(super) struct Asked {
    #[command(flatten)]
    pub(super) queue: QueuePlace,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// A queue, open.
pub(super) struct Open {
    session: Session,
    pub(super) queue: Queue,
}

impl Open {
    pub(super) fn at(place: &QueuePlace) -> Outcome<Self> {
        let store = match &place.out {
            Some(out) => {
                StorePlace::Sqlite { path: recipe::queue_path(out), durability: Durability::default() }
            }
            None => place.store.required(None)?,
        };
        let settings = place.store.queue_settings(QueueSettings::default())?;
        let session = Session::open_existing(&store, settings, Clock::start()).map_err(session_failure)?;
        let queue = session.queue();
        Ok(Self { session, queue })
    }

    /// Waits for an answer of the queue.
    pub(super) fn ask<T>(&self, asked: impl Future<Output = Result<T, QueueError>>) -> Outcome<T> {
        self.try_ask(asked).map_err(queue_failure)
    }

    /// As [`Open::ask`], for whoever goes on after an error.
    pub(super) fn try_ask<T>(
        &self,
        asked: impl Future<Output = Result<T, QueueError>>,
    ) -> Result<T, QueueError> {
        self.session.runtime().block_on(asked)
    }

    /// The one thing whose id begins so. `list` gives those behind an id, in their order, at most so many.
    pub(super) fn one<T, F>(
        &self,
        what: &str,
        typed: &str,
        list: impl FnOnce(Option<[u8; 16]>, usize) -> F,
    ) -> Outcome<T>
    where
        F: Future<Output = Result<Vec<([u8; 16], T)>, QueueError>>,
    {
        let typed = typed.to_lowercase().replace('-', "");
        let none = || Failure::new(Code::NoInput, format!("there is no {what} {typed}"));
        let behind = before_all(&typed).ok_or_else(none)?;
        let found = self.ask(list(behind, 2))?;
        let mut found = found.into_iter().filter(|(id, _)| hex(id).starts_with(&typed)).map(|(_, one)| one);
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => Err(Failure::new(
                Code::Config,
                format!("the ids of several {what}s begin with {typed}: give more digits"),
            )),
            (None, _) => Err(none()),
        }
    }

    /// The batch that is meant by the first digits of its id.
    pub(super) fn batch(&self, typed: &str) -> Outcome<BatchRecord> {
        self.one("batch", typed, |after, limit| async move {
            let page = self.queue.batches(after.map(BatchId), limit).await?;
            Ok(page.into_iter().map(|batch| (batch.id.0, batch)).collect())
        })
    }
}

fn hex(id: &[u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The id right before all that begin with these digits; `Some(None)` where there is none before. `None`: no id begins so.
#[expect(clippy::option_option, reason = "the two are told apart where it is called")]
fn before_all(digits: &str) -> Option<Option<[u8; 16]>> {
    if digits.len() > DIGITS || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let first = u128::from_str_radix(&format!("{digits:0<DIGITS$}"), 16).ok()?;
    Some(first.checked_sub(1).map(u128::to_be_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_begins_right_behind_what_comes_before_it() {
        assert_eq!(before_all(""), Some(None));
        assert_eq!(before_all("00"), Some(None));
        assert_eq!(before_all("01").flatten().map(|id| hex(&id)), Some(format!("00{}", "f".repeat(30))));
        let whole = "0123456789abcdef0123456789abcdef";
        assert_eq!(before_all(whole).flatten().map(|id| hex(&id)), Some(format!("{}e", &whole[..31])));
        assert_eq!(before_all("xyz"), None);
        assert_eq!(before_all(&"f".repeat(33)), None);
    }
}
