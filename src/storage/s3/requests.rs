//! A request from its making to its answer: credentials, tries, waits between them, patience.
//!
//! rusoto brings neither retries nor time limits; they are here and nowhere else.

use super::credentials::Credentials;
use super::failure::{Ask, Failure};
use super::options::S3Options;
use super::place::Endpoint;
use super::transport::{Answer, Exchange, Http, Limits, client};
use rand::Rng;
use rusoto_core::credential::StaticProvider;
use rusoto_core::{Client, Region, RusotoError};
use rusoto_s3::S3Client;
use std::error::Error;
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Requests on their way at once, for all places together.
const AT_ONCE: usize = 32;
/// The first wait between tries is at most this, and each later one twice the one before,
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// Trouble that lasts so long is told once in the log, while tries go on.
const TELL_AFTER: Duration = Duration::from_secs(5);

/// What succeeded: rusoto's reading of it, and the answer itself.
#[derive(Debug)]
pub(super) struct Reply<T> {
    pub(super) value: T,
    pub(super) answer: Answer,
}

/// Sends requests. It runs on the bridge's runtime.
#[derive(Debug)]
pub(super) struct Requests {
    http: Http,
    pub(super) endpoint: Endpoint,
    pub(super) region: String,
    pub(super) credentials: Credentials,
    pub(super) options: S3Options,
    slots: Semaphore,
}

impl Requests {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// What is wrong with the endpoint, the certificates or the choice of credentials, and what to do.
    pub(super) fn new(options: S3Options) -> Result<Self, String> {
        let environment = &options.environment;
        let region = super::profile::region(environment)?;
        let endpoint = Endpoint::of_s3(options.endpoint.as_deref(), environment, &region)?;
        let mut credentials = Credentials::choose(environment, &region)?;
        let http = client(&options, endpoint.is_tls() || credentials.needs_tls())?;
        credentials.connect(&http, options.try_timeout);
        Ok(Self { http, endpoint, region, credentials, slots: Semaphore::new(AT_ONCE), options })
    }

    /// Asks, again and again while that may help and `patience` lasts.
    pub(super) async fn ask<T, E, F, A>(
        &self,
        ask: &Ask,
        patience: Duration,
        request: F,
    ) -> Result<Reply<T>, Failure>
    where
        E: Error + 'static,
        F: Fn(S3Client) -> A,
        A: Future<Output = Result<T, RusotoError<E>>>,
    {
        let begun = Instant::now();
        let (mut tries, mut renewed, mut told) = (0_u32, false, false);
        loop {
            tries = tries.saturating_add(1);
            let failure = match self.try_once(ask, &request).await {
                Ok((value, answer)) => return Ok(Reply { value, answer }),
                Err(failure) => failure,
            };
            if failure.is_expired() && !renewed && self.credentials.forget().await {
                renewed = true;
                continue;
            }
            let wait = wait_before(tries);
            if begun.elapsed() >= TELL_AFTER && !told && failure.may_pass() {
                told = true;
                let (action, key, error) = (ask.action, ask.key.as_str(), failure.shown());
                tracing::warn!(
                    endpoint = self.endpoint.url,
                    action,
                    key,
                    tries,
                    error,
                    "object storage is in trouble; trying on"
                );
            }
            if !failure.may_pass() || begun.elapsed() + wait > patience {
                return Err(failure);
            }
            crate::metrics::STORAGE_RETRIES.inc();
            tracing::debug!(
                action = ask.action,
                key = ask.key,
                tries,
                error = failure.shown(),
                "a request is tried again"
            );
            tokio::time::sleep(wait).await;
        }
    }

    async fn try_once<T, E, F, A>(&self, ask: &Ask, request: F) -> Result<(T, Answer), Failure>
    where
        E: Error + 'static,
        F: Fn(S3Client) -> A,
        A: Future<Output = Result<T, RusotoError<E>>>,
    {
        let _slot =
            self.slots.acquire().await.map_err(|_| Failure::Defect("no request is let through any more"))?;
        let credentials = self.credentials.current().await?;
        let S3Options { try_timeout: time, silence_timeout: silence, .. } = self.options;
        let limits = Limits { time, silence, sends: ask.sends, takes: ask.takes };
        let exchange = Exchange::new(&self.http, limits);
        let region = Region::Custom { name: self.region.clone(), endpoint: self.endpoint.url.clone() };
        let provider = StaticProvider::from(credentials);
        let s3 = S3Client::new_with_client(Client::new_with(provider, exchange.clone()), region);
        let done = request(s3).await;
        match (done, exchange.seen()) {
            (Ok(value), Some(Ok(answer))) => Ok((value, answer)),
            (_, Some(Err(failure))) => Err(failure),
            (Err(RusotoError::ParseError(text) | RusotoError::Validation(text)), _) => {
                Err(Failure::Unreadable(text))
            }
            (Err(error), _) => Err(Failure::Unreadable(error.to_string())),
            (Ok(_), None) => Err(Failure::Defect("an answer came that nobody sent")),
        }
    }
}

/// The wait after so many tries, with full jitter: those who failed together do not come back together.
pub(super) fn wait_before(tries: u32) -> Duration {
    let most = FIRST_WAIT.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST_WAIT);
    most.mul_f64(rand::rng().random_range(0.0..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_are_bounded_and_spread() {
        let longest = |tries| (0..200).map(|_| wait_before(tries)).max().unwrap_or_default();
        assert!(longest(1) <= FIRST_WAIT && longest(3) <= FIRST_WAIT * 4);
        assert!(longest(40) <= LONGEST_WAIT && longest(40) > LONGEST_WAIT / 2);
        assert!((0..200).map(|_| wait_before(40)).min().unwrap_or_default() < LONGEST_WAIT / 2);
    }
}
