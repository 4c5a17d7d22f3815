//! Every counter of the program, defined once.
//!
//! Plain atomics: counting costs nothing and needs no registry. It serves nothing over a network.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Counts many.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The counters of one process.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $name: Counter,)+
        }

        impl Metrics {
            /// Name and count of each, in the order of their definition.
            pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)+]
            }
        }
    };
}

metrics! {
    /// Signals delivered to the machines, each once however many machines there are.
    signals,
    /// Steps of all machines.
    steps,
    /// Answers that met no open request: late, or given twice.
    stale_answers,
    /// Invariants found broken (release builds; debug builds panic).
    invariant_violations,
    /// Events that a mailbox had no room for.
    mailbox_overflows,
    /// `Claim` effects.
    claims,
    /// `ResolveClaim` effects.
    claim_resolutions,
    /// `Convert` effects.
    conversions,
    /// `CancelConvert` effects.
    conversion_cancels,
    /// `Checkpoint` effects.
    checkpoints,
    /// `Complete` effects.
    completions,
    /// `Release` effects.
    releases,
    /// `StopRenewing` effects.
    stop_renewings,
    /// `Exit` effects.
    exits,
    /// Claims that won a job.
    jobs_claimed,
    /// Jobs completed.
    jobs_completed,
    /// Writes refused since the job was no longer ours.
    writes_lost,
    /// Commits whose outcome was unknown.
    commits_unknown,
    /// Answers made up since the task that owed them died.
    answers_dropped,
    /// Writes held back until the lease was read again.
    lease_rereads,
    /// Renewals committed.
    renewals,
    /// Renewals that failed.
    renewal_failures,
    /// Leases found lost.
    leases_lost,
    /// Jobs of dead workers put back by this process.
    jobs_reclaimed,
    /// Leads of a role won.
    leads_won,
    /// Leads of a role lost.
    leads_lost,
    /// Complete rounds of the scanner.
    scan_rounds,
    /// Rounds that ended early.
    scan_failures,
    /// Keys listed in complete rounds.
    scan_listed,
    /// Recordings enqueued by the scanner.
    scan_recordings,
    /// Batches that were over, whose staging was removed.
    batches_swept,
    /// Old receipts removed.
    receipts_expired,
    /// Conversion threads' panics.
    conversion_panics,
    /// Frames converted and durable.
    frames,
    /// Bytes read from recordings.
    read_bytes,
    /// Bytes written to staging and output.
    written_bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snapshot_names_each_counter_with_its_count() {
        let metrics = Metrics::default();
        metrics.frames.add(7);
        metrics.claims.inc();
        let snapshot = metrics.snapshot();
        assert!(snapshot.contains(&("frames", 7)));
        assert!(snapshot.contains(&("claims", 1)));
        assert!(snapshot.contains(&("exits", 0)));
    }
}
