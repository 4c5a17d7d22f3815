//! Red, green and blue of a frame's pixels, in whole numbers.
//!
//! Full range: ITU-T T.871 (JFIF), with 16 fractional bits and the rounding of libjpeg, so that a JPEG's colours are
//! those that other decoders show. Limited range: ITU-R BT.601, with 16 fractional bits too.

use super::frame::{Frame, Space};

/// A half, of 16 fractional bits.
const HALF: i32 = 1 << 15;

/// How differences become colours.
struct Matrix {
    luma: i32,
    luma_from: i32,
    red_of_cr: i32,
    green_of_cb: i32,
    green_of_cr: i32,
    blue_of_cb: i32,
}

/// 1.40200, 0.34414, 0.71414 and 1.77200.
const FULL: Matrix = Matrix {
    luma: 1 << 16,
    luma_from: 0,
    red_of_cr: 91_881,
    green_of_cb: 22_554,
    green_of_cr: 46_802,
    blue_of_cb: 116_130,
};
/// The same times 255/224, and luma times 255/219.
const LIMITED: Matrix = Matrix {
    luma: 76_309,
    luma_from: 16,
    red_of_cr: 104_597,
    green_of_cb: 25_675,
    green_of_cr: 53_279,
    blue_of_cb: 132_201,
};

impl Matrix {
    fn rgb(&self, [y, cb, cr]: [u8; 3]) -> [u8; 3] {
        let luma = (i32::from(y) - self.luma_from) * self.luma + HALF;
        let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
        let byte = |value: i32| (value >> 16).clamp(0, 255) as u8;
        [
            byte(luma + self.red_of_cr * cr),
            byte(luma - self.green_of_cb * cb - self.green_of_cr * cr),
            byte(luma + self.blue_of_cb * cb),
        ]
    }
}

/// Calls `take` with the colours of every `stride`-th pixel of every `stride`-th row. A depth frame has none.
pub(crate) fn each(frame: &Frame, stride: usize, mut take: impl FnMut([u8; 3])) {
    let rows = frame.rows().step_by(stride);
    match frame.space {
        Space::Grey => rows.for_each(|row| row.iter().step_by(stride).for_each(|grey| take([*grey; 3]))),
        Space::Rgb => {
            rows.for_each(|row| row.as_chunks().0.iter().step_by(stride).for_each(|rgb| take(*rgb)))
        }
        Space::Full => {
            rows.for_each(|row| row.as_chunks().0.iter().step_by(stride).for_each(|p| take(FULL.rgb(*p))));
        }
        Space::Limited => {
            rows.for_each(|row| row.as_chunks().0.iter().step_by(stride).for_each(|p| take(LIMITED.rgb(*p))));
        }
        Space::Depth => {}
    }
}

/// All of a frame's colours into `out`, three bytes a pixel.
pub(crate) fn all(frame: &Frame, out: &mut Vec<u8>) {
    out.clear();
    each(frame, 1, |rgb| out.extend_from_slice(&rgb));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formulas in floating point.
    fn exact([y, cb, cr]: [u8; 3], limited: bool) -> [f64; 3] {
        let (luma, steps) =
            if limited { ((f64::from(y) - 16.0) / 219.0, 224.0) } else { (f64::from(y) / 255.0, 255.0) };
        let (cb, cr) = ((f64::from(cb) - 128.0) / steps, (f64::from(cr) - 128.0) / steps);
        let green = luma - 0.114 * 1.772 / 0.587 * cb - 0.299 * 1.402 / 0.587 * cr;
        [luma + 1.402 * cr, green, luma + 1.772 * cb].map(|part| (part * 255.0).clamp(0.0, 255.0))
    }

    #[test]
    fn colours_are_those_of_the_formulas() {
        for y in (0..=255).step_by(5) {
            for cb in (0..=255).step_by(3) {
                for cr in (0..=255).step_by(3) {
                    for (matrix, limited) in [(FULL, false), (LIMITED, true)] {
                        let found = matrix.rgb([y, cb, cr]);
                        for (found, exact) in found.into_iter().zip(exact([y, cb, cr], limited)) {
                            assert!(
                                (f64::from(found) - exact).abs() < 0.52,
                                "{y} {cb} {cr}: {found}, not {exact}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn known_colours_come_out_whole() {
        assert_eq!(LIMITED.rgb([16, 128, 128]), [0; 3]);
        assert_eq!(LIMITED.rgb([235, 128, 128]), [255; 3]);
        assert_eq!(LIMITED.rgb([81, 90, 240]), [254, 0, 0], "red, as BT.601 rounds it to bytes");
        assert_eq!(FULL.rgb([76, 85, 255]), [254, 0, 0]);
        assert_eq!(FULL.rgb([150, 44, 21]), [0, 255, 1]);
    }

    #[test]
    fn a_stride_skips_rows_and_columns() {
        let mut frame = Frame::default();
        frame.reset(Space::Grey, 5, 3).copy_from_slice(&(0..15).collect::<Vec<u8>>());
        let mut seen = Vec::new();
        each(&frame, 2, |[red, ..]| seen.push(red));
        assert_eq!(seen, [0, 2, 4, 10, 12, 14]);
    }
}
