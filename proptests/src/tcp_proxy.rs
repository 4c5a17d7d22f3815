//! A TCP proxy on loopback that delays, holds, resets and drops on command, or at random by a seed.
//!
//! It knows no protocol: [`Mode::DropReplies`] lets requests through, swallows the first reply and closes the connection, so
//! that a commit has taken effect and nobody has told its client. Threads and blocking sockets, since what is tested has the
//! runtimes. Not for production of anything but trouble.

#![expect(clippy::expect_used, reason = "support of tests: what it cannot do is a failed test")]

use crate::rewrite::Rewrite;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const CHUNK_BYTES: usize = 16 * 1024;
/// How long the head of something that is to be rewritten waits for its rest.
const REST_OF_A_MATCH: Duration = Duration::from_millis(5);

/// What the proxy does to what passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Nothing.
    Open,
    /// Holds each piece for so long, in both directions.
    Delay(Duration),
    /// Takes connections and bytes, and passes nothing on until the mode changes: a server that hangs.
    Stall,
    /// Closes what is open, and each new connection at once: a server that is gone.
    Cut,
    /// Requests go through; the first reply is swallowed and its connection closed.
    DropReplies,
    /// Any of it, by the proxy's seed.
    Random(Odds),
}

/// How likely each fault is for a piece that passes, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Odds {
    /// A reply is swallowed and its connection closed.
    pub drop_reply: f64,
    /// The connection is closed before a piece of a request goes through.
    pub reset: f64,
    /// A piece is held for up to [`Odds::delay_up_to`].
    pub delay: f64,
    /// The longest delay.
    pub delay_up_to: Duration,
}

/// What the proxy has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Connections taken.
    pub connections: u64,
    /// Replies swallowed.
    pub dropped_replies: u64,
    /// Connections closed before their end for another reason.
    pub resets: u64,
    /// Pieces delayed.
    pub delays: u64,
}

/// A proxy; it ends when this is dropped.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    rewrite: Rewrite,
    state: Mutex<State>,
    changed: Condvar,
    open: Mutex<BTreeMap<u64, [TcpStream; 2]>>,
    connections: AtomicU64,
    dropped_replies: AtomicU64,
    resets: AtomicU64,
    delays: AtomicU64,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    ended: bool,
    random: StdRng,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Reply,
}

/// What becomes of one piece.
enum Fate {
    Pass,
    Close,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TcpProxy {
    /// Listens on a free port of loopback, and forwards to `target`.
    pub fn start(target: SocketAddr, seed: u64) -> Self {
        Self::on(listener(), target, seed, Rewrite::default())
    }

    /// The same on a listener that is there already, with replies rewritten on their way.
    pub fn on(listener: TcpListener, target: SocketAddr, seed: u64, rewrite: Rewrite) -> Self {
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = State { mode: Mode::Open, ended: false, random: StdRng::seed_from_u64(seed) };
        let shared = Arc::new(Shared {
            target,
            rewrite,
            state: Mutex::new(state),
            changed: Condvar::new(),
            open: Mutex::default(),
            connections: AtomicU64::new(0),
            dropped_replies: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            delays: AtomicU64::new(0),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on. Pieces that are held by the mode before go by the new one.
    pub fn set(&self, mode: Mode) {
        lock(&self.shared.state).mode = mode;
        self.shared.changed.notify_all();
        if mode == Mode::Cut {
            self.shared.close_all();
        }
    }

    /// What it has done so far.
    pub fn done(&self) -> Done {
        Done {
            connections: self.shared.connections.load(Ordering::Relaxed),
            dropped_replies: self.shared.dropped_replies.load(Ordering::Relaxed),
            resets: self.shared.resets.load(Ordering::Relaxed),
            delays: self.shared.delays.load(Ordering::Relaxed),
        }
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        lock(&self.shared.state).ended = true;
        self.shared.changed.notify_all();
        self.shared.close_all();
        TcpStream::connect(self.address).ok(); // so that it looks up
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().ok();
        }
    }
}

/// A socket on a free port of loopback.
pub fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback")
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (number, client) in (0..).zip(listener.incoming()) {
        let (mode, ended) = {
            let state = lock(&shared.state);
            (state.mode, state.ended)
        };
        if ended {
            return;
        }
        let Ok(client) = client else { continue };
        shared.connections.fetch_add(1, Ordering::Relaxed);
        if mode == Mode::Cut {
            shared.resets.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || connect(number, &client, &shared));
    }
}

fn connect(number: u64, client: &TcpStream, shared: &Arc<Shared>) {
    // A target that is away is a connection closed at once.
    let Ok(server) = TcpStream::connect(shared.target) else { return };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let copy = |stream: &TcpStream| stream.try_clone().expect("a socket can be shared");
    lock(&shared.open).insert(number, [copy(client), copy(&server)]);
    thread::scope(|scope| {
        scope.spawn(|| pump(client, &server, Way::Request, shared));
        pump(&server, client, Way::Reply, shared);
    });
    lock(&shared.open).remove(&number);
}

/// Passes on what comes from one side until either side ends.
fn pump(mut from: &TcpStream, mut to: &TcpStream, way: Way, shared: &Shared) {
    let mut rewriting = shared.rewrite.stream();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        from.set_read_timeout((way == Way::Reply && rewriting.holds()).then_some(REST_OF_A_MATCH)).ok();
        let read = match from.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if to.write_all(&rewriting.rest()).is_err() {
                    break;
                }
                continue;
            }
            Err(_) => break,
        };
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
        if matches!(shared.fate(way), Fate::Close) {
            break;
        }
        let sent = if way == Way::Reply { to.write_all(&rewriting.pass(piece)) } else { to.write_all(piece) };
        if sent.is_err() {
            break;
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}

impl Shared {
    fn close_all(&self) {
        for stream in lock(&self.open).values().flatten() {
            if stream.shutdown(Shutdown::Both).is_ok() {
                self.resets.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits as long as the mode wants, and says whether the piece may pass.
    fn fate(&self, way: Way) -> Fate {
        let mut state = lock(&self.state);
        loop {
            if state.ended {
                return Fate::Close;
            }
            match state.mode {
                Mode::Open => return Fate::Pass,
                Mode::Stall => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Mode::Delay(delay) => {
                    drop(state);
                    return self.delay(delay);
                }
                Mode::Cut => return self.close(&self.resets),
                Mode::DropReplies if way == Way::Reply => return self.close(&self.dropped_replies),
                Mode::DropReplies => return Fate::Pass,
                Mode::Random(odds) => {
                    let hits = |chance: f64, random: &mut StdRng| random.random_bool(chance.clamp(0.0, 1.0));
                    if way == Way::Reply && hits(odds.drop_reply, &mut state.random) {
                        return self.close(&self.dropped_replies);
                    }
                    if way == Way::Request && hits(odds.reset, &mut state.random) {
                        return self.close(&self.resets);
                    }
                    if !hits(odds.delay, &mut state.random) {
                        return Fate::Pass;
                    }
                    let share = state.random.random_range(0.0..1.0);
                    drop(state);
                    return self.delay(odds.delay_up_to.mul_f64(share));
                }
            }
        }
    }

    fn delay(&self, delay: Duration) -> Fate {
        self.delays.fetch_add(1, Ordering::Relaxed);
        thread::sleep(delay); // the delay itself, not a condition
        Fate::Pass
    }

    fn close(&self, counter: &AtomicU64) -> Fate {
        counter.fetch_add(1, Ordering::Relaxed);
        Fate::Close
    }
}
