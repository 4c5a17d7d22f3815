//! What the leader keeps in order: staging of batches that are over, lost workers, old receipts; and what it leaves alone.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test at once")]

use roboflow::queue::{
    BatchId, Campaign, NewBatch, NewJob, Queue, QueueError, QueueSettings, Source, WorkerInfo,
};
use roboflow::scanner::HOUSE_ROLE;
use roboflow::scanner::house::{House, Kept};
use roboflow::scanner::leader::Lead;
use roboflow::storage::Places;
use roboflow::store::{MemoryStore, StoreTime};
use roboflow::work::StopFlag;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

struct Lab {
    folder: TempDir,
    store: MemoryStore,
    queue: Queue,
    runtime: Runtime,
}

impl Lab {
    fn new() -> Self {
        let store = MemoryStore::manual(StoreTime(1_000_000));
        let queue = Queue::seeded(Arc::new(store.clone()), QueueSettings::default(), 1);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { folder: tempfile::tempdir().unwrap(), store, queue, runtime }
    }

    fn ask<T>(&self, asked: impl Future<Output = Result<T, QueueError>>) -> T {
        self.runtime.block_on(asked).unwrap()
    }

    fn house(&self) -> House {
        let keep_ms = u64::try_from(WEEK.as_millis()).unwrap();
        let handle = self.runtime.handle().clone();
        House::new(self.queue.clone(), handle, Places::default(), keep_ms, Arc::default())
    }

    fn lead(&self, process: u128) -> Lead {
        self.store.advance(Duration::from_secs(11));
        let asked = self.queue.campaign(HOUSE_ROLE, Uuid::from_u128(process), "test", 10_000);
        let Campaign::Leads(leadership) = self.ask(asked) else { unreachable!("somebody else leads") };
        Lead { leadership, lost: StopFlag::default() }
    }

    fn round(&self) -> Kept {
        self.house().round(&self.lead(1)).unwrap()
    }

    /// A batch with one recording, and something staged and something unfinished for it.
    fn batch(&self, name: &str) -> BatchId {
        let out = self.folder.path().join(name);
        let staging = out.join(".roboflow/staging");
        fs::create_dir_all(staging.join("job")).unwrap();
        fs::write(staging.join("job/segment"), b"staged").unwrap();
        fs::create_dir_all(out.join("data")).unwrap();
        for folder in [staging.join("job"), out.join("data")] {
            fs::write(folder.join(".x.000000000000-1-1-1.partial"), b"cut").unwrap();
        }
        let out = out.display().to_string();
        let config = self.ask(self.queue.put_config("fps = 30\n"));
        let batch = NewBatch {
            id: BatchId::derive(&out, &config),
            staging: staging.display().to_string(),
            seen_under: out.clone(),
            out,
            config,
            segment_frames: 100,
            skip_failed: false,
        };
        let source = Source {
            name: "a.mcap".to_owned(),
            location: "/in".to_owned(),
            key: "a.mcap".to_owned(),
            size: 1,
            version: "1".to_owned(),
        };
        self.ask(self.queue.submit(&batch, &[NewJob { source, priority: 0 }]));
        batch.id
    }

    fn is_staged(&self, name: &str) -> bool {
        files(&self.folder.path().join(name)) > 0
    }
}

fn files(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[test]
fn pitfall_28_staging_goes_when_its_batch_is_over_and_never_before() {
    let lab = Lab::new();
    let (over, goes_on) = (lab.batch("over"), lab.batch("goes-on"));
    assert_eq!(lab.round().swept, 0);
    assert!(lab.is_staged("over") && lab.is_staged("goes-on"));
    lab.ask(lab.queue.cancel_batch(over));
    assert_eq!(lab.round().swept, 1);
    assert!(!lab.is_staged("over"), "staged objects and what killed writers left");
    assert!(!lab.folder.path().join("over/.roboflow/staging").exists());
    assert_eq!(files(&lab.folder.path().join("goes-on")), 3, "another batch's is not touched");
    assert!(lab.ask(lab.queue.batch(over)).swept.is_some());
    assert_eq!(lab.ask(lab.queue.active_batches(None, 9)), [goes_on]);
    assert_eq!(lab.round(), Kept::default());
}

#[test]
fn a_staging_that_cannot_be_removed_keeps_no_other_from_it_and_is_not_noted_as_gone() {
    let lab = Lab::new();
    let (blocked, over) = (lab.batch("blocked"), lab.batch("over"));
    let staging = lab.folder.path().join("blocked/.roboflow/staging");
    fs::remove_dir_all(&staging).unwrap();
    fs::write(&staging, b"a file where a folder should be").unwrap();
    lab.ask(lab.queue.cancel_batch(blocked));
    lab.ask(lab.queue.cancel_batch(over));
    let (mut house, lead) = (lab.house(), lab.lead(1));
    assert_eq!(house.round(&lead).unwrap().swept, 1);
    assert!(!lab.is_staged("over"));
    assert!(lab.ask(lab.queue.batch(blocked)).swept.is_none());
    fs::remove_file(&staging).unwrap();
    assert_eq!(house.round(&lead).unwrap().swept, 0, "not again at once");
    assert_eq!(lab.round().swept, 1, "another leader tries it afresh");
}

#[test]
fn pitfall_36_a_leader_that_was_replaced_removes_and_notes_nothing() {
    let lab = Lab::new();
    let over = lab.batch("over");
    let old = lab.lead(1);
    lab.lead(2);
    lab.ask(lab.queue.cancel_batch(over));
    let before = lab.store.dump();
    assert!(matches!(lab.house().round(&old), Err(QueueError::Lost { .. })));
    assert!(lab.store.dump() == before && lab.is_staged("over"));
}

#[test]
fn lost_workers_are_taken_back_and_their_receipts_kept_for_a_week() {
    let lab = Lab::new();
    let worker = WorkerInfo {
        incarnation: Uuid::from_u128(7),
        pod: "pod".to_owned(),
        host: "host".to_owned(),
        pid: 1,
        machines: 1,
    };
    lab.ask(lab.queue.register(&worker));
    lab.round();
    assert_eq!(lab.ask(lab.queue.receipts(None, 9)).len(), 1);
    lab.store.advance(WEEK - Duration::from_secs(60));
    assert_eq!(lab.round().receipts, 0);
    lab.store.advance(Duration::from_secs(120));
    assert_eq!(lab.round().receipts, 1);
    assert!(lab.ask(lab.queue.receipts(None, 9)).is_empty());
}
