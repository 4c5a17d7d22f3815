//! Leading: one lease a role, asked for and renewed from its own OS thread, its own runtime and its own store handle.
//!
//! Architecture Invariant: nothing that the rest of the process does, short of ending, delays a renewal; and what the
//! process believes here is only a courtesy. The queue compares the term with every write of a leader.

use crate::metrics::Metrics;
use crate::queue::{Campaign, Incarnation, Leadership, Queue, QueueError};
use crate::work::StopFlag;
use crate::worker::lease::Home;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// Between two tries of a campaign that failed.
const RETRY_WAIT: Duration = Duration::from_millis(250);
/// A follower looks this long after the leader's lease has ended, so that it has.
const AFTER_END: Duration = Duration::from_millis(20);
/// Of the lease's length, this share is not used: clocks that run apart, and the way of an answer.
const MARGIN_SHARE: u32 = 5;

/// How leases are held.
#[derive(Debug, Clone)]
pub struct LeaderSettings {
    /// Their length, as the store counts it.
    pub lease: Duration,
    /// How often they are renewed, and how often a follower looks at the latest.
    pub renew_interval: Duration,
    /// The name that people see.
    pub label: String,
}

/// A lead that was won.
#[derive(Debug, Clone)]
pub struct Lead {
    /// What writes are made under.
    pub leadership: Leadership,
    /// Set once it is lost, as far as this process knows.
    pub lost: StopFlag,
}

/// The leases of one process. Copies are the same.
#[derive(Debug, Clone)]
pub struct Leader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    seats: Mutex<Vec<Seat>>,
    changed: Condvar,
    stop: watch::Sender<bool>,
    /// Roles whose task has not ended.
    open: Mutex<usize>,
    ended: Condvar,
    /// When a lead was last asked for, and whether the store ever answered.
    asked: Mutex<(Instant, bool)>,
    metrics: Arc<Metrics>,
}

/// One role's.
#[derive(Debug, Default)]
struct Seat {
    lead: Option<Lead>,
    /// Not to be believed beyond.
    until: Option<Instant>,
    /// Who leads instead, when that was seen.
    other: Option<String>,
}

impl Leader {
    /// Starts the thread, which asks to lead each of these roles.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        roles: Vec<String>,
        settings: LeaderSettings,
        home: Home,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let (runtime, queue) = home.into_parts();
        let shared = Arc::new(Shared {
            seats: Mutex::new(roles.iter().map(|_| Seat::default()).collect()),
            changed: Condvar::new(),
            stop: watch::Sender::new(false),
            open: Mutex::new(roles.len()),
            ended: Condvar::new(),
            asked: Mutex::new((Instant::now(), false)),
            metrics,
        });
        let holder = Uuid::new_v4();
        let handle = Self { shared: Arc::clone(&shared) };
        let context = tracing::Span::current();
        thread::Builder::new().name("lead".to_owned()).spawn(move || {
            let _context = context.entered();
            let tasks: Vec<_> = (0..)
                .zip(roles)
                .map(|(seat, role)| {
                    let shared = Arc::clone(&shared);
                    let candidate = Candidate {
                        shared,
                        seat,
                        role,
                        holder,
                        queue: queue.clone(),
                        settings: settings.clone(),
                    };
                    runtime.spawn(candidate.run())
                })
                .collect();
            runtime.block_on(async {
                for task in tasks {
                    task.await.ok();
                }
            });
        })?;
        Ok(handle)
    }

    /// The lead of a role (by its number at the start), if we have it now.
    pub fn lead(&self, seat: usize) -> Option<Lead> {
        let seats = self.seats();
        let seat = seats.get(seat)?;
        let is_valid = seat.until.is_some_and(|until| Instant::now() < until);
        seat.lead.clone().filter(|lead| is_valid && !lead.lost.is_set())
    }

    /// Waits at most so long for the lead of a role.
    pub fn await_lead(&self, seat: usize, within: Duration) -> Option<Lead> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(lead) = self.lead(seat) {
                return Some(lead);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let seats = self.seats();
            drop(self.shared.changed.wait_timeout(seats, left.min(RETRY_WAIT)));
        }
    }

    /// How long ago a lead was last asked for.
    pub fn silent_for(&self) -> Duration {
        self.shared.asked().0.elapsed()
    }

    /// Whether the store ever said who leads.
    pub fn was_answered(&self) -> bool {
        self.shared.asked().1
    }

    /// Who leads a role instead of us, when that was seen.
    pub fn other(&self, seat: usize) -> Option<String> {
        self.seats().get(seat).and_then(|seat| seat.other.clone())
    }

    /// Steps down from all roles, so that the next one need not wait, and asks for none any more. Whether that was confirmed
    /// within this time; otherwise the leases end by themselves.
    pub fn resign(&self, within: Duration) -> bool {
        self.shared.stop.send_replace(true);
        let open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.ended.wait_timeout_while(open, within, |open| *open > 0);
        let (open, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *open == 0
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Seat>> {
        self.shared.seats()
    }
}

impl Shared {
    fn asked(&self) -> MutexGuard<'_, (Instant, bool)> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One role's task.
struct Candidate {
    shared: Arc<Shared>,
    seat: usize,
    role: String,
    holder: Incarnation,
    queue: Queue,
    settings: LeaderSettings,
}

impl Candidate {
    async fn run(self) {
        let mut stop = self.shared.stop.subscribe();
        while !*stop.borrow_and_update() {
            let asked = Instant::now();
            self.shared.asked().0 = asked;
            let wait = self.campaign(asked).await;
            // A change of the flag ends the wait.
            timeout(wait.saturating_sub(asked.elapsed()), stop.changed()).await.ok();
        }
        self.step_down().await;
        *self.shared.open.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.shared.ended.notify_all();
    }

    /// Asks once. How long after asking to ask again.
    async fn campaign(&self, asked: Instant) -> Duration {
        let lease_ms = u64::try_from(self.settings.lease.as_millis()).unwrap_or(u64::MAX);
        let limit = self.limit();
        let asking = self.queue.campaign(&self.role, self.holder, &self.settings.label, lease_ms);
        let answer = timeout(limit, asking).await;
        self.shared.asked().1 |= matches!(answer, Ok(Ok(_)));
        match answer {
            Ok(Ok(Campaign::Leads(leadership))) => {
                self.leads(leadership, asked);
                self.settings.renew_interval
            }
            Ok(Ok(Campaign::Follows { leader, now })) => {
                self.lose("another scanner leads");
                self.put_other(Some(leader.label.clone()));
                let left = Duration::from_millis(leader.until.0.saturating_sub(now.0));
                self.settings.renew_interval.min(left + AFTER_END) + asked.elapsed()
            }
            Ok(Err(error)) => self.failed(&error.to_string(), asked).await,
            Err(_) => self.failed("no answer in time", asked).await,
        }
    }

    /// A campaign may take until the next one is due, and never longer than the lease is believed.
    fn limit(&self) -> Duration {
        let until = self.shared.seats().get(self.seat).and_then(|seat| seat.until);
        let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        self.settings.renew_interval.min(left).max(RETRY_WAIT)
    }

    fn leads(&self, leadership: Leadership, asked: Instant) {
        let length = Duration::from_millis(leadership.until.0.saturating_sub(leadership.now.0));
        let mut seats = self.shared.seats();
        let Some(seat) = seats.get_mut(self.seat) else { return };
        seat.until = Some(asked + (length - length / MARGIN_SHARE));
        seat.other = None;
        match &seat.lead {
            Some(lead) if lead.leadership.term == leadership.term && !lead.lost.is_set() => {}
            before => {
                if let Some(before) = before {
                    before.lost.set();
                }
                self.shared.metrics.leads_won.inc();
                tracing::info!(role = self.role, term = leadership.term, "leads now");
                seat.lead = Some(Lead { leadership, lost: StopFlag::default() });
            }
        }
        drop(seats);
        self.shared.changed.notify_all();
    }

    /// We lead no more. What was begun under the lead stops at once.
    fn lose(&self, why: &str) {
        let mut seats = self.shared.seats();
        let Some(seat) = seats.get_mut(self.seat) else { return };
        seat.until = None;
        if let Some(lead) = seat.lead.take() {
            lead.lost.set();
            self.shared.metrics.leads_lost.inc();
            tracing::warn!(role = self.role, term = lead.leadership.term, why, "leads no more");
        }
    }

    fn put_other(&self, other: Option<String>) {
        if let Some(seat) = self.shared.seats().get_mut(self.seat) {
            seat.other = other;
        }
    }

    async fn failed(&self, error: &str, asked: Instant) -> Duration {
        tracing::warn!(role = self.role, error, "the queue does not answer the leader's lease: trying again");
        let until = self.shared.seats().get(self.seat).and_then(|seat| seat.until);
        if until.is_some_and(|until| until <= Instant::now()) {
            self.lose("the lease could not be renewed");
        }
        sleep(RETRY_WAIT).await;
        asked.elapsed()
    }

    async fn step_down(&self) {
        let lead = self.shared.seats().get_mut(self.seat).and_then(|seat| seat.lead.take());
        let Some(lead) = lead else { return };
        lead.lost.set();
        match timeout(self.settings.renew_interval, self.queue.resign(&lead.leadership)).await {
            Ok(Ok(())) => tracing::info!(role = self.role, term = lead.leadership.term, "stepped down"),
            Ok(Err(QueueError::Lost { .. })) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lead is left to its lease"),
            Err(_) => tracing::warn!("the lead is left to its lease: the queue does not answer"),
        }
    }
}
