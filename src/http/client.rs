//! Asks a process's own surface something, as probes and commands do: one request, one answer, no runtime.
//!
//! Plain HTTP/1.1 to a host of ours or a socket of this one. It follows nothing and keeps nothing open.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// An answer is not longer than this.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// Where a surface is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A host and its port.
    Host(String, u16),
    /// A socket in the file system.
    Socket(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host, port) => write!(f, "http://{host}:{port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body. What is no UTF-8 of it is replaced.
    pub body: String,
}

/// Reads `http://HOST[:PORT]`, without a path.
///
/// # Errors
/// What it should look like.
pub fn parse_url(text: &str) -> Result<Place, String> {
    let wrong = || format!("{text:?}: write http://HOST:PORT, without a path, as in http://127.0.0.1:8080");
    let rest = text.strip_prefix("http://").ok_or_else(wrong)?.trim_end_matches('/');
    // The brackets of an IPv6 address hold colons of their own.
    let split = rest.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    let (host, port) = match split {
        Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
        None => (rest, 80),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let plain = bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte));
    if bare.is_empty() || !plain { Err(wrong()) } else { Ok(Place::Host(bare.to_owned(), port)) }
}

/// Asks, and waits for the whole answer at most so long.
///
/// # Errors
/// When nobody listens there, or the answer does not come in time or is none.
pub fn ask(
    place: &Place,
    method: &str,
    path: &str,
    token: Option<&str>,
    within: Duration,
) -> io::Result<Answer> {
    let deadline = Instant::now() + within;
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: roboflow\r\nConnection: close\r\nContent-Length: 0\r\n{authorization}\r\n"
    );
    match place {
        Place::Host(host, port) => {
            let stream = connect(host, *port, deadline)?;
            converse(stream, &request, deadline, |stream, left| {
                stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)))
            })
        }
        Place::Socket(path) => {
            let stream = UnixStream::connect(path)?;
            converse(stream, &request, deadline, |stream, left| {
                stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)))
            })
        }
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
    }
    Ok(left)
}

fn connect(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn converse<S: Read + Write>(
    mut stream: S,
    request: &str,
    deadline: Instant,
    limit: impl Fn(&S, Duration) -> io::Result<()>,
) -> io::Result<Answer> {
    limit(&stream, left(deadline)?)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        limit(&stream, left(deadline)?)?;
        let count = match stream.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => left(deadline).map(|_| 0)?,
            // Closed hard after its answer: what came counts.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !answer.is_empty() => 0,
            read => read?,
        };
        answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if count == 0 {
            return parse(&answer);
        }
        if answer.len() as u64 > ANSWER_BYTES_MAX {
            return Err(io::Error::other("the answer is longer than any of ours"));
        }
    }
}

fn parse(answer: &[u8]) -> io::Result<Answer> {
    let text = String::from_utf8_lossy(answer);
    let wrong = || io::Error::other("what answers there does not speak HTTP/1.1");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(wrong)?;
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).ok_or_else(wrong)?;
    let status = status.parse().map_err(|_| wrong())?;
    Ok(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_host_and_a_port() {
        let host = |host: &str, port| Ok(Place::Host(host.to_owned(), port));
        assert_eq!(parse_url("http://127.0.0.1:8080"), host("127.0.0.1", 8080));
        assert_eq!(parse_url("http://worker-0/"), host("worker-0", 80));
        assert_eq!(parse_url("http://[::1]:8080"), host("::1", 8080));
        assert_eq!(parse_url("http://[::1]"), host("::1", 80));
        for wrong in
            ["", "127.0.0.1:8080", "https://a:1", "http://", "http://a:x", "http://a:1/x", "http://a b"]
        {
            assert!(parse_url(wrong).unwrap_err().contains("http://HOST:PORT"), "{wrong}");
        }
    }

    #[test]
    fn answers_are_read_and_what_is_none_is_refused() {
        let answer = parse(b"HTTP/1.1 503 Service Unavailable\r\nx: y\r\n\r\nstuck\n").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (503, "stuck\n"));
        for wrong in
            [&b""[..], b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 abc x\r\n\r\n", b"HTTP/1.1 200"]
        {
            assert!(parse(wrong).is_err());
        }
    }
}
