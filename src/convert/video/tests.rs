//! What openh264 makes of frames: that it decodes to them, and that nothing but the frames decides its bytes.

use super::*;
use crate::convert::mapping::video::Encoder;
use ::openh264::decoder::Decoder;
use ::openh264::formats::YUVSource;
use sha2::{Digest, Sha256};

/// Planes that change from frame to frame: a slope with a moving bar.
#[derive(Clone)]
pub(crate) struct Picture {
    width: u32,
    height: u32,
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
}

impl Picture {
    pub(crate) fn of(width: u32, height: u32, frame: u32) -> Self {
        let bar = frame * 5 % width;
        let luma = |at: u32| {
            let (x, y) = (at % width, at / width);
            if (bar..bar + 8).contains(&x) { 220 } else { (40 + (x + 2 * y + frame) % 140) as u8 }
        };
        let chroma = |at: u32, shift: u32| (90 + (at % (width / 2) + shift * frame) % 70) as u8;
        let quarter = || 0..width * height / 4;
        Self {
            width,
            height,
            y: (0..width * height).map(luma).collect(),
            u: quarter().map(|at| chroma(at, 1)).collect(),
            v: quarter().map(|at| chroma(at, 2)).collect(),
        }
    }

    fn planes(&self) -> Planes<'_> {
        Planes::new(self.width, self.height, [&self.y, &self.u, &self.v]).unwrap()
    }
}

fn encoding(width: u32, height: u32) -> Encoding {
    Encoding { video: Video::default(), fps: 30, width, height }
}

fn encoded(encoding: &Encoding, frames: u32) -> (VideoStream, Samples) {
    let (mut encoder, mut samples) = (encoding.start().unwrap(), Samples::default());
    for frame in 0..frames {
        let picture = Picture::of(encoding.width, encoding.height, frame);
        encoder.encode(&picture.planes(), &mut samples, &StopFlag::default()).unwrap();
    }
    let stream = encoder.finish(&mut samples, &StopFlag::default()).unwrap();
    (stream, samples)
}

/// The luma of each frame, without the decoder's padding.
pub(crate) fn decoded(stream: &VideoStream, samples: &Samples) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::new().unwrap();
    let mut bytes = crate::lerobot::video::parameter_sets(&stream.record).unwrap();
    let (mut begin, mut out) = (0, Vec::new());
    for size in &samples.sizes {
        let end = begin + *size as usize;
        let mut sample = &samples.bytes[begin..end];
        while let Some((length, rest)) = sample.split_first_chunk::<4>() {
            let (unit, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
            bytes.extend([0, 0, 0, 1]);
            bytes.extend(unit);
            sample = rest;
        }
        let picture = decoder.decode(&bytes).unwrap().expect("a picture of each sample");
        let (width, height) = picture.dimensions();
        let (stride, _, _) = picture.strides();
        out.push((0..height).flat_map(|row| picture.y()[row * stride..][..width].to_vec()).collect());
        bytes.clear();
        begin = end;
    }
    out
}

/// In decibels.
pub(crate) fn psnr(one: &[u8], two: &[u8]) -> f64 {
    assert_eq!(one.len(), two.len());
    let squares: f64 = one.iter().zip(two).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    10.0 * (255.0_f64.powi(2) * one.len() as f64 / squares.max(1e-9)).log10()
}

#[test]
fn every_frame_decodes_to_what_it_was() {
    for (width, height, quality, least) in [(128, 96, 24, 38.0), (128, 96, 12, 46.0), (66, 34, 40, 26.0)] {
        let mut encoding = encoding(width, height);
        encoding.video.quality = quality;
        let (stream, samples) = encoded(&encoding, 9);
        assert_eq!((stream.width, stream.height, stream.quality), (width, height, quality));
        assert_eq!(samples.sizes.iter().sum::<u32>() as usize, samples.bytes.len());
        let pictures = decoded(&stream, &samples);
        assert_eq!(pictures.len(), 9);
        for (frame, picture) in (0..).zip(&pictures) {
            let found = psnr(picture, &Picture::of(width, height, frame).y);
            assert!(found > least, "frame {frame} at {quality}: {found} dB");
        }
    }
}

#[test]
fn a_greater_quantiser_makes_less_bytes_and_every_preset_works() {
    let bytes_of = |quality, preset| {
        let mut encoding = encoding(128, 96);
        (encoding.video.quality, encoding.video.preset) = (quality, preset);
        encoded(&encoding, 10).1.bytes.len()
    };
    let sizes = [12, 20, 30, 40, 51].map(|quality| bytes_of(quality, "low"));
    assert!(sizes.windows(2).all(|pair| pair[0] > pair[1]), "{sizes:?}");
    for preset in ["medium", "high"] {
        assert!(bytes_of(24, preset) > 0);
    }
}

/// Known by their hashes: the same with vector code and with plain code, and on every machine. Whoever builds with the other
/// code than the last one sees here when they differ.
#[test]
fn every_build_makes_the_same_bytes() {
    let moving = |width, height, frame| Picture::of(width, height, frame);
    let noisy = |width: u32, height: u32, frame: u32| {
        let mut state = 0x9e37_79b9 ^ (width << 16) ^ (height << 8) ^ frame;
        let mut next = |least: u8, most: u8| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            least + (state >> 8) as u8 % (most - least + 1)
        };
        let mut plane = |count: u32, most| (0..count).map(|_| next(16, most)).collect();
        let (y, u, v) =
            (plane(width * height, 235), plane(width * height / 4, 240), plane(width * height / 4, 240));
        Picture { width, height, y, u, v }
    };
    let flat = |width: u32, height: u32, frame: u32| {
        let plane = |count: u32, level| vec![level; count as usize];
        let quarter = width * height / 4;
        Picture {
            width,
            height,
            y: plane(width * height, 40 + frame as u8),
            u: plane(quarter, 90),
            v: plane(quarter, 200),
        }
    };
    type Make<'a> = &'a dyn Fn(u32, u32, u32) -> Picture;
    let contents: [(&str, Make<'_>); 3] = [("moving", &moving), ("noisy", &noisy), ("flat", &flat)];
    let mut found = Vec::new();
    for (name, make) in contents {
        for preset in ["low", "medium", "high"] {
            let mut digest = Sha256::new();
            for (width, height) in [(16, 16), (18, 34), (66, 50), (130, 98), (322, 242)] {
                for quality in [12, 20, 24, 33, 42, 51] {
                    // The encoder has no room for noise of the best quality in so small a frame.
                    let quality = if name == "noisy" { quality.max(24) } else { quality };
                    let mut encoding = encoding(width, height);
                    (encoding.video.quality, encoding.video.preset) = (quality, preset);
                    let (mut encoder, mut samples) = (encoding.start().unwrap(), Samples::default());
                    for frame in 0..4 {
                        let picture = make(width, height, frame);
                        encoder.encode(&picture.planes(), &mut samples, &StopFlag::default()).unwrap();
                    }
                    digest.update(&samples.bytes);
                }
            }
            let hash: String = digest.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
            found.push(format!("{name} {preset} {hash}"));
        }
    }
    assert_eq!(found, STREAMS, "by {}", Code::find().unwrap());
}

const STREAMS: [&str; 9] = [
    "moving low 589ea095629a",
    "moving medium 3664b30b55e0",
    "moving high 3664b30b55e0",
    "noisy low 609fc85a27fa",
    "noisy medium 897b230ef217",
    "noisy high 897b230ef217",
    "flat low 47336b29e33f",
    "flat medium 0c702723303c",
    "flat high 0c702723303c",
];

#[test]
fn the_same_frames_give_the_same_bytes_whatever_went_before_or_goes_on_beside() {
    let (stream, first) = encoded(&encoding(128, 96), 12);
    let hash: String =
        Sha256::digest(&first.bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, GOLDEN, "of {} bytes", first.bytes.len());
    let mut other = encoding(64, 64);
    (other.video.quality, other.fps) = (40, 10);
    encoded(&other, 5);
    assert_eq!(encoded(&encoding(128, 96), 12), (stream.clone(), first.clone()), "after another");
    let beside = || encoded(&encoding(128, 96), 12);
    std::thread::scope(|scope| {
        let noise = scope.spawn(|| (0..4).for_each(|_| _ = encoded(&other, 9)));
        let threads = [scope.spawn(beside), scope.spawn(beside)];
        for thread in threads {
            assert_eq!(thread.join().unwrap(), (stream.clone(), first.clone()), "beside others");
        }
        noise.join().unwrap();
    });
}

const GOLDEN: &str = "7e01ed26b8d1cafd";

#[test]
fn all_segments_of_a_camera_have_the_parameters_that_a_probe_finds() {
    let encoding = encoding(128, 96);
    let probed = encoding.probe(&StopFlag::default()).unwrap();
    assert_eq!(probed, encoded(&encoding, 1).0);
    assert_eq!(probed, encoded(&encoding, 7).0);
    assert_eq!(probed.preset, None, "lerobot knows no presets of openh264");
    assert_eq!((probed.record[1], probed.record[2] & 0x40), (66, 0x40), "constrained baseline");
}

#[test]
fn sizes_that_cannot_be_are_refused_by_name() {
    let refused = |width, height| match encoding(width, height).probe(&StopFlag::default()) {
        Err(EncodeError::Failed(what)) => what,
        other => panic!("{other:?}"),
    };
    assert!(refused(14, 64).contains("14 x 64 pixels: a video has at least 16"));
    assert!(refused(3842, 64).contains("up to 3840 x 2160"));
    assert!(refused(2162, 2162).contains("up to 3840 x 2160"));
    assert!(refused(63, 64).contains("even"));
    assert!(Planes::new(4, 4, [&[0; 16], &[0; 4], &[0; 3]]).is_none());
    assert!(Planes::new(4, 4, [&[0; 15], &[0; 4], &[0; 4]]).is_none());
}

#[test]
fn a_stop_ends_it_and_a_wrong_frame_is_an_error() {
    let stop = StopFlag::default();
    let mut encoder = encoding(32, 32).start().unwrap();
    let mut samples = Samples::default();
    let wrong = encoder.encode(&Picture::of(64, 32, 0).planes(), &mut samples, &stop);
    assert!(matches!(wrong, Err(EncodeError::Failed(_))));
    stop.set();
    let stopped = encoder.encode(&Picture::of(32, 32, 0).planes(), &mut samples, &stop);
    assert!(matches!(stopped, Err(EncodeError::Stopped)));
    assert_eq!(samples, Samples::default());
}

/// What an encoder may not do is found where it does it.
#[test]
fn samples_out_of_pattern_are_refused() {
    let mut samples = Samples { bytes: vec![1], sizes: Vec::new() };
    assert!(samples.end(0, false).is_err(), "the first one decodes alone");
    samples.end(0, true).unwrap();
    samples.bytes.push(2);
    assert!(samples.end(1, true).is_err(), "the second one does not");
    assert!(samples.end(2, false).is_err(), "empty");
    samples.end(1, false).unwrap();
    assert_eq!(samples.sizes, [1, 1]);
}

#[test]
fn every_name_of_an_encoder_is_its_own() {
    for encoder in [Encoder::OpenH264, Encoder::X264, Encoder::SvtAv1, Encoder::AomAv1] {
        assert!(crate::convert::mapping::video::encoder_names().any(|name| name == encoder.name()));
    }
}
