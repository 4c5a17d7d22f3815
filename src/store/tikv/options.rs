//! What is needed to reach a cluster. It opens nothing.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How a cluster is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TikvOptions {
    /// The placement drivers, as `host:port`; at least one.
    pub endpoints: Vec<String>,
    /// Mutual TLS. `None`: plain text.
    pub tls: Option<TlsFiles>,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How long connecting is tried at start.
    pub connect_within: Duration,
}

/// The three files of mutual TLS, PEM each. Read when the store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Whom to trust.
    pub ca: PathBuf,
    /// Our certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl fmt::Display for TikvOptions {
    /// `tikv://host:port,host:port`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tikv://{}", self.endpoints.join(","))
    }
}
