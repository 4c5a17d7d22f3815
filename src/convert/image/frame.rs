//! A decoded picture on its way: samples behind each other, pixel by pixel, and what they mean.
//!
//! It knows no file format and no encoder. One frame's memory is used again for the next.

/// What a pixel's samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// One sample, 0 to 255.
    Grey,
    /// Red, green, blue, 0 to 255 each.
    Rgb,
    /// Luma, blue and red difference by BT.601 over the full range, as in JPEG files (JFIF 1.02).
    Full,
    /// The same over the limited range (luma 16 to 235, differences 16 to 240), as cameras and video have them.
    Limited,
    /// One number of 16 bits, the high byte first: a distance.
    Depth,
}

impl Space {
    /// Bytes of a pixel.
    pub(crate) fn pixel_bytes(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Depth => 2,
            Self::Rgb | Self::Full | Self::Limited => 3,
        }
    }
}

/// A picture in memory: `height` rows of `width` pixels, without padding.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) space: Space,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) samples: Vec<u8>,
}

impl Default for Frame {
    fn default() -> Self {
        Self { space: Space::Grey, width: 0, height: 0, samples: Vec::new() }
    }
}

impl Frame {
    /// Makes it a frame of this kind and size, with whatever samples, and gives them to be written.
    pub(crate) fn reset(&mut self, space: Space, width: usize, height: usize) -> &mut [u8] {
        (self.space, self.width, self.height) = (space, width, height);
        self.samples.resize(width * height * space.pixel_bytes(), 0);
        &mut self.samples
    }

    /// Bytes of a row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.width * self.space.pixel_bytes()
    }

    /// The rows, from the top.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[u8]> {
        // An empty frame has no rows; chunks of zero bytes are not allowed.
        self.samples.chunks_exact(self.row_bytes().max(1))
    }
}
