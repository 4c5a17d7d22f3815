//! A wire that fails: what is asked to stop stops, what is cut is noticed, what passes is waited for, and no longer.

use crate::servers::{Canned, Server, answer, error, new_place, options};
use bytes::Bytes;
use roboflow::error::{Class, Classified};
use roboflow::storage::s3::{ONE_REQUEST_BYTES, PART_BYTES, S3Options};
use roboflow::storage::{ObjectInfo, Places, SharedStorage, StorageError};
use roboflow::work::StopFlag;
use roboflow_proptests::http_proxy::{HttpFault, HttpProxy, Rule};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// How soon a wait must end once it was asked to: 50 ms are promised, the rest is for a busy machine.
const STOP_LIMIT: Duration = Duration::from_millis(200);

fn body(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|number| (number % 251) as u8).collect()
}

/// A server behind a proxy, and a place there.
fn place(options_of: impl FnOnce(S3Options) -> S3Options, stop: &StopFlag) -> (HttpProxy, SharedStorage) {
    let proxy = HttpProxy::start(Server::shared_moto().address, 1);
    let places = Places::new(options_of(options(&proxy.endpoint())));
    let storage = places.create(&crate::servers::new_location(), stop).unwrap();
    (proxy, storage)
}

/// Carries something out that never succeeds, sets the flag when `begun` says so, and gives how long that took to work.
fn stopped(
    stop: &StopFlag,
    proxy: &HttpProxy,
    work: impl FnOnce() -> Result<(), StorageError> + Send + 'static,
) -> (Duration, StorageError) {
    let before = proxy.requests();
    let (sender, receiver) = channel();
    let thread = thread::spawn(move || {
        let result = work();
        sender.send(Instant::now()).unwrap();
        result
    });
    let end = Instant::now() + Duration::from_secs(20);
    while proxy.requests() < before + 2 && Instant::now() < end && !thread.is_finished() {
        thread::sleep(Duration::from_millis(5));
    }
    let set = Instant::now();
    stop.set();
    let ended = receiver.recv_timeout(Duration::from_secs(20)).unwrap();
    (ended.saturating_duration_since(set), thread.join().unwrap().unwrap_err())
}

type Work = fn(&SharedStorage, &ObjectInfo) -> Result<(), StorageError>;

const WORKS: [(&str, Work); 7] = [
    ("head", |storage, object| storage.head(&object.key).map(drop)),
    ("read", |storage, object| storage.read(&object.key, 1 << 30).map(drop)),
    ("read_at", |storage, object| storage.read_at(object, 0, 1000).map(drop)),
    ("put", |storage, _| storage.put("new", b"1")),
    ("list", |storage, _| storage.list("").map(drop)),
    ("delete_all", |storage, _| storage.delete_all("").map(drop)),
    ("writer", |storage, _| {
        let mut writer = storage.writer("large")?;
        let written = writer.write_all(&body(3 * PART_BYTES));
        written.map_err(|error| error.downcast::<StorageError>().unwrap())?;
        writer.finish()
    }),
];

#[test]
fn whatever_waits_is_given_up_at_once_when_it_is_asked_to_stop() {
    for (fault, least) in
        [(HttpFault::Answer(503, "SlowDown"), 2), (HttpFault::Reset, 2), (HttpFault::Stall, 0)]
    {
        for (name, work) in WORKS {
            let stop = StopFlag::default();
            let (proxy, storage) = place(|options| options, &stop);
            storage.put("x", &body(100_000)).unwrap();
            let object = storage.head("x").unwrap();
            proxy.set([Rule::always(fault)]);
            // A stalled request is one, and never answered.
            if least == 0 {
                let stopper = stop.clone();
                let (begun, waiting) = (proxy.requests(), Arc::clone(&storage));
                let thread = thread::spawn(move || (work(&waiting, &object), Instant::now()));
                let end = Instant::now() + Duration::from_secs(20);
                while proxy.requests() == begun && Instant::now() < end {
                    thread::sleep(Duration::from_millis(2));
                }
                let set = Instant::now();
                stopper.set();
                let (result, ended) = thread.join().unwrap();
                let late = ended.saturating_duration_since(set);
                assert!(late < STOP_LIMIT, "{name}, {fault:?}: {late:?}");
                assert!(result.unwrap_err().to_string().contains("stopped as asked"));
                continue;
            }
            let waiting = Arc::clone(&storage);
            let (late, error) = stopped(&stop, &proxy, move || work(&waiting, &object));
            assert!(late < STOP_LIMIT, "{name}, {fault:?}: {late:?}");
            assert!(
                error.to_string().contains("stopped as asked") && error.class() == Class::Transient,
                "{error}"
            );
        }
    }
}

#[test]
fn opening_too_is_given_up_and_has_a_short_patience() {
    let proxy = HttpProxy::start(Server::shared_moto().address, 1);
    proxy.set([Rule::always(HttpFault::Answer(503, "SlowDown"))]);
    let stop = StopFlag::default();
    let places = Places::new(options(&proxy.endpoint()));
    let (opener, flag) = (places.clone(), stop.clone());
    let (late, _) = stopped(&stop, &proxy, move || opener.create("s3://bucket/x", &flag).map(drop));
    assert!(late < STOP_LIMIT, "{late:?}");

    let hasty = S3Options { opening_patience: Duration::from_millis(300), ..options(&proxy.endpoint()) };
    let error = Places::new(hasty).open("s3://bucket/x", &StopFlag::default()).unwrap_err();
    assert_eq!(error.class(), Class::Transient);
    let text = error.to_string();
    assert!(
        text.contains("503 SlowDown") && text.contains(&proxy.endpoint()) && text.contains("s3://bucket/x"),
        "{text}"
    );
}

#[test]
fn patience_ends_with_an_error_that_may_be_tried_again() {
    let (proxy, storage) =
        place(|options| S3Options { patience: Duration::from_millis(500), ..options }, &StopFlag::default());
    storage.put("x", b"1").unwrap();
    let object = storage.head("x").unwrap();
    for fault in [
        HttpFault::Answer(503, "SlowDown"),
        HttpFault::Answer(500, "InternalError"),
        HttpFault::Reset,
        HttpFault::LoseAnswer,
    ] {
        for (name, work) in WORKS {
            proxy.set([Rule::always(fault)]);
            let error = work(&storage, &object).unwrap_err();
            assert!(matches!(error, StorageError::Unavailable { .. }), "{name}, {fault:?}: {error}");
            assert!(error.to_string().contains(&proxy.endpoint()), "{name}, {fault:?}: {error}");
        }
    }
    proxy.set([]);
    assert_eq!(storage.read("x", 9).unwrap(), &b"1"[..]);
}

#[test]
fn bodies_that_are_cut_or_slow_are_asked_for_again() {
    let quick = |options| S3Options { try_timeout: Duration::from_millis(700), ..options };
    let (proxy, storage) = place(quick, &StopFlag::default());
    let whole = body(500_000);
    storage.put("x", &whole).unwrap();
    let object = storage.head("x").unwrap();
    let slow = HttpFault::SlowBody(100, Duration::from_millis(5));
    for fault in [HttpFault::CutBody, slow] {
        proxy.set([Rule::always(fault).times(2).method("GET")]);
        let before = proxy.faults();
        assert!(storage.read("x", 1 << 30).unwrap() == whole);
        assert_eq!(proxy.faults() - before, 2);
        proxy.set([Rule::always(fault).times(2).method("GET")]);
        assert!(storage.read_at(&object, 7, 400_000).unwrap() == whole[7..400_007]);
        proxy.set([Rule::always(HttpFault::CutBody).times(2).method("GET")]);
        assert_eq!(storage.list("").unwrap().count(), 1);
    }
}

/// Keep-alive, so that the end of a body is told by its length alone.
fn ranged(status: u16, range: &str, etag: &str, length: usize, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Canned\r\nETag: \"{etag}\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n{range}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[test]
fn an_answer_that_is_not_what_was_asked_for_never_passes_for_the_object() {
    let object = |version: &str| ObjectInfo {
        key: "x".into(),
        size: 1000,
        version: version.into(),
        modified_ms: None,
    };
    for (what, given, word) in [
        (
            "another version, by a server that ignores If-Match",
            ranged(206, "Content-Range: bytes 0-9/1000\r\n", "other", 10, "0123456789"),
            "has changed",
        ),
        (
            "another range",
            ranged(206, "Content-Range: bytes 5-14/1000\r\n", "v", 10, "0123456789"),
            "another range",
        ),
        ("no range", ranged(200, "", "v", 10, "0123456789"), "another range"),
        ("all of it", ranged(200, "", "v", 1000, &"x".repeat(1000)), "more than the range"),
        ("less", ranged(206, "Content-Range: bytes 0-4/1000\r\n", "v", 5, "01234"), "5 bytes"),
        ("a cut body", ranged(206, "Content-Range: bytes 0-9/1000\r\n", "v", 10, "01234"), "no whole answer"),
    ] {
        let is_cut = what == "a cut body";
        let server = Canned::start(Box::new(move |head, _| {
            if head.contains("list-type") {
                answer(200, "", "<ListBucketResult></ListBucketResult>")
            } else {
                given.clone()
            }
        }));
        let patience = Duration::from_millis(if is_cut { 300 } else { 20_000 });
        // Nothing is rounded up: the answers are for ten bytes.
        let places = Places::new(S3Options { read_ahead_bytes: 0, patience, ..options(&server.endpoint()) });
        let storage = places.open("s3://bucket", &StopFlag::default()).unwrap();
        let error = storage.read_at(&object("v"), 0, 10).unwrap_err();
        assert!(error.to_string().contains(word), "{what}: {error}");
        assert_eq!(error.class() == Class::Transient, is_cut || word == "has changed", "{what}: {error}");
    }
}

#[test]
fn headers_that_are_no_text_or_no_numbers_harm_nobody() {
    let server = Canned::start(Box::new(|head, _| {
        let strange = "Server: caf\u{e9}\r\nx-amz-missing-meta: many\r\nx-amz-delete-marker: perhaps\r\nx-amz-meta-a: \u{fc}\r\n";
        if head.contains("list-type") {
            answer(200, strange, "<ListBucketResult></ListBucketResult>")
        } else {
            answer(200, &format!("{strange}ETag: \"v\"\r\n"), "0123456789")
        }
    }));
    let storage = Places::new(options(&server.endpoint())).open("s3://bucket", &StopFlag::default()).unwrap();
    assert_eq!(storage.read("x", 100).unwrap(), Bytes::from_static(b"0123456789"));
}

#[test]
fn what_was_carried_out_though_its_answer_was_lost_is_found_done() {
    let (proxy, storage) = place(|options| options, &StopFlag::default());
    let whole = body(ONE_REQUEST_BYTES + 12_345);
    // Completing succeeds at the server; the answer is lost, and asking again finds no upload.
    proxy.set([Rule::always(HttpFault::LoseAnswer).method("POST").path("uploadId=").times(1)]);
    let mut writer = storage.writer("x").unwrap();
    writer.write_all(&whole).unwrap();
    writer.finish().unwrap();
    assert_eq!(proxy.faults(), 1);
    assert!(storage.read("x", 1 << 30).unwrap() == whole);

    // An upload that somebody took away is no success, though an object of another content stands there. moto answers 500.
    let hasty = S3Options { patience: Duration::from_secs(1), ..options(&Server::shared_moto().endpoint()) };
    let hasty = Places::new(hasty).create(&storage.location(), &StopFlag::default()).unwrap();
    let mut writer = hasty.writer("x").unwrap();
    writer.write_all(&body(ONE_REQUEST_BYTES + 1)).unwrap();
    assert_eq!(storage.sweep_all("").unwrap(), 1);
    writer.finish().unwrap_err();
    assert!(storage.read("x", 1 << 30).unwrap() == whole);
}

#[test]
fn an_upload_that_is_gone_when_it_is_completed_is_judged_by_what_stands_there() {
    for (there, word) in [
        (Some(ONE_REQUEST_BYTES + 1), None),
        (Some(ONE_REQUEST_BYTES), Some("upload is gone")),
        (None, Some("upload is gone")),
    ] {
        let server = Canned::start(Box::new(move |head, _| {
            let line = head.lines().next().unwrap_or_default();
            match line.split(' ').next().unwrap_or_default() {
                "POST" if line.contains("uploads") => {
                    answer(200, "", "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
                }
                "POST" => error(404, "", "NoSuchUpload", ""),
                "PUT" => answer(200, "ETag: \"opaque\"\r\n", ""),
                "HEAD" => there.map_or_else(
                    || answer(404, "", ""),
                    |size| format!("HTTP/1.1 200 Canned\r\nETag: \"opaque\"\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"),
                ),
                _ => answer(204, "", ""),
            }
        }));
        let storage =
            Places::new(options(&server.endpoint())).create("s3://bucket/x", &StopFlag::default()).unwrap();
        let mut writer = storage.writer("k").unwrap();
        writer.write_all(&body(ONE_REQUEST_BYTES + 1)).unwrap();
        let told = writer.finish().err().map(|error| error.to_string());
        assert!(
            told.as_deref()
                .map(|text| word.is_some_and(|word| text.contains(word)))
                .unwrap_or(word.is_none()),
            "{told:?}"
        );
    }
}

#[test]
fn a_part_damaged_on_its_way_or_stored_as_another_is_no_success() {
    // A server that answers with the checksum of something else.
    let server = Canned::start(Box::new(|head, _| match head.split(' ').next().unwrap_or_default() {
        "POST" if head.contains("uploads") => answer(
            200,
            "",
            "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
        ),
        "DELETE" => answer(204, "", ""),
        _ => answer(200, "ETag: \"00000000000000000000000000000000\"\r\n", ""),
    }));
    let storage =
        Places::new(options(&server.endpoint())).create("s3://bucket/x", &StopFlag::default()).unwrap();
    let error = storage.put("k", b"body").unwrap_err();
    assert!(error.to_string().contains("checksum") && error.class() == Class::Transient, "{error}");
}

#[test]
fn a_listing_out_of_order_or_without_end_is_refused() {
    let page = |keys: &[&str], token: &str| {
        let keys = keys
            .iter()
            .map(|key| format!("<Contents><Key>{key}</Key><Size>1</Size><ETag>\"v\"</ETag></Contents>"));
        let keys: String = keys.collect();
        answer(
            200,
            "",
            &format!("<ListBucketResult>{keys}<IsTruncated>true</IsTruncated>{token}</ListBucketResult>"),
        )
    };
    for (keys, word) in [(&["b", "a"][..], "order"), (&["a", "b"], "order"), (&[], "empty page")] {
        let given = page(keys, "");
        let server = Canned::start(Box::new(move |_, _| given.clone()));
        let storage =
            Places::new(options(&server.endpoint())).open("s3://bucket", &StopFlag::default()).unwrap();
        let error = match storage.list("") {
            Err(error) => error,
            Ok(listing) => listing.take(10).find_map(Result::err).unwrap(),
        };
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn a_long_listing_is_fetched_as_it_is_read() {
    let proxy = HttpProxy::start(Server::shared_moto().address, 1);
    let places = Places::new(options(&proxy.endpoint()));
    let storage = new_place(&places);
    for number in 0..2_100 {
        storage.put(&format!("{number:05}"), b"").unwrap();
    }
    let before = proxy.requests();
    let mut listing = storage.list("").unwrap();
    assert_eq!(listing.by_ref().take(1_000).filter(Result::is_ok).count(), 1_000);
    assert_eq!(proxy.requests() - before, 1, "one page");
    assert_eq!(listing.filter(|found| found.is_ok()).count(), 1_100);
    assert_eq!(proxy.requests() - before, 3);
    let before = proxy.requests();
    assert_eq!(storage.delete_all("").unwrap(), 2_100);
    assert!(proxy.requests() - before <= 8, "{} requests", proxy.requests() - before);
}

#[test]
fn removing_many_is_tried_again_where_some_are_refused_for_now() {
    let answers = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&answers);
    let server = Canned::start(Box::new(move |head, _| {
        let entry = |code: &str| {
            format!(
                "<DeleteResult><Error><Key>a</Key><Code>{code}</Code><Message>m</Message></Error></DeleteResult>"
            )
        };
        if !head.starts_with("POST") {
            return answer(
                200,
                "",
                "<ListBucketResult><Contents><Key>a</Key><Size>1</Size><ETag>\"v\"</ETag></Contents></ListBucketResult>",
            );
        }
        match counter.fetch_add(1, Ordering::AcqRel) {
            0 => answer(200, "", &entry("SlowDown")),
            1 => answer(200, "", &entry("InternalError")),
            2 => answer(200, "", "<DeleteResult></DeleteResult>"),
            _ => answer(200, "", &entry("AccessDenied")),
        }
    }));
    let storage = Places::new(options(&server.endpoint())).open("s3://bucket", &StopFlag::default()).unwrap();
    assert_eq!(storage.delete_all("").unwrap(), 1);
    assert_eq!(answers.load(Ordering::Acquire), 3);
    let error = storage.delete_all("").unwrap_err();
    assert!(error.to_string().contains("s3:DeleteObject") && error.class() == Class::Permanent, "{error}");
}
