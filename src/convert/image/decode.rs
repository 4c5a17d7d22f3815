//! From a picture's bytes to what is wanted of it: planes for a video encoder, a file, counts for statistics.
//!
//! One [`Pixels`] a thread: it owns the memory of a picture on its way, and uses it again for the next.

use super::encode::write_png;
use super::frame::{Frame, Space};
use super::header::{Format, Geometry};
use super::pixels::add_counts;
use super::transform::{Transform, Transformer};
use super::yuv::Yuv420;
use super::{IMAGE_PIXELS_MAX, IMAGE_SIDE_MAX};
use crate::lerobot::staged::ImageCounts;
use std::fmt;
use std::io::Cursor;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// What is wanted of a JPEG that holds luma and differences.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    /// These, for planes: no colours in between.
    AsStored,
    /// Red, green and blue. The decoder makes them faster than it hands out what it has (640 x 480: 880 against 790
    /// pictures a core-second), so that statistics cost no more than that.
    Colours,
}

const _: () = assert!(IMAGE_PIXELS_MAX * 4 <= u32::MAX as u64, "a decoded image fits in memory");

/// Decodes pictures, one after the other.
#[derive(Default)]
pub(crate) struct Pixels {
    frame: Frame,
    /// What a file decodes to when that is no frame yet.
    spare: Vec<u8>,
    transformer: Transformer,
}

/// Its memory is nothing to see, and nothing to copy.
impl fmt::Debug for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pixels")
    }
}

impl Clone for Pixels {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Pixels {
    /// A transformed picture as planes for a video encoder, odd sides padded by their last column or row.
    ///
    /// # Errors
    /// Says why it does not decode, or why it has no colours to show: depth.
    pub(crate) fn yuv(
        &mut self,
        picture: &[u8],
        geometry: Geometry,
        transform: &Transform,
        out: &mut Yuv420,
    ) -> Result<(), String> {
        let frame = self.frame(picture, geometry, transform, Wanted::AsStored)?;
        if frame.space == Space::Depth {
            return Err("depth is no video of colours: use kind = \"image\"".to_owned());
        }
        out.take(frame);
        Ok(())
    }

    /// A transformed picture as a PNG file, appended to `out`.
    ///
    /// # Errors
    /// Says why it does not decode, or cannot be encoded.
    pub(crate) fn png(
        &mut self,
        picture: &[u8],
        geometry: Geometry,
        transform: &Transform,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        self.frame(picture, geometry, transform, Wanted::Colours)?;
        write_png(&self.frame, &mut self.spare, out)
    }

    /// Adds a transformed picture's pixels to the counts. Grey counts as red, green and blue alike; transparency is left
    /// out; of a depth image the distances count.
    ///
    /// # Errors
    /// Says why it does not decode.
    pub(crate) fn count(
        &mut self,
        picture: &[u8],
        geometry: Geometry,
        transform: &Transform,
        counts: &mut ImageCounts,
    ) -> Result<(), String> {
        add_counts(self.frame(picture, geometry, transform, Wanted::Colours)?, counts);
        Ok(())
    }

    /// Adds the pixels of the picture that was last made into planes: it need not be decoded again.
    pub(crate) fn count_same(&self, counts: &mut ImageCounts) {
        add_counts(&self.frame, counts);
    }

    fn frame(
        &mut self,
        picture: &[u8],
        geometry: Geometry,
        transform: &Transform,
        wanted: Wanted,
    ) -> Result<&Frame, String> {
        match geometry.format {
            Format::Jpeg => self.jpeg(picture, geometry, wanted)?,
            Format::Png | Format::Depth => self.png_file(picture, geometry)?,
            Format::Raw(raw) => {
                let (width, height) = (geometry.width as usize, geometry.height as usize);
                raw.unpack(picture, width, height, &mut self.frame);
            }
        }
        if !transform.is_none() {
            self.transformer.apply(transform, &mut self.frame)?;
        }
        Ok(&self.frame)
    }

    /// The decoder's vector code and its plain code give the same bytes: a test holds it to that.
    fn jpeg(&mut self, bytes: &[u8], geometry: Geometry, wanted: Wanted) -> Result<(), String> {
        let broken = |error| format!("the JPEG does not decode: {error:?}");
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), jpeg_options(ColorSpace::RGB));
        decoder.decode_headers().map_err(broken)?;
        let components = decoder.info().map_or(0, |info| info.components);
        let (space, out) = match (decoder.input_colorspace(), components) {
            (Some(ColorSpace::YCbCr), 3) if wanted == Wanted::AsStored => (Space::Full, ColorSpace::YCbCr),
            (_, 1) => (Space::Grey, ColorSpace::Luma),
            _ => (Space::Rgb, ColorSpace::RGB),
        };
        decoder.set_options(jpeg_options(out));
        let (width, height) = (geometry.width as usize, geometry.height as usize);
        let found = decoder.dimensions();
        if found != Some((width, height)) {
            return Err(format!("the JPEG does not decode: it has two sizes, {geometry} and {found:?}"));
        }
        decoder.decode_into(self.frame.reset(space, width, height)).map_err(broken)
    }

    fn png_file(&mut self, bytes: &[u8], geometry: Geometry) -> Result<(), String> {
        let broken = |error: png::DecodingError| format!("the PNG does not decode: {error}");
        let mut decoder = png::Decoder::new(Cursor::new(bytes));
        decoder.set_transformations(match geometry.format {
            Format::Depth => png::Transformations::IDENTITY,
            _ => png::Transformations::normalize_to_color8(),
        });
        let mut reader = decoder.read_info().map_err(broken)?;
        let size = reader.output_buffer_size().ok_or("the PNG is too large")?;
        self.spare.resize(size, 0);
        let info = reader.next_frame(&mut self.spare).map_err(broken)?;
        if (info.width, info.height) != (geometry.width, geometry.height) {
            return Err(format!("the PNG does not decode: it has two sizes, {geometry} and {}", info.width));
        }
        let pixels = self.spare.get(..info.buffer_size()).unwrap_or_default();
        let (width, height) = (info.width as usize, info.height as usize);
        match (geometry.format, info.color_type) {
            (Format::Depth, _) => take::<2, 2>(pixels, self.frame.reset(Space::Depth, width, height)),
            (_, png::ColorType::Grayscale) => {
                take::<1, 1>(pixels, self.frame.reset(Space::Grey, width, height));
            }
            (_, png::ColorType::GrayscaleAlpha) => {
                take::<2, 1>(pixels, self.frame.reset(Space::Grey, width, height));
            }
            (_, png::ColorType::Rgba) => take::<4, 3>(pixels, self.frame.reset(Space::Rgb, width, height)),
            (_, png::ColorType::Rgb | png::ColorType::Indexed) => {
                take::<3, 3>(pixels, self.frame.reset(Space::Rgb, width, height));
            }
        }
        Ok(())
    }
}

fn jpeg_options(out: ColorSpace) -> DecoderOptions {
    DecoderOptions::default()
        .jpeg_set_out_colorspace(out)
        .set_max_width(IMAGE_SIDE_MAX as usize)
        .set_max_height(IMAGE_SIDE_MAX as usize)
}

/// The first `TO` of each pixel's `FROM` bytes.
fn take<const FROM: usize, const TO: usize>(from: &[u8], to: &mut [u8]) {
    for (to, from) in to.as_chunks_mut::<TO>().0.iter_mut().zip(from.as_chunks::<FROM>().0) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
    }
}

#[cfg(test)]
mod tests;
