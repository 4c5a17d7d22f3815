//! Decodes the pictures of a video, to tell whether each is there. It looks at no pixel.

use super::Dataset;
use super::rule::{Findings, Rule};
use crate::lerobot::error::LerobotError;
use crate::lerobot::video::{Track, parameter_sets};
use crate::storage::ObjectInfo;
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;

/// Largest sample that is decoded, in bytes: larger than a raw frame of the largest size that H.264 has.
const SAMPLE_BYTES_MAX: u32 = 64 << 20;
/// What stands before a NAL unit in a stream.
const START: [u8; 4] = [0, 0, 0, 1];

/// Decodes all of a video's frames. False when it is coded as something else than H.264.
pub(super) fn decode(
    dataset: &Dataset,
    key: &str,
    object: &ObjectInfo,
    track: &Track,
    found: &mut Findings,
) -> Result<bool, LerobotError> {
    if track.entry.kind != *b"avc1" {
        return Ok(false);
    }
    let (Some(sets), Ok(mut decoder)) = (parameter_sets(&track.entry.record), Decoder::new()) else {
        found.add(key, Rule::VideoDecodes, "its decoder's configuration is damaged");
        return Ok(true);
    };
    let mut pictures = 0u64;
    let mut stream = sets;
    for (number, (offset, bytes)) in track.offsets.iter().zip(&track.sizes).enumerate() {
        if *bytes > SAMPLE_BYTES_MAX {
            found.add(key, Rule::VideoDecodes, format!("frame {number} has {bytes} bytes"));
            return Ok(true);
        }
        let sample = dataset.storage.read_at(object, *offset, *bytes as usize)?;
        if !append(&sample, &mut stream) {
            found.add(key, Rule::VideoDecodes, format!("frame {number} is no whole sample of H.264"));
            return Ok(true);
        }
        match decoder.decode(&stream) {
            Ok(Some(picture)) => {
                pictures += 1;
                let (width, height) = picture.dimensions();
                let wanted = (track.entry.width as usize, track.entry.height as usize);
                found.hold((width, height) == wanted, key, Rule::VideoDecodes, || {
                    format!("frame {number} is {width} x {height}")
                });
            }
            Ok(None) => {}
            Err(error) => {
                found.add(key, Rule::VideoDecodes, format!("frame {number} does not decode: {error}"));
                return Ok(true);
            }
        }
        stream.clear();
    }
    pictures += decoder.flush_remaining().map_or(0, |rest| rest.len() as u64);
    found.hold(pictures == track.sizes.len() as u64, key, Rule::VideoDecodes, || {
        format!("{pictures} of its {} frames decode", track.sizes.len())
    });
    Ok(true)
}

/// Adds a sample's units, each with a start code in place of its length. False when they do not fill it.
fn append(mut sample: &[u8], stream: &mut Vec<u8>) -> bool {
    while let Some((length, rest)) = sample.split_first_chunk::<4>() {
        let Some((unit, rest)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize) else {
            return false;
        };
        stream.extend(START);
        stream.extend_from_slice(unit);
        sample = rest;
    }
    sample.is_empty()
}
