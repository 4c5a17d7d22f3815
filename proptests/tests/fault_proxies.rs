//! The proxies that the suites with real servers put their faults in with: each fault does what it says, and open ones nothing.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what cannot be had is a failed test")]

use roboflow_proptests::http_proxy::{HttpFault, HttpProxy, Rule};
use roboflow_proptests::rewrite::Rewrite;
use roboflow_proptests::tcp_proxy::{Mode, Odds, TcpProxy, listener};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

/// Answers each line with itself, and counts them. It ends with the test process.
fn echo() -> (SocketAddr, Arc<AtomicU64>) {
    let (listener, lines) = (listener(), Arc::new(AtomicU64::new(0)));
    let (address, count) = (listener.local_addr().unwrap(), Arc::clone(&lines));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            thread::spawn(move || {
                for line in BufReader::new(&stream).lines().map_while(Result::ok) {
                    count.fetch_add(1, Ordering::SeqCst);
                    if (&stream).write_all(format!("{line}\n").as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    (address, lines)
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(proxy: &TcpProxy) -> Self {
        let stream = TcpStream::connect(proxy.address()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self(BufReader::new(stream))
    }

    /// The answer; none when the connection is closed instead.
    fn ask(&mut self, text: &str) -> Option<String> {
        self.0.get_mut().write_all(format!("{text}\n").as_bytes()).ok()?;
        let mut line = String::new();
        let read = self.0.read_line(&mut line).inspect_err(|error| {
            assert!(error.kind() != std::io::ErrorKind::WouldBlock, "neither an answer nor an end");
        });
        (read.ok()? > 0).then(|| line.trim_end().to_owned())
    }
}

/// Waits for a condition.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < LIMIT, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_open_proxy_passes_everything_both_ways() {
    let (address, _) = echo();
    let proxy = TcpProxy::start(address, 1);
    let mut client = Client::connect(&proxy);
    let long = "x".repeat(300_000);
    assert_eq!(client.ask("a"), Some("a".into()));
    assert_eq!(client.ask(&long), Some(long));
    let done = proxy.done();
    assert_eq!((done.connections, done.dropped_replies, done.resets, done.delays), (1, 0, 0, 0));
}

#[test]
fn a_dropped_reply_is_a_request_that_took_effect() {
    let (address, lines) = echo();
    let proxy = TcpProxy::start(address, 1);
    let mut client = Client::connect(&proxy);
    assert_eq!(client.ask("a"), Some("a".into()));
    proxy.set(Mode::DropReplies);
    assert_eq!(client.ask("b"), None);
    assert_eq!(lines.load(Ordering::SeqCst), 2);
    proxy.set(Mode::Open);
    assert_eq!(Client::connect(&proxy).ask("c"), Some("c".into()));
    assert_eq!(proxy.done().dropped_replies, 1);
}

#[test]
fn a_cut_closes_what_is_open_and_what_comes() {
    let (address, lines) = echo();
    let proxy = TcpProxy::start(address, 1);
    let mut client = Client::connect(&proxy);
    assert_eq!(client.ask("a"), Some("a".into()));
    proxy.set(Mode::Cut);
    assert_eq!(client.ask("b"), None);
    assert_eq!(Client::connect(&proxy).ask("c"), None);
    assert_eq!(lines.load(Ordering::SeqCst), 1);
}

#[test]
fn a_stalled_proxy_passes_nothing_until_it_is_opened() {
    let (address, lines) = echo();
    let proxy = TcpProxy::start(address, 1);
    let mut client = Client::connect(&proxy);
    proxy.set(Mode::Stall);
    client.0.get_mut().set_read_timeout(Some(SHORT)).unwrap();
    client.0.get_mut().write_all(b"a\n").unwrap();
    assert!(client.0.read_line(&mut String::new()).is_err());
    assert_eq!(lines.load(Ordering::SeqCst), 0);
    proxy.set(Mode::Open);
    client.0.get_mut().set_read_timeout(Some(LIMIT)).unwrap();
    let mut line = String::new();
    client.0.read_line(&mut line).unwrap();
    assert_eq!(line, "a\n");
}

#[test]
fn a_delay_holds_both_ways() {
    let (address, _) = echo();
    let proxy = TcpProxy::start(address, 1);
    let mut client = Client::connect(&proxy);
    proxy.set(Mode::Delay(SHORT));
    let started = Instant::now();
    assert_eq!(client.ask("a"), Some("a".into()));
    assert!(started.elapsed() >= SHORT * 2);
}

#[test]
fn by_chance_every_fault_comes_and_what_is_answered_is_right() {
    let (address, _) = echo();
    let proxy = TcpProxy::start(address, 7);
    let delay_up_to = Duration::from_millis(2);
    proxy.set(Mode::Random(Odds { drop_reply: 0.1, reset: 0.1, delay: 0.2, delay_up_to }));
    let mut client = Client::connect(&proxy);
    let mut lost = 0;
    for number in 0..300 {
        match client.ask(&number.to_string()) {
            Some(answer) => assert_eq!(answer, number.to_string()),
            None => {
                lost += 1;
                client = Client::connect(&proxy);
            }
        }
    }
    let done = proxy.done();
    assert_eq!(done.dropped_replies + done.resets, lost);
    assert!(done.dropped_replies > 10 && done.resets > 10 && done.delays > 30, "{done:?}");
}

#[test]
fn replies_are_rewritten_and_their_ends_are_not_held_for_ever() {
    let (address, _) = echo();
    let proxy = TcpProxy::on(listener(), address, 1, Rewrite::default().and("cat", "dog").and("\n", "\n"));
    let mut client = Client::connect(&proxy);
    assert_eq!(client.ask("a cat, ca"), Some("a dog, ca".into()));
    let proxy = TcpProxy::on(listener(), address, 1, Rewrite::default().and("\nmore", "\nless"));
    assert_eq!(Client::connect(&proxy).ask("its end begins a match"), Some("its end begins a match".into()));
}

/// Answers each request with its own body, or with 100,000 bytes; counts them.
fn web() -> (SocketAddr, Arc<AtomicU64>) {
    let (listener, requests) = (listener(), Arc::new(AtomicU64::new(0)));
    let (address, count) = (listener.local_addr().unwrap(), Arc::clone(&requests));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let mut length = 0;
            for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
                    length = value.parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let body = if length == 0 { vec![b'y'; 100_000] } else { body };
            count.fetch_add(1, Ordering::SeqCst);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: keep-alive\r\n\r\n",
                body.len()
            );
            (&stream).write_all(&[head.as_bytes(), &body].concat()).ok();
        }
    });
    (address, requests)
}

/// The status and the body; none when no whole head came.
fn request(proxy: &HttpProxy, method: &str, path: &str, body: &[u8]) -> Option<(u16, usize, Vec<u8>)> {
    let mut stream = TcpStream::connect(proxy.endpoint().strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    assert!(head.contains("Connection: close") && !head.contains("keep-alive"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some((status, length.parse().unwrap(), answer[end + 4..].to_vec()))
}

#[test]
fn an_open_http_proxy_passes_bodies_both_ways() {
    let (address, _) = web();
    let proxy = HttpProxy::start(address, 1);
    let body = vec![b'z'; 1 << 20];
    assert_eq!(request(&proxy, "PUT", "/a", &body), Some((200, body.len(), body.clone())));
    let (status, length, got) = request(&proxy, "GET", "/a", b"").unwrap();
    assert_eq!((status, length, got.len()), (200, 100_000, 100_000));
    assert_eq!((proxy.requests(), proxy.faults()), (2, 0));
}

#[test]
fn a_chunked_body_passes() {
    let (listener, seen) = (listener(), Arc::new(std::sync::Mutex::new(Vec::new())));
    let (address, sink) = (listener.local_addr().unwrap(), Arc::clone(&seen));
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(&stream);
        let mut text = Vec::new();
        while !text.ends_with(b"0\r\n\r\n") {
            reader.read_until(b'\n', &mut text).unwrap();
        }
        sink.lock().unwrap().extend(text);
        (&stream).write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    });
    let proxy = HttpProxy::start(address, 1);
    let mut stream = TcpStream::connect(proxy.endpoint().strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let head = "PUT /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(format!("{head}5\r\nhello\r\n0\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n"), "{answer}");
    let seen = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
    assert!(seen.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n") && !seen.contains("Expect"), "{seen}");
}

#[test]
fn rules_hit_what_they_name_so_often_as_they_say() {
    let (address, requests) = web();
    let proxy = HttpProxy::start(address, 1);
    proxy.set([Rule::always(HttpFault::Answer(503, "SlowDown")).method("GET").path("list-type").times(1)]);
    assert_eq!(request(&proxy, "GET", "/a", b"").unwrap().0, 200);
    assert_eq!(request(&proxy, "PUT", "/a?list-type=2", b"b").unwrap().0, 200);
    let (status, _, body) = request(&proxy, "GET", "/a?list-type=2", b"").unwrap();
    assert_eq!(status, 503);
    assert!(String::from_utf8(body).unwrap().contains("<Code>SlowDown</Code>"));
    assert_eq!(request(&proxy, "GET", "/a?list-type=2", b"").unwrap().0, 200);
    assert_eq!((requests.load(Ordering::SeqCst), proxy.faults()), (3, 1));
}

#[test]
fn resets_are_before_the_server_and_lost_answers_after_it() {
    let (address, requests) = web();
    let proxy = HttpProxy::start(address, 1);
    proxy.set([Rule::always(HttpFault::Reset)]);
    assert_eq!(request(&proxy, "PUT", "/a", b"b"), None);
    assert_eq!(requests.load(Ordering::SeqCst), 0);
    proxy.set([Rule::always(HttpFault::LoseAnswer)]);
    assert_eq!(request(&proxy, "PUT", "/a", b"b"), None);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[test]
fn bodies_are_cut_and_slowed_and_requests_come_late() {
    let (address, _) = web();
    let proxy = HttpProxy::start(address, 1);
    proxy.set([Rule::always(HttpFault::CutBody)]);
    let (status, length, body) = request(&proxy, "GET", "/a", b"").unwrap();
    assert_eq!((status, length, body.len()), (200, 100_000, 50_000));
    let pause = Duration::from_millis(10);
    proxy.set([Rule::always(HttpFault::SlowBody(10_000, pause))]);
    let started = Instant::now();
    let (_, length, body) = request(&proxy, "GET", "/a", b"").unwrap();
    assert_eq!((length, body.len()), (100_000, 100_000));
    assert!(started.elapsed() >= pause * 10);
    proxy.set([Rule::always(HttpFault::Late(pause * 5))]);
    let started = Instant::now();
    let (status, _, body) = request(&proxy, "GET", "/a", b"").unwrap();
    assert_eq!((status, body.len()), (200, 100_000));
    assert!(started.elapsed() >= pause * 5);
}

#[test]
fn a_stall_ends_when_the_rules_change() {
    let (address, requests) = web();
    let proxy = Arc::new(HttpProxy::start(address, 1));
    proxy.set([Rule::always(HttpFault::Stall)]);
    let waiting = thread::spawn({
        let proxy = Arc::clone(&proxy);
        move || request(&proxy, "GET", "/a", b"")
    });
    until("the request", || proxy.requests() == 1);
    thread::sleep(SHORT); // no condition can show that nothing comes
    assert!(!waiting.is_finished());
    proxy.set([]);
    assert_eq!(waiting.join().unwrap(), None);
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

#[test]
fn a_share_is_about_that_share() {
    let (address, _) = web();
    let proxy = HttpProxy::start(address, 3);
    proxy.set([Rule::share(0.3, HttpFault::Answer(503, "SlowDown"))]);
    let refused = (0..200).filter(|_| request(&proxy, "PUT", "/a", b"b").unwrap().0 == 503).count();
    assert!((35..=85).contains(&refused), "{refused} of 200");
}
