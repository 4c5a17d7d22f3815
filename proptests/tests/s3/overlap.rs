//! A segment's upload goes on beside the work on those behind it.

use crate::servers::{Server, new_place, options};
use crate::sources::of_cameras;
use roboflow::convert::crew::Crew;
use roboflow::convert::recording::RecordingWork;
use roboflow::convert::{StopFlag, Work};
use roboflow::storage::fs::FsStorage;
use roboflow::storage::{Places, SharedStorage};
use roboflow_proptests::dying_storage::DyingStorage;
use roboflow_proptests::http_proxy::{HttpFault, HttpProxy, Rule};
use roboflow_proptests::recording::Robot;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// More than any of the waits takes.
const LIMIT: Duration = Duration::from_secs(60);

fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_next_segments_are_read_while_one_is_uploaded() {
    let folder = tempfile::tempdir().unwrap();
    Robot { seconds: 10.0, cameras: 1, chunk_bytes: 8 << 10, ..Robot::default() }
        .write(&folder.path().join("r.mcap"));
    let mapping = of_cameras(1);
    let crew = Crew::new(NonZeroUsize::MIN).unwrap();
    let open = |input: &DyingStorage, staging: SharedStorage| {
        let input: SharedStorage = Arc::new(input.clone());
        let stop = StopFlag::default();
        RecordingWork::open(input, "r.mcap", "r", staging, "j/", &mapping, 20, &crew, &stop).unwrap()
    };
    let counted = || DyingStorage::new(Arc::new(FsStorage::open(folder.path()).unwrap()), u64::MAX);
    let proxy = HttpProxy::start(Server::shared_moto().address, 1);
    let places = Places::new(options(&proxy.endpoint()));

    // What reading all of it takes.
    let input = counted();
    let mut work = open(&input, new_place(&places));
    for segment in 0..work.segments() {
        work.run(segment, &StopFlag::default()).unwrap();
    }
    let all_read = input.left();

    let input = counted();
    let mut work = open(&input, new_place(&places));
    assert!(work.segments() > 10 && input.left() > all_read);
    let before = proxy.faults();
    proxy.set([Rule::always(HttpFault::Stall).method("PUT")]);
    thread::scope(|scope| {
        let first = scope.spawn(|| work.run(0, &StopFlag::default()));
        until("the first segment is not uploaded", || proxy.faults() > before);
        until("nothing is read while a segment is uploaded", || input.left() == all_read);
        assert!(!first.is_finished(), "a segment counts as written before it is");
        proxy.set([]);
        first.join().unwrap().unwrap();
    });
}
