//! Writes one data file: the staged columns as they are, with the five index columns, a row group at a time.

use super::{AssembleWork, check, plan::PlannedEpisode};
use crate::lerobot::data::{
    HUGGINGFACE_KEY, IMAGE_BYTES, ROW_GROUP_BYTES, data_schema, huggingface_metadata, staged_schema,
    writer_properties,
};
use crate::lerobot::error::LerobotError;
use crate::lerobot::layout::{DATA_PATH, FileRef};
use crate::lerobot::parquet_file::{ParquetIn, ParquetOut, with_note};
use crate::lerobot::staged::segment_key;
use crate::storage::SharedStorage;
use crate::work::{SegmentDone, StopFlag};
use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use parquet::file::metadata::KeyValue;
use std::sync::Arc;

/// Frames that are read from staging at once: a few, since each may hold an image a camera.
const BATCH_FRAMES: usize = 16;

impl AssembleWork {
    /// Writes a data file; durable when it returns.
    pub(super) fn write_data_file(&self, number: u32, stop: &StopFlag) -> Result<SegmentDone, LerobotError> {
        let features = &self.plan.features;
        let note = KeyValue::new(HUGGINGFACE_KEY.to_owned(), huggingface_metadata(features));
        let schema = with_note(&data_schema(features), &note);
        let properties = writer_properties(features).set_key_value_metadata(Some(vec![note])).build();
        let key = FileRef::nth(number).key(DATA_PATH);
        let file = ParquetOut::create(&self.out, &key, Arc::clone(&schema), properties)?;
        let mut groups = RowGroups { file, schema, filled_bytes: 0 };
        let mut done = SegmentDone { frames: 0, read_bytes: 0, written_bytes: 0 };
        for (index, episode) in self.plan.episodes_of(number) {
            let mut frame = 0u64;
            for segment in 0..episode.segments.len() {
                check(stop)?;
                let input = open_segment(&self.staging, episode, segment, &staged_schema(features))?;
                done.read_bytes += input.size();
                for batch in input.batches(BATCH_FRAMES, |_| true)? {
                    check(stop)?;
                    let batch = batch?;
                    let rows = batch.num_rows() as u64;
                    groups.write(batch, &index_columns(index, episode, self.plan.fps, frame, rows))?;
                    frame += rows;
                }
            }
            groups.end()?;
            done.frames += u32::try_from(episode.frames).unwrap_or(u32::MAX);
        }
        done.written_bytes = groups.file.finish()?;
        Ok(done)
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

/// Rows on their way into row groups of at most [`ROW_GROUP_BYTES`].
struct RowGroups {
    file: ParquetOut,
    schema: SchemaRef,
    filled_bytes: usize,
}

impl RowGroups {
    fn write(&mut self, batch: RecordBatch, index: &[ArrayRef; 5]) -> Result<(), LerobotError> {
        let columns = batch.columns().iter().chain(index).cloned().collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| LerobotError::damaged(DATA_PATH, error))?;
        let mut start = 0;
        for (row, bytes) in row_bytes(&batch).into_iter().enumerate() {
            if self.filled_bytes > 0 && self.filled_bytes + bytes > ROW_GROUP_BYTES {
                if row > start {
                    self.file.write(&batch.slice(start, row - start))?;
                }
                start = row;
                self.end()?;
            }
            self.filled_bytes += bytes;
        }
        self.file.write(&batch.slice(start, batch.num_rows() - start))
    }

    fn end(&mut self) -> Result<(), LerobotError> {
        self.filled_bytes = 0;
        self.file.end_row_group()
    }
}

/// The bytes of each row's values: of texts and images what they hold, of the rest what their types take.
fn row_bytes(batch: &RecordBatch) -> Vec<usize> {
    let mut bytes = vec![0; batch.num_rows()];
    for column in batch.columns() {
        let image = column.as_struct_opt().and_then(|parts| parts.column_by_name(IMAGE_BYTES));
        let image = image.and_then(|bytes| bytes.as_binary_opt::<i32>());
        let text = column.as_string_opt::<i32>();
        let offsets = image.map(|image| image.offsets()).or_else(|| text.map(|text| text.offsets()));
        match offsets {
            Some(offsets) => {
                for (bytes, length) in bytes.iter_mut().zip(offsets.lengths()) {
                    *bytes += length;
                }
            }
            None => {
                let list = column.as_fixed_size_list_opt();
                let (element, elements) = match list {
                    Some(list) => (list.value_type(), usize::try_from(list.value_length()).unwrap_or(1)),
                    None => (column.data_type().clone(), 1),
                };
                let width = element.primitive_width().unwrap_or(1) * elements;
                bytes.iter_mut().for_each(|bytes| *bytes += width);
            }
        }
    }
    bytes
}
