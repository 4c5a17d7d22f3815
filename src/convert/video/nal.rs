//! NAL units of H.264: from a stream with start codes to samples with lengths, and the decoder's configuration.
//!
//! Sources: ITU-T H.264 annex B and 7.3, ISO/IEC 14496-15 5.3.3.1. It parses no slice.

/// Kinds of units that matter here (H.264 table 7-1).
pub(super) const IDR_SLICE: u8 = 5;
pub(super) const SEQUENCE: u8 = 7;
pub(super) const PICTURE: u8 = 8;

/// What a unit is.
pub(super) fn kind(unit: &[u8]) -> u8 {
    unit.first().copied().unwrap_or(0) & 0x1f
}

/// A unit without its start code and without the zeros behind it.
pub(super) fn without_start_code(unit: &[u8]) -> &[u8] {
    let begin = unit.iter().position(|byte| *byte != 0).unwrap_or(unit.len());
    let unit = match unit.get(begin..) {
        Some([1, rest @ ..]) if begin >= 2 => rest,
        _ => unit,
    };
    let end = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    unit.get(..end).unwrap_or(unit)
}

/// The content of `avcC` for one sequence and one picture parameter set of 8-bit 4:2:0 video.
pub(super) fn configuration(sequence: &[u8], picture: &[u8]) -> Option<Vec<u8>> {
    let [_, profile, compatible, level, ..] = *sequence else { return None };
    let length = |unit: &[u8]| u16::try_from(unit.len()).ok().map(u16::to_be_bytes);
    // Lengths of four bytes; one set of each kind.
    let mut out = vec![1, profile, compatible, level, 0xfc | 3, 0xe0 | 1];
    out.extend(length(sequence)?);
    out.extend(sequence);
    out.push(1);
    out.extend(length(picture)?);
    out.extend(picture);
    // The high profiles name what is chosen among more: 4:2:0, 8 bits, no further sets.
    if matches!(profile, 100 | 110 | 122 | 144) {
        out.extend([0xfc | 1, 0xf8, 0xf8, 0]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_codes_and_zeros_go() {
        for (unit, bare) in [
            (&[0, 0, 0, 1, 0x67, 9][..], &[0x67, 9][..]),
            (&[0, 0, 1, 0x68, 1, 0, 0], &[0x68, 1]),
            (&[0x65, 7], &[0x65, 7]),
            (&[0, 0, 0, 1], &[]),
            (&[], &[]),
            (&[0, 0], &[]),
        ] {
            assert_eq!(without_start_code(unit), bare, "{unit:?}");
        }
        assert_eq!(kind(&[0x67]), SEQUENCE);
        assert_eq!(kind(&[0x68]), PICTURE);
        assert_eq!(kind(&[0x65]), IDR_SLICE);
        assert_eq!(kind(&[]), 0);
    }

    #[test]
    fn a_configuration_names_profile_level_and_both_sets() {
        let made = configuration(&[0x67, 0x42, 0xc0, 0x1e, 0xaa], &[0x68, 0xbb]).unwrap();
        assert_eq!(
            made,
            [1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 5, 0x67, 0x42, 0xc0, 0x1e, 0xaa, 1, 0, 2, 0x68, 0xbb]
        );
        let high = configuration(&[0x67, 100, 0, 0x1e], &[0x68]).unwrap();
        assert_eq!(high[high.len() - 4..], [0xfd, 0xf8, 0xf8, 0]);
        assert_eq!(configuration(&[0x67, 0x42, 0xc0], &[0x68]), None);
    }
}
