//! Whether ffmpeg is there and has an encoder, asked before anything is begun.

use super::{PROGRAM, Running};
use crate::convert::mapping::video::{Encoder, encoder_names};
use crate::convert::nearest::listed;
use crossbeam_channel::bounded;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Generous: it prints a list and ends, but a crowded machine may take seconds to start it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most bytes of the list: it has some tens of thousands.
const LIST_BYTES_MAX: u64 = 1 << 20;

/// Why an encoder of ffmpeg cannot be used here.
#[derive(Debug, thiserror::Error)]
pub enum FfmpegError {
    /// There is no such program.
    #[error(
        "ffmpeg:{encoder} needs the program ffmpeg, and none is found in PATH: install it (Debian: apt-get install ffmpeg), or take \
         encoder = \"openh264\", which is part of this program"
    )]
    Missing {
        /// The encoder.
        encoder: String,
    },
    /// It cannot be started or asked.
    #[error("ffmpeg:{encoder}: the program ffmpeg cannot be started: {reason}")]
    Broken {
        /// The encoder.
        encoder: String,
        /// What was seen.
        reason: String,
    },
    /// It has no such encoder.
    #[error("the ffmpeg here has no encoder {encoder}: of the encoders that can be used, it has {has}")]
    Lacks {
        /// The encoder.
        encoder: String,
        /// What it has.
        has: String,
    },
}

impl FfmpegError {
    pub(super) fn of_start(encoder: &str, error: &io::Error) -> Self {
        let encoder = encoder.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing { encoder },
            _ => Self::Broken { encoder, reason: error.to_string() },
        }
    }
}

/// Encoders that were found: the program is asked once a process, not once a recording, since its start alone takes as long as tens
/// of frames. One that is taken away later fails where it is started.
static FOUND: Mutex<Vec<&str>> = Mutex::new(Vec::new());

/// Makes sure that the encoder can be used on this machine. One that is part of this program always can.
///
/// # Errors
/// When ffmpeg is missing or lacks it, with what it has.
pub fn find(encoder: Encoder) -> Result<(), FfmpegError> {
    let Some(wanted) = encoder.ffmpeg_name() else { return Ok(()) };
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if found.contains(&wanted) {
        return Ok(());
    }
    let text = encoders(wanted)?;
    let has = |name: &str| text.lines().any(|line| line.split_whitespace().nth(1) == Some(name));
    if has(wanted) {
        found.push(wanted);
        return Ok(());
    }
    let usable: Vec<&str> =
        encoder_names().filter_map(|name| name.strip_prefix("ffmpeg:")).filter(|name| has(name)).collect();
    let has =
        if usable.is_empty() { "none".to_owned() } else { listed(usable.iter().copied(), usable.len()) };
    Err(FfmpegError::Lacks { encoder: wanted.to_owned(), has })
}

/// ffmpeg's own list of its encoders.
fn encoders(wanted: &str) -> Result<String, FfmpegError> {
    let failed = |error: io::Error| FfmpegError::of_start(wanted, &error);
    let child = Command::new(PROGRAM)
        .args(["-hide_banner", "-loglevel", "error", "-encoders"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let mut child = Running(child);
    let stdout = child.0.stdout.take();
    let (send, told) = bounded(1);
    thread::Builder::new()
        .name("ffmpeg-list".to_owned())
        .spawn(move || {
            let mut text = Vec::new();
            let read = stdout.map(|stdout| stdout.take(LIST_BYTES_MAX).read_to_end(&mut text));
            // Nobody waits for it any more once it took too long.
            send.send(read.map(|_| text)).ok();
        })
        .map_err(failed)?;
    match told.recv_timeout(PATIENCE) {
        Ok(Some(text)) if !text.is_empty() => Ok(String::from_utf8_lossy(&text).into_owned()),
        told => {
            let took =
                if told.is_err() { format!(" within {} s", PATIENCE.as_secs()) } else { String::new() };
            let reason = format!("asked for its encoders, it lists none{took}");
            Err(FfmpegError::Broken { encoder: wanted.to_owned(), reason })
        }
    }
}
