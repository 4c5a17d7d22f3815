//! Tests of pictures on their way: known pixels through each decoder, sizes that lie, and memory that is used again.

use super::*;
use crate::convert::image::{Crop, Raw, Turn, geometry, no_counts};
use proptest::prelude::*;

/// Made with Pillow 13 from one picture of waves, noise and plain patches, 67 x 45.
const PHOTO_420: &[u8] = include_bytes!("../../../../proptests/data/jpeg/420.jpg");
const PHOTO_422: &[u8] = include_bytes!("../../../../proptests/data/jpeg/422.jpg");
const PHOTO_444: &[u8] = include_bytes!("../../../../proptests/data/jpeg/444.jpg");
const PROGRESSIVE: &[u8] = include_bytes!("../../../../proptests/data/jpeg/progressive.jpg");
const GREY: &[u8] = include_bytes!("../../../../proptests/data/jpeg/grey.jpg");

fn png_file(width: u32, height: u32, color: png::ColorType, depth: png::BitDepth, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if color == png::ColorType::Indexed {
        encoder.set_palette(&[1, 2, 3, 200, 100, 50][..]);
    }
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    bytes
}

fn raw(kind: Raw, width: u32, height: u32) -> Geometry {
    Geometry { format: Format::Raw(kind), width, height, is_rgb: false }
}

/// Red, green, blue of what would be stored as a file; read back by the decoder, as a loader would.
fn stored(picture: &[u8], geometry_of: Geometry, transform: Transform) -> (png::OutputInfo, Vec<u8>) {
    let mut file = Vec::new();
    Pixels::default().png(picture, geometry_of, &transform, &mut file).unwrap();
    let mut reader = png::Decoder::new(Cursor::new(&file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info, pixels)
}

#[test]
fn pngs_of_every_kind_become_colours() {
    use png::BitDepth::{Eight, One};
    use png::ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
    for (color, depth, pixels, expected) in [
        (Rgb, Eight, vec![1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]),
        (Rgba, Eight, vec![1, 2, 3, 0, 4, 5, 6, 9], [1, 2, 3, 4, 5, 6]),
        (Grayscale, Eight, vec![7, 9], [7, 7, 7, 9, 9, 9]),
        (Grayscale, One, vec![0b0100_0000], [0, 0, 0, 255, 255, 255]),
        (GrayscaleAlpha, Eight, vec![7, 0, 9, 3], [7, 7, 7, 9, 9, 9]),
        (Indexed, Eight, vec![1, 0], [200, 100, 50, 1, 2, 3]),
    ] {
        let file = png_file(2, 1, color, depth, &pixels);
        let geometry = geometry(&file).unwrap();
        assert_eq!(geometry.is_rgb, color == Rgb, "{color:?}");
        let (info, found) = stored(&file, geometry, Transform::default());
        assert_eq!((info.color_type, info.bit_depth), (Rgb, Eight));
        assert_eq!(found, expected, "{color:?} {depth:?}");
    }
}

#[test]
fn depth_keeps_its_sixteen_bits() {
    let levels: Vec<u8> = [0_u16, 3, 256, 65_535].into_iter().flat_map(u16::to_be_bytes).collect();
    let file = png_file(4, 1, png::ColorType::Grayscale, png::BitDepth::Sixteen, &levels);
    for (picture, geometry) in [(&file, geometry(&file).unwrap()), (&levels, raw(Raw::Depth, 4, 1))] {
        assert!(geometry.is_depth());
        let (info, found) = stored(picture, geometry, Transform::default());
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Grayscale, png::BitDepth::Sixteen));
        assert_eq!(found, levels);
        let mut counts = no_counts();
        Pixels::default().count(picture, geometry, &Transform::default(), &mut counts).unwrap();
        assert_eq!(counts.depth.into_iter().collect::<Vec<_>>(), [(0, 1), (3, 1), (256, 1), (65_535, 1)]);
        let yuv = Pixels::default().yuv(picture, geometry, &Transform::default(), &mut Yuv420::default());
        assert!(yuv.unwrap_err().contains("kind = \"image\""));
    }
}

#[test]
fn a_transform_reaches_file_planes_and_counts_alike() {
    let pixels: Vec<u8> = (0..48).collect();
    let transform = Transform {
        crop: Some(Crop { x: 1, y: 1, width: 2, height: 3 }),
        turn: Some(Turn::Left),
        ..Transform::default()
    };
    let geometry = raw(Raw::Rgb, 4, 4);
    let (info, found) = stored(&pixels, geometry, transform);
    assert_eq!((info.width, info.height), (3, 2));
    let expected = [18, 19, 20, 30, 31, 32, 42, 43, 44, 15, 16, 17, 27, 28, 29, 39, 40, 41];
    assert_eq!(found, expected);
    let mut counts = no_counts();
    Pixels::default().count(&pixels, geometry, &transform, &mut counts).unwrap();
    let reds: Vec<usize> =
        counts.channels[0].iter().enumerate().filter(|(_, n)| **n > 0).map(|(at, _)| at).collect();
    assert_eq!(reds, [15, 18, 27, 30, 39, 42]);
    let (mut planes, mut same) = (Yuv420::default(), Yuv420::default());
    Pixels::default().yuv(&pixels, geometry, &transform, &mut planes).unwrap();
    Pixels::default().yuv(&expected, raw(Raw::Rgb, 3, 2), &Transform::default(), &mut same).unwrap();
    assert_eq!((planes.width, planes.height), (4, 2));
    assert_eq!(planes, same);
}

#[test]
fn a_jpeg_has_the_same_bytes_by_vector_code_and_by_plain_code() {
    for file in [
        &include_bytes!("../../../../proptests/data/tiny_0.jpg")[..],
        PHOTO_420,
        PHOTO_422,
        PHOTO_444,
        PROGRESSIVE,
    ] {
        for space in [ColorSpace::YCbCr, ColorSpace::RGB] {
            let decoded = |vector: bool| {
                let options = jpeg_options(space).set_use_unsafe(vector);
                JpegDecoder::new_with_options(ZCursor::new(file), options).decode().unwrap()
            };
            assert_eq!(decoded(true), decoded(false), "{space:?}");
        }
    }
}

#[test]
fn a_jpeg_has_the_planes_of_its_colours() {
    for file in [PHOTO_420, PHOTO_422, PHOTO_444, PROGRESSIVE] {
        let geometry = geometry(file).unwrap();
        assert_eq!((geometry.width, geometry.height, geometry.is_rgb), (67, 45, true));
        let (mut pixels, mut planes, mut counted, mut again) =
            (Pixels::default(), Yuv420::default(), no_counts(), no_counts());
        pixels.count(file, geometry, &Transform::default(), &mut counted).unwrap();
        let colours = pixels.frame.clone();
        pixels.yuv(file, geometry, &Transform::default(), &mut planes).unwrap();
        pixels.count_same(&mut again);
        assert_eq!((planes.width, planes.height), (68, 46));
        let mut detour = Yuv420::default();
        detour.take(&colours);
        // Saturated colours lose a little on the way by red, green and blue.
        let far = |a: &[u8], b: &[u8]| {
            a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
        };
        for (direct, detour) in [(&planes.y, &detour.y), (&planes.u, &detour.u), (&planes.v, &detour.v)] {
            assert!(far(direct, detour) < 0.6, "{}", far(direct, detour));
        }
        let mean = |counts: &ImageCounts, channel: usize| {
            let levels = counts.channels[channel].iter().enumerate();
            levels.map(|(level, count)| level as f64 * *count as f64).sum::<f64>() / f64::from(67 * 45)
        };
        for channel in 0..3 {
            assert!((mean(&counted, channel) - mean(&again, channel)).abs() < 0.02, "channel {channel}");
        }
    }
}

#[test]
fn a_file_that_decodes_to_another_size_is_an_error() {
    let png = png_file(2, 1, png::ColorType::Rgb, png::BitDepth::Eight, &[7; 6]);
    for file in [PHOTO_420, GREY, &png[..]] {
        let geometry = geometry(file).unwrap();
        for (width, height) in [(1, 1), (geometry.height, geometry.width), (geometry.width, 400)] {
            let lie = Geometry { width, height, ..geometry };
            let found = Pixels::default().count(file, lie, &Transform::default(), &mut no_counts());
            assert!(found.unwrap_err().contains("two sizes"), "{lie}");
        }
    }
}

#[test]
fn a_grey_jpeg_is_grey() {
    let geometry = geometry(GREY).unwrap();
    assert!(!geometry.is_rgb);
    let mut planes = Yuv420::default();
    Pixels::default().yuv(GREY, geometry, &Transform::default(), &mut planes).unwrap();
    assert!(planes.u.iter().chain(&planes.v).all(|chroma| *chroma == 128));
    let (_, found) = stored(GREY, geometry, Transform::default());
    assert!(found.as_chunks::<3>().0.iter().all(|[r, g, b]| r == g && g == b));
}

#[test]
fn memory_is_used_again() {
    let (first, second) = (vec![1; 64 * 48 * 3], vec![2; 64 * 48 * 3]);
    let (mut pixels, mut planes) = (Pixels::default(), Yuv420::default());
    let transform = Transform { resize: Some((32, 32)), turn: Some(Turn::Over), crop: None };
    let mut run = |picture: &[u8]| {
        pixels.yuv(picture, raw(Raw::Bgr, 64, 48), &transform, &mut planes).unwrap();
        planes.y.as_ptr()
    };
    assert_eq!(run(&first), run(&second));
}

proptest! {
    #![proptest_config(crate::convert::testing::cases())]

    #[test]
    fn hostile_files_are_errors_not_panics(
        is_png in any::<bool>(),
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 0..6),
    ) {
        let png = png_file(9, 5, png::ColorType::Rgb, png::BitDepth::Eight, &[77; 135]);
        let mut bytes = if is_png { png } else { include_bytes!("../../../../proptests/data/tiny_0.jpg").to_vec() };
        for (at, flip) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        bytes.truncate(cut.index(bytes.len() * 3));
        if let Ok(geometry) = geometry(&bytes) {
            // Flipped sizes may be large; those of this test's budget are enough.
            prop_assume!(geometry.width * geometry.height < 1 << 20);
            let (mut pixels, mut planes) = (Pixels::default(), Yuv420::default());
            let _ = pixels.count(&bytes, geometry, &Transform::default(), &mut no_counts());
            if pixels.yuv(&bytes, geometry, &Transform::default(), &mut planes).is_ok() {
                prop_assert_eq!(planes.y.len(), planes.width as usize * planes.height as usize);
                prop_assert_eq!(planes.u.len() * 4, planes.y.len());
            }
        }
    }
}
