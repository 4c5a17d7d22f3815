//! Where the time of a conversion went, by its stages. It measures, and changes nothing.

use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::time::{Duration, Instant};

/// The time that threads were at work in each stage, all threads together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Reading and decompressing chunks.
    pub reading: Duration,
    /// Taking values out of messages.
    pub extracting: Duration,
    /// Decoding and counting the sampled images, and encoding videos.
    pub picturing: Duration,
    /// Making columns of the rest.
    pub arranging: Duration,
    /// Making Parquet files of columns and writing them, until they are durable.
    pub writing: Duration,
}

impl Add for Spent {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            reading: self.reading + other.reading,
            extracting: self.extracting + other.extracting,
            picturing: self.picturing + other.picturing,
            arranging: self.arranging + other.arranging,
            writing: self.writing + other.writing,
        }
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Spent {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// Does something, and tells how long it took.
pub(crate) fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = what();
    (done, began.elapsed())
}
