//! Small staged episodes with a feature of every kind, as a conversion would leave them.
//!
//! Values are simple functions of the episode's seed and the frame, so that tests can compute what must come out.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a fixture that cannot be made fails the test at once"
)]

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array, StringArray,
};
use arrow::datatypes::Field;
use parquet::file::metadata::KeyValue;
use roboflow::lerobot::data::{staged_schema, writer_properties};
use roboflow::lerobot::feature::{Dtype, Feature};
use roboflow::lerobot::row_groups::{self, Values};
use roboflow::lerobot::staged::{
    EPISODE_FILE, ImageCounts, SEGMENT_NOTE_KEY, STAGED_VERSION, SegmentNote, StagedEpisode, SyncReport,
    SyncSource, episode_prefix, segment_key, segment_video_key,
};
use roboflow::lerobot::video::{Codec, VideoStream};
use roboflow::storage::SharedStorage;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Height and width of the images.
pub const IMAGE_SIDES: (u32, u32) = (12, 16);
/// Frames in a full segment.
pub const SEGMENT_FRAMES: u64 = 10;
/// The camera's feature.
pub const CAMERA: &str = "observation.images.front";
/// The second camera's, among [`video_features`].
pub const SECOND_CAMERA: &str = "observation.images.wrist";

/// One episode to be staged.
#[derive(Debug, Clone)]
pub struct Episode {
    /// The recording's name.
    pub source: String,
    /// The episode's number in it.
    pub number: u32,
    /// Kept frames.
    pub frames: u64,
    /// The task.
    pub task: String,
    /// Shifts the values.
    pub seed: u32,
    /// The features; see [`features`].
    pub features: Vec<Feature>,
    /// Bytes of noise in each image, beside its few pixels: makes large ones.
    pub padding: usize,
    /// What the decoder of its videos is told.
    pub record: Vec<u8>,
    /// Bytes of each sample of a video, beside a few.
    pub sample_padding: usize,
}

impl Episode {
    /// With [`features`] and small images.
    pub fn new(source: &str, frames: u64, task: &str, seed: u32) -> Self {
        let (source, task) = (source.to_owned(), task.to_owned());
        Self {
            source,
            number: 0,
            frames,
            task,
            seed,
            features: features(),
            padding: 0,
            record: vec![1, 0x42],
            sample_padding: 0,
        }
    }

    /// `observation.state` of a frame.
    pub fn state(&self, frame: u64) -> [f32; 3] {
        let (seed, frame) = (self.seed as f32, frame as f32);
        [frame, seed, (seed - frame) / 3.0]
    }

    /// A sample of a frame of a video: no picture, but its own.
    pub fn sample(&self, feature: &str, frame: u64) -> Vec<u8> {
        let mut bytes =
            vec![(u64::from(self.seed) + frame) as u8; 3 + frame as usize % 5 + self.sample_padding];
        bytes.extend_from_slice(feature.as_bytes());
        bytes
    }

    fn streams(&self) -> BTreeMap<String, VideoStream> {
        let videos = self.features.iter().filter(|feature| feature.dtype == Dtype::Video);
        let stream = |feature: &Feature| {
            let [height, width, ..] = feature.shape[..] else { panic!("a video has sides") };
            let (codec, record) = (Codec::H264, self.record.clone());
            let stream = VideoStream { codec, width, height, record, quality: 24, preset: None };
            (feature.name.clone(), stream)
        };
        videos.map(stream).collect()
    }

    /// The grey of a frame's image; its channels are this, half of it, and 255.
    pub fn grey(&self, frame: u64) -> u8 {
        ((u64::from(self.seed) * 7 + frame * 5) % 256) as u8
    }
}

fn feature(name: &str, dtype: Dtype, shape: &[u32], names: Option<&[&str]>) -> Feature {
    let names = names.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    Feature { name: name.to_owned(), dtype, shape: shape.to_vec(), names }
}

/// A vector, scalars of every type, a text and an image.
pub fn features() -> Vec<Feature> {
    let (height, width) = IMAGE_SIDES;
    vec![
        feature("observation.state", Dtype::Float32, &[3], Some(&["j0", "j1", "j2"])),
        feature("action", Dtype::Float32, &[2], None),
        feature("observation.gripper", Dtype::Float32, &[1], Some(&["g"])),
        feature("observation.force", Dtype::Float64, &[6], None),
        feature("next.done", Dtype::Bool, &[1], None),
        feature("observation.count", Dtype::Int64, &[1], None),
        feature("observation.note", Dtype::String, &[1], None),
        feature(CAMERA, Dtype::Image, &[height, width, 3], Some(&["height", "width", "channels"])),
    ]
}

/// [`features`] with the camera, and a second one, as videos.
pub fn video_features() -> Vec<Feature> {
    let mut features = features();
    if let Some(camera) = features.last_mut() {
        camera.dtype = Dtype::Video;
        let second = Feature { name: SECOND_CAMERA.to_owned(), ..camera.clone() };
        features.push(second);
    }
    features
}

/// Stages an episode under a recording's prefix.
///
/// # Panics
/// When the storage fails.
pub fn stage(staging: &SharedStorage, prefix: &str, episode: &Episode) {
    let folder = episode_prefix(prefix, episode.number);
    let mut segments = Vec::new();
    let mut from = 0;
    while from < episode.frames {
        let to = (from + SEGMENT_FRAMES).min(episode.frames);
        for (at, feature) in episode.features.iter().enumerate() {
            if feature.dtype == Dtype::Video {
                let samples: Vec<u8> =
                    (from..to).flat_map(|frame| episode.sample(&feature.name, frame)).collect();
                let key = segment_video_key(&segment_key(&folder, segments.len()), at);
                staging.put(&key, &samples).expect("put");
            }
        }
        write_segment(staging, &segment_key(&folder, segments.len()), episode, from, to);
        segments.push((to - from) as u32);
        from = to;
    }
    let source = SyncSource {
        feature: "action".into(),
        topic: "/command".into(),
        match_rate: 1.0,
        ..Default::default()
    };
    let staged = StagedEpisode {
        version: STAGED_VERSION,
        source: episode.source.clone(),
        source_bytes: 1234,
        source_digest: "d1".into(),
        fps: 10,
        robot_type: Some("so101".into()),
        task: episode.task.clone(),
        frames: episode.frames,
        segments,
        features: episode.features.clone(),
        sync: SyncReport { grid_frames: episode.frames, sources: vec![source], ..SyncReport::default() },
        warnings: Vec::new(),
        left_out: Vec::new(),
        videos: episode.streams(),
    };
    let json = serde_json::to_vec(&staged).expect("json");
    staging.put(&format!("{folder}{EPISODE_FILE}"), &json).expect("put");
}

fn write_segment(staging: &SharedStorage, key: &str, episode: &Episode, from: u64, to: u64) {
    let files: Vec<Vec<u8>> = (from..to).map(|frame| png(episode, frame)).collect();
    let column = |feature: &Feature| match feature.dtype {
        Dtype::Image => Values::Files(files.iter().map(Vec::as_slice).collect()),
        _ => Values::Array(column(episode, feature, from, to)),
    };
    let columns: Vec<Values<'_>> = episode.features.iter().map(column).collect();
    let mut note = SegmentNote { videos: episode.streams(), ..SegmentNote::default() };
    for feature in episode.features.iter().filter(|feature| feature.shape.len() == 3) {
        note.images.insert(feature.name.clone(), counts(episode, from, to));
    }
    let note = KeyValue::new(SEGMENT_NOTE_KEY.to_owned(), serde_json::to_string(&note).expect("json"));
    let properties = writer_properties(&episode.features).set_key_value_metadata(Some(vec![note])).build();
    row_groups::write(staging, key, staged_schema(&episode.features), properties, &columns).expect("write");
}

fn column(episode: &Episode, feature: &Feature, from: u64, to: u64) -> ArrayRef {
    let frames = || from..to;
    match feature.dtype {
        Dtype::Float32 => {
            let width = feature.shape.iter().product::<u32>() as usize;
            let row = |frame: u64| -> Vec<f32> { episode.state(frame).into_iter().take(width).collect() };
            list(width, Arc::new(frames().flat_map(row).collect::<Float32Array>()))
        }
        Dtype::Float64 => {
            let width = feature.shape.iter().product::<u32>() as usize;
            let row = |frame: u64| (0..width).map(move |element| frame as f64 * 0.1 + element as f64);
            list(width, Arc::new(frames().flat_map(row).collect::<Float64Array>()))
        }
        Dtype::Int64 => Arc::new(frames().map(|frame| frame.cast_signed() - 3).collect::<Int64Array>()),
        Dtype::Bool => {
            Arc::new(frames().map(|frame| Some(frame + 1 == episode.frames)).collect::<BooleanArray>())
        }
        Dtype::String => Arc::new(frames().map(|frame| Some(format!("n{frame}"))).collect::<StringArray>()),
        Dtype::Video => {
            let bytes = frames().map(|frame| episode.sample(&feature.name, frame).len() as i64);
            Arc::new(bytes.collect::<Int64Array>())
        }
        Dtype::Image => panic!("images are files"),
    }
}

fn list(width: usize, values: ArrayRef) -> ArrayRef {
    if width == 1 {
        return values;
    }
    let element = Arc::new(Field::new("element", values.data_type().clone(), true));
    Arc::new(FixedSizeListArray::new(element, width as i32, values, None))
}

/// The image of a frame: one colour, and as much incompressible text as the episode asks for.
pub fn png(episode: &Episode, frame: u64) -> Vec<u8> {
    let (height, width) = IMAGE_SIDES;
    let grey = episode.grey(frame);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("header");
    if episode.padding > 0 {
        let mut state = u64::from(episode.seed) << 32 | frame | 1;
        let noise: Vec<u8> = (0..episode.padding)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .collect();
        writer.write_chunk(png::chunk::ChunkType(*b"noIs"), &noise).expect("chunk");
    }
    let pixels: Vec<u8> = [grey, grey / 2, 255].repeat((height * width) as usize);
    writer.write_image_data(&pixels).expect("pixels");
    writer.finish().expect("finish");
    bytes
}

/// Every frame is sampled.
fn counts(episode: &Episode, from: u64, to: u64) -> ImageCounts {
    let pixels = u64::from(IMAGE_SIDES.0 * IMAGE_SIDES.1);
    let mut channels = [vec![0; 256], vec![0; 256], vec![0; 256]];
    for frame in from..to {
        let grey = episode.grey(frame);
        for (channel, level) in channels.iter_mut().zip([grey, grey / 2, 255]) {
            if let Some(count) = channel.get_mut(usize::from(level)) {
                *count += pixels;
            }
        }
    }
    ImageCounts { frames: to - from, channels, depth: BTreeMap::new() }
}
