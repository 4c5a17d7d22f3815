//! The store contract on SQLite and in memory; what a file refuses, shares and survives; what injected faults do.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test at once")]

use roboflow::store::memory::{Call, Fault, MemoryStore};
use roboflow::store::{Durability, SharedStore, SqliteStore, Store, StoreError, StoreTime};
use roboflow_proptests::store_contract::{check_all, count, increment};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::Duration;

fn sqlite(path: &Path) -> SharedStore {
    Arc::new(SqliteStore::open(path, Durability::Normal).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let mut number = 0;
    check_all(|| {
        number += 1;
        sqlite(&folder.path().join(format!("{number}.db")))
    })
    .await;
}

#[tokio::test]
async fn sqlite_with_full_durability_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let mut number = 0;
    check_all(|| {
        number += 1;
        let path = folder.path().join(format!("{number}.db"));
        Arc::new(SqliteStore::open(&path, Durability::Full).unwrap())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_the_contract() {
    check_all(|| Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn memory_with_a_manual_clock_keeps_the_contract() {
    check_all(|| Arc::new(MemoryStore::manual(StoreTime(5)))).await;
}

/// Scanners and workers of one machine start together: whoever sees the file half set up waits, and takes it for nobody else's.
#[test]
fn a_new_file_may_be_opened_by_several_at_once() {
    const AT_ONCE: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    for round in 0..60 {
        let path = folder.path().join(format!("{round}.db"));
        let begin = Barrier::new(AT_ONCE);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    begin.wait();
                    sqlite(&path)
                });
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_handles_on_one_file_lose_no_increment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let store = sqlite(&path);
            tokio::spawn(async move { increment(&store, "count", 100).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(count(&sqlite(&path), "count").await, 200);
}

#[tokio::test]
async fn two_handles_read_one_clock_that_goes_on_when_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let mut last = StoreTime(0);
    let (first, second) = (sqlite(&path), sqlite(&path));
    for round in 0..50 {
        let reopened = sqlite(&path);
        for store in [&first, &second, &reopened] {
            let now = store.begin().await.unwrap().now();
            assert!(now >= last, "round {round}: {now:?} after {last:?}");
            last = now;
        }
    }
}

fn refusal(path: &Path) -> String {
    match SqliteStore::open(path, Durability::Normal) {
        Err(error @ StoreError::Unusable { .. }) => error.to_string(),
        other => panic!("{} was opened or refused otherwise: {other:?}", path.display()),
    }
}

#[test]
fn a_path_that_cannot_be_a_store_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    assert!(refusal(folder.path()).contains("is a folder"));
    assert!(refusal(&folder.path().join("no/such/queue.db")).contains("create it first"));
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "these are notes, and long enough to be taken for a header of a file\n".repeat(20))
        .unwrap();
    assert!(refusal(&text).contains("not a database"));
    assert!(refusal(&text.join("queue.db")).contains("folder"));
    // Not even root writes there.
    let nowhere = refusal(Path::new("/proc/self/queue.db"));
    assert!(nowhere.contains("permissions"), "{nowhere}");
}

#[test]
fn a_foreign_or_newer_file_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign.db");
    let newer = folder.path().join("newer.db");
    sql(&foreign, "CREATE TABLE notes(t TEXT); INSERT INTO notes VALUES ('keep');");
    drop(sqlite(&newer));
    sql(&newer, "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA user_version = 2;");
    for (path, says) in [(&foreign, "another program"), (&newer, "newer roboflow")] {
        let before = std::fs::read(path).unwrap();
        assert!(refusal(path).contains(says));
        assert!(std::fs::read(path).unwrap() == before, "{says}: the file was changed");
    }
}

fn sql(path: &Path, statements: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(statements).unwrap();
}

#[test]
fn an_empty_file_becomes_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    std::fs::write(&path, "").unwrap();
    drop(sqlite(&path));
    drop(sqlite(&path));
}

#[tokio::test]
async fn a_lock_that_never_goes_is_unavailable_and_a_short_one_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let store = sqlite(&path);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut txn = store.begin().await.unwrap();
    txn.put(b"a".to_vec(), b"1".to_vec());
    let error = txn.commit().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    let waiting = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { increment(&store, "count", 1).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "it commits although another holds the lock");
    other.execute_batch("ROLLBACK").unwrap();
    waiting.await.unwrap();
    assert_eq!(count(&store, "count").await, 1);
    assert_eq!(store.begin().await.unwrap().get(b"a").await.unwrap(), None);
}

const FILE: &str = "ROBOFLOW_TEST_STORE";

/// Not a test of its own: the process that the next tests start.
#[tokio::test]
async fn child_that_counts_until_it_is_killed() {
    let Ok(path) = std::env::var(FILE) else { return };
    let store = sqlite(path.as_ref());
    let mut out = std::io::stdout();
    loop {
        increment(&store, "count", 1).await;
        writeln!(out, "\ncommitted").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn commits_of_a_killed_process_stand_and_others_see_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let store = sqlite(&path);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_counts_until_it_is_killed", "--exact", "--nocapture"])
        .env(FILE, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut committed = 0;
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok).filter(|line| line == "committed") {
        assert_eq!(line, "committed");
        committed += 1;
        assert!(count(&store, "count").await >= committed, "a commit of the child is not visible");
        increment(&store, "mine", 1).await;
        if committed == 200 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    drop(store);
    let reopened = sqlite(&path);
    assert!(count(&reopened, "count").await >= 200);
    assert_eq!(count(&reopened, "mine").await, 200);
    increment(&reopened, "count", 1).await;
}

async fn commit(store: &MemoryStore, key: &str, value: &str) -> Result<(), StoreError> {
    let mut txn = store.begin().await?;
    txn.get(key.as_bytes()).await?;
    txn.put(key.into(), value.into());
    txn.commit().await
}

async fn value(store: &MemoryStore, key: &str) -> Option<String> {
    let read = store.begin().await.unwrap().get(key.as_bytes()).await.unwrap();
    read.map(|bytes| String::from_utf8(bytes).unwrap())
}

fn commits_meet(fault: Fault) -> Option<Box<dyn FnMut(Call) -> Fault + Send>> {
    Some(Box::new(move |call| if matches!(call, Call::Commit { .. }) { fault } else { Fault::None }))
}

#[tokio::test]
async fn an_unknown_commit_is_applied_or_lost_or_comes_later() {
    let store = MemoryStore::manual(StoreTime(1));
    let unknown = |result| matches!(result, Err(StoreError::Unknown { .. }));
    store.inject(commits_meet(Fault::UnknownApplied));
    assert!(unknown(commit(&store, "a", "1").await));
    store.inject(commits_meet(Fault::UnknownLost));
    assert!(unknown(commit(&store, "b", "1").await));
    store.inject(commits_meet(Fault::UnknownLater { calls: 100 }));
    assert!(unknown(commit(&store, "c", "1").await));
    assert!(unknown(commit(&store, "d", "1").await));
    store.inject(None);
    let seen = [value(&store, "a").await, value(&store, "b").await, value(&store, "c").await];
    assert_eq!(seen, [Some("1".to_owned()), None, None]);
    commit(&store, "d", "2").await.unwrap();
    assert_eq!((store.late(), store.settle()), (2, 1));
    assert_eq!(value(&store, "c").await.as_deref(), Some("1"));
    assert_eq!(
        value(&store, "d").await.as_deref(),
        Some("2"),
        "a late commit never lands over a changed key"
    );
}

#[tokio::test]
async fn a_late_commit_lands_by_itself_after_its_calls() {
    let store = MemoryStore::manual(StoreTime(1));
    store.inject(commits_meet(Fault::UnknownLater { calls: 4 }));
    commit(&store, "a", "1").await.unwrap_err();
    store.inject(None);
    assert_eq!(value(&store, "a").await, None);
    assert_eq!(value(&store, "a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn faults_without_effect_write_nothing() {
    let store = MemoryStore::manual(StoreTime(1));
    store.inject(commits_meet(Fault::Conflict));
    assert!(matches!(commit(&store, "a", "1").await, Err(StoreError::Conflict)));
    store.inject(Some(Box::new(|_| Fault::Unavailable)));
    assert!(matches!(commit(&store, "a", "1").await, Err(StoreError::Unavailable { .. })));
    store.inject(None);
    assert!(store.dump().is_empty());
    store.advance(Duration::from_millis(7));
    assert_eq!(store.now(), StoreTime(8));
}
