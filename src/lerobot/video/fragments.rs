//! Reads fragmented mp4 as an encoder writes it into a pipe: parameters first, then pieces of index and samples in turn.
//!
//! All of it is in memory: one segment of a recording. Nothing of it is believed without its bytes.

use super::boxes::Fields;
use super::read::{Mp4Error, SampleEntry, sample_entry};
use std::ops::Range;

/// A sample is none that can be decoded alone (ISO/IEC 14496-12 8.8.3.1).
const IS_NO_SYNC: u32 = 0x1_0000;

/// What a stream holds.
#[derive(Debug)]
pub(crate) struct Fragments {
    pub(crate) entry: SampleEntry,
    /// In the order of decoding, which is that of showing.
    pub(crate) samples: Vec<Sample>,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Its bytes' place in the stream.
    pub(crate) place: Range<usize>,
    pub(crate) is_sync: bool,
}

/// What samples have that say nothing of themselves.
#[derive(Debug, Clone, Copy, Default)]
struct Defaults {
    bytes: u32,
    flags: u32,
}

fn damaged(what: &str) -> Mp4Error {
    Mp4Error::Damaged(what.to_owned())
}

/// Reads a whole stream of one video track.
pub(crate) fn read_fragments(bytes: &[u8]) -> Result<Fragments, Mp4Error> {
    let (mut entry, mut defaults) = (None, Defaults::default());
    let mut samples = Vec::new();
    let mut pending: Vec<(u32, u32)> = Vec::new();
    let mut boxes = Fields(bytes);
    while let Some(next) = boxes.next_box() {
        let (kind, content) = next.map_err(|()| damaged("it is cut"))?;
        match &kind {
            b"moov" => {
                (entry, defaults) = parameters(content, 0, entry, defaults);
            }
            b"moof" => {
                pending =
                    fragment(content, defaults).ok_or_else(|| damaged("a fragment's index is damaged"))?;
            }
            b"mdat" => {
                // Where the content stands: behind it is what is left.
                let mut begin = bytes.len() - boxes.0.len() - content.0.len();
                let total: u64 = pending.iter().map(|(bytes, _)| u64::from(*bytes)).sum();
                if total != content.0.len() as u64 {
                    return Err(damaged("a fragment's samples are not those of its index"));
                }
                for (bytes, flags) in pending.drain(..) {
                    let end = begin + bytes as usize;
                    samples.push(Sample { place: begin..end, is_sync: flags & IS_NO_SYNC == 0 });
                    begin = end;
                }
            }
            _ => {}
        }
    }
    let entry = entry.ok_or_else(|| damaged("it names no video"))?;
    Ok(Fragments { entry, samples })
}

/// Looks for the sample entry and the defaults of all fragments.
fn parameters(
    mut boxes: Fields<'_>,
    depth: usize,
    mut entry: Option<SampleEntry>,
    mut defaults: Defaults,
) -> (Option<SampleEntry>, Defaults) {
    const DEPTH_MAX: usize = 5;
    while let Some(Ok((kind, mut content))) = boxes.next_box() {
        match &kind {
            b"trak" | b"mdia" | b"minf" | b"stbl" | b"mvex" if depth < DEPTH_MAX => {
                (entry, defaults) = parameters(content, depth + 1, entry, defaults);
            }
            b"stsd" => entry = sample_entry(content).or(entry),
            b"trex" => {
                let words: Vec<u32> = std::iter::from_fn(|| content.u32()).take(6).collect();
                if let [_, _, _, _, bytes, flags] = *words {
                    defaults = Defaults { bytes, flags };
                }
            }
            _ => {}
        }
    }
    (entry, defaults)
}

/// Size and flags of each sample of one fragment.
fn fragment(mut boxes: Fields<'_>, defaults: Defaults) -> Option<Vec<(u32, u32)>> {
    let mut samples = Vec::new();
    while let Some(next) = boxes.next_box() {
        let (kind, mut track) = next.ok()?;
        if kind != *b"traf" {
            continue;
        }
        let mut defaults = defaults;
        while let Some(next) = track.next_box() {
            let (kind, mut fields) = next.ok()?;
            match &kind {
                b"tfhd" => defaults = track_defaults(&mut fields, defaults)?,
                b"trun" => run(&mut fields, defaults, &mut samples)?,
                _ => {}
            }
        }
    }
    Some(samples)
}

fn track_defaults(fields: &mut Fields<'_>, mut defaults: Defaults) -> Option<Defaults> {
    let flags = fields.u32()?;
    fields.u32()?;
    // Data offset (8 bytes), description and duration (4 each) stand before the size and the flags.
    for (flag, bytes) in [(0x1, 8), (0x2, 4), (0x8, 4)] {
        if flags & flag != 0 {
            fields.take(bytes)?;
        }
    }
    if flags & 0x10 != 0 {
        defaults.bytes = fields.u32()?;
    }
    if flags & 0x20 != 0 {
        defaults.flags = fields.u32()?;
    }
    Some(defaults)
}

/// A run of samples. None when one of them is shown at another time than it is decoded.
fn run(fields: &mut Fields<'_>, defaults: Defaults, samples: &mut Vec<(u32, u32)>) -> Option<()> {
    let flags = fields.u32()?;
    let count = fields.u32()?;
    if flags & 0x1 != 0 {
        fields.u32()?;
    }
    let mut first_flags = if flags & 0x4 != 0 { Some(fields.u32()?) } else { None };
    for _ in 0..count {
        if flags & 0x100 != 0 {
            fields.u32()?;
        }
        let bytes = if flags & 0x200 != 0 { fields.u32()? } else { defaults.bytes };
        let own = if flags & 0x400 != 0 { Some(fields.u32()?) } else { None };
        if flags & 0x800 != 0 && fields.u32()? != 0 {
            return None;
        }
        // A sample without bytes and without a row costs nothing to claim.
        if bytes == 0 {
            return None;
        }
        samples.push((bytes, first_flags.take().or(own).unwrap_or(defaults.flags)));
        if samples.len() > super::write::FILE_FRAMES_MAX {
            return None;
        }
    }
    Some(())
}
