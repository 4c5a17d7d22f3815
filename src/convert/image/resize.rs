//! Another size for a picture, in whole numbers: the same bytes on every machine.
//!
//! The filter is a triangle as wide as a pixel of the coarser picture: interpolation between neighbours where the
//! picture grows, an average over all that a pixel covers where it shrinks. First along rows, then along columns, each
//! rounded to a byte: as Pillow's `BILINEAR` does it, so that its pictures are the reference. The weights come from
//! additions, multiplications and divisions of 64-bit floats alone, which no CPU rounds otherwise.
//!
//! Distances are never averaged: between a hand and the wall behind it there is nothing. Each takes its nearest pixel.

use super::frame::{Frame, Space};

/// Fractional bits of weights: bytes times weights, and their sum, fit in 32 bits.
const BITS: u32 = 22;

/// What an output place is made of, along one axis.
struct Taps {
    from: usize,
    weights: Vec<i32>,
}

/// The taps of one axis, kept while the sizes stay.
#[derive(Default)]
struct Axis {
    sides: (usize, usize),
    taps: Vec<Taps>,
}

/// Resizes frames; its memory is used again.
#[derive(Default)]
pub(crate) struct Resizer {
    across: Axis,
    down: Axis,
    /// Rows of the new width, still as many as before.
    wide: Vec<u8>,
}

impl Axis {
    fn set(&mut self, from: usize, to: usize) {
        if self.sides != (from, to) {
            self.taps = (0..to).map(|at| Taps::new(at, from, to)).collect();
            self.sides = (from, to);
        }
    }
}

impl Taps {
    fn new(at: usize, from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let reach = scale.max(1.0);
        let centre = (at as f64 + 0.5) * scale;
        // Casts to unsigned numbers stop at zero.
        let first = (centre - reach + 0.5) as usize;
        let end = ((centre + reach + 0.5) as usize).min(from);
        let weight = |tap: usize| (1.0 - ((tap as f64 - centre + 0.5) / reach).abs()).max(0.0);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let whole = |weight: f64| (0.5 + weight / sum * f64::from(1 << BITS)) as i32;
        Self { from: first, weights: weights.into_iter().map(whole).collect() }
    }
}

fn rounded(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// A half, to begin a sum with.
const HALF: i32 = 1 << (BITS - 1);

impl Resizer {
    /// `from` in another size, into `to`.
    pub(crate) fn resize(&mut self, from: &Frame, width: usize, height: usize, to: &mut Frame) {
        match from.space {
            Space::Depth => nearest(from, width, height, to),
            Space::Grey => self.filter::<1>(from, width, height, to),
            Space::Rgb | Space::Full | Space::Limited => self.filter::<3>(from, width, height, to),
        }
    }

    fn filter<const N: usize>(&mut self, from: &Frame, width: usize, height: usize, to: &mut Frame) {
        let out = to.reset(from.space, width, height);
        let wide: &[u8] = if width == from.width {
            &from.samples
        } else {
            self.across.set(from.width, width);
            self.wide.resize(width * from.height * N, 0);
            for (row, out) in from.rows().zip(self.wide.chunks_exact_mut(width * N)) {
                let pixels = row.as_chunks::<N>().0;
                for (taps, out) in self.across.taps.iter().zip(out.as_chunks_mut::<N>().0) {
                    let mut sums = [HALF; N];
                    for (pixel, weight) in pixels.iter().skip(taps.from).zip(&taps.weights) {
                        for (sum, sample) in sums.iter_mut().zip(pixel) {
                            *sum += i32::from(*sample) * weight;
                        }
                    }
                    *out = sums.map(rounded);
                }
            }
            &self.wide
        };
        if height == from.height {
            out.copy_from_slice(wide);
            return;
        }
        self.down.set(from.height, height);
        let row_bytes = width * N;
        let mut sums = vec![HALF; row_bytes];
        for (taps, out) in self.down.taps.iter().zip(out.chunks_exact_mut(row_bytes)) {
            sums.fill(HALF);
            for (row, weight) in wide.chunks_exact(row_bytes).skip(taps.from).zip(&taps.weights) {
                for (sum, sample) in sums.iter_mut().zip(row) {
                    *sum += i32::from(*sample) * weight;
                }
            }
            for (out, sum) in out.iter_mut().zip(&sums) {
                *out = rounded(*sum);
            }
        }
    }
}

/// Each pixel the one that its middle falls on; of a middle between two the later.
fn nearest(from: &Frame, width: usize, height: usize, to: &mut Frame) {
    let bytes = from.space.pixel_bytes();
    let source = |at: usize, from: usize, to: usize| (2 * at + 1) * from / (2 * to);
    let out = to.reset(from.space, width, height);
    for (y, out_row) in out.chunks_exact_mut((width * bytes).max(1)).enumerate() {
        let Some(row) = from.rows().nth(source(y, from.height, height)) else { continue };
        for (x, out) in out_row.chunks_exact_mut(bytes).enumerate() {
            let begin = source(x, from.width, width) * bytes;
            if let Some(pixel) = row.get(begin..begin + bytes) {
                out.copy_from_slice(pixel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resized(
        space: Space,
        (from_width, from_height): (usize, usize),
        samples: &[u8],
        (width, height): (usize, usize),
    ) -> Vec<u8> {
        let (mut from, mut to) = (Frame::default(), Frame::default());
        from.reset(space, from_width, from_height).copy_from_slice(samples);
        Resizer::default().resize(&from, width, height, &mut to);
        assert_eq!((to.width, to.height, to.space), (width, height, space));
        to.samples
    }

    /// Samples without a pattern that a filter would hide.
    fn noise(count: usize) -> Vec<u8> {
        (0..count as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    #[test]
    fn it_is_pillows_bilinear() {
        // Made with Pillow 13: `Image.fromarray(noise).resize(size, Image.BILINEAR)`.
        type Known = (Space, (usize, usize), (usize, usize), &'static [u8]);
        let known: [Known; 4] = [
            (Space::Grey, (7, 5), (3, 4), &[102, 138, 98, 153, 124, 104, 154, 134, 105, 161, 121, 89]),
            (
                Space::Grey,
                (4, 3),
                (9, 5),
                &[
                    0, 26, 97, 153, 109, 65, 121, 192, 218, 48, 57, 83, 105, 106, 108, 130, 155, 164, 120,
                    104, 61, 32, 102, 172, 143, 99, 83, 193, 177, 133, 96, 98, 99, 121, 146, 156, 241, 225,
                    181, 138, 95, 51, 107, 178, 204,
                ],
            ),
            (
                Space::Rgb,
                (6, 4),
                (6, 2),
                &[
                    22, 181, 83, 204, 143, 45, 204, 106, 118, 166, 69, 190, 129, 31, 189, 92, 104, 152, 72,
                    231, 133, 72, 193, 95, 144, 156, 58, 216, 118, 58, 179, 81, 129, 142, 44, 202,
                ],
            ),
            (
                Space::Full,
                (5, 5),
                (2, 5),
                &[
                    137, 120, 93, 143, 46, 192, 101, 190, 92, 201, 115, 98, 101, 73, 161, 107, 173, 86, 170,
                    84, 149, 95, 183, 156, 158, 141, 55, 164, 67, 155,
                ],
            ),
        ];
        for (space, from, to, expected) in known {
            let samples = noise(from.0 * from.1 * space.pixel_bytes());
            assert_eq!(resized(space, from, &samples, to), expected, "{from:?} to {to:?}");
        }
    }

    #[test]
    fn large_pictures_are_pillows_too() {
        for (from, to, crc) in [
            ((640, 480), (224, 224), 0x7e4c_5f1d),
            ((33, 17), (100, 90), 0xf07b_a037),
            ((641, 3), (5, 300), 0x7c85_cb95),
        ] {
            let found = resized(Space::Rgb, from, &noise(from.0 * from.1 * 3), to);
            assert_eq!(crc32fast::hash(&found), crc, "{from:?} to {to:?}");
        }
    }

    #[test]
    fn one_level_stays_whatever_the_size() {
        for level in [0, 1, 127, 254, 255] {
            for (from, to) in
                [((1, 1), (7, 5)), ((90, 70), (1, 1)), ((13, 11), (12, 10)), ((640, 3), (3, 640))]
            {
                let found = resized(Space::Grey, from, &vec![level; from.0 * from.1], to);
                assert!(found.iter().all(|found| *found == level), "{level}: {from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn distances_are_never_averaged() {
        let depth: Vec<u8> = [0_u16, 1000, 2000, 3000].into_iter().flat_map(u16::to_be_bytes).collect();
        let levels = |to| {
            let bytes = resized(Space::Depth, (4, 1), &depth, to);
            bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect::<Vec<_>>()
        };
        assert_eq!(levels((2, 1)), [1000, 3000]);
        assert_eq!(levels((8, 1)), [0, 0, 1000, 1000, 2000, 2000, 3000, 3000]);
        assert_eq!(levels((1, 3)), [2000; 3]);
    }
}
