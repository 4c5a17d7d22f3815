//! Metadata records: names with texts that a recording carries beside its messages. Only MCAP files have any.
//!
//! Where they lie is found when a recording is opened; they are read when they are asked for.
//!
//! Format rules: <https://mcap.dev/spec#metadata-op0x0c>.

use super::fields::Fields;
use super::file::File;
use super::mcap::record;
use super::{Recording, SourceError};
use crate::convert::StopFlag;
use ::mcap::records::op;
use std::collections::BTreeMap;
use std::ops::Range;

/// Metadata records of one recording that are looked at.
const MAX_RECORDS: usize = 100_000;
/// One metadata record may be this large.
pub(crate) const MAX_METADATA_BYTES: u64 = 8 << 20;

/// Where metadata records lie.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    /// In the order of the file: the name, and the record with its prefix.
    places: Vec<(String, Range<u64>)>,
    /// There are more than the summary lists.
    pub(crate) unlisted: bool,
}

impl Metadata {
    /// Takes a record of the summary that says where a metadata record lies. None when it is damaged.
    pub(crate) fn add_index(&mut self, body: &[u8]) -> Option<()> {
        let mut fields = Fields(body);
        let start = fields.u64()?;
        let end = start.checked_add(fields.u64()?)?;
        self.add(fields.prefixed()?, start..end);
        Some(())
    }

    /// Takes a metadata record itself, which lies at `range`.
    pub(crate) fn add_record(&mut self, body: &[u8], range: Range<u64>) {
        if let Some(name) = Fields(body).prefixed() {
            self.add(name, range);
        }
    }

    fn add(&mut self, name: &[u8], range: Range<u64>) {
        if self.places.len() >= MAX_RECORDS {
            self.unlisted = true;
        } else {
            self.places.push((String::from_utf8_lossy(name).into_owned(), range));
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }
}

impl Recording {
    /// The names of its metadata records, each once.
    #[must_use]
    pub fn metadata_names(&self) -> Vec<String> {
        let places = self.parts().iter().flat_map(|part| &part.metadata().places);
        let mut names: Vec<String> = places.map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What its metadata records of this name say, in the order of the file, or of its files.
    ///
    /// # Errors
    /// Storage errors; [`SourceError::Damaged`] and [`SourceError::TooLarge`] for records that cannot be read, or that
    /// the summary does not list.
    pub fn metadata(
        &self,
        name: &str,
        stop: &StopFlag,
    ) -> Result<Vec<BTreeMap<String, String>>, SourceError> {
        let mut found = Vec::new();
        for part in self.parts() {
            let (file, metadata) = (part.file(), part.metadata());
            if metadata.unlisted {
                return Err(damaged(file, 0, "its summary does not list all metadata records"));
            }
            for (_, range) in metadata.places.iter().filter(|(known, _)| known == name) {
                if stop.is_set() {
                    return Err(SourceError::Stopped);
                }
                found.push(read(file, range)?);
            }
        }
        Ok(found)
    }
}

fn damaged(file: &File, offset: u64, reason: &str) -> SourceError {
    SourceError::Damaged { file: file.name().to_owned(), offset, reason: reason.to_owned() }
}

fn read(file: &File, range: &Range<u64>) -> Result<BTreeMap<String, String>, SourceError> {
    let len = range.end.saturating_sub(range.start);
    if len > MAX_METADATA_BYTES {
        return Err(SourceError::TooLarge {
            file: file.name().to_owned(),
            offset: range.start,
            reason: format!("a metadata record of {len} bytes is over the limit of {MAX_METADATA_BYTES}"),
        });
    }
    if range.end > file.size() {
        return Err(damaged(file, range.start, "a metadata record beyond the file's end"));
    }
    let bytes = file.range(range.clone())?;
    let framed = record::at(&bytes, 0).filter(|framed| framed.opcode == op::METADATA);
    let texts = framed.and_then(|framed| texts(framed.body));
    texts.ok_or_else(|| damaged(file, range.start, "no metadata record stands where one should"))
}

/// The texts of a metadata record.
fn texts(body: &[u8]) -> Option<BTreeMap<String, String>> {
    let mut fields = Fields(body);
    fields.prefixed()?;
    let mut pairs = Fields(fields.prefixed()?);
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let mut texts = BTreeMap::new();
    while !pairs.0.is_empty() {
        let key = text(pairs.prefixed()?)?;
        texts.insert(key, text(pairs.prefixed()?)?);
    }
    Some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::testing::{recording_with, stored};

    fn open(file: &[u8]) -> Recording {
        Recording::open(stored(file), "in/one.mcap", &StopFlag::default()).unwrap()
    }

    fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn records_are_found_by_their_name_with_and_without_a_summary() {
        let (one, two) = (texts(&[("start_s", "1"), ("task", "öffne")]), texts(&[("start_s", "2")]));
        let records =
            [("episodes", one.clone()), ("robot", texts(&[("name", "so101")])), ("episodes", two.clone())];
        let whole = recording_with(&[], 1000, &records);
        let cut = &whole[..whole.len() - 20];
        for file in [&whole[..], cut] {
            let recording = open(file);
            let found = recording.metadata("episodes", &StopFlag::default()).unwrap();
            assert_eq!(found, [one.clone(), two.clone()]);
            assert_eq!(recording.metadata_names(), ["episodes", "robot"]);
            assert!(recording.metadata("none", &StopFlag::default()).unwrap().is_empty());
        }
        assert!(open(cut).is_cut() || !open(cut).warnings().is_empty(), "the second file was scanned");
    }

    #[test]
    fn damaged_records_are_refused() {
        for body in [
            &b"\x01\0\0\0"[..],
            b"\0\0\0\0\x08\0\0\0\x01\0\0\0a\x01\0\0",
            b"\0\0\0\0\x05\0\0\0\x01\0\0\0\xff",
        ] {
            assert_eq!(super::texts(body), None);
        }
        let mut metadata = Metadata::default();
        assert_eq!(metadata.add_index(&[0; 15]), None);
        assert_eq!(metadata.add_index(&[0xff; 24]), None);
    }
}
