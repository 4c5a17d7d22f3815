//! Folders of ROS 2 under a scanner: one recording each, once they are whole, and their files never.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test at once")]

use roboflow::scanner::round::{Report, Scan};
use roboflow_proptests::scan_lab::{ScanLab, Steps};
use roboflow_proptests::sources::folder_metadata;
use std::time::Duration;

struct Trial {
    lab: ScanLab,
    lead: roboflow::scanner::leader::Lead,
    scan: Scan,
}

impl Trial {
    fn new(settle: Duration) -> Self {
        let lab = ScanLab::new(settle);
        let (lead, scan) = (lab.lead(1), lab.scanner(&Steps::default()));
        Self { lab, lead, scan }
    }

    fn put(&self, key: &str, body: &[u8]) {
        roboflow::storage::Storage::put(&self.lab.files, key, body).unwrap();
    }

    fn metadata(&self, folder: &str, files: &[&str]) {
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        self.put(&format!("{folder}/metadata.yaml"), folder_metadata("mcap", &files).as_bytes());
    }

    fn round(&mut self) -> Report {
        self.scan.round(&self.lead).unwrap()
    }
}

#[test]
fn a_folder_waits_for_its_metadata_and_settles_as_a_whole() {
    let mut trial = Trial::new(Duration::from_secs(60));
    trial.put("day/run/run_0.mcap", b"one");
    assert_eq!(trial.round().waiting, 1);
    trial.lab.time.advance(Duration::from_secs(600));
    let report = trial.round();
    assert_eq!((report.new, report.waiting), (0, 1), "it is still being recorded, however long it takes");
    trial.put("day/run/run_1.mcap", b"two");
    trial.metadata("day/run", &["run_0.mcap", "run_1.mcap"]);
    assert_eq!(trial.round().waiting, 1);
    trial.lab.time.advance(Duration::from_secs(59));
    assert_eq!(trial.round().new, 0);
    trial.put("day/run/run_1.mcap", b"two and more");
    assert_eq!(trial.round().new, 0, "a file of it has changed");
    trial.lab.time.advance(Duration::from_secs(60));
    let report = trial.round();
    assert_eq!((report.new, report.waiting, report.matched), (1, 0, 1));
    assert_eq!(trial.lab.enqueued(), ["day/run"]);
    let again = trial.round();
    assert_eq!((again.new, again.waiting, again.matched), (0, 0, 1));
    assert_eq!(trial.lab.enqueued(), ["day/run"]);
}

#[test]
fn a_folder_that_lacks_a_file_waits_for_it_and_others_do_not_wait() {
    let mut trial = Trial::new(Duration::ZERO);
    trial.put("a.mcap", b"alone");
    trial.put("bag/bag_0.mcap", b"first");
    trial.metadata("bag", &["bag_0.mcap", "bag_1.mcap"]);
    trial.put("plain/x.mcap", b"in a folder with metadata of something else");
    trial.put("plain/metadata.yaml", b"kind: other");
    trial.put("plain/plain_0.db3", b"x");
    let report = trial.round();
    assert_eq!((report.new, report.waiting), (3, 1));
    assert_eq!(trial.lab.enqueued(), ["a.mcap", "plain/plain_0.db3", "plain/x.mcap"]);
    trial.put("bag/bag_1.mcap", b"second");
    trial.put("bag/stranger.mcap", b"not named");
    let report = trial.round();
    assert_eq!((report.new, report.waiting), (1, 0));
    assert_eq!(trial.lab.enqueued(), ["a.mcap", "bag", "plain/plain_0.db3", "plain/x.mcap"]);
}

#[test]
fn another_scanner_knows_a_folder_that_is_enqueued() {
    let mut trial = Trial::new(Duration::ZERO);
    trial.put("bag/bag_0.mcap", b"first");
    trial.metadata("bag", &["bag_0.mcap"]);
    assert_eq!(trial.round().new, 1);
    trial.lab.outlive_the_lease();
    let lead = trial.lab.lead(2);
    let report = trial.lab.scanner(&Steps::default()).round(&lead).unwrap();
    assert_eq!(report.new, 0);
    assert_eq!(trial.lab.enqueued(), ["bag"]);
}
