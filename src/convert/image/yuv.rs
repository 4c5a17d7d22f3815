//! Planes for video encoders: 8-bit 4:2:0, BT.601, limited range.
//!
//! All in whole numbers, each rounded once to the nearest, so that the planes are the same on every machine. A chroma
//! sample is the mean of four pixels, and so stands in their middle. Odd sides repeat their last column or row.
//!
//! With full-range luma Y and difference C (JFIF): `16 + 219 Y / 255` and `128 + 224 (C - 128) / 255`. With red, green and
//! blue: luma is 0.299 R + 0.587 G + 0.114 B, the differences (B - luma) / 1.772 and (R - luma) / 1.402, then as before.

use super::frame::{Frame, Space};

/// A frame for an encoder. Its memory is used again for the next frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Yuv420 {
    /// Even.
    pub(crate) width: u32,
    /// Even.
    pub(crate) height: u32,
    /// Luma, `width` x `height`.
    pub(crate) y: Vec<u8>,
    /// Blue difference, half as wide and high.
    pub(crate) u: Vec<u8>,
    /// Red difference, half as wide and high.
    pub(crate) v: Vec<u8>,
}

/// Of a full-range luma, the limited one.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, within the table's length")]
const LUMA: [u8; 256] = {
    let mut table = [0; 256];
    let mut level = 0;
    while level < table.len() {
        table[level] = (16 + (level * 219 + 127) / 255) as u8;
        level += 1;
    }
    table
};

/// Levels of four samples together.
const SUMS: usize = 4 * 255 + 1;

/// Of the sum of four full-range differences, the limited mean.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, within the table's length")]
const CHROMA: [u8; SUMS] = {
    let mut table = [0; SUMS];
    let mut sum = 0;
    while sum < table.len() {
        // 128 + 224 (sum / 4 - 128) / 255, over the denominator 1020, is never negative.
        table[sum] = ((128 * 1020 + 224 * sum - 224 * 512 + 510) / 1020) as u8;
        sum += 1;
    }
    table
};

impl Yuv420 {
    /// Makes it this picture. A depth frame has no colours: it becomes black.
    pub(crate) fn take(&mut self, frame: &Frame) {
        let (width, height) = (frame.width.next_multiple_of(2), frame.height.next_multiple_of(2));
        (self.width, self.height) = (width as u32, height as u32);
        self.y.resize(width * height, 0);
        self.u.resize(width * height / 4, 0);
        self.v.resize(width * height / 4, 0);
        match frame.space {
            Space::Grey => self.planes::<1>(frame, |[grey]| limited(grey), |_| [128; 2]),
            Space::Full => {
                let chroma = |sum: u16| CHROMA.get(usize::from(sum)).copied().unwrap_or(128);
                self.planes::<3>(frame, |[y, ..]| limited(y), |[_, cb, cr]| [chroma(cb), chroma(cr)]);
            }
            Space::Limited => {
                let mean = |sum: u16| ((sum + 2) / 4) as u8;
                self.planes::<3>(frame, |[y, ..]| y, |[_, cb, cr]| [mean(cb), mean(cr)]);
            }
            Space::Rgb => self.planes::<3>(frame, luma, differences),
            Space::Depth => {
                self.y.fill(16);
                self.u.fill(128);
                self.v.fill(128);
            }
        }
    }

    /// Fills the planes from pixels of `N` bytes: luma of each, differences of the sum of four.
    fn planes<const N: usize>(
        &mut self,
        frame: &Frame,
        luma: impl Fn([u8; N]) -> u8,
        differences: impl Fn([u16; N]) -> [u8; 2],
    ) {
        let width = self.width as usize;
        if width == 0 {
            return;
        }
        let row_bytes = frame.row_bytes();
        let chroma = self.u.chunks_exact_mut(width / 2).zip(self.v.chunks_exact_mut(width / 2));
        let luma_rows = self.y.chunks_exact_mut(width * 2);
        for ((rows, y_rows), (u_row, v_row)) in frame.samples.chunks(row_bytes * 2).zip(luma_rows).zip(chroma)
        {
            let (top, bottom) = rows.split_at(row_bytes);
            let bottom = if bottom.is_empty() { top } else { bottom };
            let (y_top, y_bottom) = y_rows.split_at_mut(width);
            let pixels = top.as_chunks::<N>().0.chunks(2).zip(bottom.as_chunks::<N>().0.chunks(2));
            let y_pairs = y_top.as_chunks_mut::<2>().0.iter_mut().zip(y_bottom.as_chunks_mut::<2>().0);
            let uv = u_row.iter_mut().zip(v_row);
            for (((top, bottom), (y_top, y_bottom)), (u, v)) in pixels.zip(y_pairs).zip(uv) {
                let four = match (top, bottom) {
                    ([a, b], [c, d]) => [*a, *b, *c, *d],
                    ([a], [c]) => [*a, *a, *c, *c],
                    _ => continue,
                };
                let [a, b, c, d] = four;
                *y_top = [luma(a), luma(b)];
                *y_bottom = [luma(c), luma(d)];
                [*u, *v] = differences(std::array::from_fn(|at| {
                    four.iter().map(|pixel| pixel.get(at).copied().map_or(0, u16::from)).sum()
                }));
            }
        }
    }
}

fn limited(level: u8) -> u8 {
    LUMA.get(usize::from(level)).copied().unwrap_or(16)
}

/// Limited luma of a colour: one division, of a number that is never negative.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    const DENOMINATOR: u32 = 255 * 1000;
    let weighted = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue);
    (16 + (219 * weighted + DENOMINATOR / 2) / DENOMINATOR) as u8
}

/// Limited differences of the sum of four colours.
fn differences([red, green, blue]: [u16; 3]) -> [u8; 2] {
    let (red, green, blue) = (i32::from(red), i32::from(green), i32::from(blue));
    /// `128 + 224 n / (255 * 4 * scale)`, rounded.
    fn part(n: i32, scale: i32) -> u8 {
        let denominator = 255 * 4 * scale;
        ((128 * denominator + 224 * n + denominator / 2) / denominator) as u8
    }
    [part(886 * blue - 299 * red - 587 * green, 1772), part(701 * red - 587 * green - 114 * blue, 1402)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(space: Space, width: usize, height: usize, samples: &[u8]) -> Frame {
        let mut frame = Frame::default();
        frame.reset(space, width, height).copy_from_slice(samples);
        frame
    }

    fn planes(frame: &Frame) -> Yuv420 {
        let mut out = Yuv420::default();
        out.take(frame);
        out
    }

    #[test]
    fn colours_are_those_of_bt_601() {
        // Black, white, red, green, blue as the standard's eight-bit values.
        let known = [
            ([0, 0, 0], [16, 128, 128]),
            ([255, 255, 255], [235, 128, 128]),
            ([255, 0, 0], [81, 90, 240]),
            ([0, 255, 0], [145, 54, 34]),
            ([0, 0, 255], [41, 240, 110]),
        ];
        for (rgb, [y, u, v]) in known {
            let found = planes(&frame(Space::Rgb, 2, 2, &rgb.repeat(4)));
            assert_eq!((found.y, found.u, found.v), (vec![y; 4], vec![u], vec![v]), "{rgb:?}");
        }
    }

    #[test]
    fn every_colour_is_the_rounded_formula() {
        for red in (0..=255_u8).step_by(15) {
            for green in (0..=255_u8).step_by(5) {
                for blue in (0..=255_u8).step_by(5) {
                    let found = planes(&frame(Space::Rgb, 1, 1, &[red, green, blue]));
                    let (r, g, b) =
                        (f64::from(red) / 255.0, f64::from(green) / 255.0, f64::from(blue) / 255.0);
                    let luma = 0.299 * r + 0.587 * g + 0.114 * b;
                    let exact = [
                        16.0 + 219.0 * luma,
                        128.0 + 224.0 * (b - luma) / 1.772,
                        128.0 + 224.0 * (r - luma) / 1.402,
                    ];
                    for (found, exact) in [found.y[0], found.u[0], found.v[0]].into_iter().zip(exact) {
                        assert!(
                            (f64::from(found) - exact).abs() < 0.5001,
                            "{red} {green} {blue}: {found}, {exact}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn full_range_becomes_limited_by_the_rounded_formula() {
        for level in 0..=255_u8 {
            let found = planes(&frame(Space::Full, 1, 1, &[level, level, 255 - level]));
            let chroma = |c: u8| 128.0 + 224.0 * (f64::from(c) - 128.0) / 255.0;
            let exact = [16.0 + 219.0 * f64::from(level) / 255.0, chroma(level), chroma(255 - level)];
            for (found, exact) in [found.y[0], found.u[0], found.v[0]].into_iter().zip(exact) {
                assert!((f64::from(found) - exact).abs() < 0.5001, "{level}: {found}, {exact}");
            }
        }
        assert_eq!(CHROMA[4 * 128 + 2], 128, "a quarter's mean is rounded once, after scaling");
        assert_eq!(CHROMA[4 * 128 + 3], 129);
    }

    #[test]
    fn limited_range_passes_and_chroma_is_a_mean() {
        let found =
            planes(&frame(Space::Limited, 2, 2, &[1, 100, 200, 20, 101, 200, 30, 101, 201, 255, 103, 202]));
        assert_eq!(found.y, [1, 20, 30, 255]);
        assert_eq!((found.u, found.v), (vec![101], vec![201]));
    }

    #[test]
    fn odd_sides_repeat_their_last_column_and_row() {
        let odd = frame(Space::Grey, 3, 1, &[0, 100, 255]);
        let found = planes(&odd);
        assert_eq!((found.width, found.height), (4, 2));
        let row = [16, limited(100), 235, 235];
        assert_eq!(found.y, [row, row].concat());
        assert_eq!((found.u.len(), found.v), (2, vec![128; 2]));
        let wide = frame(Space::Rgb, 3, 3, &(0..27).map(|at| at * 9).collect::<Vec<u8>>());
        let mut padded = Vec::new();
        for row in [0, 1, 2, 2] {
            for column in [0, 1, 2, 2] {
                padded.extend_from_slice(&wide.samples[(row * 3 + column) * 3..][..3]);
            }
        }
        assert_eq!(planes(&wide), planes(&frame(Space::Rgb, 4, 4, &padded)));
    }

    #[test]
    fn memory_is_used_again() {
        let mut out = Yuv420::default();
        out.take(&frame(Space::Grey, 64, 48, &[7; 64 * 48]));
        let before = [out.y.as_ptr(), out.u.as_ptr(), out.v.as_ptr()];
        out.take(&frame(Space::Grey, 64, 48, &[9; 64 * 48]));
        assert_eq!(before, [out.y.as_ptr(), out.u.as_ptr(), out.v.as_ptr()]);
        assert!(out.y.iter().all(|y| *y == limited(9)));
    }
}
