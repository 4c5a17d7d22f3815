//! The client, how long it is waited for, and its replacement when it may be what is broken.
//!
//! The client waits without a limit for a placement driver that accepts and stays silent, gives up at once on a store that
//! cannot be reached, and keeps what it knew of the cluster until then. So every call is limited here, and after a failure
//! that may be the client's own the next try gets a new client.

use super::options::TikvOptions;
use super::{fault, tls};
use crate::store::StoreError;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tikv_client::{Backoff, Config, Error, RetryOptions, Timestamp, Transaction, TransactionClient};
use tikv_client::{CheckLevel, Snapshot, TransactionOptions};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The pause before a failed call is tried again; it doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// A call is tried for so many times the limit of one request: it outlasts the lock of a writer that died (3 s).
const CALL_REQUESTS: u32 = 2;
/// How long a test connection may take, when connecting has failed and a person is to be told why.
const PROBE_LIMIT: Duration = Duration::from_millis(500);
/// The largest answer that is taken, in bytes: a sure page of a scan with the largest keys and values.
const ANSWER_MAX_BYTES: usize = super::pages::SURE_PAGE * (super::pages::PAIR_MAX_BYTES + 64);
/// How long, in all, a commit waits for the lock of another transaction. Mostly that one is just committing; a longer wait
/// is better spent by the next try, which begins with reading, and not while holding locks itself.
const COMMIT_LOCK_WAIT: Duration = Duration::from_millis(250);
/// The pauses of the client while it waits for a lock, in milliseconds; they double from the first to the longest.
const LOCK_PAUSE_MS: u64 = 2;
const LOCK_PAUSE_MAX_MS: u64 = 400;
/// The most of them: after 62 doublings the client's pauses would be none at all.
const LOCK_PAUSES_MAX: usize = 50;
/// The client's repetitions within one request, when a region has moved.
const REGION_BACKOFF: Backoff = Backoff::no_jitter_backoff(2, 500, 10);

/// The connection of one store.
pub(super) struct Connection {
    name: String,
    options: TikvOptions,
    /// Where the client's own tasks run, whoever calls.
    runtime: Handle,
    link: Mutex<Link>,
    /// Held by whoever makes a new client.
    renewing: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Link {
    client: Arc<TransactionClient>,
    /// Rises with each new client.
    number: u64,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TikvStore").field("store", &self.name).field("link", &self.lock().number).finish()
    }
}

impl Connection {
    /// Connects, again and again for as long as the options say.
    pub(super) async fn open(options: TikvOptions) -> Result<Self, StoreError> {
        let name = options.to_string();
        check(&name, &options)?;
        let until = Instant::now() + options.connect_within;
        let mut pause = PAUSE_MIN;
        let client = loop {
            let failure = match timeout_at(until, connect(&options)).await {
                Ok(Ok(client)) => break client,
                Ok(Err(failure)) => failure,
                Err(_) => "no answer in time".to_owned(),
            };
            if Instant::now() + pause >= until {
                return Err(unreachable(&name, &options, &failure).await);
            }
            tracing::warn!(store = name, failure, "the placement driver does not answer yet");
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        };
        tracing::debug!(store = name, "connected");
        let link = Mutex::new(Link { client: Arc::new(client), number: 0 });
        Ok(Self { name, options, runtime: Handle::current(), link, renewing: tokio::sync::Mutex::default() })
    }

    /// The store's name in errors.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where the client's own tasks run.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// How long a call may take, with all its tries.
    pub(super) fn call_limit(&self) -> Duration {
        self.options.request_timeout * CALL_REQUESTS
    }

    /// How long one request may take.
    pub(super) fn request_limit(&self) -> Duration {
        self.options.request_timeout
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        // A link is replaced in one step.
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction at a new timestamp.
    pub(super) async fn begin(&self) -> Result<Transaction, StoreError> {
        self.call("begin", |client| async move { client.begin_with_options(commit_options()).await }).await
    }

    /// A new timestamp.
    pub(super) async fn timestamp(&self) -> Result<Timestamp, StoreError> {
        self.call("timestamp", |client| async move { client.current_timestamp().await }).await
    }

    /// Reads at a timestamp.
    pub(super) async fn read<T, F, Fut>(
        &self,
        what: &'static str,
        at: &Timestamp,
        read: F,
    ) -> Result<T, StoreError>
    where
        F: Fn(Snapshot) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, Error>> + Send,
        T: Send,
    {
        let options = read_options(self.options.request_timeout);
        self.call(what, |client| read(client.snapshot(at.clone(), options.clone()))).await
    }

    /// Makes a call that changes nothing, until it succeeds or the time is up.
    async fn call<T, F, Fut>(&self, what: &'static str, call: F) -> Result<T, StoreError>
    where
        F: Fn(Arc<TransactionClient>) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, Error>> + Send,
        T: Send,
    {
        let until = Instant::now() + self.call_limit();
        let mut pause = PAUSE_MIN;
        loop {
            let Link { client, number } = self.lock().clone();
            let limit = until.min(Instant::now() + self.options.request_timeout);
            let (reason, of_the_client) = match timeout_at(limit, call(client)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => (fault::text(&error), fault::is_of_the_client(&error)),
                Err(_) => (self.silence(), true),
            };
            if Instant::now() + pause >= until {
                return Err(self.unavailable(format!("{what}: {reason}")));
            }
            tracing::debug!(store = self.name, what, reason, "a call is tried again");
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            if of_the_client {
                // When this fails too, the old client is tried again.
                timeout_at(until, self.renew(number)).await.ok();
            }
        }
    }

    /// Replaces the client with this number, unless somebody else did so meanwhile.
    async fn renew(&self, number: u64) {
        let _one_at_a_time = self.renewing.lock().await;
        if self.lock().number != number {
            return;
        }
        let options = self.options.clone();
        // On the runtime of the store: the client's tasks live as long as it does.
        let connecting =
            self.runtime.spawn(async move { timeout(options.request_timeout, connect(&options)).await });
        match connecting.await {
            Ok(Ok(Ok(client))) => {
                *self.lock() = Link { client: Arc::new(client), number: number + 1 };
                tracing::info!(store = self.name, link = number + 1, "connected anew");
            }
            Ok(Ok(Err(failure))) => tracing::debug!(store = self.name, failure, "cannot connect anew"),
            Ok(Err(_)) => tracing::debug!(store = self.name, "connecting anew takes too long"),
            Err(_) => tracing::debug!(store = self.name, "the runtime of the store is gone"),
        }
    }

    /// After a commit that could not reach the cluster, the next call had better begin with a new client.
    pub(super) async fn doubt(&self) {
        let number = self.lock().number;
        self.renew(number).await;
    }

    pub(super) fn unavailable(&self, reason: String) -> StoreError {
        StoreError::Unavailable { store: self.name.clone(), reason }
    }

    fn silence(&self) -> String {
        format!("no answer within {} ms", self.options.request_timeout.as_millis())
    }
}

/// Refuses options that cannot work, however long one tries.
fn check(name: &str, options: &TikvOptions) -> Result<(), StoreError> {
    let unusable = |reason: String| StoreError::Unusable { store: name.to_owned(), reason };
    if options.endpoints.is_empty() {
        return Err(unusable("no placement driver is named; give host:port with --pd".to_owned()));
    }
    if options.request_timeout.is_zero() {
        return Err(unusable("a request needs more than 0 s; see --store-timeout".to_owned()));
    }
    options.tls.as_ref().map_or(Ok(()), |files| tls::check(files).map_err(unusable))
}

async fn connect(options: &TikvOptions) -> Result<TransactionClient, String> {
    let mut config = Config::default()
        .with_timeout(options.request_timeout)
        .with_grpc_max_decoding_message_size(ANSWER_MAX_BYTES);
    if let Some(files) = &options.tls {
        config = config.with_security(&files.ca, &files.cert, &files.key);
    }
    let client = TransactionClient::new_with_config(options.endpoints.clone(), config);
    client.await.map_err(|error| fault::text(&error))
}

/// Says of each endpoint what is wrong with it, as far as a connection can tell.
async fn unreachable(name: &str, options: &TikvOptions, failure: &str) -> StoreError {
    let mut seen = Vec::new();
    for endpoint in &options.endpoints {
        let what = match timeout(PROBE_LIMIT, TcpStream::connect(endpoint)).await {
            Ok(Ok(_)) if options.tls.is_some() => {
                "is there, but does not answer; check that it speaks TLS and accepts the certificate"
                    .to_owned()
            }
            Ok(Ok(_)) => {
                "is there, but does not answer as a placement driver does; it may want TLS".to_owned()
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no connection".to_owned(),
        };
        seen.push(format!("{endpoint}: {what}"));
    }
    StoreError::Unavailable {
        store: name.to_owned(),
        reason: format!(
            "no placement driver answered within {} s: {} ({failure}); check that it runs and that --pd names it",
            options.connect_within.as_secs_f32(),
            seen.join("; "),
        ),
    }
}

/// Reads wait for the lock of a transaction that is committing, but come back in time to be told apart from silence.
fn read_options(request_timeout: Duration) -> TransactionOptions {
    options().retry_options(RetryOptions {
        region_backoff: REGION_BACKOFF,
        lock_backoff: lock_backoff(request_timeout * 3 / 4),
    })
}

fn commit_options() -> TransactionOptions {
    options().retry_options(RetryOptions {
        region_backoff: REGION_BACKOFF,
        lock_backoff: lock_backoff(COMMIT_LOCK_WAIT),
    })
}

/// Dropping a transaction is an ordinary thing here, and nothing to warn of. A commit is over, or given up, long before the
/// first heartbeat of its locks would be due (10 s): without heartbeats no task outlives it.
fn options() -> TransactionOptions {
    TransactionOptions::new_optimistic()
        .drop_check(CheckLevel::None)
        .heartbeat_option(tikv_client::transaction::HeartbeatOption::NoHeartbeat)
}

/// Pauses that sum up to no more than this.
fn lock_backoff(wait: Duration) -> Backoff {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let pauses = std::iter::successors(Some(LOCK_PAUSE_MS), |pause| Some((pause * 2).min(LOCK_PAUSE_MAX_MS)));
    let mut waited_ms = 0;
    let fitting = pauses.take(LOCK_PAUSES_MAX).take_while(|pause| {
        waited_ms += pause;
        waited_ms <= wait_ms
    });
    Backoff::no_jitter_backoff(LOCK_PAUSE_MS, LOCK_PAUSE_MAX_MS, u32::try_from(fitting.count()).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_pauses_stay_within_what_is_waited() {
        for wait_ms in [0, 1, 250, 1_500, 60_000] {
            let mut backoff = lock_backoff(Duration::from_millis(wait_ms));
            let pauses: Vec<_> = std::iter::from_fn(|| backoff.next_delay_duration()).collect();
            let sum: Duration = pauses.iter().sum();
            assert!(sum <= Duration::from_millis(wait_ms), "{sum:?} of {wait_ms} ms");
            let least_ms = wait_ms.min(17_000).saturating_sub(LOCK_PAUSE_MAX_MS);
            assert!(wait_ms < 1_000 || sum > Duration::from_millis(least_ms), "{sum:?} of {wait_ms} ms");
            assert!(pauses.iter().all(|pause| !pause.is_zero()), "{pauses:?}");
        }
    }
}
