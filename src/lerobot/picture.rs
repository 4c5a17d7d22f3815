//! The geometry of JPEG and PNG files, from their headers alone. No pixel is decoded here.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::options::DecoderOptions;

/// The longest side that is taken, in pixels.
pub const MAX_SIDE_PIXELS: usize = 16_384;

/// What a picture's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// 1 for grey, 3 for colour, 4 with an alpha channel or for four inks.
    pub channels: u32,
}

/// Reads the header of a JPEG or PNG file.
///
/// # Errors
/// What is wrong with it, without a name of the file.
pub fn geometry(bytes: &[u8]) -> Result<Geometry, String> {
    match bytes {
        [0xff, 0xd8, ..] => jpeg(bytes),
        [0x89, b'P', b'N', b'G', ..] => png(bytes),
        [] => Err("it is empty".into()),
        _ => Err("it is neither JPEG nor PNG".into()),
    }
}

fn jpeg(bytes: &[u8]) -> Result<Geometry, String> {
    let options = DecoderOptions::default().set_max_width(MAX_SIDE_PIXELS).set_max_height(MAX_SIDE_PIXELS);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| format!("its JPEG header is damaged: {error}"))?;
    let info = decoder.info().ok_or("its JPEG header says no size")?;
    Ok(Geometry { height: info.height.into(), width: info.width.into(), channels: info.components.into() })
}

fn png(bytes: &[u8]) -> Result<Geometry, String> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    let info = decoder.read_header_info().map_err(|error| format!("its PNG header is damaged: {error}"))?;
    // A palette stands for colours.
    let channels =
        if info.color_type == png::ColorType::Indexed { 3 } else { info.color_type.samples() as u32 };
    Ok(Geometry { height: info.height, width: info.width, channels })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png_of(color: png::ColorType) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 5, 3);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&vec![7; 15 * color.samples()]).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn a_png_says_its_size() {
        for (color, channels) in
            [(png::ColorType::Rgb, 3), (png::ColorType::Grayscale, 1), (png::ColorType::Rgba, 4)]
        {
            assert_eq!(geometry(&png_of(color)), Ok(Geometry { height: 3, width: 5, channels }));
        }
    }

    #[test]
    fn cut_and_foreign_bytes_are_errors() {
        let whole = png_of(png::ColorType::Rgb);
        for cut in 0..33 {
            assert!(geometry(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(geometry(b"GIF89a").unwrap_err().contains("neither"));
        assert!(geometry(&[0xff, 0xd8, 0xff, 0xc0, 0, 17, 8, 0xff, 0xff, 0xff, 0xff, 3]).is_err());
    }
}
