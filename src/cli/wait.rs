//! Waiting for a batch: how far it is, until it is over for better or worse.

use super::dataset;
use super::exit::{Code, Failure, Outcome, queue_failure};
use crate::batch::{BatchState, Stage};
use crate::error::{Class, Classified};
use crate::queue::{BatchId, BatchRecord, Queue, QueueError};
use crate::session::Session;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::thread;
use std::time::{Duration, Instant};

/// A look may take this share of the time: of a great batch it takes longer.
const LOOK_SHARE: u32 = 20;
/// Between two log lines, where no terminal shows a bar.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Waits until the batch is published. A queue that is away is waited for. Gives the number of its recordings.
///
/// # Errors
/// When it cannot be published: exit 65 with what failed, 73 when the assembly did.
pub(super) fn until_over(
    session: &Session,
    queue: &Queue,
    batch: BatchId,
    bars: Option<MultiProgress>,
    every: Duration,
) -> Outcome<u64> {
    let mut shown = Progress::new(bars);
    loop {
        let asked = Instant::now();
        match session.runtime().block_on(read(queue, batch)) {
            Ok((record, state)) => {
                let stage = state.stage(&record);
                shown.show(&state, stage);
                if let Some(over) = verdict(&state, stage) {
                    shown.finish();
                    return over;
                }
            }
            Err(error) if error.class() == Class::Transient => {
                tracing::warn!(%error, "the batch cannot be looked at: trying again");
            }
            Err(error) => return Err(queue_failure(error)),
        }
        thread::sleep(every.max(asked.elapsed() * LOOK_SHARE));
    }
}

async fn read(queue: &Queue, batch: BatchId) -> Result<(BatchRecord, BatchState), QueueError> {
    // The record first: what is sealed then stays so.
    let record = queue.batch(batch).await?;
    Ok((record, BatchState::read(queue, batch).await?))
}

fn verdict(state: &BatchState, stage: Stage) -> Option<Outcome<u64>> {
    let failed = |text: String| Some(Err(Failure::new(Code::Data, text)));
    match stage {
        Stage::Published => Some(Ok(state.recordings())),
        Stage::Failed => failed(format!(
            "{} of {} recordings cannot be converted: nothing is published; retry them with 'roboflow jobs retry', or submit \
             again with --skip-failed\n{}",
            state.failed.len(),
            state.recordings(),
            dataset::list(&state.failed).trim_end()
        )),
        Stage::Cancelled => failed("the batch was cancelled: nothing is published".to_owned()),
        Stage::AssemblyFailed => {
            let reason = state.assembly.as_ref().map_or("cancelled", |(_, reason)| reason);
            let text = format!(
                "the dataset could not be assembled: {reason}\ntry it again with 'roboflow jobs retry' once that is mended"
            );
            Some(Err(Failure::new(Code::CannotCreate, text)))
        }
        Stage::Empty | Stage::Converting | Stage::Filling | Stage::Assembling | Stage::Cancelling => None,
    }
}

struct Progress {
    bar: Option<ProgressBar>,
    logged: Option<Instant>,
}

impl Progress {
    fn new(bars: Option<MultiProgress>) -> Self {
        let style = ProgressStyle::with_template("{bar:26} {pos:>4}/{len} recordings  {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸ ");
        let bar = bars.map(|bars| bars.add(ProgressBar::new(1)).with_style(style));
        Self { bar, logged: None }
    }

    fn show(&mut self, state: &BatchState, stage: Stage) {
        let (settled, recordings) = (state.completed + state.failed.len() as u64, state.recordings());
        let (failed, held) = (state.failed.len(), state.held.len());
        if let Some(bar) = &self.bar {
            bar.set_length(recordings);
            bar.set_position(settled);
            let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
            bar.set_message(format!("{}, {held} in hand{failed}", stage.name()));
        } else if self.logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            self.logged = Some(Instant::now());
            tracing::info!(stage = stage.name(), settled, of = recordings, failed, in_hand = held, "waiting");
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
