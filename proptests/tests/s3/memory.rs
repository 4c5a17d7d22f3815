//! What reading and writing a large object holds, measured in a process of its own, and how fast it goes.

use crate::servers::{Server, new_location, options};
use roboflow::storage::s3::{PART_BYTES, PARTS_AT_ONCE, READ_AHEAD_BYTES, READ_AHEAD_TOTAL_BYTES, S3Options};
use roboflow::storage::{Places, Storage};
use roboflow::work::StopFlag;
use roboflow_proptests::http_proxy::{HttpFault, HttpProxy, Rule};
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

const ENDPOINT: &str = "ROBOFLOW_TEST_ENDPOINT";
const LOCATION: &str = "ROBOFLOW_TEST_LOCATION";
const AHEAD: &str = "ROBOFLOW_TEST_READ_AHEAD";
const WORK: &str = "ROBOFLOW_TEST_WORK";
const OBJECT_BYTES: usize = 300 << 20;
const RANGE_BYTES: usize = 4 << 20;
/// Places that read at once: together they would read ahead three times what they may.
const READERS: usize = 12;
const _: () = assert!(READERS * READ_AHEAD_BYTES == 3 * READ_AHEAD_TOTAL_BYTES);
/// Beside what is counted: of connections, and of the allocator.
const BESIDE_BYTES: usize = 12 << 20;
/// What each of them reads at once.
const SMALL_RANGE_BYTES: usize = 1 << 20;

/// This process's peak of memory, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

fn byte(at: usize) -> u8 {
    (at / 4096 % 251) as u8
}

fn write(storage: &dyn Storage) {
    let mut writer = storage.writer("large").unwrap();
    let mut piece = vec![0; 1 << 20];
    for number in 0..OBJECT_BYTES / piece.len() {
        let start = number * piece.len();
        piece.iter_mut().enumerate().for_each(|(at, space)| *space = byte(start + at));
        writer.write_all(&piece).unwrap();
    }
    writer.finish().unwrap();
}

fn read(storage: &dyn Storage) {
    let object = storage.head("large").unwrap();
    assert_eq!(object.size, OBJECT_BYTES as u64);
    let mut sum = 0_u64;
    for start in (0..OBJECT_BYTES).step_by(RANGE_BYTES) {
        let bytes = storage.read_at(&object, start as u64, RANGE_BYTES).unwrap();
        assert!(
            bytes.len() == RANGE_BYTES
                && (0..RANGE_BYTES).step_by(4096).all(|at| bytes[at] == byte(start + at))
        );
        // What a conversion does meanwhile.
        sum += bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    }
    assert!(sum > 0);
}

/// Not a test of its own: the process that is measured.
#[test]
fn child_that_is_measured() {
    let (Ok(endpoint), Ok(location)) = (std::env::var(ENDPOINT), std::env::var(LOCATION)) else { return };
    let ahead = std::env::var(AHEAD).ok().and_then(|bytes| bytes.parse().ok()).unwrap_or(READ_AHEAD_BYTES);
    let places = Places::new(S3Options { read_ahead_bytes: ahead, ..options(&endpoint) });
    let storage = places.create(&location, &StopFlag::default()).unwrap();
    let name = std::env::var(WORK).unwrap();
    let work = if name == "write" { write } else { read };
    let (before, begun) = (peak(), Instant::now());
    work(&*storage);
    let speed = (OBJECT_BYTES >> 20) as f64 / begun.elapsed().as_secs_f64();
    println!("\n{name}: {} bytes over {before}, {speed:.0} MiB/s", peak() - before);
}

/// Not a test of its own either: a process with many places, each read forward by a reader that takes its time.
#[test]
fn child_that_reads_in_many_places() {
    let (Ok(endpoint), Ok(location)) = (std::env::var(ENDPOINT), std::env::var(LOCATION)) else { return };
    let places = Places::new(options(&endpoint));
    write(&*places.create(&location, &StopFlag::default()).unwrap());
    let before = peak();
    let read_slowly = || {
        let storage = places.open(&location, &StopFlag::default()).unwrap();
        let object = storage.head("large").unwrap();
        for number in 0..48 {
            let bytes =
                storage.read_at(&object, (number * SMALL_RANGE_BYTES) as u64, SMALL_RANGE_BYTES).unwrap();
            assert!(bytes[0] == byte(number * SMALL_RANGE_BYTES));
            // The work on it, meanwhile all that may come does.
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    std::thread::scope(|scope| (0..READERS).for_each(|_| drop(scope.spawn(read_slowly))));
    println!("\nread: {} bytes over {before}", peak() - before);
}

#[test]
fn all_places_together_read_ahead_no_more_than_64_mib() {
    assert_eq!(READ_AHEAD_TOTAL_BYTES, 64 << 20);
    let server = Server::s3s();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::child_that_reads_in_many_places", "--nocapture"])
        .env(ENDPOINT, server.endpoint())
        .env(LOCATION, new_location())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let told = text.lines().find(|line| line.starts_with("read:")).unwrap();
    println!("{READERS} places: {told}");
    let used: usize = told.split(' ').nth(1).unwrap().parse().unwrap();
    // What each has in hand and just asked for.
    let held = READ_AHEAD_TOTAL_BYTES + READERS * 2 * SMALL_RANGE_BYTES;
    assert!(used < held + BESIDE_BYTES, "{used} of {held}");
}

#[test]
fn memory_is_bounded_whatever_an_object_has() {
    let (server, location) = (Server::s3s(), new_location());
    // Parts being filled and sent; ranges read ahead, in hand, and put together.
    for (work, ahead, held) in [
        ("write", READ_AHEAD_BYTES, (PARTS_AT_ONCE + 2) * PART_BYTES),
        ("read", READ_AHEAD_BYTES, READ_AHEAD_BYTES + 3 * RANGE_BYTES),
        ("read", 0, 3 * RANGE_BYTES),
    ] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "memory::child_that_is_measured", "--nocapture"])
            .env(ENDPOINT, server.endpoint())
            .env(LOCATION, &location)
            .env(AHEAD, ahead.to_string())
            .env(WORK, work)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let told = text.lines().find(|line| line.starts_with(work)).unwrap();
        println!("read ahead {ahead}: {told}");
        let used: usize = told.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(used < held + BESIDE_BYTES, "{used} of {held}");
    }
}

#[test]
fn what_comes_next_is_fetched_while_the_last_is_worked_on() {
    const RANGE: usize = 1 << 20;
    let proxy = HttpProxy::start(Server::shared_moto().address, 1);
    let storage =
        Places::new(options(&proxy.endpoint())).create(&new_location(), &StopFlag::default()).unwrap();
    let whole: Vec<u8> = (0..8 * RANGE).map(byte).collect();
    storage.put("x", &whole).unwrap();
    let object = storage.head("x").unwrap();
    let read = |number: usize| {
        let bytes = storage.read_at(&object, (number * RANGE) as u64, RANGE).unwrap();
        assert!(bytes == whole[number * RANGE..(number + 1) * RANGE], "range {number}");
    };
    let before = proxy.requests();
    read(0);
    assert_eq!(proxy.requests() - before, 1, "one read is no sign of more");
    read(1);
    let end = Instant::now() + Duration::from_secs(20);
    while proxy.requests() - before < 3 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(proxy.requests() - before, 3, "the next ranges are on their way");
    // Whatever is asked from now on does not come; what was read ahead is there.
    proxy.set([Rule::always(HttpFault::Stall)]);
    read(2);
    read(3);
    proxy.set([]);
    read(4);
    read(7);

    // Small reads share a request.
    storage.put("y", &whole[..100_000]).unwrap();
    let small = storage.head("y").unwrap();
    let before = proxy.requests();
    for number in 0..100 {
        assert!(storage.read_at(&small, number * 1_000, 1_000).unwrap().len() == 1_000);
    }
    assert_eq!(proxy.requests() - before, 1);
}
