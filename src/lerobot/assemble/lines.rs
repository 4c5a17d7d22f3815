//! The metadata of v2.1: lines of JSON, one an episode or a task.

use super::episode_stats::stat_columns;
use super::meta::{SyncEntry, warn_skipped};
use super::{AssembleWork, check};
use crate::lerobot::error::LerobotError;
use crate::lerobot::json::Ordered;
use crate::lerobot::v21::{
    self, EPISODES_KEY, EpisodeLine, Lines, STATS_KEY, StatsLine, TASKS_KEY, TaskLine, episode_of, video_of,
};
use crate::work::StopFlag;

impl AssembleWork {
    /// Writes it, but for `meta/info.json`. Gives the bytes written.
    pub(super) fn write_lines(
        &mut self,
        entries: &[SyncEntry],
        stop: &StopFlag,
    ) -> Result<u64, LerobotError> {
        let columns = stat_columns(&self.plan.features);
        let mut episodes = Lines::create(&self.out, EPISODES_KEY)?;
        let mut all_stats = Lines::create(&self.out, STATS_KEY)?;
        let mut warnings = Vec::new();
        for file in self.plan.first_file..self.plan.first_file + self.plan.files {
            check(stop)?;
            let kept = self.kept_stats(file, stop)?;
            for ((number, episode), stats) in self.plan.episodes_of(file).zip(kept) {
                let task = self.plan.tasks.get(episode.task_index).map_or("", String::as_str);
                episodes.push(&EpisodeLine {
                    episode_index: number,
                    tasks: [task],
                    length: episode.frames,
                })?;
                let entries = columns.iter().zip(&stats).map(|(column, stats)| {
                    warnings.extend(warn_skipped(&episode.source, number, &column.name, stats));
                    (column.name.clone(), v21::stats(stats, column.is_image))
                });
                let stats = Ordered(entries.collect());
                all_stats.push(&StatsLine { episode_index: number, stats })?;
            }
        }
        let mut written = episodes.finish()? + all_stats.finish()?;
        let mut tasks = Lines::create(&self.out, TASKS_KEY)?;
        for (task_index, task) in self.plan.tasks.iter().enumerate() {
            tasks.push(&TaskLine { task_index, task })?;
        }
        written += tasks.finish()?;
        self.remove_episodes_beyond()?;
        self.warnings = warnings;
        Ok(written + self.write_own(entries)?)
    }

    /// Removes data and video files of an older, larger dataset, and those of videos that there are no more.
    fn remove_episodes_beyond(&self) -> Result<(), LerobotError> {
        let names = self.plan.video_names();
        for folder in ["data/", "videos/"] {
            let keys: Result<Vec<_>, _> =
                self.out.list(folder)?.map(|object| object.map(|object| object.key)).collect();
            for key in keys? {
                let video = video_of(&key).map(|(name, episode)| (names.contains(&name), episode));
                let found = episode_of(&key).map(|episode| (true, episode)).or(video);
                if found.is_some_and(|(is_known, episode)| !is_known || episode >= self.episodes()) {
                    tracing::info!(key, "removing a file of an older dataset");
                    self.out.delete(&key)?;
                }
            }
        }
        Ok(())
    }
}
