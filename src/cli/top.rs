//! `roboflow top`: workers, queue and rates as they are now, again and again.
//!
//! It only reads. On a terminal it draws over itself until it is asked to stop; elsewhere it prints one picture.

use super::exit::{Code, Failure, OrExit, Outcome};
use super::open::{Open, QueuePlace};
use super::output;
use crate::cli::duration::Millis;
use crate::error::{Class, Classified};
use crate::queue::{HeartbeatNote, JobCounts, Queue, QueueError, Tally, WorkerRecord};
use crate::readable;
use crate::signal::Stream;
use crate::store::StoreTime;
use clap::Args;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use roboflow_fsm::effect::Leaf;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Workers read at once.
const PAGE: usize = 256;
/// Workers shown at most, those that hold jobs first.
const WORKERS_MAX: usize = 10_000;
/// The shortest time between two looks.
const INTERVAL_MIN_MS: u64 = 200;
/// A look may take this share of the time: of a great queue it takes longer.
const LOOK_SHARE: u32 = 4;
/// Lines of a terminal that does not say.
const LINES: usize = 24;

/// To another screen, without a cursor; and back.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
/// To the first place, and what is behind it cleared.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

const AFTER_HELP: &str = "\
Examples:
  roboflow top --pd pd-0:2379
  roboflow top --out set --interval 500ms
  roboflow top --pd pd-0:2379 --once | grep expired";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct TopArgs {
    #[command(flatten)]
    place: QueuePlace,
    /// Look so often
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    interval: Millis,
    /// Print one picture, and leave
    #[arg(long)]
    once: bool,
}

/// The queue at one moment.
#[derive(Debug, Clone)]
struct Look {
    at: Instant,
    now: StoreTime,
    counts: JobCounts,
    workers: Vec<WorkerRecord>,
}

impl Look {
    async fn read(queue: &Queue) -> Result<Self, QueueError> {
        let counts = queue.counts(None).await?;
        let (mut workers, mut after) = (Vec::new(), None);
        while workers.len() < WORKERS_MAX {
            let page = queue.workers(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.info.incarnation);
            workers.extend(page);
        }
        let now = queue.now().await?;
        workers.sort_by(|a, b| {
            (b.tally.held(), &a.info.pod, a.info.incarnation).cmp(&(
                a.tally.held(),
                &b.info.pod,
                b.info.incarnation,
            ))
        });
        Ok(Self { at: Instant::now(), now, counts, workers })
    }

    /// Jobs that were completed a minute, since an earlier look.
    fn per_minute(&self, before: Option<&Self>) -> Option<f64> {
        let before = before?;
        let done = self.counts.completed.checked_sub(before.counts.completed)?;
        let seconds = self.at.duration_since(before.at).as_secs_f64();
        (seconds > 0.0).then(|| done as f64 * 60.0 / seconds)
    }
}

/// Its leaves, each once with its count.
fn leaves(note: &HeartbeatNote) -> String {
    let counted = Leaf::ALL.into_iter().filter_map(|leaf| {
        match note.leaves.iter().filter(|other| **other == leaf).count() {
            0 => None,
            1 if note.leaves.len() == 1 => Some(leaf.name().to_owned()),
            many => Some(format!("{many} {}", leaf.name())),
        }
    });
    counted.collect::<Vec<_>>().join(", ")
}

fn lease(worker: &WorkerRecord, now: StoreTime) -> String {
    match worker.lease_until.0.checked_sub(now.0) {
        Some(left) => format!("{:.1} s", left as f64 / 1e3),
        None => "expired".to_owned(),
    }
}

/// One picture, of at most so many lines and columns.
fn picture(look: &Look, before: Option<&Look>, lines: usize, columns: usize) -> String {
    let JobCounts { ready, leased, completed, dead, cancelled, unreadable } = look.counts;
    let rate = look.per_minute(before).map_or_else(String::new, |rate| format!("   {rate:.1} a minute"));
    let mut text = format!("{}\n", output::instant(look.now.0));
    writeln!(text, "jobs     {ready} ready, {leased} leased, {completed} completed, {dead} dead, {cancelled} cancelled{rate}").ok();
    if unreadable > 0 {
        writeln!(text, "         {unreadable} cannot be read").ok();
    }
    let sum = look.workers.iter().fold(Tally::default(), |sum, worker| sum.plus(&worker.tally));
    writeln!(
        text,
        "workers  {}, {} held, {} claims since they started: {} completed, {} released, {} failed",
        look.workers.len(),
        sum.held(),
        sum.claims,
        sum.completes,
        sum.releases,
        sum.failures
    )
    .ok();
    writeln!(text, "\n{:28} {:>5} {:>8} {:>6} {:>6}  STATE", "POD", "HELD", "LEASE", "DONE", "BACK").ok();
    let room = lines.saturating_sub(text.lines().count() + 1).max(1);
    for worker in look.workers.iter().take(room) {
        let stopping =
            worker.note.stopping.map_or_else(String::new, |mode| format!(" ({mode:?})").to_lowercase());
        writeln!(
            text,
            "{:28.28} {:>5} {:>8} {:>6} {:>6}  {}{stopping}",
            readable::name(&worker.info.pod),
            worker.tally.held(),
            lease(worker, look.now),
            worker.tally.completes,
            worker.tally.releases,
            leaves(&worker.note),
        )
        .ok();
    }
    if let Some(more) = look.workers.len().checked_sub(room).filter(|more| *more > 0) {
        writeln!(text, "and {more} more").ok();
    }
    text.lines().map(|line| line.chars().take(columns).chain(['\n']).collect::<String>()).collect()
}

/// The other screen, left whatever happens.
struct Screen;

impl Screen {
    fn enter() -> Outcome<Self> {
        output::text(ENTER)?;
        Ok(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        output::text(LEAVE).ok();
    }
}

pub(super) fn run(args: &TopArgs, signals: &Stream) -> Outcome {
    if args.interval.0 < INTERVAL_MIN_MS {
        let text = format!("--interval {} ms: at least {INTERVAL_MIN_MS} ms", args.interval.0);
        return Err(Failure::new(Code::Config, text));
    }
    let open = Open::at(&args.place)?;
    if args.once || !output::is_terminal() {
        let look = open.ask(Look::read(&open.queue))?;
        output::text(&picture(&look, None, usize::MAX, output::width()))?;
        return Ok(Code::Ok);
    }
    let (stop, stopped) = bounded::<()>(1);
    signals.deliver_to(Arc::new(move |_| {
        stop.try_send(()).ok();
    }));
    let screen = Screen::enter()?;
    let end = draw(&open, Duration::from_millis(args.interval.0), &stopped);
    drop(screen);
    end
}

fn draw(open: &Open, interval: Duration, stopped: &Receiver<()>) -> Outcome {
    let mut before: Option<Look> = None;
    loop {
        let asked = Instant::now();
        match open.try_ask(Look::read(&open.queue)) {
            Ok(look) => {
                let lines =
                    rustix::termios::tcgetwinsize(std::io::stdout()).map_or(LINES, |size| size.ws_row.into());
                let shown = picture(&look, before.as_ref(), lines, output::width());
                output::text(&format!("{CLEAR}{shown}"))?;
                before = Some(look);
            }
            Err(error) if error.class() == Class::Transient => {
                output::text(&format!("{CLEAR}{error}\ntrying again\n"))?;
            }
            Err(error) => return Err(error).or_exit(Code::Io),
        }
        match stopped.recv_timeout(interval.max(asked.elapsed() * LOOK_SHARE)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(Code::Ok),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Incarnation, WorkerInfo};

    fn worker(pod: &str, held: u64, lease_until: u64) -> WorkerRecord {
        let incarnation = Incarnation::from_u128(u128::from(held));
        let info = WorkerInfo { incarnation, pod: pod.to_owned(), host: String::new(), pid: 1, machines: 2 };
        WorkerRecord {
            info,
            registered: StoreTime(0),
            lease_until: StoreTime(lease_until),
            expired: None,
            note: HeartbeatNote { leaves: vec![Leaf::Processing, Leaf::Idle], stopping: None },
            cancels: Vec::new(),
            slots: Vec::new(),
            tally: Tally { claims: held, ..Tally::default() },
            ends: Vec::new(),
            farewells: Vec::new(),
        }
    }

    fn look(completed: u64, workers: Vec<WorkerRecord>) -> Look {
        let counts = JobCounts { completed, ..JobCounts::default() };
        Look { at: Instant::now(), now: StoreTime(10_000), counts, workers }
    }

    #[test]
    fn a_picture_fits_the_terminal() {
        let workers = (0..50).map(|n| worker(&format!("pod-{n}-{}", "x".repeat(60)), n, 12_500)).collect();
        let shown = picture(&look(3, workers), None, 12, 60);
        assert!(shown.lines().count() <= 12, "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 60), "{shown}");
        assert!(shown.contains("and 44 more") || shown.contains("more"), "{shown}");
        let wide = picture(&look(3, vec![worker("pod", 1, 12_500)]), None, 12, 200);
        assert!(wide.contains("2.5 s") && wide.contains("1 Idle, 1 Processing"), "{wide}");
    }

    #[test]
    fn a_lease_that_ran_out_says_so_and_names_steer_no_terminal() {
        let shown = picture(&look(0, vec![worker("a\u{1b}[2J", 1, 9_000)]), None, 24, 200);
        assert!(shown.contains("expired") && !shown.contains('\u{1b}'), "{shown:?}");
    }

    #[test]
    fn the_rate_is_that_between_two_looks() {
        let before = look(10, Vec::new());
        let after = Look { at: before.at + Duration::from_secs(30), ..look(25, Vec::new()) };
        assert_eq!(after.per_minute(Some(&before)), Some(30.0));
        assert_eq!(after.per_minute(None), None);
        assert!(picture(&after, Some(&before), 24, 200).contains("30.0 a minute"));
    }
}
