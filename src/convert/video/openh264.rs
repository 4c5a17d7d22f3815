//! H.264 within this process, by openh264.
//!
//! The quantiser is constant: its rate control by buffer state takes the quantiser from a range, and the range has one
//! number. (With rate control off it would always be 26.) Whatever looks at other frames or at the machine to decide
//! something is off, and there is one thread: the same frames give the same bytes.

use super::nal::{IDR_SLICE, PICTURE, SEQUENCE, configuration, kind, without_start_code};
use super::{Encode, EncodeError, Encoding, Planes, Samples, StopFlag};
use crate::lerobot::video::{Codec, GOP_FRAMES, VideoStream};
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, QpRange,
    RateControlMode, SpsPpsStrategy, UsageType, VuiConfig,
};
use openh264::formats::YUVSource;
use openh264::{OpenH264API, Timestamp};

/// It only takes part in the choice of the level that the stream names.
const NOMINAL_BITS_PER_SECOND: u32 = 120_000;
/// The greatest rate that it takes; a higher one is named as this, and frames have no times of their own in a stream.
const FRAMES_PER_SECOND_MAX: u32 = 60;

pub(super) struct OpenH264 {
    encoding: Encoding,
    encoder: Encoder,
    frames: u64,
    /// The sets that every sample refers to.
    sequence: Vec<u8>,
    picture: Vec<u8>,
}

impl YUVSource for Planes<'_> {
    fn dimensions(&self) -> (usize, usize) {
        (self.width as usize, self.height as usize)
    }

    fn strides(&self) -> (usize, usize, usize) {
        (self.width as usize, self.width as usize / 2, self.width as usize / 2)
    }

    fn y(&self) -> &[u8] {
        self.y
    }

    fn u(&self) -> &[u8] {
        self.u
    }

    fn v(&self) -> &[u8] {
        self.v
    }
}

impl OpenH264 {
    pub(super) fn new(encoding: &Encoding) -> Result<Self, EncodeError> {
        let quantiser = u8::try_from(encoding.video.quality).unwrap_or(51).min(51);
        let complexity = match encoding.video.preset {
            "high" => Complexity::High,
            "medium" => Complexity::Medium,
            _ => Complexity::Low,
        };
        let config = EncoderConfig::new()
            .usage_type(UsageType::CameraVideoRealTime)
            .rate_control_mode(RateControlMode::Bufferbased)
            .qp(QpRange::new(quantiser, quantiser))
            .bitrate(BitRate::from_bps(NOMINAL_BITS_PER_SECOND))
            .max_frame_rate(FrameRate::from_hz(encoding.fps.min(FRAMES_PER_SECOND_MAX) as f32))
            .intra_frame_period(IntraFramePeriod::from_num_frames(GOP_FRAMES))
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            .complexity(complexity)
            .num_threads(1)
            .skip_frames(false)
            .scene_change_detect(false)
            .adaptive_quantization(false)
            .background_detection(false)
            .long_term_reference(false)
            .vui(VuiConfig::bt601());
        let encoder = Encoder::with_api_config(OpenH264API::from_source(), config).map_err(failed)?;
        Ok(Self { encoding: encoding.clone(), encoder, frames: 0, sequence: Vec::new(), picture: Vec::new() })
    }
}

fn failed(error: openh264::Error) -> EncodeError {
    EncodeError::Failed(format!("openh264 refuses it: {error}"))
}

/// Keeps a set; a second one that differs would need another file.
fn keep(set: &mut Vec<u8>, unit: &[u8]) -> Result<(), EncodeError> {
    if set.is_empty() {
        set.extend_from_slice(unit);
    }
    if set == unit {
        Ok(())
    } else {
        Err(EncodeError::Failed("openh264 changed its parameters within a segment".to_owned()))
    }
}

impl Encode for OpenH264 {
    fn encode(
        &mut self,
        frame: &Planes<'_>,
        samples: &mut Samples,
        stop: &StopFlag,
    ) -> Result<(), EncodeError> {
        if stop.is_set() {
            return Err(EncodeError::Stopped);
        }
        if (frame.width, frame.height) != (self.encoding.width, self.encoding.height) {
            return Err(EncodeError::Failed(format!("a frame of {} x {}", frame.width, frame.height)));
        }
        let time = Timestamp::from_millis(self.frames * 1000 / u64::from(self.encoding.fps.max(1)));
        self.frames += 1;
        let stream = self.encoder.encode_at(frame, time).map_err(failed)?;
        let begin = samples.bytes.len();
        let mut is_sync = false;
        for layer in (0..stream.num_layers()).filter_map(|layer| stream.layer(layer)) {
            for unit in (0..layer.nal_count()).filter_map(|unit| layer.nal_unit(unit)) {
                let unit = without_start_code(unit);
                match kind(unit) {
                    SEQUENCE => keep(&mut self.sequence, unit)?,
                    PICTURE => keep(&mut self.picture, unit)?,
                    slice => {
                        is_sync |= slice == IDR_SLICE;
                        let length = u32::try_from(unit.len()).unwrap_or(u32::MAX);
                        samples.bytes.extend(length.to_be_bytes());
                        samples.bytes.extend_from_slice(unit);
                    }
                }
            }
        }
        if !matches!(stream.frame_type(), FrameType::IDR | FrameType::P) {
            return Err(EncodeError::Failed(format!("openh264 made a frame {:?}", stream.frame_type())));
        }
        samples.end(begin, is_sync)
    }

    fn finish(self: Box<Self>, _: &mut Samples, _: &StopFlag) -> Result<VideoStream, EncodeError> {
        let record = configuration(&self.sequence, &self.picture)
            .ok_or_else(|| EncodeError::Failed("openh264 gave no parameters".to_owned()))?;
        Ok(VideoStream {
            codec: Codec::H264,
            width: self.encoding.width,
            height: self.encoding.height,
            record,
            quality: self.encoding.video.quality,
            preset: self.encoding.shown_preset(),
        })
    }
}
