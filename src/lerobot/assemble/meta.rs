//! The last segment: episodes, tasks, statistics and reports, then `meta/info.json`.

use super::episode_stats::stat_columns;
use super::{AssembleWork, check};
use crate::lerobot::card::{self, Part, part_key};
use crate::lerobot::episodes::{EpisodeRow, EpisodesWriter, StatColumn};
use crate::lerobot::error::LerobotError;
use crate::lerobot::info::Version;
use crate::lerobot::json::{Ordered, parse_json, read_json, to_json};
use crate::lerobot::layout::{
    DATA_PATH, EPISODES_PATH, FileRef, INFO_KEY, MAPPING_KEY, SKIPPED_KEY, STATS_KEY, SYNC_KEY,
};
use crate::lerobot::staged::{EPISODE_FILE, StagedEpisode, SyncReport};
use crate::lerobot::stats::{Aggregate, Stats};
use crate::lerobot::tasks::write_tasks;
use crate::work::{SegmentDone, StopFlag};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An episode's entry in sync.json.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::lerobot) struct SyncEntry {
    pub(in crate::lerobot) episode_index: u64,
    pub(in crate::lerobot) source: String,
    pub(in crate::lerobot) source_bytes: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(in crate::lerobot) source_digest: String,
    pub(in crate::lerobot) frames: u64,
    pub(in crate::lerobot) sync: SyncReport,
    pub(in crate::lerobot) warnings: Vec<String>,
}

impl AssembleWork {
    /// Writes all metadata. The dataset is published when it returns.
    pub(super) fn write_meta(&mut self, stop: &StopFlag) -> Result<SegmentDone, LerobotError> {
        let entries = self.sync_entries(stop)?;
        let mut written = match self.options.version {
            Version::V30 => self.write_tables(&entries, stop)?,
            Version::V21 => self.write_lines(&entries, stop)?,
        };
        check(stop)?;
        self.prepare()?;
        let info = self.info_bytes()?;
        let mut parts = card::parts(self.out.as_ref(), self.plan.before)?;
        let (skipped, mapping) = (self.options.skipped.clone(), self.options.mapping_text.clone());
        parts.push(Part { from: self.plan.before, entries, skipped, mapping });
        let card = card::card(&parse_json(INFO_KEY, &info)?, &self.plan.tasks, &parts);
        written += card::write(self.out.as_ref(), &card)?;
        written += self.put(INFO_KEY, &info)?;
        Ok(SegmentDone { frames: 0, read_bytes: 0, written_bytes: written })
    }

    /// The tables of v3.0. Gives the bytes written.
    fn write_tables(&mut self, entries: &[SyncEntry], stop: &StopFlag) -> Result<u64, LerobotError> {
        let columns = stat_columns(&self.plan.features);
        let (episode_files, stats, mut written) = self.write_episodes(&columns, stop)?;
        self.remove_beyond(DATA_PATH, self.plan.first_file + self.plan.files)?;
        self.remove_videos_beyond()?;
        self.remove_beyond(EPISODES_PATH, episode_files)?;
        written += self.write_own(entries)?;
        // From here on files are replaced that a reader of the dataset as it was may read: each by one that serves it too.
        check(stop)?;
        self.prepare()?;
        written += write_tasks(&self.out, &self.plan.tasks)?;
        self.prepare()?;
        Ok(written + self.put(STATS_KEY, &to_json(STATS_KEY, &stats)?)?)
    }

    /// What this program says of the batch. Gives the bytes written.
    pub(super) fn write_own(&self, entries: &[SyncEntry]) -> Result<u64, LerobotError> {
        let own = |key: &str| part_key(key, self.plan.before);
        let mut written = self.put(&own(MAPPING_KEY), self.options.mapping_text.as_bytes())?;
        written += self.put(&own(SYNC_KEY), &to_json(SYNC_KEY, &entries)?)?;
        if self.options.skipped.is_empty() {
            self.out.delete(&own(SKIPPED_KEY))?;
        } else {
            written += self.put(&own(SKIPPED_KEY), &to_json(SKIPPED_KEY, &self.options.skipped)?)?;
        }
        Ok(written)
    }

    fn put(&self, key: &str, body: &[u8]) -> Result<u64, LerobotError> {
        self.out.put(key, body)?;
        Ok(body.len() as u64)
    }

    /// Writes the episodes' table. Gives its number of files, stats.json, and the bytes written.
    fn write_episodes(
        &mut self,
        columns: &[StatColumn],
        stop: &StopFlag,
    ) -> Result<(u32, Ordered<Ordered<Value>>, u64), LerobotError> {
        let first = self.base.as_ref().map_or(0, |base| base.episode_files);
        let mut writer = EpisodesWriter::new(&self.out, &self.plan.video_names(), columns.to_vec(), first);
        if let Some(table) = &self.table {
            writer = writer.like(table);
        }
        let mut totals =
            columns.iter().map(|column| self.before(&column.name)).collect::<Result<Vec<_>, _>>()?;
        let mut warnings = Vec::new();
        for file in self.plan.first_file..self.plan.first_file + self.plan.files {
            check(stop)?;
            let stats = self.kept_stats(file, stop)?;
            for ((number, episode), stats) in self.plan.episodes_of(file).zip(stats) {
                for ((column, total), stats) in columns.iter().zip(&mut totals).zip(&stats) {
                    total.add(&column.name, stats)?;
                    warnings.extend(warn_skipped(&episode.source, number, &column.name, stats));
                }
                writer.push(EpisodeRow {
                    episode_index: number,
                    task: self.plan.tasks.get(episode.task_index).cloned().unwrap_or_default(),
                    length: episode.frames,
                    data: FileRef::nth(file),
                    videos: self.video_spans(episode),
                    dataset_from_index: episode.from,
                    stats,
                })?;
            }
        }
        let (files, written) = writer.finish()?;
        let entries = columns.iter().zip(totals).filter_map(|(column, total)| {
            Some((column.name.clone(), total.finish()?.to_json(column.is_image)))
        });
        self.warnings = warnings;
        Ok((files, Ordered(entries.collect()), written))
    }

    /// The statistics of a feature over the episodes that were there before.
    fn before(&self, name: &str) -> Result<Aggregate, LerobotError> {
        let mut total = Aggregate::default();
        let Some(base) = &self.base else { return Ok(total) };
        let found = base.stats.get(name).and_then(Stats::from_json);
        let wrong = || LerobotError::damaged(STATS_KEY, format!("it has no whole statistics of {name}"));
        total.add(name, &found.ok_or_else(wrong)?)?;
        Ok(total)
    }

    fn sync_entries(&self, stop: &StopFlag) -> Result<Vec<SyncEntry>, LerobotError> {
        let entry = |(number, episode): (u64, &super::plan::PlannedEpisode)| {
            check(stop)?;
            let key = format!("{}{EPISODE_FILE}", episode.folder);
            let staged: StagedEpisode = read_json(self.staging.as_ref(), &key)?;
            let StagedEpisode { source, source_bytes, source_digest, frames, sync, warnings, .. } = staged;
            Ok(SyncEntry {
                episode_index: number,
                source,
                source_bytes,
                source_digest,
                frames,
                sync,
                warnings,
            })
        };
        (self.plan.before..).zip(&self.plan.episodes).map(entry).collect()
    }
}

pub(super) fn warn_skipped(source: &str, number: u64, feature: &str, stats: &Stats) -> Option<String> {
    (stats.skipped > 0).then(|| {
        let skipped = stats.skipped;
        format!("{source}: episode {number}: {skipped} values of {feature} are no finite numbers, the statistics leave them out")
    })
}
