//! What a person sees while a run goes on: a bar a machine and one for all, or a log line now and then.
//!
//! It reads the board, the counters and the batch's counts, and changes nothing.

use crate::metrics::Metrics;
use crate::worker::board::Board;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(2);
/// Steps of the overall bar.
const BAR_STEPS: u64 = 10_000;

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Recordings of the run.
    pub(super) recordings: u64,
    /// Those that are done, for better or worse.
    pub(super) settled: u64,
    /// Bytes of those that are done.
    pub(super) settled_bytes: u64,
    /// Bytes of all.
    pub(super) total_bytes: u64,
}

/// Shows progress.
#[derive(Debug)]
pub(super) struct Progress {
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    sizes: BTreeMap<String, u64>,
    started: Instant,
    logged: Instant,
    bars: Option<Bars>,
}

#[derive(Debug)]
struct Bars {
    all: ProgressBar,
    machines: Vec<ProgressBar>,
    multi: MultiProgress,
}

impl Progress {
    /// With bars when a terminal shows them. `sizes` are the recordings' sizes in bytes by their names.
    pub(super) fn new(
        board: Arc<Board>,
        metrics: Arc<Metrics>,
        sizes: BTreeMap<String, u64>,
        bars: Option<MultiProgress>,
    ) -> Self {
        let machines = board.read().len();
        let bars = bars.map(|multi| Bars::new(multi, machines));
        Self { board, metrics, sizes, started: Instant::now(), logged: Instant::now(), bars }
    }

    /// Shows how far the run is now.
    pub(super) fn show(&mut self, standing: Standing) {
        let done = self.share(standing);
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let frames = self.metrics.frames.get();
        let frame_rate = frames as f64 / seconds;
        let read_rate = self.metrics.read_bytes.get() as f64 / 1e6 / seconds;
        // Only what this process did counts for the rate; a resumed run knows better after a while.
        let left_s = (done > 0.01).then(|| seconds * (1.0 - done) / done);
        if let Some(bars) = &self.bars {
            let left = left_s.map_or_else(String::new, |left| format!(", {} left", span(left)));
            bars.all.set_position((done * BAR_STEPS as f64) as u64);
            bars.all.set_message(format!(
                "{}/{} recordings, {frames} frames, {frame_rate:.0} frames/s, {read_rate:.1} MB/s{left}",
                standing.settled, standing.recordings
            ));
            for (bar, place) in bars.machines.iter().zip(self.board.read()) {
                match place.task {
                    Some(task) => {
                        bar.set_length(u64::from(task.segments));
                        bar.set_position(u64::from(task.segments_done));
                        bar.set_message(task.source);
                    }
                    None => bar.set_message(place.leaf.public_name().to_lowercase()),
                }
            }
        } else if self.logged.elapsed() >= LOG_INTERVAL {
            self.logged = Instant::now();
            tracing::info!(
                recordings = standing.settled,
                of = standing.recordings,
                frames,
                frames_per_s = frame_rate.round(),
                mb_per_s = (read_rate * 10.0).round() / 10.0,
                percent = (done * 100.0).round(),
                left_s = left_s.map(f64::round),
                "converting"
            );
        }
    }

    /// Takes the bars away.
    pub(super) fn finish(&mut self) {
        if let Some(bars) = self.bars.take() {
            bars.all.finish_and_clear();
            bars.machines.iter().for_each(ProgressBar::finish_and_clear);
            bars.multi.clear().ok();
        }
    }

    /// The share that is done, 0 to 1, by the recordings' bytes.
    fn share(&self, standing: Standing) -> f64 {
        let part = |task: crate::worker::board::Task| {
            let bytes = self.sizes.get(&task.source).copied().unwrap_or(0) as f64;
            bytes * f64::from(task.segments_done) / f64::from(task.segments.max(1))
        };
        let active: f64 = self.board.read().into_iter().filter_map(|place| place.task).map(part).sum();
        if standing.total_bytes == 0 {
            return 0.0;
        }
        ((standing.settled_bytes as f64 + active) / standing.total_bytes as f64).clamp(0.0, 1.0)
    }
}

impl Bars {
    fn new(multi: MultiProgress, machines: usize) -> Self {
        let style = |template: &str| {
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("━╸ ")
        };
        let machines = (0..machines)
            .map(|_| {
                let bar = multi.add(ProgressBar::new(1));
                bar.set_style(style("  {bar:24} {pos:>4}/{len} {wide_msg}"));
                bar
            })
            .collect();
        let all = multi.add(ProgressBar::new(BAR_STEPS));
        all.set_style(style("{bar:26} {percent:>3}%  {wide_msg}"));
        Self { all, machines, multi }
    }
}

/// Seconds for people: `7s`, `3m 20s`, `2h 5m`.
fn span(seconds: f64) -> String {
    let seconds = seconds.round().max(0.0) as u64;
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, m, _) => format!("{h}h {m}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::board::Task;
    use roboflow_fsm::id::JobId;

    #[test]
    fn the_share_counts_settled_recordings_and_those_in_hand_by_their_bytes() {
        let board = Arc::new(Board::new(2));
        let sizes = BTreeMap::from([("a.mcap".to_owned(), 300), ("b.mcap".to_owned(), 100)]);
        let progress = Progress::new(Arc::clone(&board), Arc::default(), sizes, None);
        let standing = Standing { recordings: 2, settled: 1, settled_bytes: 100, total_bytes: 400 };
        assert!((progress.share(standing) - 0.25).abs() < 1e-9);
        let task = Task {
            job: JobId([0; 16]),
            source: "a.mcap".to_owned(),
            segments_done: 1,
            segments: 3,
            frames_done: 0,
            frames_of: 0,
        };
        board.works(1, Some(task));
        assert!((progress.share(standing) - 0.5).abs() < 1e-9);
        assert!(progress.share(Standing::default()).abs() < 1e-9);
    }

    #[test]
    fn spans_are_short() {
        assert_eq!(span(7.2), "7s");
        assert_eq!(span(200.0), "3m 20s");
        assert_eq!(span(7_500.0), "2h 5m");
    }
}
