//! Counts of an image's pixel values, for exact statistics.
//!
//! Source: lerobot `datasets/compute_stats.py`, `auto_downsample_height_width`.

use super::header::{Format, Geometry};
use super::{IMAGE_PIXELS_MAX, IMAGE_SIDE_MAX};
use crate::lerobot::staged::ImageCounts;
use std::io::Cursor;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// From this side on, only every n-th row and column counts.
const STRIDE_FROM_PX: u32 = 300;
/// About how long the longer side is then.
const STRIDE_TO_PX: u32 = 150;
/// Values of a pixel's channel.
const LEVELS: usize = 256;
const _: () = assert!(IMAGE_PIXELS_MAX * 4 <= u32::MAX as u64, "a decoded image fits in memory");

/// Counts of no image.
pub(crate) fn no_counts() -> ImageCounts {
    ImageCounts { frames: 0, channels: std::array::from_fn(|_| vec![0; LEVELS]) }
}

/// Decodes an image and adds its pixels to the counts. Grey counts as red, green and blue alike; transparency is left out.
///
/// # Errors
/// Says why it does not decode.
pub(crate) fn count(bytes: &[u8], geometry: Geometry, counts: &mut ImageCounts) -> Result<(), String> {
    let (pixels, samples) = match geometry.format {
        Format::Jpeg => (jpeg(bytes)?, 3),
        Format::Png => png(bytes)?,
    };
    let (width, height) = (geometry.width as usize, geometry.height as usize);
    if pixels.len() < width * height * samples {
        return Err(format!("{} decoded bytes are too few for {geometry}", pixels.len()));
    }
    let longer = geometry.width.max(geometry.height);
    let stride = if longer >= STRIDE_FROM_PX { (longer / STRIDE_TO_PX) as usize } else { 1 };
    let colour = if samples >= 3 { [0, 1, 2] } else { [0; 3] };
    for row in pixels.chunks_exact(width * samples).take(height).step_by(stride) {
        for pixel in row.chunks_exact(samples).step_by(stride) {
            for (channel, at) in counts.channels.iter_mut().zip(colour) {
                let level = pixel.get(at).copied().unwrap_or(0);
                if let Some(count) = channel.get_mut(usize::from(level)) {
                    *count += 1;
                }
            }
        }
    }
    counts.frames += 1;
    Ok(())
}

fn jpeg(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_max_width(IMAGE_SIDE_MAX as usize)
        .set_max_height(IMAGE_SIDE_MAX as usize);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
        .decode()
        .map_err(|error| format!("the JPEG does not decode: {error:?}"))
}

/// The pixels, and how many samples each has.
fn png(bytes: &[u8]) -> Result<(Vec<u8>, usize), String> {
    let broken = |error: png::DecodingError| format!("the PNG does not decode: {error}");
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(broken)?;
    let size = reader.output_buffer_size().ok_or("the PNG is too large")?;
    let mut pixels = vec![0; size];
    let info = reader.next_frame(&mut pixels).map_err(broken)?;
    pixels.truncate(info.buffer_size());
    Ok((pixels, info.color_type.samples()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::image::geometry;

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
        count(bytes, geometry(bytes).unwrap(), &mut counts).unwrap();
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
        assert!(count(&bytes, size, &mut no_counts()).unwrap_err().contains("does not decode"));
    }
}
