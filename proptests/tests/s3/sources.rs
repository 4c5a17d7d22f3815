//! The contract of sources over object storage, and folders of ROS 2 as a bucket lists them.

use crate::servers::{Server, new_place, options};
use roboflow::convert::StopFlag;
use roboflow::convert::source::Recording;
use roboflow::recordings;
use roboflow::storage::{Places, SharedStorage};
use roboflow_proptests::source_contract::{check_all, put};
use roboflow_proptests::sources::{FORMATS, content};

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
