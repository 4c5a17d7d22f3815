//! A camera that becomes a video: that every frame is the picture of its time, and that nothing but the recording decides the bytes.

use super::*;
use crate::convert::image::{Pixels, Transform, Yuv420, geometry};
use crate::convert::mapping::Content;
use crate::convert::video::Samples;
use crate::convert::video::tests::{decoded, psnr};
use crate::lerobot::staged::segment_video_key;
use crate::lerobot::video::VideoStream;

const VIDEO: &str = "[[feature]]\nname = \"observation.images.front\"\nkind = \"video\"\nsource = [{ topic = \"/camera\" }]\n";
const CAMERA: &str = "observation.images.front";

/// A picture of its number: a slope, with the number as bright and dark blocks.
fn picture(width: u32, height: u32, number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let level = |x: u32, y: u32| match (x / 8, y < 8) {
        (bit, true) if number >> bit & 1 == 1 => [235; 3],
        (_, true) => [20; 3],
        _ => [(x * 3 % 200) as u8, (y * 3 % 200) as u8, (40 + x + y) as u8],
    };
    let pixels: Vec<u8> = (0..height).flat_map(|y| (0..width).flat_map(move |x| level(x, y))).collect();
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    bytes
}

/// Two seconds of joints, and of a camera that takes a picture every `every_ms`.
fn filmed(width: u32, height: u32, every_ms: u64) -> Vec<Said> {
    let mut said: Vec<Said> = Vec::new();
    for ms in (0..=2000).step_by(10) {
        said.push(joints(ms, &["a", "b"], &[ms as f64, 0.0]));
        if ms % every_ms == 0 {
            said.push(image(ms, &picture(width, height, (ms / every_ms) as u32)));
        }
    }
    said
}

/// The luma of a picture as the encoder is given it.
fn luma(width: u32, height: u32, number: u32) -> Vec<u8> {
    let file = picture(width, height, number);
    let mut out = Yuv420::default();
    Pixels::default().yuv(&file, geometry(&file).unwrap(), &Transform::default(), &mut out).unwrap();
    out.y
}

/// The stream and the samples of a segment.
fn segment(job: &Job, segment: usize) -> (VideoStream, Samples) {
    let sizes = job.batch(segment);
    let sizes = sizes.column_by_name(CAMERA).unwrap().as_primitive::<Int64Type>().values().to_vec();
    let bytes = job.files()[&segment_video_key(&segment_key("job/e000/", segment), 1)].to_vec();
    let stream = job.note(segment).videos[CAMERA].clone();
    (stream, Samples { bytes, sizes: sizes.into_iter().map(|size| size as u32).collect() })
}

#[test]
fn every_frame_is_the_picture_of_its_time() {
    // As many pictures as frames, twice as many, and half as many: then each stands for two frames.
    for (every_ms, number_of) in [(100, 1.0), (50, 2.0), (200, 0.5)] {
        let job = open(&filmed(64, 48, every_ms), &format!("{HEAD}{STATE}{VIDEO}"), 7).unwrap().run();
        let episode: StagedEpisode = serde_json::from_slice(&job.files()["job/e000/episode.json"]).unwrap();
        assert_eq!((episode.frames, episode.segments.as_slice()), (21, &[7, 7, 7][..]));
        assert_eq!(episode.features[1].shape, [48, 64, 3]);
        let mut frame = 0;
        for number in 0..3 {
            let (stream, samples) = segment(&job, number);
            assert_eq!(stream, episode.videos[CAMERA], "what the episode says of all segments");
            assert_eq!(job.note(number).images[CAMERA].frames, 7, "all are sampled");
            for found in decoded(&stream, &samples) {
                let wanted = (f64::from(frame) * number_of).floor() as u32;
                let near = psnr(&found, &luma(64, 48, wanted));
                let other = psnr(&found, &luma(64, 48, wanted + 1));
                assert!(near > 34.0 && other < 30.0, "frame {frame}: {near} dB, and {other} of the next");
                frame += 1;
            }
        }
        assert_eq!(frame, 21);
    }
}

#[test]
fn odd_sides_are_padded() {
    let job = open(&filmed(33, 17, 100), &format!("{HEAD}{STATE}{VIDEO}"), 30).unwrap().run();
    let (stream, samples) = segment(&job, 0);
    assert_eq!((stream.width, stream.height), (34, 18));
    let pictures = decoded(&stream, &samples);
    assert_eq!(pictures.len(), 21);
    assert!(psnr(&pictures[5], &luma(33, 17, 5)) > 34.0);
}

#[test]
fn pictures_are_cut_turned_and_resized_before_they_are_encoded() {
    let keys = "crop = [2, 0, 60, 40]\nrotate = 90\nresize = [31, 50]\n";
    let job = open(&filmed(64, 48, 100), &format!("{HEAD}{STATE}{VIDEO}{keys}"), 30).unwrap().run();
    let (stream, samples) = segment(&job, 0);
    assert_eq!((stream.width, stream.height), (32, 50));
    let mapping = Mapping::parse("m.toml", &format!("{HEAD}{STATE}{VIDEO}{keys}")).unwrap();
    let Content::Image { transform, .. } = mapping.features[1].content else { panic!("{mapping:?}") };
    let (file, mut out) = (picture(64, 48, 5), Yuv420::default());
    Pixels::default().yuv(&file, geometry(&file).unwrap(), &transform, &mut out).unwrap();
    assert!(psnr(&decoded(&stream, &samples)[5], &out.y) > 34.0);
}

#[test]
fn segments_in_any_order_and_again_are_the_same_bytes() {
    let mapping = format!("{HEAD}{STATE}{VIDEO}");
    let whole = open(&filmed(64, 48, 50), &mapping, 4).unwrap().run().files();
    assert_eq!(whole.keys().filter(|key| key.contains(".video-01")).count(), 6);
    let mut job = open(&filmed(64, 48, 50), &mapping, 4).unwrap();
    for segment in [3, 0, 5, 3, 2, 1, 4, 0] {
        job.work.run(segment, &StopFlag::default()).unwrap();
    }
    assert_eq!(job.files(), whole);
}

#[test]
fn a_stop_leaves_nothing_of_the_segment() {
    let mut job = open(&filmed(64, 48, 100), &format!("{HEAD}{STATE}{VIDEO}"), 4).unwrap();
    let stop = StopFlag::default();
    stop.set();
    assert!(matches!(job.work.run(0, &stop), Err(WorkError::Stopped)));
    assert!(job.files().is_empty());
}

#[test]
fn pictures_that_are_no_video_are_refused_when_the_recording_is_opened() {
    let found = refused(&filmed(12, 40, 100), &format!("{HEAD}{STATE}{VIDEO}"));
    assert!(found.contains("\"observation.images.front\"") && found.contains("12 x 40 pixels"), "{found}");
}

#[test]
fn the_memory_of_pictures_is_used_again() {
    // Images of one frame each, images that stand for several frames, and a video.
    for (kind, every_ms) in [(FRONT, 100), (FRONT, 200), (VIDEO, 100)] {
        let mut job = open(&filmed(64, 48, every_ms), &format!("{HEAD}{STATE}{kind}"), 30).unwrap();
        assert_eq!(job.work.segments(), 1);
        // Opening reads a picture too, whose memory is not kept.
        assert_eq!(job.work.member.spares().count(), 0);
        job.work.run(0, &StopFlag::default()).unwrap();
        assert_eq!(job.work.member.spares().count(), 1, "{kind} {every_ms}");
    }
}

/// A dataset may have nothing but a video.
#[test]
fn a_video_alone_is_enough() {
    let job = open(&filmed(64, 48, 100), &format!("{HEAD}{VIDEO}"), 30).unwrap().run();
    let key = segment_video_key(&segment_key("job/e000/", 0), 0);
    assert!(job.files().contains_key(&key));
}
