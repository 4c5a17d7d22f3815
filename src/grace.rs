//! How long a stop may take: until the kill that the pod's own deletion says, or until the grace that was configured.
//!
//! It asks once a stop is asked for, on a thread of its own, while the machines drain already; what it finds reaches them
//! as [`Input::TimeLeft`], which only ever shortens. It stops nothing by itself.

use crate::config::ConfigError;
use crate::error::{Class, Classified};
use crate::pod::{OwnPod, PodError, PodTime};
use crate::worker::Inputs;
use crate::worker::reserve::Reserve;
use roboflow_fsm::policy::EXIT_MARGIN_MS;
use roboflow_fsm::{Input, Settings};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// One try to read the own pod: an API server answers within a few milliseconds.
const ASK_LIMIT: Duration = Duration::from_millis(700);
/// Tries. All of them together are shorter than what a stop with a usual grace can spare.
const ASK_TRIES: u32 = 3;
/// Between two tries.
const ASK_PAUSE: Duration = Duration::from_millis(100);

/// What is configured of the grace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GraceSettings {
    /// From the request to stop until the kill, `preStop` included; where the pod does not tell.
    pub grace: Option<Duration>,
    /// What a `preStop` hook takes of it before SIGTERM comes.
    pub pre_stop: Duration,
    /// The notice that the node itself gets, as spot machines do: never more than this is left.
    pub node_notice: Option<Duration>,
}

/// Milliseconds as seconds.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}

impl GraceSettings {
    /// Refuses a grace in which the force deadline does not lie.
    ///
    /// # Errors
    /// With the arithmetic.
    pub fn check(&self, settings: &Settings) -> Result<(), ConfigError> {
        let force = Duration::from_millis(settings.force_after_ms);
        let margin = Duration::from_millis(EXIT_MARGIN_MS);
        let Some(grace) = self.grace else {
            if self.pre_stop.is_zero() {
                return Ok(());
            }
            return Err(ConfigError::new(format!(
                "--pre-stop {} without --grace: it is a part of the grace, so give both",
                Seconds(self.pre_stop)
            )));
        };
        let need = self.pre_stop + force + margin;
        if need <= grace {
            return Ok(());
        }
        Err(ConfigError::new(format!(
            "preStop {} + force deadline {} + margin {} = {} does not fit in the grace {}: raise \
             terminationGracePeriodSeconds and --grace, or lower --force-after and --drain-budget",
            Seconds(self.pre_stop),
            Seconds(force),
            Seconds(margin),
            Seconds(need),
            Seconds(grace)
        )))
    }

    /// What is left at SIGTERM, where only the configuration tells.
    fn configured(&self) -> Option<(Duration, &'static str)> {
        let grace = self.grace.map(|grace| (grace.saturating_sub(self.pre_stop), "--grace"));
        let notice = self.node_notice.map(|notice| (notice, "--node-notice"));
        grace.into_iter().chain(notice).min_by_key(|(left, _)| *left)
    }

    /// What is left, `since` SIGTERM, by the pod's word where there is one.
    fn left(&self, told: Option<PodTime>, since: Duration) -> Option<(Duration, &'static str)> {
        // A pod that runs on gets its whole grace from this container's SIGTERM on.
        let pod = told.and_then(|told| match told.left {
            Some(left) => Some((left, "the pod's deletion")),
            None => told.grace.map(|grace| (grace.saturating_sub(since), "the pod's grace")),
        });
        let notice = self.node_notice.map(|notice| (notice.saturating_sub(since), "--node-notice"));
        match pod {
            Some(pod) => [Some(pod), notice].into_iter().flatten().min_by_key(|(left, _)| *left),
            None => self.configured().map(|(left, by)| (left.saturating_sub(since), by)),
        }
    }
}

/// Finds out how much time is left once a stop is asked for.
#[derive(Debug)]
pub struct TimeKeeper {
    settings: GraceSettings,
    pod: Option<OwnPod>,
    reserve: Arc<Reserve>,
    asked: AtomicBool,
}

impl TimeKeeper {
    /// For a worker that measures its writes in `reserve`.
    pub fn new(settings: GraceSettings, pod: Option<OwnPod>, reserve: Arc<Reserve>) -> Arc<Self> {
        Arc::new(Self { settings, pod, reserve, asked: AtomicBool::new(false) })
    }

    /// A stop that runs against the clock was asked for, and the machines were told. Only the first call counts. Never
    /// blocks.
    pub fn stop_was_asked(self: &Arc<Self>, inputs: &Inputs) {
        if self.asked.swap(true, Ordering::Relaxed) {
            return;
        }
        if self.pod.is_none() && self.settings.configured().is_none() {
            return;
        }
        let (keeper, inputs) = (Arc::clone(self), inputs.clone());
        let (begun, context) = (Instant::now(), tracing::Span::current());
        let started = thread::Builder::new().name("time-left".to_owned()).spawn(move || {
            context.in_scope(|| keeper.tell(&inputs, begun));
        });
        if let Err(error) = started {
            tracing::warn!(%error, "the time left is not asked for: the configured budgets hold");
        }
    }

    fn tell(&self, inputs: &Inputs, begun: Instant) {
        let told = self.pod.as_ref().and_then(ask);
        let Some((left, by)) = self.settings.left(told, begun.elapsed()) else {
            tracing::warn!("nothing tells how much time is left: the configured budgets hold");
            return;
        };
        let (left_ms, reserve_ms) = (whole_ms(left), self.reserve.ms());
        tracing::info!(
            left_ms,
            reserve_ms,
            drain_ms = left_ms.saturating_sub(reserve_ms),
            by,
            "draining: the time left is known"
        );
        inputs.send(&Input::TimeLeft { left_ms, reserve_ms });
    }
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What the pod says, within [`ASK_TRIES`].
fn ask(pod: &OwnPod) -> Option<PodTime> {
    match with_runtime(pod) {
        Ok(told) => Some(told),
        Err(error) => {
            tracing::warn!(pod = pod.shown(), %error, "the own pod cannot be read, so its grace is not known");
            None
        }
    }
}

fn with_runtime(pod: &OwnPod) -> Result<PodTime, PodError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| PodError::Unreachable { url: pod.shown(), reason: error.to_string() })?;
    runtime.block_on(async {
        let mut tried = 0;
        loop {
            tried += 1;
            match pod.time(ASK_LIMIT).await {
                Err(error) if error.class() == Class::Transient && tried < ASK_TRIES => {
                    tokio::time::sleep(ASK_PAUSE).await;
                }
                told => return told,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn grace(grace: u64, pre_stop: u64) -> GraceSettings {
        GraceSettings { grace: Some(seconds(grace)), pre_stop: seconds(pre_stop), node_notice: None }
    }

    #[test]
    fn a_grace_that_cannot_hold_the_force_deadline_is_refused_with_the_sum() {
        let settings = Settings::default();
        assert!(grace(40, 5).check(&settings).is_ok());
        assert!(GraceSettings::default().check(&settings).is_ok());
        let refused = grace(30, 5).check(&settings).unwrap_err().to_string();
        assert!(
            refused.contains(
                "preStop 5 s + force deadline 30 s + margin 0.75 s = 35.75 s does not fit in the grace 30 s"
            ),
            "{refused}"
        );
        let alone = GraceSettings { pre_stop: seconds(5), ..GraceSettings::default() };
        assert!(alone.check(&settings).unwrap_err().to_string().contains("without --grace"));
    }

    #[test]
    fn the_pods_own_word_goes_before_what_is_configured() {
        let deleted = PodTime { left: Some(seconds(17)), grace: Some(seconds(40)) };
        assert_eq!(grace(60, 0).left(Some(deleted), seconds(1)), Some((seconds(17), "the pod's deletion")));
        let alive = PodTime { left: None, grace: Some(seconds(40)) };
        assert_eq!(grace(60, 0).left(Some(alive), seconds(1)), Some((seconds(39), "the pod's grace")));
        assert_eq!(grace(60, 5).left(None, seconds(1)), Some((seconds(54), "--grace")));
        assert_eq!(GraceSettings::default().left(None, seconds(1)), None);
    }

    #[test]
    fn no_more_than_the_nodes_notice_is_left() {
        let spot = GraceSettings { node_notice: Some(seconds(25)), ..grace(120, 0) };
        let deleted = PodTime { left: Some(seconds(110)), grace: Some(seconds(120)) };
        assert_eq!(spot.left(Some(deleted), seconds(5)), Some((seconds(20), "--node-notice")));
        assert_eq!(spot.left(None, seconds(5)), Some((seconds(20), "--node-notice")));
        let nearly = PodTime { left: Some(seconds(3)), grace: None };
        assert_eq!(spot.left(Some(nearly), seconds(5)), Some((seconds(3), "the pod's deletion")));
    }
}
