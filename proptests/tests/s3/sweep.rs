//! What unfinished uploads leave behind, and who may take it away.

use crate::servers::{Canned, Server, answer, new_location, options};
use roboflow::storage::Places;
use roboflow::storage::s3::PART_BYTES;
use roboflow::work::StopFlag;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ENDPOINT: &str = "ROBOFLOW_TEST_ENDPOINT";
const LOCATION: &str = "ROBOFLOW_TEST_LOCATION";

/// Not a test of its own: the process that the next test kills while it writes.
#[test]
fn child_that_uploads_until_it_is_killed() {
    let (Ok(endpoint), Ok(location)) = (std::env::var(ENDPOINT), std::env::var(LOCATION)) else { return };
    let storage = Places::new(options(&endpoint)).create(&location, &StopFlag::default()).unwrap();
    let mut writer = storage.writer("e000/cut").unwrap();
    // The third part waits until the first is at the server.
    writer.write_all(&vec![1; 3 * PART_BYTES + 1]).unwrap();
    println!("\nwriting");
    std::io::stdout().flush().unwrap();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

#[test]
fn pitfall_28_what_a_killed_upload_leaves_is_swept_by_the_callers_promise() {
    let server = Server::shared_moto();
    let location = new_location();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sweep::child_that_uploads_until_it_is_killed", "--nocapture"])
        .env(ENDPOINT, server.endpoint())
        .env(LOCATION, &location)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap() == "writing"), "the child writes");
    let places = Places::new(options(&server.endpoint()));
    let storage = places.create(&location, &StopFlag::default()).unwrap();
    assert_eq!(storage.sweep("").unwrap(), 0, "it may be alive");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(storage.sweep("").unwrap(), 0, "nobody knows");

    // Writers of this process go on, whoever opened the place.
    let mut mine = places.create(&location, &StopFlag::default()).unwrap().writer("e000/mine").unwrap();
    mine.write_all(&vec![2; 2 * PART_BYTES]).unwrap();
    assert_eq!(storage.sweep_all("e001/").unwrap(), 0, "another prefix");
    assert_eq!(storage.sweep_all("e000/").unwrap(), 1);
    assert_eq!(storage.sweep_all("").unwrap(), 0);
    mine.finish().unwrap();
    let keys: Vec<String> = storage.list("").unwrap().map(|object| object.unwrap().key).collect();
    assert_eq!(keys, ["e000/mine"]);
    assert_eq!(storage.delete_all("").unwrap(), 1);
}

#[test]
fn pitfall_28_a_dropped_upload_leaves_nothing() {
    let server = Server::shared_moto();
    let stop = StopFlag::default();
    let storage = Places::new(options(&server.endpoint())).create(&new_location(), &stop).unwrap();
    let other =
        Places::new(options(&server.endpoint())).open(&storage.location(), &StopFlag::default()).unwrap();
    let mut writer = storage.writer("x").unwrap();
    writer.write_all(&vec![1; 2 * PART_BYTES + 1]).unwrap();
    drop(writer);
    assert_eq!(other.sweep_all("").unwrap(), 0, "it was given up");
    assert_eq!(other.list("").unwrap().count(), 0);
    // Asked to stop it is still given up, in the background.
    let mut writer = storage.writer("x").unwrap();
    writer.write_all(&vec![1; 2 * PART_BYTES + 1]).unwrap();
    stop.set();
    let begun = Instant::now();
    drop(writer);
    assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[test]
fn trying_a_place_leaves_nothing() {
    let server = Server::shared_moto();
    let (places, location) = (Places::new(options(&server.endpoint())), new_location());
    for _ in 0..3 {
        let storage = places.create(&location, &StopFlag::default()).unwrap();
        let other = Places::new(options(&server.endpoint())).open(&location, &StopFlag::default()).unwrap();
        assert_eq!(storage.list("").unwrap().count(), 0);
        assert_eq!(other.sweep_all("").unwrap(), 0);
    }
}

/// Uploads begun long ago: one with old parts, one with a young part, one without parts; and a young one.
#[test]
fn pitfall_28_by_age_goes_only_what_lies_still() {
    let server = Canned::start(Box::new(|head, _| {
        let now = "Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n";
        let part = |time: &str| {
            format!(
                "<ListPartsResult><Part><PartNumber>1</PartNumber><LastModified>{time}</LastModified></Part></ListPartsResult>"
            )
        };
        let upload = |id: &str, time: &str| {
            format!(
                "<Upload><Key>x/{id}</Key><UploadId>{id}</UploadId><Initiated>{time}</Initiated></Upload>"
            )
        };
        let line = head.lines().next().unwrap_or_default();
        if line.starts_with("DELETE") {
            answer(204, "", "")
        } else if line.contains("uploadId=still") {
            answer(200, now, &part("2026-11-19T12:00:00.000Z"))
        } else if line.contains("uploadId=busy") {
            answer(200, now, &part("2026-11-21T11:00:00.000Z"))
        } else if line.contains("uploadId=") {
            answer(200, now, "<ListPartsResult></ListPartsResult>")
        } else if line.contains("uploads") {
            let old = "2026-11-10T20:48:33.000Z";
            let all = [
                upload("still", old),
                upload("busy", old),
                upload("empty", old),
                upload("young", "2026-11-21T11:59:00Z"),
            ];
            answer(
                200,
                now,
                &format!("<ListMultipartUploadsResult>{}</ListMultipartUploadsResult>", all.concat()),
            )
        } else {
            answer(200, now, "<ListBucketResult></ListBucketResult>")
        }
    }));
    let storage =
        Places::new(options(&server.endpoint())).open("s3://bucket/x", &StopFlag::default()).unwrap();
    assert_eq!(storage.sweep("").unwrap(), 2);
    let aborted = || server.asked().into_iter().filter(|line| line.starts_with("DELETE")).collect::<Vec<_>>();
    let named = |id: &str| aborted().iter().filter(|line| line.contains(&format!("uploadId={id}"))).count();
    assert_eq!((named("still"), named("empty"), aborted().len()), (1, 1, 2));
    assert_eq!(storage.sweep_all("").unwrap(), 4);
}
