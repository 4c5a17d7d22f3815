//! The contract of sources over object storage, and folders of ROS 2 as a bucket lists them.

use crate::servers::{Server, new_location, new_place, options};
use roboflow::convert::crew::Crew;
use roboflow::convert::mapping::Mapping;
use roboflow::convert::recording::RecordingWork;
use roboflow::convert::source::Recording;
use roboflow::convert::{StopFlag, Work};
use roboflow::recordings;
use roboflow::storage::memory::MemoryStorage;
use roboflow::storage::{Places, SharedStorage};
use roboflow_proptests::http_proxy::HttpProxy;
use roboflow_proptests::recording::Robot;
use roboflow_proptests::source_contract::{check_all, put};
use roboflow_proptests::sources::{FORMATS, content};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Takes the pictures of so many of a robot's cameras.
pub(crate) fn of_cameras(cameras: usize) -> Mapping {
    let mut text = "fps = 30\n[task]\ntext = \"t\"\n".to_owned();
    for camera in 0..cameras {
        text += &format!(
            "[[feature]]\nname = \"observation.images.c{camera}\"\nkind = \"image\"\n\
             source = [{{ topic = \"/camera_{camera}/image/compressed\" }}]\n"
        );
    }
    Mapping::parse("m.toml", &text).unwrap()
}

/// Planning reads the indexes between the chunks and leaves the chunks alone: converting reads them once.
#[test]
fn what_is_converted_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.mcap");
    Robot { seconds: 12.0, cameras: 2, picture_bytes: 40_000, chunk_bytes: 512 << 10, ..Robot::default() }
        .write(&path);
    let body = std::fs::read(&path).unwrap();
    let proxy = HttpProxy::start(Server::shared_moto().address, 1);
    let input =
        Places::new(options(&proxy.endpoint())).create(&new_location(), &StopFlag::default()).unwrap();
    input.put("r.mcap", &body).unwrap();
    let mapping = of_cameras(2);
    let (crew, stop) = (Crew::new(NonZeroUsize::MIN).unwrap(), StopFlag::default());
    let staging: SharedStorage = Arc::new(MemoryStorage::new());
    let before = proxy.answered_bytes();
    let mut work =
        RecordingWork::open(input, "r.mcap", "r", staging, "j/", &mapping, 100, &crew, &stop).unwrap();
    let planned = proxy.answered_bytes() - before;
    for segment in 0..work.segments() {
        work.run(segment, &stop).unwrap();
    }
    let all = proxy.answered_bytes() - before;
    println!("{} bytes: {planned} read to plan, {all} in all", body.len());
    // The first and the last MiB are read for the digest, the first chunks for the pictures' size.
    assert!(body.len() > 12 << 20 && planned < 6 << 20, "{planned}");
    assert!(all < body.len() as u64 + (6 << 20), "{all} of {}", body.len());
}

#[test]
fn every_format_gives_the_same_stream_from_a_bucket() {
    let places = Places::new(options(&Server::shared_moto().endpoint()));
    check_all(5, 120, || new_place(&places));
}

#[test]
fn folders_in_a_bucket_are_one_recording_each() {
    let places = Places::new(options(&Server::shared_moto().endpoint()));
    let storage: SharedStorage = new_place(&places);
    let samples = content(6, 60);
    let single = FORMATS.iter().find(|format| format.key == "r.db3").unwrap();
    put(&storage, &(single.write)(&samples));
    let place = storage.location();
    let found = |inputs: &[String]| recordings::find(inputs, None, &places, &StopFlag::default()).unwrap();
    let keys =
        |inputs: &[String]| found(inputs).objects.into_iter().map(|object| object.key).collect::<Vec<_>>();
    assert_eq!(keys(std::slice::from_ref(&place)), ["r.db3"]);
    let folder = FORMATS.iter().find(|format| format.key.ends_with(".yaml")).unwrap();
    put(&storage, &(folder.write)(&samples));
    assert_eq!(keys(std::slice::from_ref(&place)), ["r.db3", "run/metadata.yaml"]);
    for input in [format!("{place}/run"), format!("{place}/run/"), format!("{place}/run/metadata.yaml")] {
        let found = found(&[input]);
        assert_eq!(found.location, place);
        let object = &found.objects[0];
        assert_eq!((found.objects.len(), object.key.as_str()), (1, "run/metadata.yaml"));
        let recording = Recording::open(found.storage.clone(), &object.key, &StopFlag::default()).unwrap();
        assert_eq!((recording.name(), recording.size_bytes()), ("run", object.size));
    }
}
