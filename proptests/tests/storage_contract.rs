//! The storage contract on a folder and in memory, and what a killed writer leaves behind.

use roboflow::storage::fs::FsStorage;
use roboflow::storage::memory::{Fault, FaultKind, MemoryStorage};
use roboflow::storage::{SharedStorage, Storage};
use roboflow_proptests::storage_contract::check_all;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

#[test]
fn a_folder_keeps_the_contract() {
    let mut folders = Vec::new();
    check_all(|| {
        let folder = tempfile::tempdir().unwrap();
        let storage: SharedStorage = Arc::new(FsStorage::create(folder.path()).unwrap());
        folders.push(folder);
        storage
    });
}

#[test]
fn memory_keeps_the_contract() {
    check_all(|| Arc::new(MemoryStorage::new()));
}

#[test]
fn injected_failures_come_as_ordered() {
    let storage = MemoryStorage::new();
    let fault = Fault {
        action: "writing",
        key_contains: "b".into(),
        after: 1,
        times: 1,
        kind: FaultKind::Unavailable,
    };
    storage.inject(fault);
    storage.put("a", b"1").unwrap();
    storage.put("b", b"1").unwrap();
    assert!(storage.put("b", b"2").is_err());
    assert_eq!(storage.read("b", 9).unwrap(), &b"1"[..]);
    storage.put("b", b"3").unwrap();
    storage.delete("a").unwrap();
    assert_eq!(storage.journal(), ["+a", "+b", "+b", "-a"]);
}

const FOLDER: &str = "ROBOFLOW_TEST_FOLDER";

/// Not a test of its own: the process that the next test kills while it writes.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let storage = FsStorage::create(folder.as_ref()).unwrap();
    storage.put("e000/whole", b"1").unwrap();
    let mut writer = storage.writer("e000/cut").unwrap();
    writer.write_all(&[1; 1 << 20]).unwrap();
    writer.flush().unwrap();
    println!("\nwriting");
    std::io::stdout().flush().unwrap();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

#[test]
fn pitfall_28_what_a_killed_writer_leaves_is_swept_once_it_is_dead() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap() == "writing"), "the child wrote");
    let files = || std::fs::read_dir(folder.path().join("e000")).unwrap().count();
    let storage = FsStorage::open(folder.path()).unwrap();

    assert_eq!((storage.sweep("").unwrap(), files()), (0, 2), "it is alive");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(storage.head("e000/cut").is_err());
    assert_eq!(storage.list("").unwrap().count(), 1);
    assert_eq!(storage.sweep("other/").unwrap(), 0);
    assert_eq!((storage.sweep("").unwrap(), files()), (1, 1));
    assert_eq!(storage.read("e000/whole", 9).unwrap(), &b"1"[..]);
}
