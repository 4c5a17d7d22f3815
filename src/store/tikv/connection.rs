//! The client, how long it is waited for, and its replacement when it may be what is broken.
//!
//! The client waits without a limit for a placement driver that accepts and stays silent, gives up at once on a store that
//! cannot be reached, and keeps what it knew of the cluster until then. So every call is limited here, and after a failure
//! that may be the client's own the next try gets a new client.

use super::limits::{
    CALL_REQUESTS, PAUSE_MAX, PAUSE_MIN, UNLOCK_MAX, UNLOCK_MIN, commit_options, read_options,
};
use super::options::TikvOptions;
use super::orphan::{self, Span};
use super::{fault, start};
use crate::store::StoreError;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tikv_client::{Error, Snapshot, Timestamp, Transaction, TransactionClient};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// The connection of one store.
pub(super) struct Connection {
    name: String,
    options: TikvOptions,
    /// Where the client's own tasks run, whoever calls.
    runtime: Handle,
    link: Mutex<Link>,
    /// Held by whoever makes a new client.
    renewing: tokio::sync::Mutex<()>,
    /// Until then the client may be unlocking the keys of a commit.
    unlocked_at: Mutex<Option<Instant>>,
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
        let client = start::first(&options).await?;
        let name = options.to_string();
        tracing::debug!(store = name, "connected");
        Ok(Self {
            name,
            options,
            runtime: Handle::current(),
            link: Mutex::new(Link { client: Arc::new(client), number: 0 }),
            renewing: tokio::sync::Mutex::default(),
            unlocked_at: Mutex::default(),
        })
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
        self.call("begin", &[], |client| async move { client.begin_with_options(commit_options()).await })
            .await
    }

    /// A new timestamp.
    pub(super) async fn timestamp(&self) -> Result<Timestamp, StoreError> {
        self.call("timestamp", &[], |client| async move { client.current_timestamp().await }).await
    }

    /// Reads these keys at a timestamp.
    pub(super) async fn read<T, F, Fut>(
        &self,
        what: &'static str,
        keys: &[Span],
        at: &Timestamp,
        read: F,
    ) -> Result<T, StoreError>
    where
        F: Fn(Snapshot) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        let options = read_options(self.options.request_timeout);
        self.call(what, keys, |client| read(client.snapshot(at.clone(), options.clone()))).await
    }

    /// Makes a call that changes nothing, until it succeeds or the time is up.
    async fn call<T, F, Fut>(&self, what: &'static str, keys: &[Span], call: F) -> Result<T, StoreError>
    where
        F: Fn(Arc<TransactionClient>) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        let until = Instant::now() + self.call_limit();
        let mut pause = PAUSE_MIN;
        loop {
            let Link { client, number } = self.lock().clone();
            let limit = until.min(Instant::now() + self.options.request_timeout);
            // Whoever calls: what the client starts on the way must live as long as it does.
            let error = match self.runtime.spawn(timeout_at(limit, call(client))).await {
                Ok(Ok(Ok(answer))) => return Ok(answer),
                Ok(Ok(Err(error))) => Some(error),
                Ok(Err(_)) => None,
                Err(error) => Some(Error::JoinError(error)),
            };
            let reason = error.as_ref().map_or_else(|| self.silence(), fault::text);
            if Instant::now() + pause >= until {
                return Err(self.unavailable(format!("{what}: {reason}")));
            }
            tracing::debug!(store = self.name, what, reason, "a call is tried again");
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            // When these fail too, the call itself says what is wrong.
            timeout_at(until, self.repair(error.as_ref(), keys, number)).await.ok();
        }
    }

    /// Does what can be done before a call on these keys that failed with the client of this number is tried again.
    async fn repair(&self, error: Option<&Error>, keys: &[Span], number: u64) {
        if let Some(error) = error {
            self.judge_orphans(error, keys).await;
        }
        if error.is_none_or(fault::is_of_the_client) {
            self.renew(number).await;
        }
    }

    /// Where the error says that a lock on these keys has no transaction any more, settles what became of it.
    pub(super) async fn judge_orphans(&self, error: &Error, keys: &[Span]) {
        let Some(start_ts) = fault::orphan(error) else { return };
        let (client, keys) = (self.lock().client.clone(), keys.to_vec());
        let judged = self.runtime.spawn(async move { orphan::judge(&client, &keys, start_ts).await });
        match judged.await {
            Ok(Ok(true)) => {
                tracing::info!(store = self.name, start_ts, "locks of a writer that died are taken back")
            }
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::debug!(
                    store = self.name,
                    start_ts,
                    error = fault::text(&error),
                    "a lock stays for now"
                );
            }
            Err(_) => tracing::debug!(store = self.name, "the runtime of the store is gone"),
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
        let connecting = self
            .runtime
            .spawn(async move { timeout(options.request_timeout, start::connect(&options)).await });
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

    /// A commit is done that took so long; its keys are still to be unlocked, which should not take longer.
    pub(super) fn unlocking(&self, took: Duration) {
        let until = Instant::now() + took.clamp(UNLOCK_MIN, UNLOCK_MAX);
        let mut unlocked_at = self.unlocked_at.lock().unwrap_or_else(PoisonError::into_inner);
        *unlocked_at = (*unlocked_at).max(Some(until));
    }

    /// Waits until keys should be unlocked.
    pub(super) async fn settle(&self) {
        let until = *self.unlocked_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = until {
            sleep_until(until).await;
        }
    }

    pub(super) fn unavailable(&self, reason: String) -> StoreError {
        StoreError::Unavailable { store: self.name.clone(), reason }
    }

    fn silence(&self) -> String {
        format!("no answer within {} ms", self.options.request_timeout.as_millis())
    }
}
