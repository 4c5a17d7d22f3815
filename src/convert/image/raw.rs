//! Raw pixels: the encodings by their names in `sensor_msgs/Image` and `foxglove.RawImage`, and how each becomes a frame.
//!
//! It knows no messages. Names: ROS `sensor_msgs/image_encodings.h`, Foxglove's schema `RawImage`. OpenCV's `8UC3` and
//! `8UC4` say no order of colours; viewers show them as blue, green, red, and so does this program.

use super::frame::{Frame, Space};
use std::fmt;

/// How pixels lie in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Raw {
    Rgb,
    Bgr,
    Rgba,
    Bgra,
    Mono,
    /// Y U Y V, two pixels in four bytes.
    Yuyv,
    /// U Y V Y.
    Uyvy,
    /// All luma, then U V pairs for two rows at a time.
    Nv12,
    /// 16 bits, the high byte first once it was taken.
    Depth,
}

/// Their names, and what each is.
const NAMES: [(&str, Raw); 20] = [
    ("rgb8", Raw::Rgb),
    ("bgr8", Raw::Bgr),
    ("8UC3", Raw::Bgr),
    ("rgba8", Raw::Rgba),
    ("bgra8", Raw::Bgra),
    ("8UC4", Raw::Bgra),
    ("mono8", Raw::Mono),
    ("8UC1", Raw::Mono),
    ("yuyv", Raw::Yuyv),
    ("yuv422_yuy2", Raw::Yuyv),
    ("YUYV", Raw::Yuyv),
    ("YUY2", Raw::Yuyv),
    ("uyvy", Raw::Uyvy),
    ("yuv422", Raw::Uyvy),
    ("UYVY", Raw::Uyvy),
    ("nv12", Raw::Nv12),
    ("NV12", Raw::Nv12),
    ("16UC1", Raw::Depth),
    ("mono16", Raw::Depth),
    ("depth16", Raw::Depth),
];
/// What errors list.
const VALID: &str =
    "rgb8, bgr8, rgba8, bgra8, mono8, yuv422 (uyvy), yuv422_yuy2 (yuyv), nv12, and 16UC1 or mono16 for depth";

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, raw)| raw == self).map_or("?", |(name, _)| name);
        f.write_str(name)
    }
}

impl Raw {
    /// # Errors
    /// Names the encoding, and those that are read.
    pub(crate) fn named(encoding: &str) -> Result<Self, String> {
        if let Some((_, raw)) = NAMES.iter().find(|(name, _)| *name == encoding) {
            return Ok(*raw);
        }
        let why = if encoding.starts_with("bayer_") {
            ": a colour filter's raw samples, which the camera's driver (image_proc) makes into rgb8"
        } else if encoding == "32FC1" {
            ": depth as floats; record it as 16UC1, in millimetres"
        } else {
            ""
        };
        // A hostile text is not repeated at length.
        let shown: String = encoding.chars().take(40).collect();
        Err(format!("raw pixels encoded as {shown:?} are not read{why}; these are: {VALID}"))
    }

    /// Bytes of a row without padding.
    pub(crate) fn row_bytes(self, width: usize) -> usize {
        match self {
            Self::Mono | Self::Nv12 => width,
            Self::Yuyv | Self::Uyvy | Self::Depth => width * 2,
            Self::Rgb | Self::Bgr => width * 3,
            Self::Rgba | Self::Bgra => width * 4,
        }
    }

    /// Rows of bytes.
    pub(crate) fn rows(self, height: usize) -> usize {
        match self {
            Self::Nv12 => height + height / 2,
            _ => height,
        }
    }

    /// # Errors
    /// The size does not fit pixels that share their colours.
    pub(crate) fn check_size(self, width: u32, height: u32) -> Result<(), String> {
        let pairs = matches!(self, Self::Yuyv | Self::Uyvy | Self::Nv12);
        let rows = self == Self::Nv12;
        if (pairs && width % 2 == 1) || (rows && height % 2 == 1) {
            return Err(format!("{self} shares colours between pixels: {width} x {height} is no such size"));
        }
        Ok(())
    }

    /// Bytes without padding become a frame. Too few leave the rest as it was: sizes were checked when they were taken.
    pub(crate) fn unpack(self, bytes: &[u8], width: usize, height: usize, frame: &mut Frame) {
        match self {
            Self::Mono => copy(bytes, frame.reset(Space::Grey, width, height)),
            Self::Rgb => copy(bytes, frame.reset(Space::Rgb, width, height)),
            Self::Depth => copy(bytes, frame.reset(Space::Depth, width, height)),
            Self::Bgr => pixels::<3>(bytes, frame.reset(Space::Rgb, width, height), |[b, g, r]| [r, g, b]),
            Self::Rgba => {
                pixels::<4>(bytes, frame.reset(Space::Rgb, width, height), |[r, g, b, _]| [r, g, b])
            }
            Self::Bgra => {
                pixels::<4>(bytes, frame.reset(Space::Rgb, width, height), |[b, g, r, _]| [r, g, b])
            }
            Self::Yuyv => {
                pairs(bytes, frame.reset(Space::Limited, width, height), |[a, u, b, v]| [a, b, u, v])
            }
            Self::Uyvy => {
                pairs(bytes, frame.reset(Space::Limited, width, height), |[u, a, v, b]| [a, b, u, v])
            }
            Self::Nv12 => nv12(bytes, width, height, frame.reset(Space::Limited, width, height)),
        }
    }
}

fn copy(from: &[u8], to: &mut [u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

fn pixels<const N: usize>(from: &[u8], to: &mut [u8], rgb: impl Fn([u8; N]) -> [u8; 3]) {
    for (to, from) in to.as_chunks_mut::<3>().0.iter_mut().zip(from.as_chunks::<N>().0) {
        *to = rgb(*from);
    }
}

/// Two pixels of one colour; `parts` gives both lumas, then blue and red difference.
fn pairs(from: &[u8], to: &mut [u8], parts: impl Fn([u8; 4]) -> [u8; 4]) {
    for (to, from) in to.as_chunks_mut::<6>().0.iter_mut().zip(from.as_chunks::<4>().0) {
        let [a, b, u, v] = parts(*from);
        *to = [a, u, v, b, u, v];
    }
}

fn nv12(from: &[u8], width: usize, height: usize, to: &mut [u8]) {
    let (luma, chroma) = from.split_at_checked(width * height).unwrap_or((from, &[]));
    let rows = luma.chunks_exact(width.max(1)).zip(to.chunks_exact_mut((width * 3).max(1)));
    for (at, (luma, to)) in rows.enumerate() {
        let Some(chroma) = chroma.get(at / 2 * width..(at / 2 + 1) * width) else { return };
        let two =
            to.as_chunks_mut::<6>().0.iter_mut().zip(luma.as_chunks::<2>().0).zip(chroma.as_chunks::<2>().0);
        for ((to, [a, b]), [u, v]) in two {
            *to = [*a, *u, *v, *b, *u, *v];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(encoding: &str, width: usize, height: usize, bytes: &[u8]) -> (Space, Vec<u8>) {
        let raw = Raw::named(encoding).unwrap();
        assert_eq!(bytes.len(), raw.row_bytes(width) * raw.rows(height), "{encoding}");
        let mut frame = Frame::default();
        raw.unpack(bytes, width, height, &mut frame);
        assert_eq!((frame.width, frame.height), (width, height));
        (frame.space, frame.samples)
    }

    #[test]
    fn each_encoding_is_put_in_order() {
        let rgb = |samples: &[u8]| (Space::Rgb, samples.to_vec());
        assert_eq!(unpacked("rgb8", 2, 1, &[1, 2, 3, 4, 5, 6]), rgb(&[1, 2, 3, 4, 5, 6]));
        assert_eq!(unpacked("bgr8", 2, 1, &[1, 2, 3, 4, 5, 6]), rgb(&[3, 2, 1, 6, 5, 4]));
        assert_eq!(unpacked("8UC3", 1, 1, &[1, 2, 3]), rgb(&[3, 2, 1]));
        assert_eq!(unpacked("rgba8", 1, 2, &[1, 2, 3, 4, 5, 6, 7, 8]), rgb(&[1, 2, 3, 5, 6, 7]));
        assert_eq!(unpacked("bgra8", 1, 2, &[1, 2, 3, 4, 5, 6, 7, 8]), rgb(&[3, 2, 1, 7, 6, 5]));
        assert_eq!(unpacked("mono8", 2, 2, &[1, 2, 3, 4]), (Space::Grey, vec![1, 2, 3, 4]));
        assert_eq!(unpacked("mono16", 2, 1, &[1, 2, 3, 4]), (Space::Depth, vec![1, 2, 3, 4]));
        let limited = (Space::Limited, vec![10, 50, 90, 20, 50, 90]);
        assert_eq!(unpacked("yuv422_yuy2", 2, 1, &[10, 50, 20, 90]), limited);
        assert_eq!(unpacked("yuv422", 2, 1, &[50, 10, 90, 20]), limited);
        let (space, samples) = unpacked("nv12", 2, 4, &[1, 2, 3, 4, 5, 6, 7, 8, 50, 90, 60, 70]);
        assert_eq!(space, Space::Limited);
        assert_eq!(
            samples,
            [1, 50, 90, 2, 50, 90, 3, 50, 90, 4, 50, 90, 5, 60, 70, 6, 60, 70, 7, 60, 70, 8, 60, 70]
        );
    }

    #[test]
    fn what_is_not_read_is_named() {
        let refused = |encoding: &str| Raw::named(encoding).unwrap_err();
        assert!(
            refused("bayer_rggb8").contains("\"bayer_rggb8\" are not read: a colour filter's raw samples")
        );
        assert!(refused("32FC1").contains("16UC1"));
        assert!(refused("").contains("rgb8, bgr8"));
        assert!(refused(&"x".repeat(10_000)).len() < 400);
        assert!(Raw::Yuyv.check_size(3, 2).unwrap_err().contains("3 x 2"));
        assert!(Raw::Nv12.check_size(2, 3).is_err());
        assert!(Raw::Rgb.check_size(3, 3).is_ok());
        assert_eq!(Raw::Uyvy.to_string(), "uyvy");
    }

    #[test]
    fn too_few_bytes_do_not_panic() {
        for (name, raw) in NAMES {
            for length in 0..40 {
                let mut frame = Frame::default();
                raw.unpack(&vec![7; length], 4, 4, &mut frame);
                assert_eq!(frame.samples.len(), 16 * frame.space.pixel_bytes(), "{name}");
            }
        }
    }
}
