//! The pod that this process runs in, as the API server shows it: how long until it is killed.
//!
//! One request, `get` of the own pod with the service account's token, over TLS against the account's authority. It
//! watches nothing, writes nothing and knows no other object. What is made of the answer is [`crate::grace`]'s.

mod ask;

use crate::error::{Class, Classified};
use chrono::{DateTime, FixedOffset};
use hyper::Uri;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where Kubernetes mounts the service account.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Both stamps are cut to whole seconds: so much of the time left may be gone already.
const STAMP_RESOLUTION: Duration = Duration::from_secs(1);

/// Why the own pod cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// A file of the service account.
    #[error("{path}: {error}: the service account cannot be read")]
    Account {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The environment names a server that cannot be one.
    #[error("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT make no address: {0}")]
    Address(String),
    /// No answer.
    #[error("{url}: {reason}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What broke.
        reason: String,
    },
    /// An answer that is none.
    #[error("{url}: {status}: {hint}")]
    Refused {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
        /// What to do.
        hint: &'static str,
    },
    /// An answer that cannot be understood.
    #[error("{url}: the answer cannot be understood: {reason}")]
    Unreadable {
        /// What was asked for.
        url: String,
        /// Why.
        reason: String,
    },
}

impl Classified for PodError {
    fn class(&self) -> Class {
        match self {
            Self::Unreachable { .. } => Class::Transient,
            Self::Refused { status, .. } if *status >= 500 || *status == 429 => Class::Transient,
            Self::Account { .. } | Self::Address(_) | Self::Refused { .. } | Self::Unreadable { .. } => {
                Class::Permanent
            }
        }
    }
}

/// Where to ask for the own pod.
#[derive(Debug, Clone)]
pub struct OwnPod {
    base: Uri,
    namespace: String,
    name: String,
    account: PathBuf,
}

/// What the own pod says of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodTime {
    /// Until the kill, where the pod is deleted already.
    pub left: Option<Duration>,
    /// `terminationGracePeriodSeconds`.
    pub grace: Option<Duration>,
}

impl OwnPod {
    /// The pod that the environment tells of. `None` outside of one, and in a pod without a service account's token.
    ///
    /// # Errors
    /// When the environment names a pod, and something of it cannot be read.
    pub fn find(
        name: &str,
        account: &Path,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, PodError> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let Some(host) = set("KUBERNETES_SERVICE_HOST") else { return Ok(None) };
        if !account.join("token").exists() {
            return Ok(None);
        }
        let port = set("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".to_owned());
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let base: Uri = format!("https://{host}:{port}")
            .parse()
            .map_err(|_| PodError::Address(format!("https://{host}:{port}")))?;
        let namespace = match set("POD_NAMESPACE") {
            Some(namespace) => namespace,
            None => ask::read(account, "namespace")?.trim().to_owned(),
        };
        Ok(Some(Self { base, namespace, name: name.to_owned(), account: account.to_owned() }))
    }

    /// The name and namespace, for people.
    pub fn shown(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn url(&self) -> String {
        let base = self.base.to_string();
        format!("{}/api/v1/namespaces/{}/pods/{}", base.trim_end_matches('/'), self.namespace, self.name)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    deletion_timestamp: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    termination_grace_period_seconds: Option<u64>,
}

/// What a pod's document says, read when the server's clock stood at `date`. `deletionTimestamp` is the instant of the kill:
/// the request's time and the grace (Kubernetes API, `ObjectMeta`). This machine's clock is not asked.
fn time_of(body: &[u8], date: &str) -> Result<PodTime, String> {
    let pod: Document = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let left = match &pod.metadata.deletion_timestamp {
        None => None,
        Some(kill) => {
            let kill =
                DateTime::parse_from_rfc3339(kill).map_err(|error| format!("deletionTimestamp: {error}"))?;
            let now: DateTime<FixedOffset> =
                DateTime::parse_from_rfc2822(date).map_err(|error| format!("Date {date:?}: {error}"))?;
            let left = (kill - now).to_std().unwrap_or_default();
            Some(left.saturating_sub(STAMP_RESOLUTION))
        }
    };
    let grace = pod.spec.termination_grace_period_seconds.map(Duration::from_secs);
    Ok(PodTime { left, grace })
}

#[cfg(test)]
mod tests;
