//! What is needed to reach object storage, and the limits kept there. It opens nothing, and shows no secret.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How long a request is tried again before its trouble is given to the caller.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The same while a place is opened: somebody may be waiting to hear of a wrong address.
pub const OPENING_PATIENCE: Duration = Duration::from_secs(15);
/// How long a connection may take to come about.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one try of a request may take, beside the time for its bytes.
pub const TRY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long nothing may come while an answer is read.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(10);
/// A try gets a second for each so many bytes that it moves.
pub const SLOWEST_BYTES_PER_SEC: usize = 1 << 20;
/// Bytes of a part of an upload; an object up to this size goes in one request. S3 takes no smaller ones than 5 MiB.
pub const PART_BYTES: usize = 8 << 20;
/// Parts of one object on their way at once, beside the one being filled.
pub const PARTS_AT_ONCE: usize = 2;
/// What is no larger is sent by one request: an upload in parts takes four more, and the server puts the parts together. While it is
/// filled no part is on its way, so it may have what those would.
pub const ONE_REQUEST_BYTES: usize = PARTS_AT_ONCE * PART_BYTES;
/// Bytes that one open place reads ahead at most.
pub const READ_AHEAD_BYTES: usize = 16 << 20;
/// Bytes that all open places of one [`Places`](crate::storage::Places) read ahead at most.
pub const READ_AHEAD_TOTAL_BYTES: usize = 64 << 20;

/// How object storage is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Options {
    /// Another server than the cloud's, as a URL. `None`: as `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL` say, else the cloud's.
    pub endpoint: Option<String>,
    /// Where the region and the credentials are taken from.
    pub environment: Environment,
    /// See [`PATIENCE`].
    pub patience: Duration,
    /// See [`OPENING_PATIENCE`].
    pub opening_patience: Duration,
    /// See [`CONNECT_TIMEOUT`].
    pub connect_timeout: Duration,
    /// See [`TRY_TIMEOUT`].
    pub try_timeout: Duration,
    /// See [`SILENCE_TIMEOUT`].
    pub silence_timeout: Duration,
    /// See [`READ_AHEAD_BYTES`]. 0: nothing is read ahead.
    pub read_ahead_bytes: usize,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            endpoint: None,
            environment: Environment::default(),
            patience: PATIENCE,
            opening_patience: OPENING_PATIENCE,
            connect_timeout: CONNECT_TIMEOUT,
            try_timeout: TRY_TIMEOUT,
            silence_timeout: SILENCE_TIMEOUT,
            read_ahead_bytes: READ_AHEAD_BYTES,
        }
    }
}

/// Environment variables: the process's, or given ones.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(Option<BTreeMap<String, String>>);

impl Environment {
    /// These variables and no others.
    pub fn of<N: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(Some(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
    }

    /// A variable, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let value = match &self.0 {
            Some(given) => given.get(name).cloned(),
            None => std::env::var(name).ok(),
        };
        value.filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("the process's"),
            Some(given) => f.debug_set().entries(given.keys()).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_shown_by_name_alone_and_empty_ones_are_none() {
        let environment = Environment::of([("AWS_SECRET_ACCESS_KEY", "hidden"), ("AWS_REGION", "")]);
        let options = S3Options { environment: environment.clone(), ..S3Options::default() };
        let shown = format!("{options:?}");
        assert!(shown.contains("AWS_SECRET_ACCESS_KEY") && !shown.contains("hidden"), "{shown}");
        assert_eq!(environment.get("AWS_SECRET_ACCESS_KEY").as_deref(), Some("hidden"));
        assert_eq!(environment.get("AWS_REGION"), None);
    }
}
