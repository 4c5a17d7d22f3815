//! The one request: its connection, its limits, its answer.
//!
//! It has a client of its own, made for the one request: whatever state the process is in, nothing here waits for it.

use super::{OwnPod, PodError, PodTime, time_of};
use crate::tls::{self, Connector, Wire};
use hyper::body::HttpBody;
use hyper::header::{ACCEPT, AUTHORIZATION, DATE, HeaderValue, USER_AGENT};
use hyper::{Body, Client, Request};
use rustls::RootCertStore;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// A pod's document is smaller: etcd takes no object beyond 1.5 MiB.
const BODY_MAX_BYTES: usize = 4 << 20;
/// Files of a service account are smaller.
const FILE_MAX_BYTES: u64 = 1 << 20;
/// The name that every API server's certificate holds: this TLS library knows no addresses in certificates.
const SERVER_NAME: &str = "kubernetes.default.svc";

/// A file of the service account.
pub(super) fn read(account: &Path, name: &str) -> Result<String, PodError> {
    let path = account.join(name);
    let read = || {
        if std::fs::metadata(&path)?.len() > FILE_MAX_BYTES {
            return Err(io::Error::other("it is larger than 1 MiB"));
        }
        std::fs::read_to_string(&path)
    };
    read().map_err(|error| PodError::Account { path: path.clone(), error })
}

impl OwnPod {
    /// Asks once. The token is read each time: it is renewed under a running process.
    ///
    /// # Errors
    /// As [`PodError`] tells; an answer that takes longer than `limit` counts as none.
    pub async fn time(&self, limit: Duration) -> Result<PodTime, PodError> {
        let late = || PodError::Unreachable {
            url: self.url(),
            reason: format!("no whole answer within {} ms", limit.as_millis()),
        };
        tokio::time::timeout(limit, self.asked()).await.map_err(|_| late())?
    }

    async fn asked(&self) -> Result<PodTime, PodError> {
        let unreachable = |reason: String| PodError::Unreachable { url: self.url(), reason };
        let unreadable = |reason: String| PodError::Unreadable { url: self.url(), reason };
        let client = Client::builder().build::<_, Body>(self.connector()?);
        let response = client.request(self.request()?).await.map_err(|error| {
            let source = std::error::Error::source(&error).map(|under| format!(": {under}"));
            unreachable(format!("{error}{}", source.unwrap_or_default()))
        })?;
        let status = response.status();
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
        let mut body = response.into_body();
        let mut whole = Vec::new();
        while let Some(chunk) = body.data().await {
            whole.extend_from_slice(&chunk.map_err(|error| unreachable(error.to_string()))?);
            if whole.len() > BODY_MAX_BYTES {
                return Err(unreadable(format!("it is longer than {BODY_MAX_BYTES} bytes")));
            }
        }
        if !status.is_success() {
            let hint = match status.as_u16() {
                401 => "the service account's token is not accepted",
                403 => {
                    "the service account may not get its own pod: bind the role of deploy/kubernetes/base/accounts.yaml"
                }
                404 => "there is no such pod: is POD_NAME the pod's name (metadata.name)?",
                _ => "the API server does not give the pod",
            };
            return Err(PodError::Refused { url: self.url(), status: status.as_u16(), hint });
        }
        let date = date.ok_or_else(|| unreadable("it has no Date header".to_owned()))?;
        time_of(&whole, &date).map_err(unreadable)
    }

    fn request(&self) -> Result<Request<Body>, PodError> {
        let token = read(&self.account, "token")?;
        let refused = |reason: String| PodError::Unreadable { url: self.url(), reason };
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| refused("the service account's token is no header value".to_owned()))?;
        bearer.set_sensitive(true);
        Request::get(self.url())
            .header(AUTHORIZATION, bearer)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("roboflow/", env!("CARGO_PKG_VERSION")))
            .body(Body::empty())
            .map_err(|error| refused(error.to_string()))
    }

    /// TLS against the authority that the account names; plain only where a test says so.
    fn connector(&self) -> Result<Connector, PodError> {
        let mut roots = RootCertStore::empty();
        if self.base.scheme_str() == Some("https") {
            let refused = |error| PodError::Account { path: self.account.join("ca.crt"), error };
            roots = tls::pem_roots(read(&self.account, "ca.crt")?.as_bytes()).map_err(refused)?;
        }
        let host = self.base.host().unwrap_or_default();
        let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let wire = Wire { server_name: is_address.then_some(SERVER_NAME), ..Wire::default() };
        Ok(tls::connector(roots, &wire))
    }
}
