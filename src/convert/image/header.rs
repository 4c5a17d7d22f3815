//! Kind and size of a picture: of a file from its first bytes, JPEG's frame header or PNG's IHDR.
//!
//! It decodes no pixels. Sources: ITU T.81 annex B, PNG (third edition) chapter 11.

use super::raw::Raw;
use super::{IMAGE_PIXELS_MAX, IMAGE_SIDE_MAX};
use std::fmt;

/// How a picture lies in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    /// A PNG of 16-bit grey: distances.
    Depth,
    /// Pixels without a file around them, rows without padding.
    Raw(Raw),
}

/// Kind and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) format: Format,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Loaders open it as red, green and blue: not grey, with transparency, by a palette or in four inks.
    pub(crate) is_rgb: bool,
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.format {
            Format::Jpeg if self.is_rgb => f.write_str("a JPEG")?,
            Format::Jpeg => f.write_str("a JPEG in other than three colours")?,
            Format::Png if self.is_rgb => f.write_str("a PNG")?,
            Format::Png => f.write_str("a PNG in other than three colours")?,
            Format::Depth => f.write_str("a depth image (16-bit PNG)")?,
            Format::Raw(raw) => write!(f, "a raw image ({raw})")?,
        }
        write!(f, " of {} x {}", self.width, self.height)
    }
}

impl Geometry {
    /// # Errors
    /// The size is beyond what is allowed.
    pub(crate) fn checked(self) -> Result<Self, String> {
        let Self { width, height, .. } = self;
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 || width.max(height) > IMAGE_SIDE_MAX || pixels > IMAGE_PIXELS_MAX {
            return Err(format!(
                "{self} is not allowed: sides go to {IMAGE_SIDE_MAX}, and an image to {IMAGE_PIXELS_MAX} pixels"
            ));
        }
        Ok(self)
    }

    /// Whether its pixels are distances.
    pub(crate) fn is_depth(self) -> bool {
        matches!(self.format, Format::Depth | Format::Raw(Raw::Depth))
    }
}

pub(super) const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG_MAGIC: &[u8] = b"\xff\xd8\xff";
/// Bytes at an image's end that may hold its end marker: some cameras pad.
const TAIL_BYTES: usize = 64 << 10;

/// Reads kind and size, and makes sure that the file was not cut.
///
/// # Errors
/// Says what the bytes are, if not an 8-bit JPEG or PNG that a loader can open.
pub(crate) fn geometry(bytes: &[u8]) -> Result<Geometry, String> {
    if bytes.starts_with(JPEG_MAGIC) {
        let geometry = jpeg(bytes)?.checked()?;
        ends_with(bytes, b"\xff\xd9", "JPEG")?;
        Ok(geometry)
    } else if bytes.starts_with(PNG_MAGIC) {
        let geometry = png(bytes)?.checked()?;
        ends_with(bytes, b"IEND", "PNG")?;
        Ok(geometry)
    } else {
        Err(format!("an image must be a JPEG or PNG file; this is {}", kind_of(bytes)))
    }
}

fn ends_with(bytes: &[u8], marker: &[u8], name: &str) -> Result<(), String> {
    let tail = bytes.get(bytes.len().saturating_sub(TAIL_BYTES)..).unwrap_or(bytes);
    if tail.windows(marker.len()).rev().any(|window| window == marker) {
        return Ok(());
    }
    Err(format!("the {name} is cut: its end marker is missing after {} bytes", bytes.len()))
}

fn jpeg(bytes: &[u8]) -> Result<Geometry, String> {
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
                let is_rgb = *bytes.get(at + 9).ok_or(CUT)? == 3;
                return Ok(Geometry {
                    format: Format::Jpeg,
                    width: u32::from(width),
                    height: u32::from(height),
                    is_rgb,
                });
            }
            // Markers without a length.
            0xff01 | 0xffd0..=0xffd8 => at += 2,
            0xffd9 | 0xffda => return Err("the JPEG has no frame header".to_owned()),
            0xff02..=0xfffe => at += 2 + usize::from(word(at + 2).ok_or(CUT)?.max(2)),
            other => return Err(format!("the JPEG is damaged at byte {at}: {other:#06x} is no marker")),
        }
    }
}

fn png(bytes: &[u8]) -> Result<Geometry, String> {
    const CUT: &str = "the PNG is cut in its header";
    let number = |at: usize| {
        let four = bytes.get(at..at + 4)?;
        Some(u32::from_be_bytes(four.try_into().ok()?))
    };
    if bytes.get(12..16).ok_or(CUT)? != b"IHDR" {
        return Err("the PNG does not begin with its header".to_owned());
    }
    let format = match (bytes.get(24).ok_or(CUT)?, bytes.get(25).ok_or(CUT)?) {
        (0..=8, _) => Format::Png,
        (16, 0) => Format::Depth,
        (bits, _) => {
            return Err(format!("a PNG of {bits} bits a sample is taken only if it is grey: a depth image"));
        }
    };
    let (width, height) = (number(16).ok_or(CUT)?, number(20).ok_or(CUT)?);
    Ok(Geometry { format, width, height, is_rgb: bytes.get(25) == Some(&2) })
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
    match bytes.get(..4) {
        None => format!("{} bytes, too few for any image", bytes.len()),
        Some([0, 0, 0, 1] | [0, 0, 1, _]) => "a piece of H.264 or H.265 video, which is not read".to_owned(),
        Some(first) => format!(
            "{} bytes that begin with {}",
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

    fn png_of(width: u32, height: u32, depth: u8) -> Vec<u8> {
        png_in(width, height, depth, 2)
    }

    fn png_in(width: u32, height: u32, depth: u8, colours: u8) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes.extend([depth, colours, 0, 0, 0]);
        bytes.extend(b"....IEND....");
        bytes
    }

    #[test]
    fn sizes_come_from_the_headers() {
        for sof in [0xc0, 0xc2] {
            let size = Geometry { format: Format::Jpeg, width: 640, height: 480, is_rgb: true };
            assert_eq!(geometry(&jpeg_of(640, 480, sof)), Ok(size));
        }
        let size = Geometry { format: Format::Png, width: 7, height: 9, is_rgb: true };
        assert_eq!(geometry(&png_of(7, 9, 8)), Ok(size));
        assert_eq!(size.to_string(), "a PNG of 7 x 9");
    }

    #[test]
    fn colours_come_from_the_headers() {
        for colours in [0, 3, 4, 6] {
            assert!(!geometry(&png_in(7, 9, 8, colours)).unwrap().is_rgb, "{colours}");
        }
        let mut grey = jpeg_of(640, 480, 0xc0);
        let components = grey.len() - 3;
        assert_eq!(std::mem::replace(&mut grey[components], 1), 3);
        assert!(!geometry(&grey).unwrap().is_rgb);
        let depth = geometry(&png_in(7, 9, 16, 0)).unwrap();
        assert!(depth.is_depth() && depth.format == Format::Depth);
        assert_eq!(depth.to_string(), "a depth image (16-bit PNG) of 7 x 9");
    }

    #[test]
    fn what_cannot_pass_is_named() {
        let refused = |bytes: &[u8]| geometry(bytes).unwrap_err();
        assert!(refused(b"RIFF....WEBP").contains("a WebP"));
        assert!(refused(b"").contains("0 bytes, too few"));
        assert!(refused(b"\0\0\0\x01\x67").contains("H.264"));
        assert!(refused(&[9; 64]).contains("64 bytes that begin with 09 09 09 09"));
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
