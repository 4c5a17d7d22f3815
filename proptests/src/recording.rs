//! Writes small MCAP recordings of a made-up robot: joints, a command, cameras. CDR with `ros2msg` schemas.
//!
//! It writes with the mcap crate and shares no code with the converter. The bytes are a function of the [`Robot`] alone.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "support of tests: what it cannot do is a failed test"
)]

use mcap::records::MessageHeader;
use mcap::{Compression, WriteOptions};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

const NS: u64 = 1_000_000_000;
const EPOCH_NS: u64 = 1_768_471_200 * NS;
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
const COMMAND: &str = "std_msgs/MultiArrayLayout layout
float64[] data
================================================================================
MSG: std_msgs/MultiArrayLayout
std_msgs/MultiArrayDimension[] dim
uint32 data_offset
================================================================================
MSG: std_msgs/MultiArrayDimension
string label
uint32 size
uint32 stride
";
const IMAGE: &str = "std_msgs/Header header\nstring format\nuint8[] data\n";
const PICTURES: [&[u8]; 2] = [include_bytes!("../data/tiny_0.jpg"), include_bytes!("../data/tiny_1.jpg")];

/// What is recorded.
#[derive(Debug, Clone)]
pub struct Robot {
    /// How long, in seconds.
    pub seconds: f64,
    /// Joints.
    pub joints: usize,
    /// Joint states a second.
    pub joint_rate: f64,
    /// Cameras, each of 32 by 24 pixels.
    pub cameras: usize,
    /// Pictures a second.
    pub camera_rate: f64,
    /// A picture's file is filled up to so many bytes with a comment that does not compress; 0: as small as it is.
    pub picture_bytes: usize,
    /// Bytes of a chunk before it is compressed.
    pub chunk_bytes: u64,
    /// Makes recordings differ.
    pub seed: u64,
}

impl Default for Robot {
    fn default() -> Self {
        Self {
            seconds: 4.0,
            joints: 6,
            joint_rate: 100.0,
            cameras: 0,
            camera_rate: 30.0,
            picture_bytes: 0,
            chunk_bytes: 64 * 1024,
            seed: 1,
        }
    }
}

/// Writes little-endian CDR.
struct Cdr(Vec<u8>);

impl Cdr {
    fn new() -> Self {
        Self(vec![0, 1, 0, 0])
    }

    fn align(&mut self, to: usize) {
        while !(self.0.len() - 4).is_multiple_of(to) {
            self.0.push(0);
        }
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.align(4);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.u32(text.len() as u32 + 1);
        self.0.extend(text.as_bytes());
        self.0.push(0);
        self
    }

    fn floats(&mut self, values: &[f64]) -> &mut Self {
        self.u32(values.len() as u32);
        for value in values {
            self.align(8);
            self.0.extend(value.to_le_bytes());
        }
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(bytes.len() as u32);
        self.0.extend(bytes);
        self
    }

    fn header(&mut self, at_ns: u64) -> &mut Self {
        self.u32((at_ns / NS) as u32).u32((at_ns % NS) as u32).text("base")
    }
}

struct Topic {
    name: String,
    schema: (&'static str, String),
    rate: f64,
    kind: Kind,
}

enum Kind {
    Joints,
    Command,
    Camera(usize),
}

/// A JPEG with comments behind its first marker, so that the file has about so many bytes and the same pixels.
fn filled(jpeg: &[u8], bytes: usize, seed: u64) -> Vec<u8> {
    const MOST: usize = 60_000;
    let (start, rest) = jpeg.split_at(2);
    let mut file = start.to_vec();
    let mut noise = seed | 1;
    let mut left = bytes.saturating_sub(jpeg.len());
    while left > 0 {
        let length = left.min(MOST);
        file.extend([0xff, 0xfe]);
        file.extend((length as u16 + 2).to_be_bytes());
        file.extend((0..length).map(|_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise as u8
        }));
        left -= length;
    }
    file.extend(rest);
    file
}

impl Robot {
    fn topics(&self) -> Vec<Topic> {
        let topic = |name: &str, schema: (&'static str, String), rate, kind| Topic {
            name: name.to_owned(),
            schema,
            rate,
            kind,
        };
        let with_header = |text: &str| format!("{text}{HEADER}");
        let joints = ("sensor_msgs/msg/JointState", with_header(JOINT_STATE));
        let command = ("std_msgs/msg/Float64MultiArray", COMMAND.to_owned());
        let mut topics = vec![
            topic("/joint_states", joints, self.joint_rate, Kind::Joints),
            topic("/joint_command", command, self.joint_rate / 2.0, Kind::Command),
        ];
        for camera in 0..self.cameras {
            let image = ("sensor_msgs/msg/CompressedImage", with_header(IMAGE));
            let name = format!("/camera_{camera}/image/compressed");
            topics.push(topic(&name, image, self.camera_rate, Kind::Camera(camera)));
        }
        topics
    }

    fn positions(&self, at_s: f64) -> Vec<f64> {
        (0..self.joints).map(|joint| (at_s * (0.3 + joint as f64 * 0.1) + self.seed as f64).sin()).collect()
    }

    fn body(&self, kind: &Kind, at_ns: u64, number: usize) -> Vec<u8> {
        let at_s = (at_ns - EPOCH_NS) as f64 / NS as f64;
        let mut cdr = Cdr::new();
        match kind {
            Kind::Joints => {
                cdr.header(at_ns).u32(self.joints as u32);
                for joint in 0..self.joints {
                    cdr.text(&format!("joint_{joint}"));
                }
                cdr.floats(&self.positions(at_s)).floats(&[]).floats(&[]);
            }
            Kind::Command => {
                cdr.u32(0).u32(0).floats(&self.positions(at_s + 0.1));
            }
            Kind::Camera(camera) => {
                let small = PICTURES[(number + camera) % PICTURES.len()];
                // Of its own for each camera: what stands twice in a chunk would be compressed away.
                let seed = at_ns.rotate_left(*camera as u32);
                cdr.header(at_ns).text("jpeg").bytes(&filled(small, self.picture_bytes, seed));
            }
        }
        cdr.0
    }

    /// Writes the recording.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) {
        let options = WriteOptions::new()
            .compression(Some(Compression::Zstd))
            .profile("ros2")
            .library("roboflow-proptests")
            .chunk_size(Some(self.chunk_bytes));
        let file = BufWriter::new(File::create(path).expect("the recording can be created"));
        let mut writer = options.create(file).expect("the recording can be started");
        let topics = self.topics();
        let mut order = Vec::new();
        for (index, topic) in topics.iter().enumerate() {
            let count = (self.seconds * topic.rate) as usize;
            let step_ns = NS as f64 / topic.rate;
            order.extend(
                (0..count).map(|number| (EPOCH_NS + (number as f64 * step_ns) as u64, index, number)),
            );
        }
        order.sort_unstable();
        let mut channels = Vec::new();
        for topic in &topics {
            let (name, text) = &topic.schema;
            let schema = writer.add_schema(name, "ros2msg", text.as_bytes()).expect("a schema");
            let channel =
                writer.add_channel(schema, &topic.name, "cdr", &BTreeMap::new()).expect("a channel");
            channels.push(channel);
        }
        for (at_ns, index, number) in order {
            let header = MessageHeader {
                channel_id: channels[index],
                sequence: number as u32,
                log_time: at_ns,
                publish_time: at_ns,
            };
            let body = self.body(&topics[index].kind, at_ns, number);
            writer.write_to_known_channel(&header, &body).expect("a message");
        }
        writer.finish().expect("the recording can be finished");
    }
}
