//! Frames as files: PNG, since nothing of the pixels is lost, and every loader opens it.
//!
//! The same bytes everywhere: the encoder is plain code without chance, threads or CPU features. Its fast level costs a
//! third of a better one's time for about a tenth more bytes.

use super::frame::{Frame, Space};
use super::rgb;

/// Appends the frame as a PNG: 16-bit grey of depth, else 8-bit red, green and blue. `spare` is memory to work in.
///
/// # Errors
/// Says what the encoder says.
pub(super) fn write_png(frame: &Frame, spare: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), String> {
    let broken = |error: png::EncodingError| format!("the picture cannot be encoded as PNG: {error}");
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    let mut encoder = png::Encoder::new(out, side(frame.width), side(frame.height));
    encoder.set_compression(png::Compression::Fast);
    let pixels = match frame.space {
        Space::Depth => {
            encoder.set_color(png::ColorType::Grayscale);
            encoder.set_depth(png::BitDepth::Sixteen);
            &frame.samples
        }
        space => {
            encoder.set_color(png::ColorType::Rgb);
            encoder.set_depth(png::BitDepth::Eight);
            if space == Space::Rgb {
                &frame.samples
            } else {
                rgb::all(frame, spare);
                spare
            }
        }
    };
    let mut writer = encoder.write_header().map_err(broken)?;
    writer.write_image_data(pixels).map_err(broken)?;
    writer.finish().map_err(broken)
}
