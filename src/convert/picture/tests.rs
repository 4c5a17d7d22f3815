//! Messages of every kind of picture, written by hand: what is taken of them, and what is refused by name.

use super::*;
use crate::convert::image::{Crop, Yuv420};
use crate::convert::source::Topic;
use crate::convert::testing::cases;
use base64::Engine;
use proptest::prelude::*;
use serde_json::json;

const IMAGE: &str = "\
std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\nuint8[] data\n\
================================================================================\n\
MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n\
================================================================================\n\
MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n";
const IMAGE_1: &str = "\
Header header\nuint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\nuint8[] data\n\
================================================================================\n\
MSG: std_msgs/Header\nuint32 seq\ntime stamp\nstring frame_id\n";
const COMPRESSED: &str = "string format\nuint8[] data\n";

/// What a raw image says of itself.
#[derive(Clone, Debug)]
struct Said {
    height: u32,
    width: u32,
    encoding: String,
    big_endian: u8,
    step: u32,
    data: Vec<u8>,
}

fn said(encoding: &str, width: u32, height: u32, step: u32, data: &[u8]) -> Said {
    Said { height, width, encoding: encoding.to_owned(), big_endian: 0, step, data: data.to_vec() }
}

impl Said {
    /// As CDR: every number on a multiple of four, counted from behind the encapsulation.
    fn cdr(&self) -> Vec<u8> {
        let mut out = vec![0, 1, 0, 0];
        let align = |out: &mut Vec<u8>| {
            while !out.len().is_multiple_of(4) {
                out.push(0)
            }
        };
        for number in [7, 8, 2] {
            out.extend(u32::to_le_bytes(number));
        }
        out.extend(b"f\0");
        align(&mut out);
        out.extend([self.height, self.width, self.encoding.len() as u32 + 1].map(u32::to_le_bytes).concat());
        out.extend(self.encoding.as_bytes());
        out.extend([0, self.big_endian]);
        align(&mut out);
        out.extend([self.step, self.data.len() as u32].map(u32::to_le_bytes).concat());
        out.extend(&self.data);
        out
    }

    fn ros1(&self) -> Vec<u8> {
        let mut out = [1_u32, 7, 8, 1].map(u32::to_le_bytes).concat();
        out.extend(b"f");
        out.extend([self.height, self.width, self.encoding.len() as u32].map(u32::to_le_bytes).concat());
        out.extend(self.encoding.as_bytes());
        out.push(self.big_endian);
        out.extend([self.step, self.data.len() as u32].map(u32::to_le_bytes).concat());
        out.extend(&self.data);
        out
    }

    fn json(&self) -> Vec<u8> {
        let data = base64::engine::general_purpose::STANDARD.encode(&self.data);
        let (width, height, step) = (self.width, self.height, self.step);
        json!({ "width": width, "height": height, "encoding": self.encoding, "step": step, "data": data })
            .to_string()
            .into_bytes()
    }
}

fn schema(encoding: &str, definition: &str, text: &str) -> Schema {
    Schema::parse(&Topic {
        name: "/camera".to_owned(),
        schema_name: "sensor_msgs/msg/Image".to_owned(),
        schema_encoding: definition.to_owned(),
        schema_data: text.as_bytes().to_vec().into(),
        message_encoding: encoding.to_owned(),
        message_count: None,
    })
    .unwrap()
}

fn picture(schema: &Schema, transform: Transform, keep: Keep) -> Picture {
    Picture::new(schema, Extractor::compile(schema, "data").unwrap(), transform, keep)
}

fn raw(keep: Keep) -> Picture {
    picture(&schema("cdr", "ros2msg", IMAGE), Transform::default(), keep)
}

/// What is kept of one message.
fn taken(picture: &mut Picture, message: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    picture.take(message, &mut out).map(|()| out)
}

/// The samples of a PNG as a loader sees them, and its kind.
fn opened(file: &[u8]) -> (png::ColorType, png::BitDepth, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info.color_type, info.bit_depth, pixels)
}

fn compressed(format: &str, data: &[u8]) -> Vec<u8> {
    let text = [&(format.len() as u32).to_le_bytes()[..], format.as_bytes()].concat();
    [&text[..], &(data.len() as u32).to_le_bytes(), data].concat()
}

fn png_of(color: png::ColorType, depth: png::BitDepth, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    bytes
}

#[test]
fn raw_pixels_become_png_files_in_every_encoding_of_messages() {
    let bgr = said("bgr8", 2, 2, 7, &[1, 2, 3, 4, 5, 6, 99, 11, 12, 13, 14, 15, 16]);
    let expected =
        (png::ColorType::Rgb, png::BitDepth::Eight, vec![3, 2, 1, 6, 5, 4, 13, 12, 11, 16, 15, 14]);
    let json = "{\"type\":\"object\",\"properties\":{\"width\":{\"type\":\"integer\"},\"height\":{\"type\":\"integer\"},\
        \"encoding\":{\"type\":\"string\"},\"step\":{\"type\":\"integer\"},\
        \"data\":{\"type\":\"string\",\"contentEncoding\":\"base64\"}}}";
    for (schema, message) in [
        (schema("cdr", "ros2msg", IMAGE), bgr.cdr()),
        (schema("ros1", "ros1msg", IMAGE_1), bgr.ros1()),
        (schema("json", "jsonschema", json), bgr.json()),
    ] {
        let mut picture = picture(&schema, Transform::default(), Keep::Files);
        assert_eq!(opened(&taken(&mut picture, &message).unwrap()), expected, "{:?}", schema.encoding());
        assert_eq!(picture.shape(), Some([2, 2, 3]));
        let kept = picture.kept().unwrap();
        assert_eq!((kept.format, kept.width, kept.height, kept.is_rgb), (Format::Png, 2, 2, true));
    }
}

#[test]
fn depth_is_stored_with_its_high_byte_first_whatever_came() {
    let little = said("16UC1", 2, 1, 4, &[0x34, 0x12, 0xff, 0]);
    let big = Said { big_endian: 1, data: vec![0x12, 0x34, 0, 0xff], ..little.clone() };
    for message in [little.cdr(), big.cdr()] {
        let mut picture = raw(Keep::Files);
        let file = taken(&mut picture, &message).unwrap();
        assert_eq!(
            opened(&file),
            (png::ColorType::Grayscale, png::BitDepth::Sixteen, vec![0x12, 0x34, 0, 0xff])
        );
        assert_eq!(picture.shape(), Some([1, 2, 1]));
        assert_eq!(geometry(&file), Ok(picture.kept().unwrap()));
    }
    let refused = taken(&mut raw(Keep::AsTheyCame), &little.cdr()).unwrap_err();
    assert!(
        refused.contains("(16UC1) of 2 x 1 cannot become a video") && refused.contains("\"image\""),
        "{refused}"
    );
}

#[test]
fn for_a_video_raw_pixels_are_kept_without_padding() {
    let mono = said("mono8", 2, 2, 3, &[1, 2, 99, 3, 4, 99]);
    let mut picture = raw(Keep::AsTheyCame);
    let kept = taken(&mut picture, &mono.cdr()).unwrap();
    assert_eq!(kept, [1, 2, 3, 4]);
    let geometry = picture.kept().unwrap();
    let mut planes = Yuv420::default();
    Pixels::default().yuv(&kept, geometry, &picture.transform(), &mut planes).unwrap();
    assert_eq!((planes.width, planes.height), (2, 2));
}

#[test]
fn compressed_depth_passes_without_its_header() {
    let schema = schema("ros1", "ros1msg", COMPRESSED);
    let depth = png_of(png::ColorType::Grayscale, png::BitDepth::Sixteen, &[1, 2, 3, 4]);
    let packed = [&[0; 12], &depth[..]].concat();
    let mut files = picture(&schema, Transform::default(), Keep::Files);
    let message = compressed("16UC1; compressedDepth png", &packed);
    assert_eq!(taken(&mut files, &message), Ok(depth));
    assert_eq!(files.shape(), Some([1, 2, 1]));
    let floats = taken(&mut files, &compressed("32FC1; compressedDepth", &packed)).unwrap_err();
    assert!(floats.contains("32FC1"), "{floats}");
}

#[test]
fn what_loaders_would_not_open_as_colours_is_stored_anew() {
    use png::ColorType::{Grayscale, Rgb, Rgba};
    let schema = schema("ros1", "ros1msg", COMPRESSED);
    for (color, pixels, expected) in [
        (Rgb, &[1, 2, 3, 4, 5, 6][..], [1, 2, 3, 4, 5, 6]),
        (Rgba, &[1, 2, 3, 0, 4, 5, 6, 0], [1, 2, 3, 4, 5, 6]),
        (Grayscale, &[7, 9], [7, 7, 7, 9, 9, 9]),
    ] {
        let file = png_of(color, png::BitDepth::Eight, pixels);
        let mut files = picture(&schema, Transform::default(), Keep::Files);
        let found = taken(&mut files, &compressed("png", &file)).unwrap();
        assert_eq!(found == file, color == Rgb, "{color:?}");
        assert_eq!(opened(&found), (Rgb, png::BitDepth::Eight, expected.to_vec()));
        assert_eq!((geometry(&found), files.shape()), (Ok(files.kept().unwrap()), Some([1, 2, 3])));
    }
}

#[test]
fn a_transform_is_carried_out_once() {
    let crop = Some(Crop { x: 1, y: 0, width: 1, height: 1 });
    let transform = Transform { crop, ..Transform::default() };
    let schema = schema("ros1", "ros1msg", COMPRESSED);
    let file = png_of(png::ColorType::Rgb, png::BitDepth::Eight, &[1, 2, 3, 4, 5, 6]);
    let mut files = picture(&schema, transform, Keep::Files);
    assert_eq!(opened(&taken(&mut files, &compressed("png", &file)).unwrap()).2, [4, 5, 6]);
    assert!(files.transform().is_none());
    let mut video = picture(&schema, transform, Keep::AsTheyCame);
    assert_eq!(taken(&mut video, &compressed("png", &file)).as_ref(), Ok(&file));
    assert_eq!((video.transform(), video.shape()), (transform, Some([1, 1, 3])));
    let outside = Transform { crop: Some(Crop { x: 2, y: 0, width: 1, height: 1 }), ..transform };
    let refused =
        taken(&mut picture(&schema, outside, Keep::AsTheyCame), &compressed("png", &file)).unwrap_err();
    assert!(refused.contains("crop = [2, 0, 1, 1]") && refused.contains("2 x 1"), "{refused}");
}

#[test]
fn what_cannot_be_is_named() {
    let refused = |message: &Said| taken(&mut raw(Keep::Files), &message.cdr()).unwrap_err();
    let good = said("rgb8", 2, 2, 6, &[0; 12]);
    assert!(taken(&mut raw(Keep::Files), &good.cdr()).is_ok());
    let cases = [
        (Said { encoding: "bayer_rggb8".to_owned(), ..good.clone() }, "\"bayer_rggb8\" are not read"),
        (Said { step: 5, ..good.clone() }, "step is 5, and a row of a raw image (rgb8) of 2 x 2 has 6 bytes"),
        (
            Said { step: u32::MAX, ..good.clone() },
            "has 12 bytes of data, too few for 2 rows of step 4294967295",
        ),
        (Said { height: 3, ..good.clone() }, "too few for 3 rows"),
        (Said { width: u32::MAX, height: u32::MAX, ..good.clone() }, "is not allowed: sides go to 16384"),
        (Said { height: 0, ..good.clone() }, "of 2 x 0 is not allowed"),
        (said("nv12", 2, 3, 2, &[0; 20]), "2 x 3 is no such size"),
    ];
    for (message, expected) in cases {
        let found = refused(&message);
        assert!(found.contains(expected), "{found}");
    }
    assert!(
        raw(Keep::Files).look(&Said { height: 3, ..good.clone() }.cdr()).unwrap_err().contains("too few")
    );
    let mut picture = raw(Keep::Files);
    assert_eq!(
        raw(Keep::Files).look(&good.cdr()).ok().map(|geometry| (geometry.width, geometry.height)),
        Some((2, 2))
    );
    taken(&mut picture, &good.cdr()).unwrap();
    let other = taken(&mut picture, &Said { encoding: "bgr8".to_owned(), ..good }.cdr()).unwrap_err();
    assert!(other.contains("(bgr8) of 2 x 2, and the first one is a raw image (rgb8)"), "{other}");
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn hostile_messages_are_errors_not_panics(
        width in prop_oneof![0..6_u32, any::<u32>()],
        height in prop_oneof![0..6_u32, any::<u32>()],
        step in prop_oneof![0..24_u32, any::<u32>()],
        encoding in prop::sample::select(vec!["rgb8", "bgra8", "mono8", "yuyv", "uyvy", "nv12", "16UC1", "?"]),
        data in prop::collection::vec(any::<u8>(), 0..80),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut message = said(encoding, width, height, step, &data).cdr();
        message.truncate(cut.index(message.len() * 2));
        for keep in [Keep::Files, Keep::AsTheyCame] {
            let mut picture = raw(keep);
            if let Ok(kept) = taken(&mut picture, &message) {
                let geometry = picture.kept().unwrap();
                prop_assert_eq!((geometry.width, geometry.height), (width, height));
                prop_assert!(width * height <= 80 && !kept.is_empty());
            }
        }
    }
}
