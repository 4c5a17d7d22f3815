//! The head of an mp4 file: all that stands before the samples, which follow it back to back.
//!
//! All sizes are known beforehand, so the index comes first: a reader needs no look at the end, and a writer no memory
//! for the samples. One track, one chunk, no edit list: the first frame is shown at 0, and each the same time.

use super::boxes::Boxes;
use super::{FRAME_TICKS, VideoStream};

/// Most frames of one file: the tables take some bytes each.
pub const FILE_FRAMES_MAX: usize = 1 << 22;
/// The unity matrix of a track.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
/// 72 dots an inch, which nobody reads.
const RESOLUTION: u32 = 0x48_0000;
/// BT.601 of 525 lines: primaries, transfer and matrix have the same number.
const BT_601: u16 = 6;
/// No language.
const UNDETERMINED: u16 = 0x55c4;

/// Sizes of the samples of a file, and which of them can be decoded alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SampleSizes {
    /// In bytes, in order.
    sizes: Vec<u32>,
    /// Numbers of those that can be decoded alone, from 1.
    sync: Vec<u32>,
    total_bytes: u64,
}

impl SampleSizes {
    /// Adds a sample. False when the file has [`FILE_FRAMES_MAX`] already.
    #[must_use]
    pub fn push(&mut self, bytes: u32, is_sync: bool) -> bool {
        if self.sizes.len() >= FILE_FRAMES_MAX {
            return false;
        }
        self.sizes.push(bytes);
        self.total_bytes += u64::from(bytes);
        if is_sync {
            self.sync.push(self.sizes.len() as u32);
        }
        true
    }

    /// How many samples.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Bytes of all samples.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }
}

/// What a file is going to be.
#[derive(Debug, Clone, Copy)]
pub struct Mp4Plan<'a> {
    /// What all frames share.
    pub stream: &'a VideoStream,
    /// Frames a second.
    pub fps: u32,
    /// The samples.
    pub samples: &'a SampleSizes,
}

impl Mp4Plan<'_> {
    /// The file up to its first sample.
    pub fn head(&self) -> Vec<u8> {
        // The index names the place of the first sample, which is behind the index: its length does not depend on it.
        let length = self.head_for(0).len();
        self.head_for(length as u64)
    }

    fn head_for(&self, first_sample: u64) -> Vec<u8> {
        let mut out = Boxes::default();
        out.put(*b"ftyp", |out| {
            out.bytes(b"isom\0\0\x02\0isomiso2");
            out.bytes(&self.stream.codec.entry());
            out.bytes(b"mp41");
        });
        out.put(*b"moov", |out| {
            self.movie_header(out);
            out.put(*b"trak", |out| {
                self.track_header(out);
                out.put(*b"mdia", |out| self.media(out, first_sample));
            });
        });
        let bytes = self.samples.total_bytes();
        match u32::try_from(bytes + 8) {
            Ok(length) => {
                out.u32(length);
                out.bytes(b"mdat");
            }
            Err(_) => {
                out.u32(1);
                out.bytes(b"mdat");
                out.u64(bytes + 16);
            }
        }
        out.into_bytes()
    }

    fn timescale(&self) -> u32 {
        // At most 1000 frames a second are allowed.
        self.fps.saturating_mul(FRAME_TICKS)
    }

    fn ticks(&self) -> u64 {
        self.samples.len() as u64 * u64::from(FRAME_TICKS)
    }

    /// Creation and modification time (never), `between`, and the duration; 64-bit where that is needed.
    fn times(
        &self,
        out: &mut Boxes,
        kind: [u8; 4],
        flags: u32,
        between: &[u32],
        rest: impl FnOnce(&mut Boxes),
    ) {
        let short = u32::try_from(self.ticks());
        out.full(kind, u8::from(short.is_err()), flags, |out| {
            out.zeros(if short.is_ok() { 8 } else { 16 });
            between.iter().for_each(|word| out.u32(*word));
            match short {
                Ok(ticks) => out.u32(ticks),
                Err(_) => out.u64(self.ticks()),
            }
            rest(out);
        });
    }

    fn movie_header(&self, out: &mut Boxes) {
        self.times(out, *b"mvhd", 0, &[self.timescale()], |out| {
            out.u32(0x1_0000);
            out.u16(0x100);
            out.zeros(10);
            MATRIX.iter().for_each(|word| out.u32(*word));
            out.zeros(24);
            out.u32(2);
        });
    }

    fn track_header(&self, out: &mut Boxes) {
        // Enabled, in the movie. Track 1, and a reserved word.
        self.times(out, *b"tkhd", 3, &[1, 0], |out| {
            out.zeros(16);
            MATRIX.iter().for_each(|word| out.u32(*word));
            out.u32(self.stream.width << 16);
            out.u32(self.stream.height << 16);
        });
    }

    fn media(&self, out: &mut Boxes, first_sample: u64) {
        self.times(out, *b"mdhd", 0, &[self.timescale()], |out| {
            out.u16(UNDETERMINED);
            out.u16(0);
        });
        out.full(*b"hdlr", 0, 0, |out| {
            out.u32(0);
            out.bytes(b"vide");
            out.zeros(12);
            out.bytes(b"VideoHandler\0");
        });
        out.put(*b"minf", |out| {
            out.full(*b"vmhd", 0, 1, |out| out.zeros(8));
            out.put(*b"dinf", |out| {
                out.full(*b"dref", 0, 0, |out| {
                    out.u32(1);
                    // The samples are in this very file.
                    out.full(*b"url ", 0, 1, |_| {});
                });
            });
            out.put(*b"stbl", |out| self.tables(out, first_sample));
        });
    }

    fn tables(&self, out: &mut Boxes, first_sample: u64) {
        let count = self.samples.len() as u32;
        out.full(*b"stsd", 0, 0, |out| {
            out.u32(1);
            out.put(self.stream.codec.entry(), |out| self.sample_entry(out));
        });
        out.full(*b"stts", 0, 0, |out| [1, count, FRAME_TICKS].iter().for_each(|word| out.u32(*word)));
        out.full(*b"stss", 0, 0, |out| {
            out.u32(self.samples.sync.len() as u32);
            self.samples.sync.iter().for_each(|number| out.u32(*number));
        });
        out.full(*b"stsc", 0, 0, |out| [1, 1, count, 1].iter().for_each(|word| out.u32(*word)));
        out.full(*b"stsz", 0, 0, |out| {
            out.u32(0);
            out.u32(count);
            self.samples.sizes.iter().for_each(|bytes| out.u32(*bytes));
        });
        // The only chunk begins behind the head, which is far below 4 GiB.
        out.full(*b"stco", 0, 0, |out| {
            out.u32(1);
            out.u32(u32::try_from(first_sample).unwrap_or(u32::MAX));
        });
    }

    fn sample_entry(&self, out: &mut Boxes) {
        let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
        out.zeros(6);
        out.u16(1);
        out.zeros(16);
        out.u16(side(self.stream.width));
        out.u16(side(self.stream.height));
        out.u32(RESOLUTION);
        out.u32(RESOLUTION);
        out.u32(0);
        out.u16(1);
        out.zeros(32);
        out.u16(24);
        out.u16(u16::MAX);
        out.put(self.stream.codec.record_box(), |out| out.bytes(&self.stream.record));
        out.put(*b"colr", |out| {
            out.bytes(b"nclx");
            (0..3).for_each(|_| out.u16(BT_601));
            // Limited range.
            out.u8(0);
        });
        out.put(*b"pasp", |out| [1, 1].iter().for_each(|side| out.u32(*side)));
    }
}
