//! Writes one data file: image bytes as they stand in staging, the other columns encoded anew, with the index columns.
//!
//! A row group holds whole staged row groups of one episode, as many as fit: what is copied is never taken apart.

use super::episode_stats::EpisodeStats;
use super::in_order::{Answers, in_order};
use super::{AssembleWork, check, plan::PlannedEpisode};
use crate::lerobot::data::{
    HUGGINGFACE_KEY, ROW_GROUP_BYTES, data_schema, huggingface_metadata, staged_schema, writer_properties,
};
use crate::lerobot::error::LerobotError;
use crate::lerobot::feature::{Dtype, Feature};
use crate::lerobot::info::Version;
use crate::lerobot::layout::{DATA_PATH, FileRef};
use crate::lerobot::parquet_file::{ParquetIn, with_note};
use crate::lerobot::splice::{Part, Splice, SplicedOut};
use crate::lerobot::staged::segment_key;
use crate::lerobot::stats::Stats;
use crate::lerobot::v21;
use crate::storage::SharedStorage;
use crate::work::{SegmentDone, StopFlag};
use arrow::array::{ArrayRef, Float32Array, Int64Array};
use arrow::datatypes::Schema;
use parquet::file::metadata::KeyValue;
use std::sync::Arc;

/// Rows that are read from staging at once: no images are among them.
const BATCH_ROWS: usize = 4096;
/// What the index columns take of a row group's size, in bytes a row.
const INDEX_BYTES: u64 = 36;

impl AssembleWork {
    /// Writes a data file, or in v2.1 one for each of its episodes, and gives the statistics of its episodes; durable when
    /// it returns.
    pub(super) fn write_data_file(
        &self,
        number: u32,
        stop: &StopFlag,
    ) -> Result<(SegmentDone, Vec<Vec<Stats>>), LerobotError> {
        let features = &self.plan.features;
        let version = self.options.version;
        let note = KeyValue::new(HUGGINGFACE_KEY.to_owned(), huggingface_metadata(features, version));
        let schema = with_note(&data_schema(features), &note);
        let properties = writer_properties(features).set_key_value_metadata(Some(vec![note])).build();
        let create = |key: &str| SplicedOut::create(&self.out, key, Arc::clone(&schema), properties.clone());
        let mut file = match version {
            Version::V30 => Some(create(&FileRef::nth(number).key(DATA_PATH))?),
            Version::V21 => None,
        };
        let mut done = SegmentDone { frames: 0, read_bytes: 0, written_bytes: 0 };
        let mut all = Vec::new();
        let schema = staged_schema(&self.plan.staged);
        let segments = self.plan.episodes_of(number);
        let segments = segments
            .flat_map(|(_, episode)| (0..episode.segments.len()).map(move |segment| (episode, segment)));
        let open = |(episode, segment)| open_segment(&self.staging, episode, segment, &schema);
        in_order(segments, open, |mut opened| {
            for (index, episode) in self.plan.episodes_of(number) {
                let mut stats = EpisodeStats::new(features);
                let mut write = |file: &mut SplicedOut| {
                    self.write_episode((index, episode), &mut opened, file, &mut stats, stop)
                };
                match &mut file {
                    Some(file) => done.read_bytes += write(file)?,
                    None => {
                        let mut own = create(&v21::data_key(index))?;
                        done.read_bytes += write(&mut own)?;
                        done.written_bytes += own.finish()?;
                    }
                }
                all.push(stats.finish(&self.plan, index, episode)?);
                done.frames += u32::try_from(episode.frames).unwrap_or(u32::MAX);
            }
            Ok::<_, LerobotError>(())
        })?;
        if let Some(file) = file {
            done.written_bytes += file.finish()?;
        }
        Ok((done, all))
    }

    /// From its opened segments, in their order. Gives their bytes.
    fn write_episode(
        &self,
        (index, episode): (u64, &PlannedEpisode),
        opened: &mut Answers<Result<ParquetIn, LerobotError>>,
        out: &mut SplicedOut,
        stats: &mut EpisodeStats<'_>,
        stop: &StopFlag,
    ) -> Result<u64, LerobotError> {
        let features = &self.plan.features;
        let mut group = Group::new(features);
        let (mut from, mut read_bytes) = (0, 0);
        let mut write = |group: Group, from: &mut u64| {
            let rows = group.rows;
            let mut parts = group.parts;
            parts.extend(
                index_columns(index, episode, self.plan.fps, *from, rows)
                    .map(|array| Part::Values(vec![array])),
            );
            *from += rows;
            out.write_group(parts)
        };
        for segment in 0..episode.segments.len() {
            let input = opened.next().ok_or(LerobotError::Stopped)??;
            read_bytes += input.size();
            stats.add_note(&input, segment, &episode.source)?;
            for number in 0..input.metadata().num_row_groups() {
                check(stop)?;
                let bytes = group.bytes_of(&input, number);
                if group.rows > 0 && group.bytes + bytes > ROW_GROUP_BYTES as u64 {
                    write(std::mem::replace(&mut group, Group::new(features)), &mut from)?;
                }
                group.bytes += bytes;
                group.add(&input, number, |batch| stats.add(batch, segment, &episode.source))?;
            }
        }
        if group.rows > 0 {
            write(group, &mut from)?;
        }
        Ok(read_bytes)
    }
}

/// Opens a staged segment and checks that it is what the episode says.
pub(super) fn open_segment(
    staging: &SharedStorage,
    episode: &PlannedEpisode,
    segment: usize,
    schema: &Schema,
) -> Result<ParquetIn, LerobotError> {
    let key = segment_key(&episode.folder, segment);
    let file = ParquetIn::open(staging, &key)?;
    let shape = |schema: &Schema| -> Vec<_> {
        schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
    };
    let again =
        |what: String| LerobotError::damaged(&key, format!("{what}: convert {} again", episode.source));
    if shape(file.schema()) != shape(schema) {
        return Err(again("its columns are not the episode's features".into()));
    }
    let (rows, frames) = (file.metadata().file_metadata().num_rows(), episode.segments.get(segment).copied());
    if u32::try_from(rows).ok() != frames {
        return Err(again(format!("it has {rows} frames, not {}", frames.unwrap_or_default())));
    }
    Ok(file)
}

/// timestamp, frame_index, episode_index, index and task_index of `rows` frames from `frame` on.
fn index_columns(number: u64, episode: &PlannedEpisode, fps: u32, frame: u64, rows: u64) -> [ArrayRef; 5] {
    let integers = |values: &dyn Fn(u64) -> u64| -> ArrayRef {
        Arc::new((frame..frame + rows).map(|frame| values(frame).cast_signed()).collect::<Int64Array>())
    };
    // As Python has it: divided in double precision, then rounded to 32 bits.
    let timestamps = (frame..frame + rows).map(|frame| (frame as f64 / f64::from(fps)) as f32);
    [
        Arc::new(timestamps.collect::<Float32Array>()),
        integers(&|frame| frame),
        integers(&|_| number),
        integers(&|frame| episode.from + frame),
        integers(&|_| episode.task_index as u64),
    ]
}

/// A row group on its way: staged row groups, one behind the other.
struct Group {
    /// One a feature that has a column in a data file.
    parts: Vec<Part<'static>>,
    names: Vec<String>,
    rows: u64,
    bytes: u64,
}

impl Group {
    fn new(features: &[Feature]) -> Self {
        let own = || features.iter().filter(|feature| feature.dtype != Dtype::Video);
        let part = |feature: &Feature| match feature.dtype {
            Dtype::Image => Part::Spliced(Splice::default()),
            _ => Part::Values(Vec::new()),
        };
        let names = own().map(|feature| feature.name.clone()).collect();
        Self { parts: own().map(part).collect(), names, rows: 0, bytes: 0 }
    }

    /// What a staged row group adds to the size, in bytes before compression.
    fn bytes_of(&self, file: &ParquetIn, number: usize) -> u64 {
        let Some(group) = file.metadata().row_groups().get(number) else { return 0 };
        let is_own = |path: &[String]| path.first().is_some_and(|name| self.names.contains(name));
        let own = group.columns().iter().filter(|column| is_own(column.column_path().parts()));
        let bytes: u64 = own.map(|column| u64::try_from(column.uncompressed_size()).unwrap_or(0)).sum();
        bytes + u64::try_from(group.num_rows()).unwrap_or(0) * INDEX_BYTES
    }

    /// Adds a staged row group; what is read of it is shown to `see`.
    fn add(
        &mut self,
        file: &ParquetIn,
        number: usize,
        mut see: impl FnMut(&arrow::array::RecordBatch) -> Result<(), LerobotError>,
    ) -> Result<(), LerobotError> {
        let rows = file.metadata().row_groups().get(number).map_or(0, |group| group.num_rows());
        self.rows += u64::try_from(rows).unwrap_or(0);
        let (parts, names) = (&mut self.parts, &self.names);
        let mut read = Vec::new();
        for (part, name) in parts.iter_mut().zip(names) {
            match part {
                Part::Values(arrays) => read.push((name, arrays)),
                Part::Spliced(splice) => splice.add(file, number, leaf(file, name)?)?,
                Part::Files(_) => {
                    return Err(LerobotError::damaged(file.key(), "staged columns are no files"));
                }
            }
        }
        let batches =
            file.group_batches(number, BATCH_ROWS, |name| read.iter().any(|(own, _)| *own == name))?;
        for batch in batches {
            let batch = batch?;
            for (name, arrays) in &mut read {
                arrays.extend(batch.column_by_name(name).cloned());
            }
            see(&batch)?;
        }
        Ok(())
    }
}

/// The number of a column's first leaf.
fn leaf(file: &ParquetIn, name: &str) -> Result<usize, LerobotError> {
    let schema = file.metadata().file_metadata().schema_descr();
    let found = schema
        .columns()
        .iter()
        .position(|column| column.path().parts().first().is_some_and(|root| root == name));
    found.ok_or_else(|| LerobotError::damaged(file.key(), format!("it has no column {name}")))
}
