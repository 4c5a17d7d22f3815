//! Kind and size of an image file, from its first bytes: JPEG's frame header, PNG's IHDR.
//!
//! It decodes no pixels. Sources: ITU T.81 annex B, PNG (third edition) chapter 11.

use super::{IMAGE_PIXELS_MAX, IMAGE_SIDE_MAX};
use std::fmt;

/// A file kind that passes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
}

/// Kind and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) format: Format,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.format {
            Format::Jpeg => "JPEG",
            Format::Png => "PNG",
        };
        write!(f, "a {format} of {} x {}", self.width, self.height)
    }
}

const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG_MAGIC: &[u8] = b"\xff\xd8\xff";
/// Bytes at an image's end that may hold its end marker: some cameras pad.
const TAIL_BYTES: usize = 64 << 10;

/// Reads kind and size, and makes sure that the file was not cut.
///
/// # Errors
/// Says what the bytes are, if not an 8-bit JPEG or PNG that a loader can open.
pub(crate) fn geometry(bytes: &[u8]) -> Result<Geometry, String> {
    let geometry = if bytes.starts_with(JPEG_MAGIC) {
        let (width, height) = jpeg(bytes)?;
        ends_with(bytes, b"\xff\xd9", "JPEG")?;
        Geometry { format: Format::Jpeg, width, height }
    } else if bytes.starts_with(PNG_MAGIC) {
        let (width, height) = png(bytes)?;
        ends_with(bytes, b"IEND", "PNG")?;
        Geometry { format: Format::Png, width, height }
    } else {
        return Err(format!("an image must be a JPEG or PNG file; this is {}", kind_of(bytes)));
    };
    let Geometry { width, height, .. } = geometry;
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || width.max(height) > IMAGE_SIDE_MAX || pixels > IMAGE_PIXELS_MAX {
        return Err(format!(
            "{geometry} is not allowed: sides go to {IMAGE_SIDE_MAX}, and an image to {IMAGE_PIXELS_MAX} pixels"
        ));
    }
    Ok(geometry)
}

fn ends_with(bytes: &[u8], marker: &[u8], name: &str) -> Result<(), String> {
    let tail = bytes.get(bytes.len().saturating_sub(TAIL_BYTES)..).unwrap_or(bytes);
    if tail.windows(marker.len()).rev().any(|window| window == marker) {
        return Ok(());
    }
    Err(format!("the {name} is cut: its end marker is missing after {} bytes", bytes.len()))
}

fn jpeg(bytes: &[u8]) -> Result<(u32, u32), String> {
    const CUT: &str = "the JPEG is cut before its frame header";
    let word = |at: usize| {
        let pair = bytes.get(at..at + 2)?;
        Some(u16::from_be_bytes(pair.try_into().ok()?))
    };
    let mut at = 2;
    loop {
        let marker = word(at).ok_or(CUT)?;
        match marker {
            // A fill byte before a marker.
            0xffff => at += 1,
            // A frame header: SOF0 to SOF15 without DHT, JPG and DAC.
            0xffc0..=0xffc3 | 0xffc5..=0xffc7 | 0xffc9..=0xffcb | 0xffcd..=0xffcf => {
                let precision = *bytes.get(at + 4).ok_or(CUT)?;
                if precision != 8 {
                    return Err(format!("a JPEG of {precision} bits is not 8-bit"));
                }
                let (height, width) = (word(at + 5).ok_or(CUT)?, word(at + 7).ok_or(CUT)?);
                return Ok((u32::from(width), u32::from(height)));
            }
            // Markers without a length.
            0xff01 | 0xffd0..=0xffd8 => at += 2,
            0xffd9 | 0xffda => return Err("the JPEG has no frame header".to_owned()),
            0xff02..=0xfffe => at += 2 + usize::from(word(at + 2).ok_or(CUT)?.max(2)),
            other => return Err(format!("the JPEG is damaged at byte {at}: {other:#06x} is no marker")),
        }
    }
}

fn png(bytes: &[u8]) -> Result<(u32, u32), String> {
    const CUT: &str = "the PNG is cut in its header";
    let number = |at: usize| {
        let four = bytes.get(at..at + 4)?;
        Some(u32::from_be_bytes(four.try_into().ok()?))
    };
    if bytes.get(12..16).ok_or(CUT)? != b"IHDR" {
        return Err("the PNG does not begin with its header".to_owned());
    }
    let depth = *bytes.get(24).ok_or(CUT)?;
    if depth > 8 {
        return Err(format!("a PNG of {depth} bits is not 8-bit: depth images come with a later version"));
    }
    Ok((number(16).ok_or(CUT)?, number(20).ok_or(CUT)?))
}

fn kind_of(bytes: &[u8]) -> String {
    let known: [(&str, &[u8]); 5] = [
        ("WebP or another RIFF file", b"RIFF"),
        ("GIF", b"GIF8"),
        ("BMP", b"BM"),
        ("TIFF", b"II*\0"),
        ("TIFF", b"MM\0*"),
    ];
    if let Some((name, _)) = known.iter().find(|(_, magic)| bytes.starts_with(magic)) {
        return format!("a {name}");
    }
    if bytes.get(12..20) == Some(PNG_MAGIC) {
        return "a depth image of compressed_depth_image_transport, which comes with a later version"
            .to_owned();
    }
    match bytes.get(..4) {
        None => format!("{} bytes, too few for any image", bytes.len()),
        Some([0, 0, 0, 1] | [0, 0, 1, _]) => {
            "a piece of H.264 or H.265 video, which comes with a later version".to_owned()
        }
        Some(first) => format!(
            "{} bytes that begin with {}: raw pixels and other kinds come with a later version",
            bytes.len(),
            first.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jpeg_of(width: u16, height: u16, sof: u8) -> Vec<u8> {
        let mut bytes = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc4\x00\x03x".to_vec();
        bytes.extend([0xff, sof, 0, 17, 8]);
        bytes.extend(height.to_be_bytes());
        bytes.extend(width.to_be_bytes());
        bytes.extend(b"\x03\xff\xd9");
        bytes
    }

    pub(super) fn png_of(width: u32, height: u32, depth: u8) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes.extend([depth, 2, 0, 0, 0]);
        bytes.extend(b"....IEND....");
        bytes
    }

    #[test]
    fn sizes_come_from_the_headers() {
        for sof in [0xc0, 0xc2] {
            let size = Geometry { format: Format::Jpeg, width: 640, height: 480 };
            assert_eq!(geometry(&jpeg_of(640, 480, sof)), Ok(size));
        }
        let size = Geometry { format: Format::Png, width: 7, height: 9 };
        assert_eq!(geometry(&png_of(7, 9, 8)), Ok(size));
        assert_eq!(size.to_string(), "a PNG of 7 x 9");
    }

    #[test]
    fn what_cannot_pass_is_named() {
        let refused = |bytes: &[u8]| geometry(bytes).unwrap_err();
        assert!(refused(b"RIFF....WEBP").contains("a WebP"));
        assert!(refused(b"").contains("0 bytes, too few"));
        assert!(refused(b"\0\0\0\x01\x67").contains("H.264"));
        assert!(refused(&[9; 64]).contains("64 bytes that begin with 09 09 09 09: raw pixels"));
        assert!(refused(&[&[0; 12], PNG_MAGIC].concat()).contains("compressed_depth"));
        assert!(refused(&png_of(7, 9, 16)).contains("16 bits"));
        assert!(refused(&png_of(0, 9, 8)).contains("not allowed"));
        assert!(refused(&png_of(1 << 30, 9, 8)).contains("not allowed"));
        assert!(refused(b"\xff\xd8\xff\xda\0\0").contains("no frame header"));
        assert!(refused(b"\xff\xd8\xff\xe0\0\x02ab").contains("no marker"));
    }

    #[test]
    fn cut_anywhere_it_is_an_error_not_a_panic() {
        for whole in [jpeg_of(640, 480, 0xc0), png_of(7, 9, 8)] {
            let end = if whole.starts_with(PNG_MAGIC) { whole.len() - 4 } else { whole.len() };
            for length in 0..end {
                assert!(geometry(&whole[..length]).is_err(), "{length} of {}", whole.len());
            }
        }
    }
}
