//! Depth as `compressed_depth_image_transport` (ROS) packs it: 12 bytes of its own, then a PNG.
//!
//! The 12 bytes are a format number and two floats, which mean something for 32FC1 alone: there the PNG holds quantised
//! inverse depth, and its numbers are no distances. Only the message's `format` text tells the two apart.

use super::header::PNG_MAGIC;

/// Bytes before the PNG.
const HEADER_BYTES: usize = 12;

/// A file's bytes, without the 12 before compressed depth. `format` is what the message says of its data.
///
/// # Errors
/// Names kinds of compressed depth whose numbers are no distances, or that are no PNG.
pub(crate) fn depth_png<'a>(bytes: &'a [u8], format: &str) -> Result<&'a [u8], String> {
    let behind = bytes.get(HEADER_BYTES..).filter(|behind| behind.starts_with(PNG_MAGIC));
    if behind.is_none() && !format.contains("compressedDepth") {
        return Ok(bytes);
    }
    let refuse = |what: &str| Err(format!("compressed depth {what} is not read; record 16UC1 with png"));
    if format.contains("32FC1") {
        return refuse("of 32FC1 (quantised inverse depth)");
    }
    match behind {
        Some(png) => Ok(png),
        None if format.contains("rvl") => refuse("by RVL"),
        None => refuse("without a PNG behind 12 bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_png_stands_behind_twelve_bytes() {
        let packed = [&[0; 12], PNG_MAGIC, b"rest"].concat();
        for format in ["16UC1; compressedDepth", "16UC1; compressedDepth png", "", "png"] {
            assert_eq!(depth_png(&packed, format), Ok(&packed[12..]), "{format}");
        }
        let plain = [PNG_MAGIC, b"rest"].concat();
        assert_eq!(depth_png(&plain, "16UC1; png compressed "), Ok(&plain[..]));
        assert_eq!(depth_png(b"\xff\xd8\xff", "jpeg"), Ok(&b"\xff\xd8\xff"[..]));
        assert_eq!(depth_png(b"", ""), Ok(&b""[..]));
    }

    #[test]
    fn what_is_no_distance_is_named() {
        let packed = [&[0; 12], PNG_MAGIC].concat();
        assert!(depth_png(&packed, "32FC1; compressedDepth").unwrap_err().contains("32FC1"));
        assert!(depth_png(&[0; 64], "16UC1; compressedDepth rvl").unwrap_err().contains("RVL"));
        assert!(depth_png(&packed[..15], "16UC1; compressedDepth").unwrap_err().contains("12 bytes"));
    }
}
