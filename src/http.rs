//! The HTTP surface of a process: probes, metrics, draining, and what its machines do.
//!
//! It has one OS thread with a small runtime of its own, so that nothing that happens on it (slow clients, many of them)
//! delays a signal, a renewal or a step; and it outlives the drain: it is the last thing that a process stops.
//!
//! Architecture Invariant: it reads what the process shows, and it can ask the process to drain. It touches no store, no
//! queue and no storage. Listeners are opened at start, before anything else is: one that cannot be is an error.

pub mod client;
pub mod guard;

mod accept;
mod listen;
mod live;
mod machine;
mod patient;
mod routes;
mod scrape;

pub use accept::{AGE_MAX, BODY_BYTES_MAX, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_LIMIT, HEADERS_MAX};
pub use listen::{ListenError, Listeners, Places};
pub use live::SUBSCRIBERS_MAX;

use crate::health::Health;
use crate::metrics::Metrics;
use guard::Guard;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use tokio::sync::watch;

/// How long an answer that is on its way gets when the process ends.
const LINGER: std::time::Duration = std::time::Duration::from_millis(20);

/// What is served.
#[derive(Debug, Clone)]
pub struct Surface {
    /// What is told.
    pub health: Arc<Health>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who may ask for more than to look.
    pub guard: Guard,
}

/// A running server. Dropping it stops it, and removes its socket's file.
#[derive(Debug)]
pub struct Server {
    address: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    /// Held until the end: its file goes with it.
    _socket: Option<listen::SocketFile>,
}

impl Server {
    /// Serves on these listeners from a thread of its own.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be started.
    pub fn start(listeners: Listeners, surface: Surface) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let Listeners { tcp, address, unix, socket } = listeners;
        let (stop, stopped) = watch::channel(false);
        let shared = routes::shared(surface);
        // All of its tasks run on this one thread, and say what they say for the process that started it.
        let context = tracing::Span::current();
        let thread = thread::Builder::new().name("http".to_owned()).spawn(move || {
            let _context = context.entered();
            runtime.block_on(accept::serve(tcp, unix, shared, stopped));
            runtime.shutdown_timeout(LINGER);
        })?;
        Ok(Self { address, stop, thread: Some(thread), _socket: socket })
    }

    /// Where it listens for TCP, if it does: with the port that was taken where any would do.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the HTTP server died");
        }
    }
}
