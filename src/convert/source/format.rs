//! The formats of recordings, told apart by how a file begins, and what each does its own way.

use super::catalog::Catalog;
use super::chunk::{Body, Step};
use super::file::File;
use super::{SourceError, bag, db3, mcap};
use crate::convert::StopFlag;
use bytes::Bytes;

/// How a file begins that zstd compressed.
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// A format that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    #[default]
    Mcap,
    Bag,
    /// A ROS 2 bag in SQLite.
    Db3,
}

impl Format {
    /// By the file's first bytes; others are refused by name.
    pub(crate) fn of(file: &File) -> Result<Self, SourceError> {
        /// Enough to tell the formats apart.
        const START_BYTES: u64 = 16;
        let start = file.range(0..file.size().min(START_BYTES))?;
        let reason = if start.starts_with(mcap::MAGIC) {
            return Ok(Self::Mcap);
        } else if start.starts_with(bag::MAGIC) {
            return Ok(Self::Bag);
        } else if start.starts_with(db3::MAGIC) {
            return Ok(Self::Db3);
        } else if start.is_empty() {
            "the file is empty"
        } else if start.starts_with(b"#ROSBAG V") {
            "it is a ROS 1 bag of an old version; rewrite it with `rosbag fix`"
        } else if start.starts_with(ZSTD_MAGIC) {
            "it is compressed as a whole by zstd, which is not read; unpack it with `zstd -d`, or a ROS 2 bag with `ros2 bag convert`"
        } else {
            "it begins neither as an MCAP file nor as a ROS 1 bag or a ROS 2 bag in SQLite; give such recordings only"
        };
        Err(SourceError::NotARecording { file: file.name().to_owned(), reason: reason.to_owned() })
    }

    /// Topics, and where the messages lie.
    pub(crate) fn open(self, file: &File, stop: &StopFlag) -> Result<Catalog, SourceError> {
        let catalog = match self {
            Self::Mcap => mcap::open(file, stop)?,
            Self::Bag => bag::open(file, stop)?,
            Self::Db3 => {
                let (catalog, bag) = db3::open(file, stop)?;
                Catalog { bag: Some(bag), ..catalog }
            }
        };
        Ok(Catalog { format: self, ..catalog })
    }

    /// The records of the chunk at `at`, out of its stretch.
    pub(crate) fn unpack(
        self,
        file: &str,
        at: u64,
        bytes: &Bytes,
        spare: Vec<u8>,
    ) -> Result<Body, SourceError> {
        match self {
            Self::Mcap => mcap::unpack(file, at, bytes, spare),
            Self::Bag => bag::unpack(file, at, bytes, spare),
            // Its pages are put together by `db3`, which knows where they lie.
            Self::Db3 => Ok(Body::Plain(bytes.clone())),
        }
    }

    /// The record at an offset of a chunk's bytes; the error is a reason.
    pub(crate) fn step(self, bytes: &[u8], offset: usize) -> Result<Step<'_>, &'static str> {
        match self {
            Self::Mcap => mcap::step(bytes, offset),
            Self::Bag => bag::step(bytes, offset),
            Self::Db3 => db3::step(bytes, offset),
        }
    }

    /// Gives channel, log time and offset of each entry of a chunk's message indexes. None when they do not fit their place.
    pub(crate) fn entries(self, bytes: &[u8], take: &mut dyn FnMut(u16, u64, u64)) -> Option<()> {
        match self {
            Self::Mcap => mcap::entries(bytes, take),
            Self::Bag => bag::entries(bytes, take),
            // There are none: its leaves tell.
            Self::Db3 => None,
        }
    }
}
