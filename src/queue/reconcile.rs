//! Reconciling: whether all that was claimed is accounted for, over the whole keyspace.
//!
//! It only reads, and puts nothing right. The rules are those of [`super::invariant`].

use super::Queue;
use super::error::{Halt, QueueError};
use super::invariant::{Account, AccountState, Accounts, Audit, Violation};
use super::key::{Span, following};
use super::settings::PAGE;
use super::worker::Tally;
use crate::store::StoreTime;
use std::time::Duration;

/// How often the keyspace is read before something counts as not adding up: between the pages of one reading there may be
/// commits, and what only they make look wrong is gone in the next.
pub const LOOKS: u32 = 3;
/// Between two readings.
const PAUSE: Duration = Duration::from_millis(250);
/// A lease that ran out so long ago should have been taken back: by any worker, each time it renews.
pub const STALE_LEASE_MS: u64 = 60_000;

/// What was found.
#[derive(Debug, Clone)]
pub struct Reconciliation {
    /// When, by the store's clock.
    pub at: StoreTime,
    /// All workers' accounts.
    pub accounts: Accounts,
    /// What does not add up. Empty: everything does.
    pub violations: Vec<Violation>,
}

impl Reconciliation {
    /// All workers' claims and their ends.
    pub fn sum(&self) -> Tally {
        self.accounts.workers.iter().fold(Tally::default(), |sum, account| sum.plus(&account.tally))
    }

    /// What is held now.
    pub fn held(&self) -> u64 {
        self.accounts.workers.iter().map(|account| account.held).sum()
    }

    /// Claims whose workers have no receipt any more.
    pub fn forgotten(&self) -> u64 {
        self.accounts.epochs.saturating_sub(self.accounts.claims())
    }
}

/// A lease that ran out, and that nobody took back.
fn stale(account: &Account, now: StoreTime) -> Option<Violation> {
    let AccountState::Registered { lease_until, .. } = account.state else { return None };
    let over_ms = now.0.saturating_sub(lease_until.0);
    (over_ms > STALE_LEASE_MS).then(|| Violation {
        rule: "lease",
        what: format!(
            "the lease of worker {} ({}) ran out long ago, and nobody took back the {} jobs it holds: does any worker run?",
            account.incarnation, account.pod, account.held
        ),
    })
}

impl Queue {
    /// Reads the whole keyspace, and again where something does not add up: what stays in [`LOOKS`] readings counts.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn reconcile(&self) -> Result<Reconciliation, QueueError> {
        let mut found = self.look().await?;
        for _ in 1..LOOKS {
            if found.violations.is_empty() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            let mut again = self.look().await?;
            again.violations.retain(|violation| found.violations.contains(violation));
            found = again;
        }
        Ok(found)
    }

    async fn look(&self) -> Result<Reconciliation, QueueError> {
        self.transact("reconcile", |mut tx| async move {
            let keys = self.keys();
            let mut audit = Audit::new(keys);
            let Span { mut start, end } = keys.whole();
            loop {
                let page = tx.scan(&Span { start: start.clone(), end: end.clone() }, PAGE).await?;
                page.iter().for_each(|pair| audit.read(pair));
                match page.last() {
                    Some((last, _)) if page.len() == PAGE => start = following(last.clone()),
                    _ => break,
                }
            }
            let (accounts, mut violations) = audit.judge();
            violations.extend(accounts.workers.iter().filter_map(|account| stale(account, tx.now)));
            Ok::<_, Halt>(Reconciliation { at: tx.now, accounts, violations })
        })
        .await
    }
}
