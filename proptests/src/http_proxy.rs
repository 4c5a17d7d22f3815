//! An HTTP/1.1 proxy on loopback that answers for its server, resets, cuts and slows, by rules.
//!
//! One request a connection: it asks its server for the same, so the end of a body is the end of a stream. It knows just
//! enough of HTTP for that, and of S3 only the shape of an error. `Host` passes unchanged, so signatures stay valid.

#![expect(clippy::expect_used, reason = "support of tests: what it cannot do is a failed test")]

use crate::tcp_proxy::listener;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const CHUNK_BYTES: usize = 16 * 1024;
const LINE_BYTES: u64 = 64 * 1024;
/// A server that does not answer for so long is gone.
const SERVER_LIMIT: Duration = Duration::from_secs(60);

/// What is done to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HttpFault {
    /// The server never sees it; the client gets an S3 error: `Answer(503, "SlowDown")`.
    Answer(u16, &'static str),
    /// The server never sees it; the connection is closed without a word.
    Reset,
    /// The server carries it out; the connection is closed without a word.
    LoseAnswer,
    /// Half of the answer's body comes, then the connection is closed. An answer without a body is lost.
    CutBody,
    /// The answer's body comes in pieces of so many bytes, each after so long.
    SlowBody(usize, Duration),
    /// The request goes on so much later, as over a long way: the latency of every request, whatever it moves.
    Late(Duration),
    /// Nothing comes until the rules change; then it is closed.
    Stall,
}

/// When what is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// To which share of the requests that match, from 0 to 1.
    pub share: f64,
    /// How often at most; none: for ever.
    pub times: Option<u64>,
    /// Only to this method.
    pub method: Option<&'static str>,
    /// Only to paths (with their query) that hold this.
    pub path: Option<String>,
    /// What.
    pub fault: HttpFault,
}

impl Rule {
    /// To every request.
    pub fn always(fault: HttpFault) -> Self {
        Self { share: 1.0, times: None, method: None, path: None, fault }
    }

    /// To a share of all requests.
    pub fn share(share: f64, fault: HttpFault) -> Self {
        Self { share, ..Self::always(fault) }
    }

    /// To the next requests that match, so often.
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Only to this method.
    pub fn method(self, method: &'static str) -> Self {
        Self { method: Some(method), ..self }
    }

    /// Only to paths that hold this.
    pub fn path(self, part: &str) -> Self {
        Self { path: Some(part.to_owned()), ..self }
    }
}

/// A proxy; it ends when this is dropped.
#[derive(Debug)]
pub struct HttpProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    rules: Vec<Rule>,
    generation: u64,
    requests: u64,
    faults: u64,
    answered_bytes: u64,
    random: StdRng,
    ended: bool,
}

struct Request {
    method: String,
    path: String,
    /// With `Connection: close` in place of what the client asked.
    head: Vec<u8>,
    body: Body,
    expects_continue: bool,
}

#[derive(Clone, Copy)]
enum Body {
    Length(u64),
    Chunked,
}

impl HttpProxy {
    /// Listens on a free port of loopback, and forwards to `target`. Shares are drawn by the seed.
    pub fn start(target: SocketAddr, seed: u64) -> Self {
        let listener = listener();
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = State {
            rules: Vec::new(),
            generation: 0,
            requests: 0,
            faults: 0,
            answered_bytes: 0,
            random: StdRng::seed_from_u64(seed),
            ended: false,
        };
        let shared = Arc::new(Shared { target, state: Mutex::new(state), changed: Condvar::new() });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for client in listener.incoming() {
                    if shared.lock().ended {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    // What goes wrong with one connection is the client's to see.
                    client.into_iter().for_each(|client| {
                        let shared = Arc::clone(&shared);
                        thread::spawn(move || serve(&client, &shared).ok());
                    });
                }
            }
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// What a client is given as its endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on these rules; of those that match a request the first that its share hits. None: everything passes.
    pub fn set(&self, rules: impl IntoIterator<Item = Rule>) {
        let mut state = self.shared.lock();
        state.rules = rules.into_iter().collect();
        state.generation += 1;
        drop(state);
        self.shared.changed.notify_all();
    }

    /// How many requests came.
    pub fn requests(&self) -> u64 {
        self.shared.lock().requests
    }

    /// How many bytes the answers to reads promised.
    pub fn answered_bytes(&self) -> u64 {
        self.shared.lock().answered_bytes
    }

    /// How many of them were hit.
    pub fn faults(&self) -> u64 {
        self.shared.lock().faults
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.set([]);
        self.shared.lock().ended = true;
        TcpStream::connect(self.address).ok(); // so that it looks up
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().ok();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, request: &Request) -> Option<HttpFault> {
        let mut state = self.lock();
        state.requests += 1;
        let State { rules, random, faults, .. } = &mut *state;
        let matches = |rule: &Rule| {
            rule.times != Some(0)
                && rule.method.is_none_or(|method| method == request.method)
                && rule.path.as_ref().is_none_or(|part| request.path.contains(part))
        };
        let rule = rules
            .iter_mut()
            .filter(|rule| matches(rule))
            .find(|rule| random.random_bool(rule.share.clamp(0.0, 1.0)))?;
        rule.times = rule.times.map(|times| times - 1);
        *faults += 1;
        Some(rule.fault)
    }

    fn until_rules_change(&self) {
        let state = self.lock();
        let generation = state.generation;
        drop(self.changed.wait_while(state, |state| state.generation == generation));
    }
}

fn serve(client: &TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut reader = BufReader::new(client);
    let request = read_head(&mut reader)?;
    let fault = shared.fault(&request);
    let done = match fault {
        Some(HttpFault::Reset) => Ok(()),
        Some(HttpFault::Stall) => {
            shared.until_rules_change();
            Ok(())
        }
        Some(HttpFault::Answer(status, code)) => answer(client, &mut reader, &request, status, code),
        fault => forward(client, &mut reader, &request, shared, fault),
    };
    client.shutdown(Shutdown::Both).ok();
    done
}

fn answer(
    mut client: &TcpStream,
    reader: &mut impl BufRead,
    request: &Request,
    status: u16,
    code: &str,
) -> io::Result<()> {
    // The body is taken first: a client that is still sending would see a reset instead of the answer.
    body(client, reader, request, &mut io::sink())?;
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{code}, by the proxy</Message></Error>"
    );
    let text = if request.method == "HEAD" { "" } else { &text };
    write!(
        client,
        "HTTP/1.1 {status} Fault\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

fn forward(
    mut client: &TcpStream,
    reader: &mut impl BufRead,
    request: &Request,
    shared: &Shared,
    fault: Option<HttpFault>,
) -> io::Result<()> {
    if let Some(HttpFault::Late(way)) = fault {
        thread::sleep(way); // the latency itself, not a condition
    }
    let server = TcpStream::connect(shared.target)?;
    server.set_nodelay(true)?;
    server.set_read_timeout(Some(SERVER_LIMIT))?;
    (&server).write_all(&request.head)?;
    body(client, reader, request, &mut &server)?;
    let mut answers = BufReader::new(&server);
    let mut head = Vec::new();
    let mut length = 0;
    loop {
        let line = line(&mut answers)?;
        if let Some(value) = header(&line, "content-length") {
            length = value.parse().unwrap_or(0);
        }
        if line == b"\r\n" {
            break;
        }
        if header(&line, "connection").is_none() {
            head.extend(line);
        }
    }
    head.extend(b"Connection: close\r\n\r\n");
    if request.method == "GET" {
        shared.lock().answered_bytes += length;
    }
    match fault {
        Some(HttpFault::LoseAnswer) => io::copy(&mut answers, &mut io::sink()).map(drop),
        Some(HttpFault::CutBody) if length < 2 || request.method == "HEAD" => Ok(()),
        Some(HttpFault::CutBody) => {
            client.write_all(&head)?;
            io::copy(&mut answers.take(length / 2), &mut client).map(drop)
        }
        Some(HttpFault::SlowBody(bytes, pause)) => {
            client.write_all(&head)?;
            let mut piece = vec![0; bytes.clamp(1, CHUNK_BYTES)];
            while let (read @ 1.., _) = (answers.read(&mut piece)?, ()) {
                thread::sleep(pause); // the slowness itself, not a condition
                client.write_all(piece.get(..read).unwrap_or_default())?;
            }
            Ok(())
        }
        _ => {
            client.write_all(&head)?;
            io::copy(&mut answers, &mut client).map(drop)
        }
    }
}

/// Passes on the request's body as it comes, framing and all.
fn body(
    mut client: &TcpStream,
    reader: &mut impl BufRead,
    request: &Request,
    to: &mut impl Write,
) -> io::Result<()> {
    if request.expects_continue {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    match request.body {
        Body::Length(length) => copy_exactly(reader, length, to),
        Body::Chunked => loop {
            let size_line = line(reader)?;
            to.write_all(&size_line)?;
            let size = String::from_utf8_lossy(&size_line);
            let size = size.split([';', '\r']).next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
            copy_exactly(reader, size, to)?;
            to.write_all(&line(reader)?)?;
            if size == 0 {
                return Ok(());
            }
        },
    }
}

fn copy_exactly(reader: &mut impl BufRead, length: u64, to: &mut impl Write) -> io::Result<()> {
    let copied = io::copy(&mut reader.take(length), to)?;
    if copied == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.take(LINE_BYTES).read_until(b'\n', &mut line)?;
    if line.ends_with(b"\n") { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The value of a header line, if it is the one of this name in lower case.
fn header(line: &[u8], name: &str) -> Option<String> {
    let line = String::from_utf8_lossy(line);
    let (found, value) = line.split_once(':')?;
    found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Request> {
    let first = line(reader)?;
    let text = String::from_utf8_lossy(&first).into_owned();
    let mut words = text.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut request = Request { method, path, head: first, body: Body::Length(0), expects_continue: false };
    loop {
        let line = line(reader)?;
        if line == b"\r\n" {
            request.head.extend(b"Connection: close\r\n\r\n");
            return Ok(request);
        }
        if let Some(length) = header(&line, "content-length") {
            request.body = Body::Length(length.parse().map_err(io::Error::other)?);
        } else if header(&line, "transfer-encoding").is_some() {
            request.body = Body::Chunked;
        }
        let dropped = header(&line, "connection").is_some();
        if header(&line, "expect").is_some() {
            request.expects_continue = true; // and it is answered here
        } else if !dropped {
            request.head.extend(line);
        }
    }
}
