//! How fast a large recording in object storage becomes a dataset there, against the same on a local disk, and what it holds.
//!
//! `ROBOFLOW_S3S_FS=PATH cargo bench --bench s3_rate -- [--mib N] [--video]`; PATH is the program s3s-fs, which `.ci/run` shows how to
//! build. It keeps objects in files and reads ranges of them, as a real server does.
//!
//! One worker converts one recording of 2 GiB with two cameras: from disk to disk, from the server to the server, and the same
//! with every request 20 ms later. Beside it stands the limit that the server sets: how long it takes to write and read as many bytes,
//! one after the other (a recording is read, its segments are written and read, its dataset is written). Peak memory and bytes written
//! to disk are the worker's own, as the kernel counts them. It asserts that there is no temporary copy, and nothing else: rates depend
//! on the machine.
//!
//! With `--video` the cameras become videos: the dataset is then small, and what counts is how often the server is asked.
//!
//! All requests go through a proxy that opens a connection for each. On a connection that is kept the body of a short answer waits 40 ms
//! for an acknowledgement of its head: s3s-fs leaves Nagle's algorithm on, as servers for production do not.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark prints, and ends when something is wrong"
)]

use roboflow::storage::Places;
use roboflow::storage::s3::{Environment, S3Options};
use roboflow::work::StopFlag;
use roboflow_proptests::http_proxy::{HttpFault, HttpProxy, Rule};
use roboflow_proptests::program::{Program, Running};
use roboflow_proptests::recording::Robot;
use rustix::process::Signal;
use std::fs::File;
use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const KEYS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "bench"), ("AWS_SECRET_ACCESS_KEY", "bench-secret"), ("AWS_REGION", "us-east-1")];
const BUCKET: &str = "bench";
const NAME: &str = "large.mcap";
/// Added to every request.
const LATENCY: Duration = Duration::from_millis(20);
/// How long the server may take to listen.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long a conversion may take.
const RUN_LIMIT: Duration = Duration::from_secs(1800);
/// Of its input, what a conversion from server to server may write to disk, for its queue and its log.
const QUEUE_SHARE: f64 = 0.05;
/// What is read and written at once.
const PIECE_BYTES: usize = 1 << 20;
/// A picture of a camera, as 640 x 480 has it.
const PICTURE_BYTES: usize = 48 << 10;

/// The server; it ends with this.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn main() {
    let mib: u64 = std::env::args()
        .skip_while(|argument| argument != "--mib")
        .nth(1)
        .map_or(2048, |number| number.parse().expect("--mib takes a number"));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let input = recording(folder.path(), mib);
    let bytes = std::fs::metadata(&input).unwrap().len();
    let server = server(folder.path());
    let proxy = HttpProxy::start(server.address, 1);
    let [writing, reading] = alone(&input, &proxy.endpoint());
    let remote = (format!("s3://{BUCKET}/in/{NAME}"), format!("s3://{BUCKET}/out"));
    let [here, there] = [folder.path().join("local"), folder.path().join("server").join(BUCKET).join("out")];
    let local = (input.display().to_string(), here.display().to_string());
    println!("{:.1} MB, one worker", bytes as f64 / 1e6);
    let rate = |seconds: f64| bytes as f64 / 1e6 / seconds;
    let limit = 2.0 * (writing + reading);
    println!(
        "the server alone writes {:.0} MB/s and reads {:.0}: twice each, {limit:.2} s",
        rate(writing),
        rate(reading)
    );
    println!("{:<34} {:>7} {:>7} {:>9} {:>11} {:>9}", "", "s", "MB/s", "peak MiB", "to disk MB", "requests");
    let late = vec![Rule::always(HttpFault::Late(LATENCY))];
    for (what, (from, to), rules) in [
        ("local disk", &local, vec![]),
        ("S3 on loopback", &remote, vec![]),
        ("S3, each request 20 ms later", &remote, late),
    ] {
        proxy.set(rules);
        let before = proxy.requests();
        let run = convert(folder.path(), from, to, &proxy.endpoint());
        assert!(
            !to.starts_with("s3:") || run.disk_mb < bytes as f64 / 1e6 * QUEUE_SHARE,
            "{:.0} MB are written to disk, where nothing belongs",
            run.disk_mb
        );
        println!(
            "{what:<34} {:>7.2} {:>7.0} {:>9.1} {:>11.1} {:>9}",
            run.seconds,
            rate(run.seconds),
            run.peak_mib,
            run.disk_mb,
            proxy.requests() - before
        );
        // Only one of the datasets is kept at once: each is as large as the recording.
        for place in [&here, &there] {
            std::fs::remove_dir_all(place).ok();
        }
    }
}

fn recording(folder: &Path, mib: u64) -> PathBuf {
    let path = folder.join(NAME);
    let a_second = 2 * 30 * PICTURE_BYTES as u64;
    let seconds = (mib << 20) as f64 / a_second as f64;
    let robot =
        Robot { seconds, cameras: 2, picture_bytes: PICTURE_BYTES, chunk_bytes: 1 << 20, ..Robot::default() };
    robot.write(&path);
    path
}

fn server(folder: &Path) -> Server {
    let program = std::env::var("ROBOFLOW_S3S_FS").expect("ROBOFLOW_S3S_FS must name the program s3s-fs");
    let root = folder.join("server");
    std::fs::create_dir_all(root.join(BUCKET)).unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let [(_, key), (_, secret), _] = KEYS;
    let port = address.port().to_string();
    let child = Command::new(program)
        .args(["--host", "127.0.0.1", "--port", &port, "--access-key", key, "--secret-key", secret])
        .arg(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("s3s-fs can be started");
    let server = Server { child, address };
    let end = Instant::now() + START_LIMIT;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < end, "s3s-fs does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    server
}

/// Brings the recording to the server, and reads it back. Gives how long each took, in seconds.
fn alone(input: &Path, endpoint: &str) -> [f64; 2] {
    let options = S3Options {
        endpoint: Some(endpoint.to_owned()),
        environment: Environment::of(KEYS),
        ..S3Options::default()
    };
    let places = Places::new(options);
    let storage = places.create(&format!("s3://{BUCKET}/in"), &StopFlag::default()).unwrap();
    let begun = Instant::now();
    let mut writer = storage.writer(NAME).unwrap();
    io::copy(&mut BufReader::with_capacity(PIECE_BYTES, File::open(input).unwrap()), &mut writer).unwrap();
    writer.finish().unwrap();
    let written = begun.elapsed();
    let object = storage.head(NAME).unwrap();
    storage.announce(&[(object.clone(), 0..object.size)]);
    for offset in (0..object.size).step_by(PIECE_BYTES) {
        assert!(!storage.read_at(&object, offset, PIECE_BYTES).unwrap().is_empty());
    }
    [written, begun.elapsed() - written].map(|time| time.as_secs_f64())
}

/// A conversion, measured.
struct Run {
    seconds: f64,
    peak_mib: f64,
    disk_mb: f64,
}

/// From the worker's start until the dataset stands.
fn convert(folder: &Path, from: &str, to: &str, endpoint: &str) -> Run {
    let queue = tempfile::tempdir_in(folder).unwrap();
    let temporary = tempfile::tempdir_in(folder).unwrap();
    let variables = [("TMPDIR", temporary.path().to_str().unwrap())];
    let program = Program::new(env!("CARGO_BIN_EXE_roboflow")).with_env(KEYS.into_iter().chain(variables));
    let store = format!("sqlite:{}", queue.path().join("queue.db").display());
    let common = ["--store", &store, "--s3-endpoint", endpoint];
    let mut submit = vec!["submit", from, "--out", to, "--segment-frames", "100"];
    if std::env::args().any(|argument| argument == "--video") {
        submit.extend(["--video-encoder", "openh264"]);
    }
    program.run(folder, submit.iter().chain(&common)).expect_code(0);
    let begun = Instant::now();
    let worker = program.start(folder, ["worker", "--poll-interval", "50ms"].iter().chain(&common));
    let wait = ["--wait", "--wait-interval", "50ms"];
    program.start(folder, submit.iter().chain(&wait).chain(&common)).wait_for(RUN_LIMIT).expect_code(0);
    let seconds = begun.elapsed().as_secs_f64();
    let run = Run {
        seconds,
        peak_mib: told(&worker, "status", "VmHWM:") / 1024.0,
        disk_mb: told(&worker, "io", "write_bytes:") / 1e6,
    };
    worker.signal(Signal::TERM);
    worker.wait().expect_code(0);
    assert_eq!(
        std::fs::read_dir(temporary.path()).unwrap().count(),
        0,
        "something is left in the temporary folder"
    );
    run
}

/// A number that the kernel tells of a process.
fn told(worker: &Running, file: &str, line: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/{file}", worker.id())).unwrap();
    let found = text.lines().find_map(|told| told.strip_prefix(line)).unwrap();
    found.split_ascii_whitespace().next().unwrap().parse().unwrap()
}
