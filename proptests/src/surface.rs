//! The HTTP surface of a worker in this process, and a client of it that can also misbehave.
//!
//! What a well-behaved client asks goes through the program's own client; the rest is written byte by byte.

#![expect(clippy::unwrap_used, reason = "support of tests: what it cannot do is a failed test")]

use crate::worker_lab::WorkerLab;
use roboflow::health::Health;
use roboflow::http::client::{Answer, Place, ask};
use roboflow::http::guard::Guard;
use roboflow::http::{Listeners, Places, Server, Surface};
use roboflow::metrics::Metrics;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Generous: only a server that hangs takes so long.
const LIMIT: Duration = Duration::from_secs(60);

/// A server on a port of its own.
#[derive(Debug)]
pub struct Served {
    /// What it tells.
    pub health: Arc<Health>,
    /// Where it listens.
    pub address: SocketAddr,
    server: Option<Server>,
}

impl Served {
    /// Of a lab's worker, which may be started later.
    pub fn of(lab: &WorkerLab) -> Self {
        Self::start(Arc::clone(&lab.metrics), None, None)
    }

    /// With these metrics, and whatever else there is.
    pub fn start(metrics: Arc<Metrics>, token_file: Option<PathBuf>, socket: Option<PathBuf>) -> Self {
        let health = Arc::new(Health::default());
        let places = Places { tcp: Some((Ipv4Addr::LOCALHOST, 0).into()), socket };
        let listeners = Listeners::open(&places).unwrap();
        let address = listeners.address().unwrap();
        let surface =
            Surface { health: Arc::clone(&health), metrics, guard: Guard::new(token_file).unwrap() };
        let server = Some(Server::start(listeners, surface).unwrap());
        Self { health, address, server }
    }

    /// Where clients find it.
    pub fn place(&self) -> Place {
        Place::Host(self.address.ip().to_string(), self.address.port())
    }

    /// Asks for a path.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        ask(&self.place(), "GET", path, None, LIMIT).unwrap()
    }

    /// Posts to a path.
    #[track_caller]
    pub fn post(&self, path: &str) -> Answer {
        ask(&self.place(), "POST", path, None, LIMIT).unwrap()
    }

    /// Asks for a path that answers in JSON.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).body).unwrap()
    }

    /// The status of a path.
    #[track_caller]
    pub fn status(&self, path: &str) -> u16 {
        self.get(path).status
    }

    /// A connection, to write to as one likes.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// Sends these bytes and reads until the server closes the connection, or resets it.
    pub fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // It may close before it has read all of it.
        stream.write_all(bytes).ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a request and reads the head of its answer, whose body may never end.
    pub fn head_of(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        let mut byte = [0u8; 1];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            head.extend(byte);
        }
        String::from_utf8_lossy(&head).into_owned()
    }

    /// Stops it.
    pub fn stop(&mut self) {
        self.server = None;
    }
}
