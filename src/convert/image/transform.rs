//! What a mapping may ask of a picture: cut out a part, turn it, change its size; always in that order.
//!
//! It decodes and encodes nothing.

use super::frame::{Frame, Space};
use super::resize::Resizer;
use std::fmt;

/// How far a picture is turned, clockwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// A quarter.
    Right,
    /// A half.
    Over,
    /// Three quarters.
    Left,
}

/// A part of a picture, in pixels from its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crop {
    /// Columns left out on the left.
    pub x: u32,
    /// Rows left out at the top.
    pub y: u32,
    /// Columns kept; at least one.
    pub width: u32,
    /// Rows kept; at least one.
    pub height: u32,
}

/// What becomes of each picture of a feature. The default leaves it as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transform {
    /// First the part.
    pub crop: Option<Crop>,
    /// Then the turn.
    pub turn: Option<Turn>,
    /// Then the size, as width and height.
    pub resize: Option<(u32, u32)>,
}

impl fmt::Display for Crop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "crop = [{}, {}, {}, {}]", self.x, self.y, self.width, self.height)
    }
}

impl Transform {
    /// Whether it leaves pictures as they are.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Width and height of what comes out of a picture of this size.
    ///
    /// # Errors
    /// The part reaches outside the picture.
    pub(crate) fn size(&self, width: u32, height: u32) -> Result<(u32, u32), String> {
        let (mut size, outside) = match self.crop {
            Some(crop) => {
                let fits = |from: u32, length: u32, side: u32| {
                    length > 0 && from.checked_add(length).is_some_and(|end| end <= side)
                };
                let inside = fits(crop.x, crop.width, width) && fits(crop.y, crop.height, height);
                ((crop.width, crop.height), (!inside).then_some(crop))
            }
            None => ((width, height), None),
        };
        if let Some(crop) = outside {
            return Err(format!(
                "{crop} (x, y, width, height) reaches outside the picture, which has {width} x {height} pixels"
            ));
        }
        if matches!(self.turn, Some(Turn::Right | Turn::Left)) {
            size = (size.1, size.0);
        }
        Ok(self.resize.unwrap_or(size))
    }
}

/// Carries out transforms; its memory is used again.
#[derive(Default)]
pub(crate) struct Transformer {
    resizer: Resizer,
    spare: Frame,
}

impl Transformer {
    /// Changes the frame.
    ///
    /// # Errors
    /// As [`Transform::size`].
    pub(crate) fn apply(&mut self, transform: &Transform, frame: &mut Frame) -> Result<(), String> {
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        transform.size(side(frame.width), side(frame.height))?;
        if let Some(part) = transform.crop {
            crop(frame, part);
        }
        if let Some(turned) = transform.turn {
            match frame.space {
                Space::Grey => turn::<1>(frame, turned, &mut self.spare),
                Space::Depth => turn::<2>(frame, turned, &mut self.spare),
                Space::Rgb | Space::Full | Space::Limited => turn::<3>(frame, turned, &mut self.spare),
            }
            std::mem::swap(frame, &mut self.spare);
        }
        if let Some((width, height)) = transform.resize {
            let size = (width as usize, height as usize);
            if size != (frame.width, frame.height) {
                self.resizer.resize(frame, size.0, size.1, &mut self.spare);
                std::mem::swap(frame, &mut self.spare);
            }
        }
        Ok(())
    }
}

/// Cuts the part out, in place: what is kept moves to the front. It was found to lie inside.
fn crop(frame: &mut Frame, part: Crop) {
    let bytes = frame.space.pixel_bytes();
    let stride = frame.row_bytes();
    let (width, height) = (part.width as usize, part.height as usize);
    for row in 0..height {
        let from = (part.y as usize + row) * stride + part.x as usize * bytes;
        frame.samples.copy_within(from..from + width * bytes, row * width * bytes);
    }
    (frame.width, frame.height) = (width, height);
    frame.samples.truncate(width * height * bytes);
}

/// Turns pixels of `N` bytes.
fn turn<const N: usize>(from: &Frame, turn: Turn, to: &mut Frame) {
    let (width, height) = (from.width, from.height);
    let quarter = turn != Turn::Over;
    let (to_width, to_height) = if quarter { (height, width) } else { (width, height) };
    let out = to.reset(from.space, to_width, to_height);
    let pixels = from.samples.as_chunks::<N>().0;
    for (y, row) in out.chunks_exact_mut((to_width * N).max(1)).enumerate() {
        for (x, out) in row.as_chunks_mut::<N>().0.iter_mut().enumerate() {
            let source = match turn {
                Turn::Right => (height - 1 - x) * width + y,
                Turn::Over => (height - 1 - y) * width + (width - 1 - x),
                Turn::Left => x * width + (width - 1 - y),
            };
            if let Some(pixel) = pixels.get(source) {
                *out = *pixel;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(transform: Transform, space: Space, width: usize, height: usize, samples: &[u8]) -> Frame {
        let mut frame = Frame::default();
        frame.reset(space, width, height).copy_from_slice(samples);
        Transformer::default().apply(&transform, &mut frame).unwrap();
        let size = transform.size(width as u32, height as u32).unwrap();
        assert_eq!((frame.width as u32, frame.height as u32), size);
        assert_eq!(frame.samples.len(), frame.width * frame.height * space.pixel_bytes());
        frame
    }

    fn turned(turn: Turn) -> Transform {
        Transform { turn: Some(turn), ..Transform::default() }
    }

    #[test]
    fn turns_are_clockwise() {
        let picture = [1, 2, 3, 4, 5, 6];
        let after = |turn| applied(turned(turn), Space::Grey, 3, 2, &picture).samples;
        assert_eq!(after(Turn::Right), [4, 1, 5, 2, 6, 3]);
        assert_eq!(after(Turn::Over), [6, 5, 4, 3, 2, 1]);
        assert_eq!(after(Turn::Left), [3, 6, 2, 5, 1, 4]);
    }

    #[test]
    fn whole_pixels_are_turned() {
        let rgb = applied(turned(Turn::Right), Space::Rgb, 1, 2, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(rgb.samples, [4, 5, 6, 1, 2, 3]);
        let depth = applied(turned(Turn::Over), Space::Depth, 2, 1, &[1, 2, 3, 4]);
        assert_eq!(depth.samples, [3, 4, 1, 2]);
    }

    #[test]
    fn a_part_is_cut_out_then_turned_then_resized() {
        let picture: Vec<u8> = (0..20).collect();
        let crop = Some(Crop { x: 1, y: 2, width: 3, height: 2 });
        let part = applied(Transform { crop, ..Transform::default() }, Space::Grey, 5, 4, &picture);
        assert_eq!(part.samples, [11, 12, 13, 16, 17, 18]);
        let all = Transform { crop, turn: Some(Turn::Right), resize: Some((4, 3)) };
        let before = applied(Transform { resize: None, ..all }, Space::Grey, 5, 4, &picture);
        assert_eq!(before.samples, [16, 11, 17, 12, 18, 13]);
        let after = applied(all, Space::Grey, 5, 4, &picture);
        let only = Transform { resize: Some((4, 3)), ..Transform::default() };
        assert_eq!(after.samples, applied(only, Space::Grey, 2, 3, &before.samples).samples);
    }

    #[test]
    fn a_part_outside_the_picture_is_refused() {
        for (x, y, width, height) in
            [(3, 0, 3, 1), (0, 4, 1, 1), (u32::MAX, 0, 2, 1), (0, 0, 0, 1), (0, 0, 6, 1)]
        {
            let transform = Transform { crop: Some(Crop { x, y, width, height }), ..Transform::default() };
            let refused = transform.size(5, 4).unwrap_err();
            assert!(refused.contains("outside the picture, which has 5 x 4"), "{refused}");
            let mut frame = Frame::default();
            frame.reset(Space::Grey, 5, 4);
            assert!(Transformer::default().apply(&transform, &mut frame).is_err());
        }
    }
}
