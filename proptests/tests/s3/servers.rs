//! S3 servers as child processes on free ports of loopback, and canned ones for what those cannot be brought to say.

use roboflow::storage::s3::{Environment, S3Options};
use roboflow::storage::{Places, SharedStorage};
use roboflow::work::StopFlag;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a server may take to listen.
const START_LIMIT: Duration = Duration::from_secs(60);
pub(crate) const KEY: &str = "test-key";
pub(crate) const SECRET: &str = "test-secret-key";
pub(crate) const BUCKET: &str = "bucket";

/// A server process with the bucket [`BUCKET`]. Dropped, it is killed.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: Option<tempfile::TempDir>,
}

fn program(variable: &str, what: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} must name {what}: `deploy/dev/cluster` builds it, and .ci/run shows how this suite is run")
    })
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Server {
    /// moto: knows all of the API that is used, and checks no signature unless it is asked to.
    pub(crate) fn moto(variables: &[(&str, &str)]) -> Self {
        let address = free_port();
        let mut command = Command::new(program("ROBOFLOW_MOTO", "the program moto_server"));
        command
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            .envs(variables.iter().copied());
        let server = Self::start(command, address, None);
        assert_eq!(server.ask("PUT", &format!("/{BUCKET}"), "s3", "").0, 200, "a bucket is made");
        server
    }

    /// One moto for all tests that need none of their own.
    pub(crate) fn shared_moto() -> &'static Self {
        static MOTO: LazyLock<Server> = LazyLock::new(|| {
            let server = Server::moto(&[]);
            let pid = rustix::process::Pid::from_child(&server.child);
            // Statics are not dropped: a watcher ends it with this process.
            let mut watcher = Command::new("sh");
            watcher.args(["-c", "read line; kill -KILL \"$0\"", &pid.as_raw_nonzero().to_string()]);
            Box::leak(Box::new(watcher.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()));
            server
        });
        &MOTO
    }

    /// s3s-fs: checks signatures, and keeps objects in files.
    pub(crate) fn s3s() -> Self {
        let (address, folder) = (free_port(), tempfile::tempdir().unwrap());
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut command = Command::new(program("ROBOFLOW_S3S_FS", "the program s3s-fs"));
        command.args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--access-key", KEY, "--secret-key", SECRET]).arg(folder.path());
        Self::start(command, address, Some(folder))
    }

    fn start(mut command: Command, address: SocketAddr, folder: Option<tempfile::TempDir>) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Self { child, address, folder };
        let end = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).is_err() {
            assert!(server.child.try_wait().unwrap().is_none(), "the server ended: {command:?}");
            assert!(Instant::now() < end, "the server does not listen: {command:?}");
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The folder in which s3s-fs keeps its bucket.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.as_ref().unwrap().path()
    }

    /// A request of its own, signed for nobody. Gives status and body.
    pub(crate) fn ask(&self, method: &str, path: &str, service: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=none/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The environment of somebody with the right keys.
pub(crate) fn keys() -> Environment {
    Environment::of([
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_REGION", "us-east-1"),
    ])
}

/// Options with the right keys, for that server.
pub(crate) fn options(endpoint: &str) -> S3Options {
    S3Options { endpoint: Some(endpoint.to_owned()), environment: keys(), ..S3Options::default() }
}

/// A location that no other test uses.
pub(crate) fn new_location() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("s3://{BUCKET}/place {}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A new place to write to.
pub(crate) fn new_place(places: &Places) -> SharedStorage {
    places.create(&new_location(), &StopFlag::default()).unwrap()
}

/// What a canned server answers to a request's first line, headers and body.
pub(crate) type Answers = Box<dyn Fn(&str, &str) -> String + Send + Sync>;

/// A server that answers by a function. Dropped, it ends.
pub(crate) struct Canned {
    pub(crate) address: SocketAddr,
    /// First lines of the requests that came.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Canned {
    pub(crate) fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, ended) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let thread = thread::spawn({
            let (asked, ended) = (Arc::clone(&asked), Arc::clone(&ended));
            move || {
                for stream in listener.incoming() {
                    if ended.load(Ordering::Acquire) {
                        return;
                    }
                    serve(stream.unwrap(), &answers, &asked);
                }
            }
        });
        Self { address, asked, ended, thread: Some(thread) }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, answers: &Answers, asked: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(&stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_ok() {
        asked.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
        (&stream).write_all(answers(&head, &String::from_utf8_lossy(&body)).as_bytes()).ok();
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        TcpStream::connect(self.address).ok();
        self.thread.take().map(|thread| thread.join().ok());
    }
}

/// An answer of HTTP.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Canned\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// An error of S3.
pub(crate) fn error(status: u16, headers: &str, code: &str, more: &str) -> String {
    answer(
        status,
        headers,
        &format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>words</Message>{more}</Error>"),
    )
}
