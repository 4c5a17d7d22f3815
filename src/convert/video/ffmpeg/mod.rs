//! Encoders of ffmpeg, as a child process: raw planes go in, fragmented mp4 comes out.
//!
//! The child has a process group of its own, so that no signal to ours reaches it; it is killed and waited for when the encoding
//! ends, however it ends. Should this process be killed, the child's input ends, and the child with it. Input is written and output
//! read by threads, since either may wait for the other; the encoding thread only ever waits a moment between two looks at
//! the stop flag.

mod find;
mod pipes;

pub use find::{FfmpegError, find};

use super::{Encode, EncodeError, Encoding, Planes, Samples, StopFlag};
use crate::convert::mapping::video::Encoder;
use crate::lerobot::video::{FRAME_TICKS, GOP_FRAMES, PIXEL_FORMAT, VideoStream, read_fragments};
use crossbeam_channel::{RecvTimeoutError, SendTimeoutError};
use pipes::Pipes;
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The program, looked for in `PATH`.
pub(super) const PROGRAM: &str = "ffmpeg";
/// Between two looks at the stop flag.
const LOOK: Duration = Duration::from_millis(25);
/// A child that takes or gives nothing for so long is stuck: the slowest encoder takes seconds for a large frame.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Ffmpeg {
    encoding: Encoding,
    child: Running,
    pipes: Pipes,
}

/// A child that does not outlive this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // With what it may have started. Once it was waited for, its number may be another's.
        if matches!(self.0.try_wait(), Ok(None)) {
            kill_process_group(Pid::from_child(&self.0), Signal::KILL).ok();
        }
        self.0.wait().ok();
    }
}

impl Ffmpeg {
    pub(super) fn start(encoding: &Encoding) -> Result<Self, EncodeError> {
        let name = encoding.video.encoder.ffmpeg_name().unwrap_or_default();
        let child = Command::new(PROGRAM)
            .args(arguments(encoding))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| EncodeError::Elsewhere(FfmpegError::of_start(name, &error).to_string()))?;
        let mut child = Running(child);
        let pipes = Pipes::start(&mut child.0)
            .map_err(|error| EncodeError::Elsewhere(format!("{PROGRAM} cannot be talked to: {error}")))?;
        Ok(Self { encoding: encoding.clone(), child, pipes })
    }

    /// Why the child ended before its work was done.
    fn ended(&mut self) -> EncodeError {
        let name = self.encoding.video.encoder.name();
        match self.child.0.wait() {
            Ok(status) if status.signal().is_some() => EncodeError::Elsewhere(format!(
                "{name}: {PROGRAM} was killed ({status}){}",
                self.pipes.complaints()
            )),
            Ok(status) => EncodeError::Failed(said(name, status, &self.pipes.complaints())),
            Err(error) => EncodeError::Elsewhere(format!("{name}: {PROGRAM} was lost: {error}")),
        }
    }

    fn stuck(&self) -> EncodeError {
        let (name, seconds) = (self.encoding.video.encoder.name(), PATIENCE.as_secs());
        EncodeError::Elsewhere(format!("{name}: {PROGRAM} did nothing for {seconds} s, and was killed"))
    }
}

fn said(name: &str, status: ExitStatus, complaints: &str) -> String {
    format!("{name}: {PROGRAM} gave up ({status}){complaints}")
}

impl Encode for Ffmpeg {
    fn encode(&mut self, frame: &Planes<'_>, _: &mut Samples, stop: &StopFlag) -> Result<(), EncodeError> {
        let mut body = [frame.y, frame.u, frame.v].concat();
        let begun = Instant::now();
        loop {
            if stop.is_set() {
                return Err(EncodeError::Stopped);
            }
            match self.pipes.input.send_timeout(body, LOOK) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Disconnected(_)) => return Err(self.ended()),
                Err(SendTimeoutError::Timeout(back)) if begun.elapsed() < PATIENCE => body = back,
                Err(SendTimeoutError::Timeout(_)) => return Err(self.stuck()),
            }
        }
    }

    fn finish(
        mut self: Box<Self>,
        samples: &mut Samples,
        stop: &StopFlag,
    ) -> Result<VideoStream, EncodeError> {
        self.pipes.end_input();
        let begun = Instant::now();
        let stream = loop {
            if stop.is_set() {
                return Err(EncodeError::Stopped);
            }
            match self.pipes.output.recv_timeout(LOOK) {
                Ok(Ok(stream)) => break stream,
                Ok(Err(error)) => return Err(EncodeError::Elsewhere(format!("{PROGRAM}: {error}"))),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) if begun.elapsed() < PATIENCE => {}
                Err(RecvTimeoutError::Timeout) => return Err(self.stuck()),
            }
        };
        match self.child.0.wait() {
            Ok(status) if status.success() => {}
            _ => return Err(self.ended()),
        }
        let name = self.encoding.video.encoder.name();
        let wrong =
            |what: String| EncodeError::Failed(format!("{name}: what {PROGRAM} wrote is not used: {what}"));
        let fragments = read_fragments(&stream).map_err(|error| wrong(error.to_string()))?;
        for sample in &fragments.samples {
            let begin = samples.bytes.len();
            samples.bytes.extend_from_slice(stream.get(sample.place.clone()).unwrap_or_default());
            samples.end(begin, sample.is_sync)?;
        }
        let codec = self.encoding.video.encoder.codec();
        let entry = fragments.entry;
        if entry.kind != codec.entry() || entry.record.is_empty() {
            let kind = String::from_utf8_lossy(&entry.kind).into_owned();
            return Err(wrong(format!("it is {kind:?} with parameters of {} bytes", entry.record.len())));
        }
        Ok(VideoStream {
            codec,
            width: self.encoding.width,
            height: self.encoding.height,
            record: entry.record,
            quality: self.encoding.video.quality,
            preset: self.encoding.shown_preset(),
        })
    }
}

/// One thread, no frames out of order, a key frame each second frame and nowhere else, no version of anything in the output's head,
/// and the colours named as what they are.
fn arguments(encoding: &Encoding) -> Vec<String> {
    let Encoding { video, fps, width, height } = encoding;
    let (size, gop, quality) =
        (format!("{width}x{height}"), GOP_FRAMES.to_string(), video.quality.to_string());
    let timescale = (fps.saturating_mul(FRAME_TICKS)).to_string();
    let fps = fps.to_string();
    let mut all: Vec<&str> = vec!["-hide_banner", "-nostats", "-loglevel", "error", "-f", "rawvideo"];
    all.extend(["-pix_fmt", PIXEL_FORMAT, "-s", &size, "-r", &fps]);
    all.extend(["-color_range", "tv", "-colorspace", "smpte170m", "-i", "pipe:0", "-an"]);
    all.extend(["-c:v", video.encoder.ffmpeg_name().unwrap_or_default(), "-crf", &quality]);
    match video.encoder {
        Encoder::OpenH264 => {}
        Encoder::X264 => {
            all.extend(["-preset", video.preset, "-bf", "0", "-sc_threshold", "0", "-keyint_min", "1"]);
        }
        Encoder::SvtAv1 => {
            all.extend(["-preset", video.preset, "-svtav1-params", "lp=1:scd=0:pred-struct=1"])
        }
        Encoder::AomAv1 => {
            all.extend(["-cpu-used", video.preset, "-b:v", "0", "-row-mt", "0", "-lag-in-frames", "0"]);
        }
    }
    all.extend(["-g", &gop, "-threads", "1", "-pix_fmt", PIXEL_FORMAT]);
    all.extend(["-color_range", "tv", "-colorspace", "smpte170m", "-color_primaries", "smpte170m"]);
    all.extend(["-color_trc", "smpte170m", "-fflags", "+bitexact", "-flags:v", "+bitexact"]);
    all.extend(["-video_track_timescale", &timescale, "-f", "mp4"]);
    all.extend(["-movflags", "+delay_moov+default_base_moof+frag_keyframe", "pipe:1"]);
    all.into_iter().map(str::to_owned).collect()
}
