//! Any file is opened or refused, and whatever opens is indexed and read or refused: never a panic.

use super::mcap::record;
use super::*;
use crate::convert::testing::cases;
use crate::storage::Storage;
use crate::storage::memory::MemoryStorage;
use ::mcap::records::{MessageHeader, op};
use ::mcap::{Compression, WriteOptions, Writer};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Cursor;

/// A small recording of two topics in several chunks.
fn small(options: WriteOptions) -> Vec<u8> {
    let mut writer = Writer::with_options(Cursor::new(Vec::new()), options.chunk_size(Some(200))).unwrap();
    let schema = writer.add_schema("p/M", "ros2msg", b"int32 x\nstring s\nuint8[] data").unwrap();
    for topic in ["/a", "/b"] {
        let channel_id = writer.add_channel(schema, topic, "cdr", &BTreeMap::new()).unwrap();
        for sequence in 0..12 {
            let time = u64::from(sequence) * 10;
            let header = MessageHeader { channel_id, sequence, log_time: time, publish_time: time };
            let body = [0, 1, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, b's', 0, 0, 0, 2, 0, 0, 0, 1, 2];
            writer.write_to_known_channel(&header, &body).unwrap();
        }
    }
    writer.finish().unwrap();
    writer.into_inner().into_inner()
}

/// A small real bag: three chunks, listed in another order than they lie in.
fn small_bag() -> Vec<u8> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/proptests/data/rosbagjs/example-unsorted-chunks.bag");
    std::fs::read(data).unwrap()
}

fn open(file: &[u8]) -> Result<Recording, SourceError> {
    let storage = MemoryStorage::new();
    storage.put("f.mcap", file).unwrap();
    Recording::open(Arc::new(storage), "f.mcap", &StopFlag::default())
}

/// Opens, indexes and reads all there is; gives how many messages came.
fn exercise(file: &[u8]) -> usize {
    let Ok(recording) = open(file) else { return 0 };
    let stop = StopFlag::default();
    let mut read = 0;
    for id in (0..recording.topics().len()).map(TopicId) {
        let _ = recording.schema(id, &stop);
        for time in [TimeSource::Log, TimeSource::Publish, TimeSource::Header] {
            let Ok(mut refs) = recording.index(&[id], time, &stop) else { continue };
            let refs = refs.remove(0);
            assert!(refs.is_sorted());
            let mut reader = recording.reader();
            read += refs.iter().filter(|at| reader.message(**at).is_ok()).count();
        }
    }
    let mut reader = recording.reader();
    for (chunk, offset) in [(0, 1), (0, u32::MAX), (u32::MAX, 0)] {
        assert!(reader.message(MessageRef { stamp_ns: 0, chunk, offset }).is_err());
    }
    read
}

fn kinds() -> [WriteOptions; 4] {
    [
        WriteOptions::new().compression(None),
        WriteOptions::new().compression(Some(Compression::Zstd)),
        WriteOptions::new().compression(Some(Compression::Lz4)),
        WriteOptions::new().use_chunks(false),
    ]
}

#[test]
fn whole_files_give_all_messages() {
    for options in kinds() {
        assert_eq!(exercise(&small(options)), 24 * 3);
    }
}

#[test]
fn a_record_length_that_lies_ends_the_file_there() {
    let file = small(WriteOptions::new().compression(None).emit_summary_records(false));
    let mut lying = file.clone();
    // The header record's length.
    lying[9..17].copy_from_slice(&u64::MAX.to_le_bytes());
    let recording = open(&lying).unwrap();
    assert!(recording.is_cut() && recording.topics().is_empty());
}

#[test]
fn a_chunk_that_claims_too_much_is_refused_by_its_size() {
    let file = small(WriteOptions::new().compression(Some(Compression::Zstd)).emit_summary_records(false));
    let chunk = record::Records::of(&file[8..]).flatten().find(|r| r.opcode == op::CHUNK).unwrap().offset + 8;
    let mut lying = file.clone();
    lying[chunk + 25..chunk + 33].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    let error = open(&lying).unwrap_err().to_string();
    assert!(
        error.contains("1099511627776") && error.contains("268435456") && error.contains("f.mcap"),
        "{error}"
    );
    // Less than the limit, and more than there is.
    lying[chunk + 25..chunk + 33].copy_from_slice(&(1_u64 << 27).to_le_bytes());
    assert!(matches!(open(&lying), Err(SourceError::Damaged { .. })));
}

#[test]
fn a_checksum_that_does_not_fit_is_refused() {
    let file = small(WriteOptions::new().compression(None));
    let recording = open(&file).unwrap();
    let at = recording.index(&[TopicId(0)], TimeSource::Log, &StopFlag::default()).unwrap()[0][0];
    let place = file.windows(6).position(|w| w == [0, 1, 0, 0, 7, 0]).unwrap();
    let mut wrong = file.clone();
    wrong[place + 4] = 8;
    let error = open(&wrong).unwrap().reader().message(at).map(|m| m.data.to_vec()).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
}

#[test]
fn an_index_that_lists_less_than_the_summary_counts_is_refused() {
    let file = small(WriteOptions::new().compression(None).calculate_summary_section_crc(false));
    let statistics =
        record::Records::of(&file[8..]).flatten().find(|r| r.opcode == op::STATISTICS).unwrap().offset + 8;
    let mut wrong = file.clone();
    wrong[statistics + 9] = 25;
    // The count of the first channel, behind messages, schemas, channels, attachments, metadata, chunks, times, length and id.
    let count = statistics + 9 + 8 + 2 + 4 + 8 + 4 + 16 + 4 + 2;
    assert_eq!(wrong[count], 12);
    wrong[count] = 13;
    let recording = open(&wrong).unwrap();
    let error =
        recording.index(&[TopicId(0)], TimeSource::Log, &StopFlag::default()).unwrap_err().to_string();
    assert!(error.contains("13") && error.contains("12") && error.contains("/a"), "{error}");
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn mutated_files_are_read_or_refused(
        kind in 0..4_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let options = kinds().into_iter().nth(kind).unwrap().calculate_summary_section_crc(false).calculate_chunk_crcs(false);
        let mut file = small(options);
        for (at, with) in edits {
            let at = at.index(file.len());
            file[at] = with;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        prop_assert!(exercise(&file) <= 24 * 3 * 10);
    }

    #[test]
    fn any_bytes_behind_the_magic_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), opcode in 0_u8..17) {
        let len = u64::try_from(bytes.len()).unwrap();
        exercise(&[mcap::MAGIC, &bytes].concat());
        exercise(&[mcap::MAGIC, &[opcode], &len.to_le_bytes(), &bytes, mcap::MAGIC].concat());
        exercise(&bytes);
    }

    #[test]
    fn mutated_bags_are_read_or_refused(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        lengths in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 0..2),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = small_bag();
        for (at, with) in edits {
            let at = at.index(file.len());
            file[at] = with;
        }
        for (at, with) in lengths {
            let at = at.index(file.len() - 4);
            file[at..at + 4].copy_from_slice(&with.to_le_bytes());
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        exercise(&file);
    }
}

#[test]
fn a_whole_bag_gives_all_messages() {
    let messages: u64 = open(&small_bag()).unwrap().topics().iter().filter_map(|t| t.message_count).sum();
    assert!(messages > 0);
    assert_eq!(exercise(&small_bag()) as u64, messages * 3);
}
