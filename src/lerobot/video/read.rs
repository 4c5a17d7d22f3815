//! Reads the index of an mp4 file of one video track: ours, lerobot's, or anybody's, whatever it holds.
//!
//! Nothing but the index is read, and nothing is believed: counts are held against the bytes that are there.

use super::boxes::Fields;
use crate::storage::{ObjectInfo, Storage, StorageError};

/// Largest index, in bytes: over 8 million frames.
const INDEX_BYTES_MAX: u64 = 256 << 20;
/// Most boxes at the top of a file: fragmented files have more, and are no files of a dataset.
const TOP_BOXES_MAX: usize = 64;
/// Most frames of a file.
const FRAMES_MAX: u64 = super::write::FILE_FRAMES_MAX as u64;

/// Why there is no track.
#[derive(Debug, thiserror::Error)]
pub enum Mp4Error {
    /// The storage's.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It is no mp4 file with one video track, or damaged.
    #[error("{0}")]
    Damaged(String),
}

/// The video track of a file, as its index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Ticks a second.
    pub timescale: u32,
    /// How its samples are coded.
    pub entry: SampleEntry,
    /// When each sample is shown, in ticks, in the order of decoding; the edit list is taken off.
    pub times: Vec<i64>,
    /// Bytes of each sample.
    pub sizes: Vec<u32>,
    /// Where each sample begins.
    pub offsets: Vec<u64>,
    /// Numbers of the samples that can be decoded alone, from 1; none given: all can.
    pub sync: Option<Vec<u32>>,
    /// Whether there is sound, or anything else beside the video.
    pub others: usize,
}

/// How samples are coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleEntry {
    /// The entry's type: `avc1`, `av01`.
    pub kind: [u8; 4],
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// The decoder's configuration record: what is in `avcC`, `av1C` or `hvcC`.
    pub record: Vec<u8>,
}

impl SampleEntry {
    /// What info.json may call the codec, the usual name first; none for a codec that is not known.
    pub fn codecs(&self) -> &'static [&'static str] {
        match &self.kind {
            b"avc1" | b"avc3" => &["h264"],
            b"av01" => &["av1"],
            b"hvc1" | b"hev1" => &["hevc", "h265"],
            _ => &[],
        }
    }
}

/// The tables of a track before they are put together.
#[derive(Default)]
struct Tables {
    timescale: u32,
    is_video: bool,
    entry: Option<SampleEntry>,
    durations: Vec<(u32, u32)>,
    shifts: Vec<(u32, i32)>,
    chunks: Vec<u64>,
    per_chunk: Vec<(u32, u32)>,
    sizes: Vec<u32>,
    sync: Option<Vec<u32>>,
    /// Media time at which the first edit begins.
    edit_begin: i64,
}

fn damaged(what: impl Into<String>) -> Mp4Error {
    Mp4Error::Damaged(what.into())
}

fn cut() -> Mp4Error {
    damaged("its index is cut")
}

/// Reads the index of a file.
///
/// # Errors
/// [`Mp4Error::Damaged`] with what is wrong, and the storage's.
pub fn read_track(storage: &dyn Storage, object: &ObjectInfo) -> Result<Track, Mp4Error> {
    let index = find_index(storage, object)?;
    let (mut found, mut others) = (None, 0);
    let mut boxes = Fields(&index);
    while let Some(next) = boxes.next_box() {
        let (kind, content) = next.map_err(|()| cut())?;
        if kind == *b"trak" {
            let mut tables = Tables::default();
            tables.read(content, 0)?;
            match (tables.is_video, &found) {
                (true, None) => found = Some(tables),
                _ => others += 1,
            }
        }
    }
    let tables = found.ok_or_else(|| damaged("it has no video track"))?;
    tables.track(object.size, others)
}

/// The content of `moov`.
fn find_index(storage: &dyn Storage, object: &ObjectInfo) -> Result<Vec<u8>, Mp4Error> {
    let mut offset = 0u64;
    for at in 0..TOP_BOXES_MAX {
        if offset >= object.size {
            return Err(damaged("it has no index (moov)"));
        }
        let header = storage.read_at(object, offset, 16)?;
        let mut fields = Fields(&header);
        let (Some(length), Some(kind)) = (fields.u32(), fields.take(4)) else { return Err(cut()) };
        let is_index = kind == b"moov";
        if at == 0 && kind != b"ftyp" {
            return Err(damaged("it is no mp4 file: it does not begin with ftyp"));
        }
        let (length, begin) = match length {
            0 => (object.size - offset, 8),
            1 => (fields.u64().ok_or_else(cut)?, 16),
            length => (u64::from(length), 8),
        };
        let end = offset.checked_add(length).filter(|end| *end <= object.size && length >= begin);
        let end =
            end.ok_or_else(|| damaged(format!("it is cut: a box at byte {offset} reaches beyond its end")))?;
        if is_index {
            let bytes = length - begin;
            if bytes > INDEX_BYTES_MAX {
                return Err(damaged(format!("its index has {bytes} bytes, more than {INDEX_BYTES_MAX}")));
            }
            let index = storage.read_at(object, offset + begin, usize::try_from(bytes).unwrap_or(0))?;
            return if index.len() as u64 == bytes { Ok(index.to_vec()) } else { Err(cut()) };
        }
        offset = end;
    }
    Err(damaged("it is in pieces: its index is not among the first boxes"))
}

impl Tables {
    /// Reads boxes; those that hold others, to a depth that no file passes.
    fn read(&mut self, mut boxes: Fields<'_>, depth: usize) -> Result<(), Mp4Error> {
        const DEPTH_MAX: usize = 4;
        while let Some(next) = boxes.next_box() {
            let (kind, content) = next.map_err(|()| cut())?;
            match &kind {
                b"mdia" | b"minf" | b"stbl" | b"edts" if depth < DEPTH_MAX => {
                    self.read(content, depth + 1)?
                }
                _ => self.table(kind, content).ok_or_else(|| {
                    damaged(format!("its box {} is cut or too large", String::from_utf8_lossy(&kind)))
                })?,
            }
        }
        Ok(())
    }

    fn table(&mut self, kind: [u8; 4], mut fields: Fields<'_>) -> Option<()> {
        match &kind {
            b"mdhd" => {
                let version = fields.version()?;
                fields.take(if version == 1 { 16 } else { 8 })?;
                self.timescale = fields.u32()?;
            }
            b"hdlr" => {
                fields.take(8)?;
                self.is_video = fields.take(4)? == b"vide";
            }
            b"elst" => {
                let version = fields.version()?;
                let count = fields.u32()?;
                for _ in 0..count.min(16) {
                    fields.wide(version)?;
                    let begin = if version == 1 {
                        fields.u64()?.cast_signed()
                    } else {
                        i64::from(fields.u32()?.cast_signed())
                    };
                    fields.u32()?;
                    // An empty edit shifts what follows; no file of a dataset has one.
                    if begin >= 0 {
                        self.edit_begin = begin;
                        break;
                    }
                }
            }
            b"stsd" => self.entry = Some(sample_entry(fields)?),
            b"stts" => self.durations = pairs(fields)?,
            b"ctts" => {
                self.shifts =
                    pairs(fields)?.into_iter().map(|(count, shift)| (count, shift.cast_signed())).collect();
            }
            b"stss" => self.sync = Some(words(fields)?),
            b"stsc" => {
                fields.version()?;
                let count = fields.u32()? as usize;
                let table = fields.take(count.checked_mul(12)?)?.as_chunks::<12>().0.iter();
                self.per_chunk = table.filter_map(|row| Some((be(row, 0)?, be(row, 4)?))).collect();
            }
            b"stsz" => self.sizes = sizes(fields)?,
            b"stco" => self.chunks = words(fields)?.into_iter().map(u64::from).collect(),
            b"co64" => {
                fields.version()?;
                let count = fields.u32()? as usize;
                let table = fields.take(count.checked_mul(8)?)?.as_chunks::<8>().0.iter();
                self.chunks = table.map(|row| u64::from_be_bytes(*row)).collect();
            }
            _ => {}
        }
        Some(())
    }

    fn track(self, file_bytes: u64, others: usize) -> Result<Track, Mp4Error> {
        let entry = self.entry.clone().ok_or_else(|| damaged("its video has no sample entry"))?;
        if self.timescale == 0 {
            return Err(damaged("its timescale is 0"));
        }
        let times = self.times()?;
        let offsets = self.offsets(file_bytes)?;
        Ok(Track {
            timescale: self.timescale,
            entry,
            times,
            offsets,
            sizes: self.sizes,
            sync: self.sync,
            others,
        })
    }

    fn times(&self) -> Result<Vec<i64>, Mp4Error> {
        let frames = self.sizes.len();
        let mut times = Vec::with_capacity(frames);
        let mut now = 0i64;
        for (count, ticks) in &self.durations {
            for _ in 0..*count {
                if times.len() == frames {
                    return Err(damaged("it gives times for more samples than it has"));
                }
                times.push(now);
                now = now.saturating_add(i64::from(*ticks));
            }
        }
        if times.len() < frames {
            return Err(damaged(format!("it gives times for {} of its {frames} samples", times.len())));
        }
        let mut shifts =
            self.shifts.iter().flat_map(|(count, shift)| std::iter::repeat_n(*shift, *count as usize));
        for time in &mut times {
            let shift = shifts.next().unwrap_or(0);
            *time = time.saturating_add(i64::from(shift)).saturating_sub(self.edit_begin);
        }
        Ok(times)
    }

    fn offsets(&self, file_bytes: u64) -> Result<Vec<u64>, Mp4Error> {
        let mut offsets = Vec::with_capacity(self.sizes.len());
        let mut sizes = self.sizes.iter();
        let mut runs = self.per_chunk.iter().peekable();
        let mut count = 0;
        for (number, chunk) in (1u32..).zip(&self.chunks) {
            if let Some((_, samples)) = runs.next_if(|(first, _)| *first <= number) {
                count = *samples;
            }
            let mut offset = *chunk;
            for bytes in sizes.by_ref().take(count as usize) {
                offsets.push(offset);
                offset = offset.saturating_add(u64::from(*bytes));
            }
            if offset > file_bytes {
                return Err(damaged(format!(
                    "it is cut: its samples reach to byte {offset}, it has {file_bytes}"
                )));
            }
        }
        if offsets.len() == self.sizes.len() {
            Ok(offsets)
        } else {
            Err(damaged(format!("it has a place for {} of its {} samples", offsets.len(), self.sizes.len())))
        }
    }
}

/// The big-endian word at a place.
fn be(row: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(row.get(at..at + 4)?.try_into().ok()?))
}

/// A table of words behind version and count.
fn words(mut fields: Fields<'_>) -> Option<Vec<u32>> {
    fields.version()?;
    let count = fields.u32()? as usize;
    let table = fields.take(count.checked_mul(4)?)?.as_chunks::<4>().0.iter();
    Some(table.map(|word| u32::from_be_bytes(*word)).collect())
}

/// A table of pairs behind version and count.
fn pairs(mut fields: Fields<'_>) -> Option<Vec<(u32, u32)>> {
    fields.version()?;
    let count = fields.u32()? as usize;
    if count as u64 > FRAMES_MAX {
        return None;
    }
    let table = fields.take(count.checked_mul(8)?)?.as_chunks::<8>().0.iter();
    Some(table.filter_map(|row| Some((be(row, 0)?, be(row, 4)?))).collect())
}

fn sizes(mut fields: Fields<'_>) -> Option<Vec<u32>> {
    fields.version()?;
    let (all, count) = (fields.u32()?, fields.u32()?);
    if u64::from(count) > FRAMES_MAX {
        return None;
    }
    if all > 0 {
        return Some(vec![all; count as usize]);
    }
    let table = fields.take((count as usize).checked_mul(4)?)?.as_chunks::<4>().0.iter();
    Some(table.map(|word| u32::from_be_bytes(*word)).collect())
}

/// Type, width, height and decoder's configuration of the first sample entry.
pub(super) fn sample_entry(mut fields: Fields<'_>) -> Option<SampleEntry> {
    fields.version()?;
    fields.u32()?;
    let (kind, mut fields) = fields.next_box()?.ok()?;
    fields.take(24)?;
    let (width, height) = (fields.u16()?, fields.u16()?);
    fields.take(50)?;
    let mut record = Vec::new();
    while let Some(Ok((kind, content))) = fields.next_box() {
        if matches!(&kind, b"avcC" | b"av1C" | b"hvcC") {
            record = content.0.to_vec();
        }
    }
    Some(SampleEntry { kind, width: u32::from(width), height: u32::from(height), record })
}
