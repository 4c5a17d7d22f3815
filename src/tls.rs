//! The wire to servers: plain and TLS by one connector, and whom TLS trusts. It asks for nothing itself.

use hyper::client::HttpConnector;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use rustls::{Certificate, ClientConfig, RootCertStore};
use std::io;
use std::time::Duration;

/// Connects over either.
pub(crate) type Connector = HttpsConnector<HttpConnector>;

/// How a connection is made.
#[derive(Debug, Default)]
pub(crate) struct Wire<'a> {
    /// Within this; without it, as long as the system tries.
    pub(crate) connect_timeout: Option<Duration>,
    /// The name that the server's certificate has to hold, where it is not the one in the address.
    pub(crate) server_name: Option<&'a str>,
}

/// The authorities that this machine trusts.
///
/// # Errors
/// When their files cannot be read, or there are none.
pub(crate) fn machine_roots() -> io::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs()?;
    roots(found.into_iter().map(|certificate| certificate.0))
}

/// The authorities of a PEM file's text.
///
/// # Errors
/// When it cannot be read, or holds none.
pub(crate) fn pem_roots(mut text: impl io::BufRead) -> io::Result<RootCertStore> {
    rustls_pemfile::certs(&mut text).and_then(roots)
}

/// Who trusts nobody reaches nobody, and would be told of a bad certificate instead.
fn roots(certificates: impl IntoIterator<Item = Vec<u8>>) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        // One that is broken or of a kind not known helps nobody, and harms nobody.
        roots.add(&Certificate(certificate)).ok();
    }
    if roots.is_empty() { Err(io::Error::other("no certificate that can be used")) } else { Ok(roots) }
}

/// Without roots it speaks plain HTTP only.
pub(crate) fn connector(roots: RootCertStore, wire: &Wire<'_>) -> Connector {
    let config =
        ClientConfig::builder().with_safe_defaults().with_root_certificates(roots).with_no_client_auth();
    let mut plain = HttpConnector::new();
    plain.enforce_http(false);
    plain.set_nodelay(true);
    plain.set_connect_timeout(wire.connect_timeout);
    let builder = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
    match wire.server_name {
        Some(name) => builder.with_server_name(name.to_owned()).enable_http1().wrap_connector(plain),
        None => builder.enable_http1().wrap_connector(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_that_trust_nobody_are_an_error() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in ["", "not a certificate\n", broken] {
            assert_eq!(
                pem_roots(text.as_bytes()).unwrap_err().to_string(),
                "no certificate that can be used"
            );
        }
    }
}
