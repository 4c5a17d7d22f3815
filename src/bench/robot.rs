//! Recordings of a made-up robot, for measurements: joints, a command and cameras, as CDR in an MCAP file of zstd chunks.
//!
//! The bytes are a function of the [`Robot`] alone.

use super::BenchError;
use super::scene::Scene;
use jpeg_encoder::{ColorType, Encoder};
use mcap::records::MessageHeader;
use mcap::{Compression, WriteOptions, Writer};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

const NS: u64 = 1_000_000_000;
/// When recordings begin.
const EPOCH_NS: u64 = 1_768_471_200 * NS;
/// Joints of the arm.
pub(super) const JOINTS: u32 = 6;
const JOINT_RATE: u64 = 100;
const COMMAND_RATE: u64 = 50;
/// Frames a second of each camera.
pub(super) const CAMERA_RATE: u64 = 30;
/// Different pictures of a camera; then they come again.
pub(super) const PICTURES: u32 = 60;
/// Gives pictures of 640 x 480 about 50 kB.
const JPEG_QUALITY: u8 = 80;
/// A message comes at most so much after its time.
const JITTER_NS: u64 = 4_000_000;
const CHUNK_BYTES: u64 = 1 << 20;
/// Cameras at most.
pub const CAMERAS_MAX: u32 = 16;
/// The longest side of a picture, in pixels.
pub const SIDE_MAX: u16 = 4096;

const HEADER: &str = "================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
";
const JOINT_STATE: &str =
    "std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n";
const IMAGE: &str = "std_msgs/Header header\nstring format\nuint8[] data\n";

/// What is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Robot {
    /// How long, in seconds.
    pub seconds: u32,
    /// Cameras, at most [`CAMERAS_MAX`].
    pub cameras: u32,
    /// Width and height of their pictures in pixels, at most [`SIDE_MAX`].
    pub size: (u16, u16),
}

/// A camera's topic.
pub(super) fn camera_topic(camera: u32) -> String {
    format!("/camera_{camera}/image/compressed")
}

/// The first picture of the first camera.
pub(super) fn camera_picture(size: (u16, u16)) -> Result<Vec<u8>, BenchError> {
    jpeg(&Scene::new(usize::from(size.0), usize::from(size.1), 0).frame(0, PICTURES), size)
}

/// Red, green and blue as a file.
fn jpeg(frame: &[u8], (width, height): (u16, u16)) -> Result<Vec<u8>, BenchError> {
    let mut file = Vec::new();
    let encoder = Encoder::new(&mut file, JPEG_QUALITY);
    encoder.encode(frame, width, height, ColorType::Rgb).map_err(BenchError::made)?;
    Ok(file)
}

/// The pictures of the cameras, to be recorded any number of times.
pub struct Pictures(Vec<Vec<Vec<u8>>>);

impl Robot {
    /// Makes the pictures, on all threads of the pool that it runs in.
    ///
    /// # Errors
    /// When a size is refused by the encoder.
    pub fn pictures(&self) -> Result<Pictures, BenchError> {
        let (width, height) = self.size;
        let all: Result<Vec<_>, BenchError> = (0..self.cameras)
            .map(|camera| {
                let scene = Scene::new(usize::from(width), usize::from(height), camera);
                let encode = |number: u32| jpeg(&scene.frame(number, PICTURES), self.size);
                let files: Vec<Result<Vec<u8>, BenchError>> =
                    (0..PICTURES).into_par_iter().map(encode).collect();
                files.into_iter().collect()
            })
            .collect();
        Ok(Pictures(all?))
    }

    /// Writes a recording that has these pictures.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path, pictures: &Pictures) -> Result<(), BenchError> {
        let options = WriteOptions::new()
            .compression(Some(Compression::Zstd))
            .profile("ros2")
            .library("roboflow-bench")
            .chunk_size(Some(CHUNK_BYTES));
        let file = File::create(path).map_err(BenchError::made)?;
        let mut writer = options.create(BufWriter::new(file)).map_err(BenchError::made)?;
        let state = writer
            .add_schema("sensor_msgs/msg/JointState", "ros2msg", format!("{JOINT_STATE}{HEADER}").as_bytes())
            .map_err(BenchError::made)?;
        let image = writer
            .add_schema("sensor_msgs/msg/CompressedImage", "ros2msg", format!("{IMAGE}{HEADER}").as_bytes())
            .map_err(BenchError::made)?;
        let mut topics = vec![
            Topic {
                channel: channel(&mut writer, state, "/joint_states")?,
                rate: JOINT_RATE,
                lead_s: 0.0,
                files: None,
            },
            Topic {
                channel: channel(&mut writer, state, "/joint_command")?,
                rate: COMMAND_RATE,
                lead_s: 0.1,
                files: None,
            },
        ];
        let Pictures(cameras) = pictures;
        for (camera, files) in (0..).zip(cameras) {
            let channel = channel(&mut writer, image, &camera_topic(camera))?;
            topics.push(Topic { channel, rate: CAMERA_RATE, lead_s: 0.0, files: Some(files) });
        }
        self.write_messages(&mut writer, &topics)?;
        writer.finish().map_err(BenchError::made)?;
        Ok(())
    }

    /// Tick by tick, so that a long recording takes no more memory than a short one.
    fn write_messages(
        &self,
        writer: &mut Writer<BufWriter<File>>,
        topics: &[Topic<'_>],
    ) -> Result<(), BenchError> {
        let mut numbers = vec![0_u64; topics.len()];
        let end_ns = u64::from(self.seconds) * NS;
        loop {
            let due = topics
                .iter()
                .zip(&mut numbers)
                .map(|(topic, number)| (*number * NS / topic.rate, topic, number));
            let Some((at_ns, topic, number)) =
                due.min_by_key(|(at_ns, ..)| *at_ns).filter(|(at_ns, ..)| *at_ns < end_ns)
            else {
                return Ok(());
            };
            let late_ns = (*number).wrapping_mul(2_654_435_761) % JITTER_NS;
            let log_time = EPOCH_NS + at_ns + late_ns;
            let header = MessageHeader {
                channel_id: topic.channel,
                sequence: u32::try_from(*number).unwrap_or(u32::MAX),
                log_time,
                publish_time: log_time,
            };
            writer.write_to_known_channel(&header, &topic.body(at_ns, *number)).map_err(BenchError::made)?;
            *number += 1;
        }
    }
}

struct Topic<'a> {
    channel: u16,
    /// Messages a second.
    rate: u64,
    /// How far joints are ahead of the time.
    lead_s: f64,
    /// A camera's pictures.
    files: Option<&'a [Vec<u8>]>,
}

fn channel(writer: &mut Writer<BufWriter<File>>, schema: u16, topic: &str) -> Result<u16, BenchError> {
    writer.add_channel(schema, topic, "cdr", &BTreeMap::new()).map_err(BenchError::made)
}

impl Topic<'_> {
    fn body(&self, at_ns: u64, number: u64) -> Vec<u8> {
        let mut cdr = Cdr(vec![0, 1, 0, 0]);
        cdr.u32(((EPOCH_NS + at_ns) / NS) as u32);
        cdr.u32((at_ns % NS) as u32);
        cdr.text("base");
        match self.files {
            Some(files) => {
                cdr.text("jpeg");
                let file =
                    usize::try_from(number).ok().and_then(|number| files.get(number % files.len().max(1)));
                cdr.bytes(file.map_or(&[], Vec::as_slice));
            }
            None => {
                let at_s = at_ns as f64 / NS as f64 + self.lead_s;
                cdr.u32(JOINTS);
                (0..JOINTS).for_each(|joint| cdr.text(&format!("joint_{joint}")));
                cdr.floats((0..JOINTS as usize).map(|joint| (at_s * (0.3 + joint as f64 * 0.1)).sin()));
                cdr.floats(std::iter::empty());
                cdr.floats(std::iter::empty());
            }
        }
        cdr.0
    }
}

/// Little-endian CDR behind its four bytes.
struct Cdr(Vec<u8>);

impl Cdr {
    fn align(&mut self, to: usize) {
        let beyond = (self.0.len() - 4) % to;
        if beyond > 0 {
            self.0.resize(self.0.len() + to - beyond, 0);
        }
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u32(text.len() as u32 + 1);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.u32(bytes.len() as u32);
        self.0.extend(bytes);
    }

    fn floats(&mut self, values: impl ExactSizeIterator<Item = f64>) {
        self.u32(values.len() as u32);
        for value in values {
            self.align(8);
            self.0.extend(value.to_le_bytes());
        }
    }
}
