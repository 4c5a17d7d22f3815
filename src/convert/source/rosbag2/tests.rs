//! A folder is one recording: its files are looked at together, and what is wrong with them is said by name.

use super::*;
use crate::storage::memory::MemoryStorage;

const METADATA: &str = "\
rosbag2_bagfile_information:
  version: 9
  storage_identifier: mcap
  relative_file_paths: [run_0.mcap, run_1.mcap]
";

fn storage() -> MemoryStorage {
    let storage = MemoryStorage::new();
    storage.put("day/run/metadata.yaml", METADATA.as_bytes()).unwrap();
    storage.put("day/run/run_0.mcap", b"0123").unwrap();
    storage.put("day/run/run_1.mcap", b"01").unwrap();
    storage
}

#[test]
fn keys_of_folders_are_told_from_others() {
    assert_eq!(folder_of("a/b/metadata.yaml"), Some("a/b"));
    assert_eq!(folder_of("metadata.yaml"), Some(""));
    for other in ["a/metadata.yml", "ametadata.yaml", "a/b.mcap", ""] {
        assert_eq!(folder_of(other), None, "{other}");
    }
    assert_eq!((name_of("a/b/metadata.yaml"), name_of("a/b.mcap")), ("a/b", "a/b.mcap"));
    assert_eq!(name_of("metadata.yaml"), "metadata.yaml");
}

#[test]
fn a_folder_is_its_files_together_and_changes_with_each_of_them() {
    let storage = storage();
    let key = "day/run/metadata.yaml";
    let before = look(&storage, key).unwrap();
    assert_eq!((before.key.as_str(), before.size), (key, 6));
    assert_eq!(look(&storage, key).unwrap(), before);
    let inside = MemoryStorage::new();
    for file in ["metadata.yaml", "run_0.mcap", "run_1.mcap"] {
        inside.put(file, &storage.read(&format!("day/run/{file}"), 1000).unwrap()).unwrap();
    }
    assert_eq!(look(&inside, "metadata.yaml").unwrap().version, before.version, "the same from inside");
    for file in ["run_0.mcap", "run_1.mcap", "metadata.yaml"] {
        let storage = storage.clone();
        let path = format!("day/run/{file}");
        let body = storage.read(&path, 1000).unwrap();
        let before = look(&storage, key).unwrap();
        storage.put(&path, &body).unwrap();
        assert_ne!(look(&storage, key).unwrap().version, before.version, "{file}");
    }
}

#[test]
fn files_that_are_missing_or_empty_are_named() {
    let storage = storage();
    storage.put("day/run/run_1.mcap", b"").unwrap();
    let error = look(&storage, "day/run/metadata.yaml").unwrap_err().to_string();
    assert!(error.contains("day/run/run_1.mcap") && error.contains("empty"), "{error}");
    storage.delete("day/run/run_1.mcap").unwrap();
    let error = look(&storage, "day/run/metadata.yaml").unwrap_err().to_string();
    assert!(error.contains("day/run/run_1.mcap") && error.contains("not there"), "{error}");
    storage.put("day/run/metadata.yaml", b"kind: Pod").unwrap();
    assert!(Folder::look(&storage, "day/run/metadata.yaml").unwrap().is_none());
    let error = look(&storage, "day/run/metadata.yaml").unwrap_err().to_string();
    assert!(error.contains("no rosbag2_bagfile_information"), "{error}");
}
