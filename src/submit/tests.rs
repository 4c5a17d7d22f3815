//! Whose an output is.

use super::*;
use std::fs;
use tempfile::TempDir;

const STOP: fn() -> StopFlag = StopFlag::default;

fn terms() -> Terms {
    Terms { mapping: "fps = 30\n".to_owned(), segment_frames: 100, skip_failed: false }
}

fn look(folder: &TempDir, name: &str) -> Result<Output, OutputError> {
    Output::look(folder.path().join(name).display().to_string(), false, &Places::default(), &STOP())
}

fn claim(output: &Output, terms: &Terms) -> Result<(), OutputError> {
    output.claim(terms, "/in", &Places::default(), &STOP())
}

#[test]
fn an_output_is_claimed_once_and_found_again_with_what_it_was_begun_with() {
    let folder = tempfile::tempdir().unwrap();
    let new = look(&folder, "set").unwrap();
    assert!(new.before().is_none() && !folder.path().join("set").exists(), "looking makes nothing");
    claim(&new, &terms()).unwrap();
    let again = look(&folder, "set").unwrap();
    let before = again.before().unwrap();
    assert_eq!((before.input.as_str(), before.segment_frames), ("/in", 100));
    assert_eq!(before.mapping, terms().mapping);
    claim(&again, &terms()).unwrap();
    claim(&again, &Terms { skip_failed: true, ..terms() }).unwrap();
}

#[test]
fn what_is_added_to_must_be_there_and_batches_of_other_recordings_are_others() {
    let folder = tempfile::tempdir().unwrap();
    let append = |name: &str| {
        let location = folder.path().join(name).display().to_string();
        Output::look(location, true, &Places::default(), &STOP())
    };
    let none = append("set").unwrap_err().to_string();
    assert!(none.contains("leave out --append"), "{none}");
    fs::create_dir_all(folder.path().join("set/meta/roboflow")).unwrap();
    assert!(matches!(append("set"), Err(OutputError::Nothing { .. })), "an empty folder is no dataset");
    fs::write(folder.path().join("set/meta/info.json"), b"{}").unwrap();
    fs::write(folder.path().join("set/meta/roboflow/mapping.toml"), b"fps = 9\n").unwrap();
    let output = append("set").unwrap();
    assert_eq!((output.mapping(), output.first_batch()), (Some("fps = 9\n"), None));
    claim(&output, &terms()).unwrap();
    assert!(!folder.path().join("set/.roboflow").exists(), "what is added to stays whose it is");
    let object = |key: &str| ObjectInfo { key: key.into(), size: 1, version: "1".into(), modified_ms: None };
    let batch = |keys: &[&str]| {
        let jobs: Vec<NewJob> = keys.iter().map(|key| job("/in", &object(key), 0)).collect();
        output.batch(&terms(), &jobs)
    };
    assert_eq!(batch(&["a", "b"]), batch(&["b", "a"]));
    assert_ne!(batch(&["a", "b"]).id, batch(&["a"]).id);
    assert_ne!(batch(&["a", "b"]).staging, batch(&["a"]).staging);

    claim(&look(&folder, "made").unwrap(), &terms()).unwrap();
    let making = append("made").unwrap();
    assert_eq!(making.first_batch(), Some(look(&folder, "made").unwrap().batch(&terms(), &[]).id));
}

#[test]
fn other_terms_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    claim(&look(&folder, "set").unwrap(), &terms()).unwrap();
    let again = look(&folder, "set").unwrap();
    let other = claim(&again, &Terms { mapping: "fps = 10\n".to_owned(), ..terms() }).unwrap_err();
    assert!(other.to_string().contains("mapping has changed"), "{other}");
    let other = claim(&again, &Terms { segment_frames: 50, ..terms() }).unwrap_err();
    assert!(other.to_string().contains("--segment-frames was 100, now 50"), "{other}");
}

#[test]
fn what_is_not_of_this_batch_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for (name, file, says) in [
        ("dataset", "meta/info.json", "give --append to add to it"),
        ("thesis", "thesis.tex", "thesis.tex"),
        ("run", ".roboflow/run.json", "roboflow run"),
    ] {
        let path = folder.path().join(name).join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"{}").unwrap();
        let refused = look(&folder, name).unwrap_err().to_string();
        assert!(refused.contains(says) && refused.contains("choose another --out"), "{refused}");
    }
    let path = folder.path().join("killed/.roboflow/mapping.toml");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, b"fps = 1").unwrap();
    let killed = look(&folder, "killed").unwrap();
    assert!(killed.before().is_none(), "a submission that was killed before its note stood");
    fs::write(folder.path().join("killed/.roboflow/batch.json"), b"{}").unwrap();
    assert!(matches!(look(&folder, "killed"), Err(OutputError::Damaged { .. })));
}
