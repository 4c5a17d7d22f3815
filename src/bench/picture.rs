//! What becomes of a camera's pictures, one after the other on one thread: for measurements of that alone.

use super::BenchError;
use super::robot::camera_picture;
use crate::convert::image::{Pixels, Transform, Yuv420, geometry, no_counts};
use crate::lerobot::staged::ImageCounts;
use std::fmt;

/// A picture as a camera sends it, and what is made of it. Its memory is used again each time, as a conversion does.
pub struct PictureBench {
    file: Vec<u8>,
    pixels: Pixels,
    planes: Yuv420,
    counts: ImageCounts,
}

impl fmt::Debug for PictureBench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PictureBench").field("file_bytes", &self.file.len()).finish_non_exhaustive()
    }
}

impl PictureBench {
    /// A JPEG of this width and height in pixels, of the scene that `bench convert` records.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn jpeg(width: u16, height: u16) -> Result<Self, BenchError> {
        let file = camera_picture((width, height))?;
        Ok(Self { file, pixels: Pixels::default(), planes: Yuv420::default(), counts: no_counts() })
    }

    /// Bytes of the file.
    pub fn file_bytes(&self) -> usize {
        self.file.len()
    }

    /// Decodes it to planes as an encoder of video takes them. Gives the bytes of the planes.
    ///
    /// # Errors
    /// When it does not decode.
    pub fn planes(&mut self) -> Result<usize, BenchError> {
        let geometry = geometry(&self.file).map_err(BenchError::made)?;
        let planes = &mut self.planes;
        self.pixels.yuv(&self.file, geometry, &Transform::default(), planes).map_err(BenchError::made)?;
        Ok(planes.y.len() + planes.u.len() + planes.v.len())
    }

    /// Decodes it and counts its pixels for statistics. Gives how many counted so far.
    ///
    /// # Errors
    /// When it does not decode.
    pub fn count(&mut self) -> Result<u64, BenchError> {
        let geometry = geometry(&self.file).map_err(BenchError::made)?;
        let counts = &mut self.counts;
        self.pixels.count(&self.file, geometry, &Transform::default(), counts).map_err(BenchError::made)?;
        Ok(counts.channels.iter().map(|levels| levels.iter().sum::<u64>()).sum())
    }

    /// Counts the pixels of what was last made into planes, which is not decoded again. Gives how many counted so far.
    pub fn count_same(&mut self) -> u64 {
        self.pixels.count_same(&mut self.counts);
        self.counts.channels.iter().map(|levels| levels.iter().sum::<u64>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_all_its_planes_and_counts_every_fourth_pixel_of_every_fourth_row() {
        let mut picture = PictureBench::jpeg(640, 480).unwrap();
        assert!(picture.file_bytes() > 10_000);
        assert_eq!(picture.planes().unwrap(), 640 * 480 * 3 / 2);
        assert_eq!(picture.count_same(), 160 * 120 * 3);
        assert_eq!(picture.count().unwrap(), 2 * 160 * 120 * 3);
    }
}
