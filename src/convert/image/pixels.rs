//! Counts of an image's pixel values, for exact statistics.
//!
//! Source: lerobot `datasets/compute_stats.py`, `auto_downsample_height_width`.

use super::frame::{Frame, Space};
use super::rgb;
use crate::lerobot::staged::ImageCounts;

/// From this side on, only every n-th row and column counts.
const STRIDE_FROM_PX: usize = 300;
/// About how long the longer side is then.
const STRIDE_TO_PX: usize = 150;
/// Values of a pixel's channel.
const LEVELS: usize = 256;

/// Counts of no image.
pub(crate) fn no_counts() -> ImageCounts {
    ImageCounts {
        frames: 0,
        channels: std::array::from_fn(|_| vec![0; LEVELS]),
        depth: std::collections::BTreeMap::new(),
    }
}

/// Adds a frame's pixels to the counts.
pub(super) fn add_counts(frame: &Frame, counts: &mut ImageCounts) {
    let longer = frame.width.max(frame.height);
    let stride = if longer >= STRIDE_FROM_PX { longer / STRIDE_TO_PX } else { 1 };
    counts.frames += 1;
    if frame.space == Space::Depth {
        for row in frame.rows().step_by(stride) {
            for level in row.as_chunks().0.iter().step_by(stride) {
                *counts.depth.entry(u16::from_be_bytes(*level)).or_default() += 1;
            }
        }
        return;
    }
    let [reds, greens, blues] = &mut counts.channels;
    rgb::each(frame, stride, |[red, green, blue]| {
        for (levels, level) in [(&mut *reds, red), (&mut *greens, green), (&mut *blues, blue)] {
            if let Some(count) = levels.get_mut(usize::from(level)) {
                *count += 1;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::image::{Pixels, Transform, geometry};

    fn png_file(width: u32, height: u32, color: png::ColorType, pixels: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header().unwrap().write_image_data(pixels).unwrap();
        bytes
    }

    fn counted(bytes: &[u8]) -> ImageCounts {
        let mut counts = no_counts();
        Pixels::default().count(bytes, geometry(bytes).unwrap(), &Transform::default(), &mut counts).unwrap();
        counts
    }

    fn levels(counts: &ImageCounts) -> [Vec<(usize, u64)>; 3] {
        let present = |channel: &Vec<u64>| {
            channel.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect::<Vec<_>>()
        };
        [present(&counts.channels[0]), present(&counts.channels[1]), present(&counts.channels[2])]
    }

    #[test]
    fn every_pixel_of_a_small_image_counts() {
        let bytes = png_file(2, 1, png::ColorType::Rgb, &[1, 2, 3, 1, 5, 255]);
        let counts = counted(&bytes);
        assert_eq!(counts.frames, 1);
        assert_eq!(levels(&counts), [vec![(1, 2)], vec![(2, 1), (5, 1)], vec![(3, 1), (255, 1)]]);
    }

    #[test]
    fn grey_is_all_three_colours_and_transparency_is_none() {
        let grey = counted(&png_file(2, 1, png::ColorType::Grayscale, &[7, 9]));
        let grey_alpha = counted(&png_file(2, 1, png::ColorType::GrayscaleAlpha, &[7, 0, 9, 50]));
        assert_eq!(levels(&grey), [vec![(7, 1), (9, 1)], vec![(7, 1), (9, 1)], vec![(7, 1), (9, 1)]]);
        assert_eq!(grey, grey_alpha);
    }

    #[test]
    fn from_300_px_on_a_stride_is_taken() {
        let count_of = |width: u32, height: u32| {
            let pixels = vec![0; (width * height) as usize];
            counted(&png_file(width, height, png::ColorType::Grayscale, &pixels)).channels[0][0]
        };
        assert_eq!(count_of(299, 10), 2990);
        assert_eq!(count_of(300, 10), 150 * 5, "every second row and column");
        assert_eq!(count_of(10, 640), 160 * 3, "every fourth");
    }

    #[test]
    fn broken_pixels_are_an_error() {
        let mut bytes = png_file(8, 8, png::ColorType::Rgb, &[100; 192]);
        let size = geometry(&bytes).unwrap();
        let middle = bytes.len() - 20;
        bytes[middle] ^= 0xff;
        let counted = Pixels::default().count(&bytes, size, &Transform::default(), &mut no_counts());
        assert!(counted.unwrap_err().contains("does not decode"));
    }
}
