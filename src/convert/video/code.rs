//! Which code of openh264 is part of this program: vector code, or plain code that takes two to three times as long.
//!
//! The library is compiled with the first where the assembler `nasm` is found, and with the second in silence where it is not;
//! nothing in it tells. So it is told by what it makes of two frames that the two codes differ over. Where single pixels of 0
//! and 255 alternate in one certain way, a sample halfway between them takes more than the 16 bits that the vector code has for
//! it; its inverse transform was seen to run over likewise, of noise of 0 and 255 at the coarsest quantiser. Of planes of limited
//! range, 16 to 235, no difference was found, and none between x86-64 processors: that is what tests showed, and no proof.

use super::{EncodeError, Encoding, Planes, Samples, StopFlag};
use crate::convert::mapping::Video;
use sha2::{Digest, Sha256};
use std::fmt;

/// Sides of the frames, in pixels.
const SIDE: u32 = 64;
/// Side of a block of the encoder, in pixels.
const BLOCK: u32 = 16;
/// Where in its block the pattern stands, and how many pixels it has each way.
const PATTERN: std::ops::Range<u32> = 5..11;
/// The filter for samples halfway between two (H.264, 8.4.2.2.1); its signs are the pattern.
const HALFWAY: [i32; 6] = [1, -5, 20, 20, -5, 1];
/// Least quantiser: what the encoder looks back at is then nearly what it was given.
const QUALITY: u32 = 12;
/// What each code makes of the frames: the first bytes of the SHA-256.
const VECTOR: [u8; 4] = [0x97, 0x44, 0x72, 0x32];
const PLAIN: [u8; 4] = [0xac, 0x91, 0x6a, 0x0b];

/// A code of openh264.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// With the vector code for x86-64.
    Vector,
    /// Without it.
    Plain,
    /// Of another processor, or of another version of the library.
    Other,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vector => "vector code",
            Self::Plain => "plain code",
            Self::Other => "code of another kind",
        })
    }
}

impl Code {
    /// Encodes two small frames and looks at what came out: some milliseconds.
    ///
    /// # Errors
    /// Says why openh264 does not encode them.
    pub(crate) fn find() -> Result<Self, String> {
        let text = |error: EncodeError| error.to_string();
        let video = Video { quality: QUALITY, ..Video::default() };
        let encoding = Encoding { video, fps: 30, width: SIDE, height: SIDE };
        let (mut encoder, mut samples) = (encoding.start().map_err(text)?, Samples::default());
        let (first, grey) = (pattern(), vec![128; (SIDE * SIDE / 4) as usize]);
        for luma in [&first, &between(&first)] {
            let planes = Planes::new(SIDE, SIDE, [luma, &grey, &grey]).ok_or("the frames have odd sides")?;
            encoder.encode(&planes, &mut samples, &StopFlag::default()).map_err(text)?;
        }
        let hash = Sha256::digest(&samples.bytes);
        Ok(match hash.first_chunk() {
            Some(&VECTOR) => Self::Vector,
            Some(&PLAIN) => Self::Plain,
            _ => Self::Other,
        })
    }
}

/// In each block the pattern of black and white, on a grey of the block's own.
fn pattern() -> Vec<u8> {
    let is_up = |at: u32| HALFWAY.get((at - PATTERN.start) as usize).is_some_and(|weight| *weight > 0);
    let pixel = |at: u32| {
        let (x, y) = (at % SIDE, at / SIDE);
        let (column, row) = (x % BLOCK, y % BLOCK);
        if !PATTERN.contains(&column) || !PATTERN.contains(&row) {
            return (60 + (x / BLOCK) * 40 + (y / BLOCK) * 9) as u8;
        }
        if is_up(column) == is_up(row) { u8::MAX } else { 0 }
    };
    (0..SIDE * SIDE).map(pixel).collect()
}

/// The frame half a pixel to the right and a quarter down: the mean of two samples of the standard, of which one lies halfway
/// both ways.
fn between(frame: &[u8]) -> Vec<u8> {
    let side = SIDE as i32;
    let at = |x: i32, y: i32| {
        let place = y.clamp(0, side - 1) * side + x.clamp(0, side - 1);
        usize::try_from(place).ok().and_then(|place| frame.get(place)).copied().map_or(0, i32::from)
    };
    let row =
        |x: i32, y: i32| -> i32 { (-2..).zip(HALFWAY).map(|(step, weight)| weight * at(x + step, y)).sum() };
    let both =
        |x: i32, y: i32| -> i32 { (-2..).zip(HALFWAY).map(|(step, weight)| weight * row(x, y + step)).sum() };
    let pixel = |x: i32, y: i32| {
        let (right, middle) = ((row(x, y) + 16) >> 5, (both(x, y) + 512) >> 10);
        ((right.clamp(0, 255) + middle.clamp(0, 255) + 1) / 2) as u8
    };
    (0..side).flat_map(|y| (0..side).map(move |x| (x, y))).map(|(x, y)| pixel(x, y)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A third kind of bytes would mean that the library was changed, or that what is said above is wrong.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_code_is_one_of_the_two_that_are_known() {
        let code = Code::find().unwrap();
        assert_ne!(code, Code::Other);
        assert_eq!(code, Code::find().unwrap(), "each time");
    }

    #[test]
    fn the_pattern_leaves_16_bits_where_the_filter_stands_on_it() {
        let frame = pattern();
        let column = |number: u32| -> i32 {
            let from = PATTERN.start + number;
            let rows = PATTERN.zip(HALFWAY);
            rows.map(|(row, weight)| weight * i32::from(frame[(row * SIDE + from) as usize])).sum()
        };
        let [outer, next, middle] = [[0, 5], [1, 4], [2, 3]].map(|pair| pair.map(column).iter().sum::<i32>());
        // In the second direction the vector code has no weights, but this and a quarter of it.
        let sum = (outer - next) / 4 - next + middle;
        assert!(sum > i32::from(i16::MAX), "{sum}");
        let of_limited_range = sum * (235 - 16) / 255;
        assert!(of_limited_range < i32::from(i16::MAX) * 9 / 10, "{of_limited_range}");
    }
}
