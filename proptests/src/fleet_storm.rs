//! A storm over a fleet: signals, kills, pauses, a store that dies, an S3 that answers 503; by a seed.
//!
//! Work comes in rounds: a round's recordings are uploaded when the round before is a dataset. What is hit is replaced at
//! once, what is paused goes on after its lease is over.

#![expect(clippy::indexing_slicing, reason = "a broken promise fails the test at once")]

use crate::dev_cluster::STORES;
use crate::fleet::{FleetLab, LEASE, LIMIT, Member, Role};
use crate::http_proxy::{HttpFault, Rule};
use crate::reckoning::check_now;
use crate::recording::Robot;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use roboflow::queue::invariant::History;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(50);
/// Between two looks at the whole keyspace.
const CHECK: Duration = Duration::from_secs(2);
/// The force deadline and some more.
const EXIT_LIMIT: Duration = Duration::from_secs(40);
/// Longer than the span within which two SIGTERM count as one.
const TERM_AGAIN_AFTER: Duration = Duration::from_millis(2_100);
/// For so long after a store's death a release may be in vain: the job is then left to its lease.
const STORE_TROUBLE: Duration = Duration::from_secs(30);

/// What a storm is made of.
#[derive(Debug, Clone)]
pub struct Storm {
    /// All its chance.
    pub seed: u64,
    /// No new round and no new trouble after this long.
    pub lasts: Duration,
    /// Recordings a round.
    pub recordings: usize,
    /// What they hold.
    pub robot: Robot,
    /// Between two blows, at most.
    pub blow_every: Duration,
    /// Between two deaths of a store, at most.
    pub store_every: Duration,
}

/// What has happened.
#[derive(Debug, Clone, Default)]
pub struct Toll {
    /// Rounds that became a dataset.
    pub rounds: u32,
    /// Blows by their name.
    pub blows: BTreeMap<&'static str, u32>,
    /// Exit codes of what was asked to leave.
    pub exits: BTreeMap<i32, u32>,
    /// From SIGTERM to the exit, of all that were asked to leave.
    pub exit_took: Vec<Duration>,
}

struct Leaving {
    member: Member,
    since: Instant,
    again_at: Option<Instant>,
}

/// The storm under way.
struct Sky<'a> {
    lab: &'a mut FleetLab,
    storm: &'a Storm,
    random: StdRng,
    members: Vec<Member>,
    /// By name: until when it stands still.
    paused: BTreeMap<String, Instant>,
    leaving: Vec<Leaving>,
    dead_store: Option<(usize, Instant)>,
    store_trouble_until: Option<Instant>,
    s3_calm_at: Option<Instant>,
    toll: Toll,
}

/// Lets the storm pass over a fleet of two scanners and three workers. Returns when every round is a dataset, nothing is
/// left in the bucket, every worker has left and nothing is broken any more.
pub fn pass_over(lab: &mut FleetLab, storm: &Storm) -> Toll {
    let mut sky = Sky {
        lab,
        storm,
        random: StdRng::seed_from_u64(storm.seed),
        members: Vec::new(),
        paused: BTreeMap::new(),
        leaving: Vec::new(),
        dead_store: None,
        store_trouble_until: None,
        s3_calm_at: None,
        toll: Toll::default(),
    };
    sky.next_round();
    for role in [Role::Scanner, Role::Scanner, Role::Worker, Role::Worker, Role::Worker] {
        sky.members.push(sky.lab.start(role));
    }
    sky.rage();
    sky.calm();
    sky.toll
}

impl Sky<'_> {
    fn rage(&mut self) {
        let began = Instant::now();
        let mut history = History::new();
        let (mut blow_at, mut store_at, mut s3_at, mut check_at) = (began, began, began, began);
        store_at += self.within(self.storm.store_every);
        let mut round_began = Instant::now();
        loop {
            let now = Instant::now();
            let is_over = began.elapsed() >= self.storm.lasts;
            self.look_after(now);
            if !is_over && now >= blow_at {
                self.strike(now);
                blow_at = now + self.within(self.storm.blow_every);
            }
            if !is_over && now >= store_at && self.dead_store.is_none() {
                self.kill_store(now);
                store_at = now + self.storm.store_every / 2 + self.within(self.storm.store_every / 2);
            }
            if !is_over && now >= s3_at {
                self.trouble_s3(now);
                s3_at = now + Duration::from_secs(5);
            }
            if now >= check_at && self.store_trouble_until.is_none_or(|until| now > until) {
                check_now(self.lab, &mut history);
                check_at = now + CHECK;
            }
            if self.lab.is_complete(&format!("sets/batch-{:04}", self.toll.rounds + 1)) {
                self.toll.rounds += 1;
                if is_over {
                    return;
                }
                self.next_round();
                round_began = now;
            }
            let hangs = round_began.elapsed() > LIMIT + self.storm.lasts;
            assert!(!hangs, "round {} hangs: {:#?}", self.toll.rounds + 1, self.lab.jobs());
            thread::sleep(LOOK);
        }
    }

    fn next_round(&mut self) {
        let round = format!("round-{}", self.toll.rounds + 1);
        let robot = Robot { seed: u64::from(self.toll.rounds) + 1, ..self.storm.robot.clone() };
        self.lab.record(&round, self.storm.recordings, &robot);
        self.lab.upload(&round, "in");
    }

    fn within(&mut self, at_most: Duration) -> Duration {
        at_most.mul_f64(self.random.random_range(0.2..1.0))
    }

    /// What is due whether or not the storm goes on.
    fn look_after(&mut self, now: Instant) {
        for member in &mut self.members {
            if self.paused.get(&member.name).is_some_and(|until| now >= *until) {
                self.paused.remove(&member.name);
                member.running.signal(Signal::CONT);
            }
            let name = &member.name;
            assert!(!member.running.has_ended(), "{name} ended by itself:\n{}", member.running.said());
        }
        if let Some((number, _)) = self.dead_store.filter(|(_, until)| now >= *until) {
            self.lab.cluster.start_store(number);
            self.dead_store = None;
            self.store_trouble_until = Some(now + STORE_TROUBLE);
        }
        if self.dead_store.is_none() && self.store_trouble_until.is_some_and(|until| now > until) {
            self.store_trouble_until = None;
        }
        if self.s3_calm_at.is_some_and(|at| now >= at) {
            self.s3_calm_at = None;
            self.lab.s3_proxy.set(drizzle());
        }
        let mut leaving = std::mem::take(&mut self.leaving);
        for mut one in leaving.drain(..) {
            if one.again_at.is_some_and(|at| now >= at) {
                one.member.running.signal(Signal::TERM);
                one.again_at = None;
            }
            if one.member.running.has_ended() {
                self.buried(one);
            } else {
                let took = one.since.elapsed();
                let name = &one.member.name;
                assert!(took < EXIT_LIMIT, "{name} does not end:\n{}", one.member.running.said());
                self.leaving.push(one);
            }
        }
    }

    fn buried(&mut self, one: Leaving) {
        let took = one.since.elapsed();
        let name = one.member.name.clone();
        let Some(code) = self.lab.bury(one.member) else {
            // Before the first statement of main: nothing can have been done.
            assert!(self.last_words().is_empty(), "{name} died of a signal: {}", self.last_words());
            return self.count("before main");
        };
        let trouble = self.dead_store.is_some() || self.store_trouble_until.is_some();
        assert!(code == 0 || (code == 75 && trouble), "{name} left with {code}: {}", self.last_words());
        *self.toll.exits.entry(code).or_default() += 1;
        self.toll.exit_took.push(took);
    }

    fn last_words(&self) -> &str {
        self.lab.ended.last().map_or("", |(_, ended)| &ended.stderr)
    }

    fn strike(&mut self, now: Instant) {
        let standing: Vec<usize> =
            (0..self.members.len()).filter(|at| !self.paused.contains_key(&self.members[*at].name)).collect();
        if standing.is_empty() {
            return;
        }
        let at = standing[self.random.random_range(0..standing.len())];
        let blow = self.random.random_range(0..10);
        if blow < 2 {
            let pause = LEASE + Duration::from_secs(2) + self.within(Duration::from_secs(3));
            self.members[at].running.signal(Signal::STOP);
            self.paused.insert(self.members[at].name.clone(), now + pause);
            return self.count("pause");
        }
        let member = self.members.remove(at);
        let new = self.lab.start(member.role);
        if blow < 6 {
            member.running.signal(Signal::KILL);
            assert_eq!(self.lab.bury(member), None, "a killed process has no exit code");
            self.count("kill");
        } else {
            member.running.signal(Signal::TERM);
            let again_at = (blow == 9).then(|| now + TERM_AGAIN_AFTER);
            self.leaving.push(Leaving { member, since: now, again_at });
            self.count(if again_at.is_some() { "term twice" } else { "term" });
        }
        self.members.push(new);
    }

    fn kill_store(&mut self, now: Instant) {
        let number = self.random.random_range(1..=STORES);
        self.lab.cluster.end_store(number);
        let until = now + Duration::from_secs(2) + self.within(Duration::from_secs(6));
        self.dead_store = Some((number, until));
        self.store_trouble_until = Some(until + STORE_TROUBLE);
        self.count("store killed");
    }

    fn trouble_s3(&mut self, now: Instant) {
        let slow_down = Rule::share(0.5, HttpFault::Answer(503, "SlowDown"));
        self.lab.s3_proxy.set([slow_down].into_iter().chain(drizzle()));
        self.s3_calm_at = Some(now + Duration::from_secs(1));
        self.count("s3 503");
    }

    fn count(&mut self, what: &'static str) {
        *self.toll.blows.entry(what).or_default() += 1;
    }

    /// Waits until all is well again, and lets everybody go.
    fn calm(&mut self) {
        self.lab.s3_proxy.set([]);
        let began = Instant::now();
        while self.dead_store.is_some() || !self.paused.is_empty() || !self.leaving.is_empty() {
            self.look_after(Instant::now());
            assert!(began.elapsed() < LIMIT, "the storm does not end");
            thread::sleep(LOOK);
        }
        self.lab.cluster.heal();
        let workers = self.members.iter().filter(|member| member.role == Role::Worker).count();
        let mut members = std::mem::take(&mut self.members);
        self.lab.until(&mut members, "the dead to be found and the bucket to be swept", |lab| {
            lab.workers().len() == workers && crate::reckoning::nothing_is_left(lab)
        });
        self.members = members;
        for member in std::mem::take(&mut self.members) {
            member.running.signal(Signal::TERM);
            self.leaving.push(Leaving { member, since: Instant::now(), again_at: None });
        }
        while !self.leaving.is_empty() {
            self.look_after(Instant::now());
            thread::sleep(LOOK);
        }
    }
}

/// What falls all the time.
fn drizzle() -> Vec<Rule> {
    vec![
        Rule::share(0.03, HttpFault::Answer(503, "SlowDown")),
        Rule::share(0.01, HttpFault::Reset),
        Rule::share(0.01, HttpFault::LoseAnswer),
        Rule::share(0.01, HttpFault::CutBody),
    ]
}
