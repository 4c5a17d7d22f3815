//! What is particular to a folder as a storage; what every storage keeps is in the contract.

use super::*;
use crate::error::{Class, Classified};
use crate::storage::ABANDONED_AFTER;

fn errno(code: Errno) -> io::Error {
    io::Error::from_raw_os_error(code.raw_os_error())
}

fn folder() -> (tempfile::TempDir, FsStorage) {
    let folder = tempfile::tempdir().unwrap();
    let storage = FsStorage::create(folder.path()).unwrap();
    (folder, storage)
}

#[test]
fn pitfall_29_errors_say_what_to_do_and_whether_to_retry() {
    let (_folder, storage) = folder();
    for (code, class, word) in [
        (Errno::ACCESS, Class::Permanent, "owner"),
        (Errno::ROFS, Class::Permanent, "read-only"),
        (Errno::NOSPC, Class::Transient, "free space"),
        (Errno::DQUOT, Class::Transient, "free space"),
        (Errno::NAMETOOLONG, Class::Permanent, "too long"),
        (Errno::IO, Class::Transient, "error"),
        (Errno::MFILE, Class::Transient, "open files"),
    ] {
        let error = storage.error("writing", "a/b", &errno(code));
        assert_eq!(error.class(), class, "{error}");
        let message = error.to_string();
        assert!(
            message.contains(word) && message.contains("a/b") && message.contains(&storage.shown),
            "{message}"
        );
    }
}

#[test]
fn pitfall_29_a_place_that_cannot_be_used_is_refused_at_once() {
    let (folder, _storage) = folder();
    let missing = folder.path().join("missing");
    assert!(FsStorage::open(&missing).unwrap_err().to_string().contains("does not exist"));
    assert!(!missing.exists());
    let file = folder.path().join("file");
    fs::write(&file, b"x").unwrap();
    assert!(FsStorage::open(&file).unwrap_err().to_string().contains("is a file"));
    assert!(FsStorage::create(&file).unwrap_err().class() == Class::Permanent);
    assert!(FsStorage::create(&file.join("below")).unwrap_err().class() == Class::Permanent);
    // A folder that nobody may write to, root included.
    assert!(FsStorage::create(Path::new("/proc/roboflow-out")).is_err());
}

#[test]
fn pitfall_28_a_dropped_writer_leaves_nothing_and_the_old_object_stays() {
    let (folder, storage) = folder();
    storage.put("a/x", b"old").unwrap();
    let mut writer = storage.writer("a/x").unwrap();
    writer.write_all(&[7; 1 << 20]).unwrap();
    assert_eq!(storage.sweep("").unwrap(), 0, "a writer that lives is left alone");
    drop(writer);
    assert_eq!(storage.read("a/x", 10).unwrap().as_ref(), b"old");
    assert_eq!(fs::read_dir(folder.path().join("a")).unwrap().count(), 1);
}

#[test]
fn nothing_is_written_through_a_link_that_leads_out() {
    let (_elsewhere_guard, elsewhere) = folder();
    let (root, storage) = folder();
    elsewhere.put("kept", b"x").unwrap();
    std::os::unix::fs::symlink(elsewhere.root(), root.path().join("link")).unwrap();
    assert_eq!(storage.put("link/new", b"x").unwrap_err().class(), Class::Permanent);
    assert_eq!(storage.delete("link/kept").unwrap_err().class(), Class::Permanent);
    assert!(elsewhere.head("new").is_err() && elsewhere.head("kept").is_ok());
    assert_eq!(storage.list("").unwrap().count(), 0);
    assert_eq!(storage.list("link/").unwrap().count(), 0);
}

#[test]
fn pitfall_28_a_sweep_does_not_follow_links() {
    let (_elsewhere_guard, elsewhere) = folder();
    let (root, storage) = folder();
    let name = ".x.000000000000-1-1-1.partial";
    let old = std::time::SystemTime::now() - ABANDONED_AFTER - std::time::Duration::from_secs(60);
    for folder in [elsewhere.root(), storage.root()] {
        fs::write(folder.join(name), b"x").unwrap();
        File::options().write(true).open(folder.join(name)).unwrap().set_modified(old).unwrap();
    }
    std::os::unix::fs::symlink(elsewhere.root(), root.path().join("link")).unwrap();
    assert_eq!(storage.sweep("").unwrap() + storage.sweep("link/").unwrap(), 1);
    assert!(elsewhere.root().join(name).exists());
}

#[test]
fn a_replaced_file_is_opened_anew() {
    let (_folder, storage) = folder();
    storage.put("x", b"first").unwrap();
    let first = storage.head("x").unwrap();
    assert_eq!(storage.read_at(&first, 0, 9).unwrap().as_ref(), b"first");
    let other = FsStorage::open(storage.root()).unwrap();
    other.put("x", b"second").unwrap();
    assert!(matches!(storage.read_at(&first, 0, 9), Err(StorageError::Changed { .. })));
    assert_eq!(storage.read_at(&storage.head("x").unwrap(), 0, 9).unwrap().as_ref(), b"second");
    for number in 0..3 * OPEN_FILES {
        let key = format!("y{number}");
        storage.put(&key, b"1").unwrap();
        storage.read_at(&storage.head(&key).unwrap(), 0, 1).unwrap();
    }
    assert_eq!(storage.open.lock().unwrap().len(), OPEN_FILES);
}

#[test]
fn a_pipe_is_no_object_and_does_not_block() {
    let (folder, storage) = folder();
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap();
    assert!(made.success());
    assert!(matches!(storage.read("pipe", 10), Err(StorageError::NotFound { .. })));
    assert_eq!(storage.list("").unwrap().count(), 0);
}
