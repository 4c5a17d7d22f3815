//! Leading in real time: a leader that falls silent is replaced, one that steps down at once, and one that cannot renew
//! stops by itself before another may lead.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test at once")]

use async_trait::async_trait;
use roboflow::queue::{Queue, QueueSettings};
use roboflow::scanner::leader::{Leader, LeaderSettings};
use roboflow::store::{MemoryStore, SharedStore, Store, StoreError, Txn};
use roboflow::worker::lease::Home;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const RENEW: Duration = Duration::from_millis(300);
/// Generous: only a leader that is never replaced takes so long.
const LONG: Duration = Duration::from_secs(60);

/// A store that does not answer while it is away.
#[derive(Debug)]
struct Away {
    store: SharedStore,
    is_away: Arc<AtomicBool>,
}

#[async_trait]
impl Store for Away {
    async fn begin(&self) -> Result<Box<dyn Txn>, StoreError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable {
                store: "away".to_owned(),
                reason: "as ordered".to_owned(),
            });
        }
        self.store.begin().await
    }
}

fn start(store: &MemoryStore, lease: Duration, label: &str) -> (Leader, Arc<AtomicBool>) {
    let is_away = Arc::new(AtomicBool::new(false));
    let away: SharedStore = Arc::new(Away { store: Arc::new(store.clone()), is_away: Arc::clone(&is_away) });
    let queue = Queue::new(away, QueueSettings::default());
    let home = Home::open(async { Ok::<_, io::Error>(queue) }).unwrap();
    let settings = LeaderSettings { lease, renew_interval: RENEW, label: label.to_owned() };
    let roles = vec!["house".to_owned(), "scanner/x".to_owned()];
    (Leader::start(roles, settings, home, Arc::default()).unwrap(), is_away)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < LONG, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    started.elapsed()
}

#[test]
fn a_leader_that_falls_silent_is_replaced_when_its_lease_ends_and_has_stopped_before() {
    let (store, lease) = (MemoryStore::new(), Duration::from_millis(1_500));
    let (one, is_away) = start(&store, lease, "one");
    let led = one.await_lead(1, LONG).unwrap();
    let (two, _) = start(&store, lease, "two");
    until("the other to be seen", || two.other(1).is_some());
    assert_eq!((two.other(1).as_deref(), two.lead(1).is_none()), (Some("one"), true));
    is_away.store(true, Ordering::SeqCst);
    let silent = Instant::now();
    until("the first to stop", || led.lost.is_set());
    assert!(two.lead(1).is_none(), "for a while nobody leads");
    assert!(one.lead(1).is_none());
    let next = two.await_lead(1, LONG).unwrap();
    let took = silent.elapsed();
    assert_eq!(next.leadership.term, led.leadership.term + 1);
    // With a lease of 10 s and the same slack that is well within 15 s.
    assert!(took < lease + Duration::from_secs(4), "{took:?}");
    is_away.store(false, Ordering::SeqCst);
    until("the first to see who leads", || one.other(1).is_some());
    assert!(one.lead(1).is_none() && !next.lost.is_set());
}

#[test]
fn a_leader_that_steps_down_is_replaced_at_the_next_look_whatever_its_lease() {
    let (store, lease) = (MemoryStore::new(), Duration::from_secs(600));
    let (one, _) = start(&store, lease, "one");
    let led = (one.await_lead(0, LONG).unwrap(), one.await_lead(1, LONG).unwrap());
    let (two, _) = start(&store, lease, "two");
    until("the other to be seen", || two.other(0).is_some() && two.other(1).is_some());
    assert!(one.resign(LONG), "both roles are handed over");
    assert!(led.0.lost.is_set() && led.1.lost.is_set() && one.lead(0).is_none());
    assert!(two.await_lead(0, LONG).is_some() && two.await_lead(1, LONG).is_some());
}

#[test]
fn stepping_down_waits_no_longer_than_it_is_told() {
    let (one, is_away) = start(&MemoryStore::new(), Duration::from_secs(600), "one");
    one.await_lead(0, LONG).unwrap();
    // A store that answers with errors is heard at once; one that is gone for good would be waited for.
    is_away.store(true, Ordering::SeqCst);
    let asked = Instant::now();
    one.resign(Duration::from_millis(500));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(one.lead(0).is_none(), "it leads no more, confirmed or not");
}

#[test]
fn a_lead_goes_on_over_many_renewals_under_one_term() {
    let (one, _) = start(&MemoryStore::new(), Duration::from_millis(1_200), "one");
    let led = one.await_lead(1, LONG).unwrap();
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(4_000) {
        if let Some(lead) = one.lead(1) {
            assert_eq!(lead.leadership.term, led.leadership.term);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(one.await_lead(1, LONG).unwrap().leadership.term, led.leadership.term);
    assert!(!led.lost.is_set());
}
