//! Several workers on one queue, driven step by step, with the model beside it and the invariants after each step.
//!
//! The steps themselves are in [`crate::queue_step`]; those of batches and scanners are taken in the submodule.

#![expect(clippy::expect_used, clippy::panic, reason = "a step that goes wrong fails the test at once")]

mod leading;

use crate::manual_clock::HandClock;
use crate::queue_bench::{Worker, check, farewell, is_unknown};
use crate::queue_model::Model;
use crate::queue_step::{
    Chance, Deed, Fate, MACHINES, SLOTS, Step, arrivals_matter, claim_for_sure, dump, faults, perform,
    persist,
};
use roboflow::fsm::effect::HandBackReason;
use roboflow::fsm::id::JobId;
use roboflow::queue::invariant::History;
use roboflow::queue::{
    Claim, HandBack, HeartbeatNote, JobFilter, Leadership, Ownership, Queue, QueueError, QueueSettings,
    ReleaseRequest, WriteId,
};
use roboflow::store::memory::{Call, Fault};
use roboflow::store::{Durability, MemoryStore, SharedStore, SqliteStore, StoreTime};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

const START: StoreTime = StoreTime(1_790_000_000_000);

#[derive(Debug)]
struct Process {
    worker: Worker,
    machines: [Option<Ownership>; MACHINES],
    left: [bool; MACHINES],
}

#[derive(Debug)]
enum Time {
    Memory(MemoryStore),
    Hand(HandClock),
}

/// The queue, its workers and the model.
#[derive(Debug)]
pub struct Driver {
    runtime: Runtime,
    state: State,
}

#[derive(Debug)]
struct State {
    stores: Vec<SharedStore>,
    queues: Vec<Queue>,
    time: Time,
    model: Model,
    history: History,
    slots: [Option<Process>; SLOTS],
    ghosts: Vec<(Arc<Worker>, Ownership)>,
    /// What each scanner believes to lead by. Never forgotten: who leads no more goes on as if it did.
    leads: BTreeMap<usize, Leadership>,
    started: u32,
    submitted: u32,
    scanned: u32,
}

impl Driver {
    /// Over a store in memory, with faults.
    ///
    /// # Panics
    /// When it cannot be set up.
    pub fn memory() -> Self {
        let store = MemoryStore::manual(START);
        Self::over(paused(), vec![Arc::new(store.clone())], Time::Memory(store))
    }

    /// Over one SQLite file with two handles.
    ///
    /// # Panics
    /// When it cannot be set up.
    pub fn sqlite(path: &Path) -> Self {
        let clock = HandClock::new(START);
        let open = || -> SharedStore {
            clock.over(Arc::new(SqliteStore::open(path, Durability::Normal).expect("the store opens")))
        };
        Self::over(paused(), vec![open(), open()], Time::Hand(clock.clone()))
    }

    /// Over several handles of one store, which belong to this runtime.
    pub fn handles(runtime: Runtime, stores: Vec<SharedStore>) -> Self {
        let clock = HandClock::new(START);
        let stores = stores.into_iter().map(|store| clock.over(store)).collect();
        Self::over(runtime, stores, Time::Hand(clock))
    }

    fn over(runtime: Runtime, stores: Vec<SharedStore>, time: Time) -> Self {
        let queue = |(store, seed): (&SharedStore, u64)| {
            Queue::seeded(Arc::clone(store), QueueSettings::default(), seed)
        };
        let queues = stores.iter().zip(11..).map(queue).collect();
        let state = State {
            stores,
            queues,
            time,
            model: Model::default(),
            history: History::new(),
            slots: [None, None, None],
            ghosts: Vec::new(),
            leads: BTreeMap::new(),
            started: 0,
            submitted: 0,
            scanned: 0,
        };
        Self { runtime, state }
    }

    /// Takes a step and checks everything after it.
    ///
    /// # Panics
    /// When the queue and the model differ, or an invariant is violated.
    pub fn step(&mut self, step: Step, chance: Chance) {
        self.runtime.block_on(async {
            self.state.faults(chance);
            self.state.step(step, chance).await;
            self.state.no_faults();
            self.state.check().await;
        });
    }

    /// Lets everything that is still on its way arrive, and checks that it changes nothing: every outcome was settled.
    ///
    /// # Panics
    /// When something took effect.
    pub fn finish(mut self) {
        if let Time::Memory(store) = &self.state.time {
            assert!(!arrivals_matter(store), "a commit took effect after it was given up");
        }
        self.runtime.block_on(self.state.check());
    }
}

/// The pauses between tries take no time.
fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

impl State {
    fn queue(&self, chance: Chance) -> &Queue {
        let at = usize::try_from(chance.seed % self.queues.len() as u64).unwrap_or(0);
        self.queues.get(at).expect("a handle")
    }

    fn now(&self) -> StoreTime {
        match &self.time {
            Time::Memory(store) => store.now(),
            Time::Hand(clock) => clock.now(),
        }
    }

    fn faults(&self, chance: Chance) {
        let Time::Memory(store) = &self.time else {
            return;
        };
        store.inject(Some(Box::new(faults(chance))));
    }

    fn no_faults(&self) {
        if let Time::Memory(store) = &self.time {
            store.inject(None);
        }
    }

    async fn step(&mut self, step: Step, chance: Chance) {
        match step {
            Step::Submit { count, last } => self.submit(count, last, chance).await,
            Step::Register { slot } => self.register(slot, chance).await,
            Step::Renew { slot } => self.renew(slot, chance).await,
            Step::Claim { slot, machine } => self.claim(slot, machine, chance).await,
            Step::Do { slot, machine, deed } => self.act(slot, machine, deed, chance).await,
            Step::WorkOff { slot, machine } => self.work_off(slot, machine, chance).await,
            Step::Leave { slot, machine } => self.leave(slot, machine, chance).await,
            Step::Crash { slot } => self.bury(slot),
            Step::CrashDuring { slot, machine, deed, fate } => {
                self.crash_during(slot, machine, deed, fate).await
            }
            Step::Haunt { ghost, deed } => self.haunt(ghost, deed, chance).await,
            Step::Advance { ms } => self.advance(ms),
            Step::Reclaim => self.reclaim(chance).await,
            Step::Cancel { job } => self.cancel(job, chance).await,
            Step::Retry { job } => self.retry(job, chance).await,
            Step::Assemble { batch } => self.assemble(batch, chance).await,
            Step::Seal { batch } => self.seal(batch, chance).await,
            Step::CancelBatch { batch } => self.cancel_batch(batch, chance).await,
            Step::Campaign { who } => self.campaign(who, chance).await,
            Step::Resign { who } => self.resign(who, chance).await,
            Step::Lead { who, deed } => self.lead(who, deed, chance).await,
        }
    }

    async fn register(&mut self, slot: usize, chance: Chance) {
        if self.slots.get(slot).is_none_or(Option::is_some) {
            return;
        }
        self.started += 1;
        let worker = Worker::number(self.started);
        let info = worker.info(MACHINES as u32);
        let queue = self.queue(chance);
        persist(async || queue.register(&info).await).await.expect("registered");
        self.model.register(worker.incarnation, self.now());
        if let Some(free) = self.slots.get_mut(slot) {
            *free = Some(Process { worker, machines: [None; MACHINES], left: [false; MACHINES] });
        }
    }

    async fn renew(&mut self, slot: usize, chance: Chance) {
        let Some(Some(process)) = self.slots.get(slot) else {
            return;
        };
        let (queue, incarnation) = (self.queue(chance), process.worker.incarnation);
        let note = HeartbeatNote::default();
        let result = persist(async || queue.renew(incarnation, &note).await).await;
        let alive = self.model.renew(incarnation, self.now());
        self.expect(alive, result.map(drop));
        if !alive {
            self.bury(slot);
        }
    }

    fn expect(&self, allowed: bool, result: Result<(), QueueError>) {
        match (allowed, result) {
            (true, Ok(())) | (false, Err(QueueError::Lost { .. })) => {}
            (allowed, result) => panic!("allowed by the model: {allowed}, but the queue said {result:?}"),
        }
    }

    /// A machine that is there and has not left, and what it holds.
    fn machine(&self, slot: usize, machine: usize) -> Option<(&Process, Option<Ownership>)> {
        let process = self.slots.get(slot)?.as_ref()?;
        let left = process.left.get(machine)?;
        (!left).then_some((process, process.machines.get(machine).copied().flatten()))
    }

    fn hold(&mut self, slot: usize, machine: usize, own: Option<Ownership>) {
        if let Some(Some(process)) = self.slots.get_mut(slot)
            && let Some(held) = process.machines.get_mut(machine)
        {
            *held = own;
        }
    }

    async fn claim(&mut self, slot: usize, machine: usize, chance: Chance) {
        let Some((process, None)) = self.machine(slot, machine) else {
            return;
        };
        let by = process.worker.intent_of(machine as u32);
        let queue = self.queue(chance);
        let result = claim_for_sure(queue, &by).await;
        let now = self.now();
        let alive = self.model.workers.contains_key(&by.incarnation);
        match result {
            Ok(Some(claim)) => {
                self.model.claimed(by.incarnation, &claim, now);
                self.hold(slot, machine, Some(claim.ownership(&by)));
            }
            Ok(None) => {
                assert!(alive, "a worker without a lease was told that there is nothing to claim");
                let missed = chance.percent == 0 && self.model.anything_due(now);
                assert!(!missed, "something was to be claimed");
            }
            Err(error) => {
                self.expect(alive, Err(error));
                self.bury(slot);
            }
        }
    }

    async fn act(&mut self, slot: usize, machine: usize, deed: Deed, chance: Chance) {
        let Some((process, Some(own))) = self.machine(slot, machine) else {
            return;
        };
        let by = process.worker.intent_of(machine as u32);
        let lost = !self.model.holds(&own);
        self.deed(&own, &by, deed, chance).await;
        if lost || !self.model.holds(&own) {
            self.hold(slot, machine, None);
        }
    }

    /// Does something to a job that may or may not be the worker's.
    async fn deed(&mut self, own: &Ownership, by: &WriteId, deed: Deed, chance: Chance) {
        let segments = self.segments_after(own, deed);
        let queue = self.queue(chance);
        let result = persist(async || perform(queue, own, by, deed, segments).await).await;
        if let Deed::HandBack(why) = deed
            && self.model.holds(own)
            && self.model.refuses(own, why)
        {
            assert!(matches!(result, Err(QueueError::Refused { .. })), "{result:?}");
            return;
        }
        self.expect(self.model.holds(own), result);
        self.note(own, deed, segments);
    }

    fn segments_after(&self, own: &Ownership, deed: Deed) -> u32 {
        let more = if let Deed::Checkpoint(more) = deed { more } else { 1 };
        self.model.jobs.get(&own.job).map_or(0, |job| job.checkpoint) + more
    }

    /// Tells the model of a deed that took effect, if it could.
    fn note(&mut self, own: &Ownership, deed: Deed, segments: u32) {
        if !self.model.holds(own) {
            return;
        }
        match deed {
            Deed::Checkpoint(_) => drop(self.model.checkpoint(own, segments)),
            Deed::Complete => drop(self.model.complete(own, segments)),
            Deed::HandBack(why) => self.model.hand_back(own, why),
        }
    }

    async fn leave(&mut self, slot: usize, machine: usize, chance: Chance) {
        let Some((process, own)) = self.machine(slot, machine) else {
            return;
        };
        let by = process.worker.intent_of(machine as u32);
        let own = own.filter(|own| self.model.holds(own));
        let hand_back = own.map(|own| HandBack { own, why: HandBackReason::Interrupted, error: None });
        let request = ReleaseRequest { by, hand_back, farewell: Some(farewell()) };
        let queue = self.queue(chance);
        let result = persist(async || queue.release(&request).await).await;
        let alive = self.model.workers.contains_key(&by.incarnation);
        self.expect(alive, result);
        if !alive {
            return self.bury(slot);
        }
        if let Some(own) = own {
            self.model.hand_back(&own, HandBackReason::Interrupted);
        }
        self.hold(slot, machine, None);
        if let Some(Some(process)) = self.slots.get_mut(slot) {
            if let Some(left) = process.left.get_mut(machine) {
                *left = true;
            }
            if process.left.iter().all(|left| *left) {
                self.model.left(by.incarnation, self.now());
                self.bury(slot);
            }
        }
    }

    /// The process is gone; what it held may haunt the queue.
    fn bury(&mut self, slot: usize) {
        let Some(process) = self.slots.get_mut(slot).and_then(Option::take) else {
            return;
        };
        let worker = Arc::new(process.worker);
        self.ghosts.extend(process.machines.into_iter().flatten().map(|own| (Arc::clone(&worker), own)));
        let excess = self.ghosts.len().saturating_sub(6);
        self.ghosts.drain(..excess);
    }

    async fn haunt(&mut self, ghost: usize, deed: Deed, chance: Chance) {
        let count = self.ghosts.len().max(1);
        let Some((worker, own)) = self.ghosts.get(ghost % count).cloned() else {
            return;
        };
        self.deed(&own, &worker.intent_of(9), deed, chance).await;
    }

    /// One try of a commit, of which the process never learns what became of it.
    async fn crash_during(&mut self, slot: usize, machine: usize, deed: Option<Deed>, fate: Fate) {
        let Time::Memory(store) = &self.time else {
            return self.bury(slot);
        };
        let store = store.clone();
        let Some((process, own)) = self.machine(slot, machine) else {
            return;
        };
        let by = process.worker.intent_of(machine as u32);
        let mut once = Some(match fate {
            Fate::Applied => Fault::UnknownApplied,
            Fate::Lost => Fault::UnknownLost,
            Fate::Later | Fate::AfterReclaim => Fault::UnknownLater { calls: 1_000_000 },
        });
        store.inject(Some(Box::new(move |call| match call {
            Call::Commit { writes } if writes > 0 => once.take().unwrap_or(Fault::None),
            _ => Fault::None,
        })));
        let queue = self.queue(Chance { seed: 0, percent: 0 });
        let (unknown, effect) = match (own, deed) {
            (None, _) => (is_unknown(&queue.claim(&by).await), None),
            (Some(own), Some(deed)) => {
                let segments = self.segments_after(&own, deed);
                let result = perform(queue, &own, &by, deed, segments).await;
                (is_unknown(&result), Some((own, deed, segments)))
            }
            (Some(_), None) => (false, None),
        };
        self.no_faults();
        self.bury(slot);
        if !unknown {
            return;
        }
        let took_effect = match fate {
            Fate::Applied => true,
            Fate::Lost => false,
            Fate::Later => arrivals_matter(&store),
            Fate::AfterReclaim => {
                self.advance(QueueSettings::default().lease_ms + 1);
                self.reclaim(Chance { seed: 0, percent: 0 }).await;
                assert!(!arrivals_matter(&store), "a commit took effect after its worker was given up");
                false
            }
        };
        match effect {
            Some((own, deed, segments)) if took_effect => self.note(&own, deed, segments),
            None if took_effect => self.adopt_claim(&by).await,
            _ => {}
        }
    }

    /// A claim took effect that nobody knows of: the record says which job it is.
    async fn adopt_claim(&mut self, by: &WriteId) {
        let queue = self.queue(Chance { seed: 0, percent: 0 });
        let page = queue.list(&JobFilter::default(), None, usize::MAX).await.expect("list");
        let is_it =
            |owner: &roboflow::queue::Owner| owner.incarnation == by.incarnation && owner.nonce == by.nonce;
        let job =
            page.jobs.into_iter().find(|job| job.owner.as_ref().is_some_and(is_it)).expect("the claimed job");
        let batch = queue.batch(job.batch).await.expect("the batch");
        let lease =
            roboflow::queue::Renewal { now: self.now(), lease_until: self.now(), cancelled: Vec::new() };
        let claim = Claim { epoch: job.epoch, job, batch, lease };
        self.model.claimed(by.incarnation, &claim, self.now());
    }

    fn advance(&mut self, ms: u64) {
        let by = Duration::from_millis(ms);
        match &self.time {
            Time::Memory(store) => store.advance(by),
            Time::Hand(clock) => clock.advance(by),
        }
    }

    async fn reclaim(&mut self, chance: Chance) {
        let queue = self.queue(chance);
        persist(async || queue.reclaim(1_000).await).await.expect("reclaimed");
        self.model.reclaim(self.now());
    }

    fn nth_job(&self, job: usize) -> Option<JobId> {
        let count = self.model.jobs.len().max(1);
        self.model.jobs.keys().nth(job % count).copied()
    }

    async fn cancel(&mut self, job: usize, chance: Chance) {
        if let Some(id) = self.nth_job(job) {
            let queue = self.queue(chance);
            persist(async || queue.cancel(id).await).await.expect("cancelled");
            self.model.cancel(id);
        }
    }

    /// Not made to be repeated after an unknown outcome: a person looks first. So it meets no faults here.
    async fn retry(&mut self, job: usize, chance: Chance) {
        self.no_faults();
        if let Some(id) = self.nth_job(job) {
            let result = self.queue(chance).retry(id, "asked").await;
            let allowed = self.model.retry(id, self.now());
            assert_eq!(result.is_ok(), allowed, "{result:?}");
        }
    }

    /// The queue against the model, and the keyspace against the invariants, through every handle.
    async fn check(&mut self) {
        let now = self.now();
        for (store, queue) in self.stores.iter().zip(&self.queues) {
            let page = queue.list(&JobFilter::default(), None, usize::MAX).await.expect("list");
            assert!(page.unreadable.is_empty());
            let workers = queue.workers(None, 1_000).await.expect("workers");
            let receipts = queue.receipts(None, 1_000).await.expect("receipts");
            self.model.compare(&page.jobs, &workers, &receipts, now);
            self.check_batches(queue).await;
            check(queue, &dump(store).await, &mut self.history);
        }
    }
}
