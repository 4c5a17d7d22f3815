//! The three pipes of a child: frames in, a stream out, complaints kept as far as they help.
//!
//! Each has a thread, which ends when the child does.

use crate::convert::video::SAMPLES_BYTES_MAX;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::io::{self, Read, Write};
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Frames that wait for the child at most.
const FRAMES_AHEAD: usize = 2;
/// The last bytes of what it complains, in an error.
const COMPLAINT_BYTES: usize = 600;
/// Most bytes of its output.
const OUTPUT_BYTES_MAX: u64 = SAMPLES_BYTES_MAX as u64 + (64 << 20);

pub(super) struct Pipes {
    /// Whole frames. Closed when the child takes no more.
    pub(super) input: Sender<Vec<u8>>,
    /// All of its output, once it ended. Closed without one when the output could not be read.
    pub(super) output: Receiver<io::Result<Vec<u8>>>,
    said: Arc<Mutex<Vec<u8>>>,
    /// Closed when all of its complaints were read.
    silent: Receiver<()>,
}

fn missing() -> io::Error {
    io::Error::other("a pipe is missing")
}

impl Pipes {
    pub(super) fn start(child: &mut Child) -> io::Result<Self> {
        let mut stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let mut stderr = child.stderr.take().ok_or_else(missing)?;
        let (input, frames) = bounded::<Vec<u8>>(FRAMES_AHEAD);
        let (send, output) = bounded(1);
        let (quiet, silent) = bounded(0);
        let said = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&said);
        let name = |what: &str| thread::Builder::new().name(format!("ffmpeg-{what}"));
        name("in").spawn(move || {
            // One that takes no more has ended, and says why elsewhere.
            while let Ok(frame) = frames.recv() {
                if stdin.write_all(&frame).is_err() {
                    return;
                }
            }
        })?;
        name("out").spawn(move || {
            let mut all = Vec::new();
            let read = stdout.take(OUTPUT_BYTES_MAX + 1).read_to_end(&mut all);
            let whole = match read {
                Ok(bytes) if bytes as u64 > OUTPUT_BYTES_MAX => Err(io::Error::other(format!(
                    "it wrote more than {OUTPUT_BYTES_MAX} bytes for one segment"
                ))),
                Ok(_) => Ok(all),
                Err(error) => Err(error),
            };
            // Nobody waits for it any more when the encoding was stopped.
            send.send(whole).ok();
        })?;
        name("err").spawn(move || {
            let _quiet = quiet;
            let mut piece = [0; 1024];
            while let Ok(count @ 1..) = stderr.read(&mut piece) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(piece.get(..count).unwrap_or_default());
                let beyond = kept.len().saturating_sub(COMPLAINT_BYTES);
                kept.drain(..beyond);
            }
        })?;
        Ok(Self { input, output, said, silent })
    }

    /// There are no more frames.
    pub(super) fn end_input(&mut self) {
        let (closed, _) = bounded(0);
        self.input = closed;
    }

    /// What it complained, on one line, behind a colon. Waits until the child, which has ended, is heard out.
    pub(super) fn complaints(&self) -> String {
        self.silent.recv().ok();
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&said);
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.is_empty() { line } else { format!(": {line}") }
    }
}
