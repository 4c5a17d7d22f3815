//! An API server of Kubernetes as far as one pod asks for itself: TLS, one answer for every request, what was asked kept.
//!
//! It checks nothing: neither the token nor the path. It serves one connection after the other.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "support of tests: what it cannot do is a failed test"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The authority that signed its certificate, which is for `kubernetes.default.svc`.
pub const AUTHORITY: &str = include_str!("../data/api_server/ca.crt");
/// Another one.
pub const OTHER_AUTHORITY: &str = include_str!("../data/api_server/other.crt");
/// A client that says nothing for so long is left.
const SILENCE: Duration = Duration::from_secs(10);
/// The clock of every answer.
pub const DATE: &str = "Sat, 21 Nov 2026 18:00:00 GMT";

/// The server. It ends with the process.
#[derive(Debug)]
pub struct ApiServer {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

/// A pod's document: killed at this instant, if it is deleted, with this grace in seconds.
pub fn pod(killed_at: Option<&str>, grace: u64) -> String {
    let deletion = killed_at.map_or_else(String::new, |at| format!(r#""deletionTimestamp":"{at}","#));
    format!(
        r#"{{"kind":"Pod","metadata":{{{deletion}"name":"w-1","managedFields":[]}},
        "spec":{{"terminationGracePeriodSeconds":{grace},"containers":[]}},"status":{{}}}}"#
    )
}

fn tls() -> Arc<rustls::ServerConfig> {
    let certificates = include_str!("../data/api_server/server.crt");
    let key = include_str!("../data/api_server/server.key");
    let certificates = rustls_pemfile::certs(&mut certificates.as_bytes()).expect("certificates");
    let mut keys = rustls_pemfile::pkcs8_private_keys(&mut key.as_bytes()).expect("a key");
    let config = rustls::ServerConfig::builder()
        .with_safe_defaults()
        .with_no_client_auth()
        .with_single_cert(
            certificates.into_iter().map(rustls::Certificate).collect(),
            rustls::PrivateKey(keys.remove(0)),
        )
        .expect("they fit together");
    Arc::new(config)
}

/// Hears one request and answers it. A client that does not trust us goes away within the handshake.
fn serve(mut wire: TcpStream, config: &Arc<rustls::ServerConfig>, reply: &str) -> Option<String> {
    wire.set_read_timeout(Some(SILENCE)).ok()?;
    let mut session = rustls::ServerConnection::new(Arc::clone(config)).ok()?;
    let mut stream = rustls::Stream::new(&mut session, &mut wire);
    let (mut request, mut bytes) = (Vec::new(), [0; 4096]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut bytes).ok()? {
            0 => return None,
            n => request.extend_from_slice(bytes.get(..n)?),
        }
    }
    stream.write_all(reply.as_bytes()).ok()?;
    stream.flush().ok()?;
    String::from_utf8(request).ok()
}

impl ApiServer {
    /// Answers every request with this status (as in `200 OK`) and body.
    pub fn start(status: &str, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let length = body.len();
        let reply = format!(
            "HTTP/1.1 {status}\r\nDate: {DATE}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (config, heard) = (tls(), Arc::clone(&asked));
        thread::spawn(move || {
            for wire in listener.incoming().flatten() {
                let request = serve(wire, &config, &reply);
                heard.lock().unwrap_or_else(PoisonError::into_inner).extend(request);
            }
        });
        Self { port, asked }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The requests that it answered, each with its headers.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}
