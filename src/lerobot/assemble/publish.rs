//! When a dataset counts as one: what `meta/info.json` says, and what an older dataset of the same place leaves.

use super::AssembleWork;
use crate::lerobot::error::LerobotError;
use crate::lerobot::info::{Info, Totals, Version};
use crate::lerobot::layout::{FileRef, INFO_KEY, MAPPING_KEY};
use crate::lerobot::v21;
use crate::storage::StorageError;

/// The largest mapping or info.json that is compared, in bytes.
const MAX_COMPARED_BYTES: u64 = 16 * 1024 * 1024;

impl AssembleWork {
    /// Before a segment, and before what is replaced in place: the dataset to be is not another one's.
    pub(super) fn prepare(&mut self) -> Result<(), LerobotError> {
        match &self.base {
            None => self.unpublish_another(),
            Some(base) => {
                base.hold(self.out.as_ref(), self.held, &self.info_bytes()?)?;
                self.held = true;
                Ok(())
            }
        }
    }

    /// What `meta/info.json` becomes.
    pub(super) fn info_bytes(&self) -> Result<Vec<u8>, LerobotError> {
        let robot = self.options.robot_type.as_deref().or(self.plan.robot_type.as_deref());
        let Some(base) = &self.base else {
            let (episodes, frames) = (self.episodes(), self.plan.frames);
            let totals = Totals { episodes, frames, tasks: self.plan.tasks.len() as u64 };
            let (fps, features) = (self.plan.fps, &self.plan.features);
            let videos: Vec<_> =
                self.plan.videos.iter().map(|video| (video.name.as_str(), &video.stream)).collect();
            return match self.options.version {
                Version::V30 => Info::new(fps, robot, features, totals).with_videos(videos).to_bytes(),
                Version::V21 => v21::info_bytes(fps, robot, features, &videos, totals),
            };
        };
        let totals = [
            ("total_episodes", self.episodes()),
            ("total_frames", self.plan.frames),
            ("total_tasks", self.plan.tasks.len() as u64),
        ];
        base.info_with(totals, robot)
    }

    /// Removes the `meta/info.json` of another dataset, so that no reader takes a mix of two for one. That of this
    /// same dataset stays: a segment that is run again writes what is there already.
    fn unpublish_another(&self) -> Result<(), LerobotError> {
        let is_ours = |key: &str, ours: &[u8]| match self.out.read(key, MAX_COMPARED_BYTES) {
            Ok(theirs) => Ok(theirs == ours),
            Err(StorageError::NotFound { .. } | StorageError::Invalid { .. }) => Ok(false),
            Err(error) => Err(error),
        };
        let same = is_ours(INFO_KEY, &self.info_bytes()?)?
            && is_ours(MAPPING_KEY, self.options.mapping_text.as_bytes())?;
        if !same {
            self.out.delete(INFO_KEY)?;
        }
        Ok(())
    }

    /// Removes files of an older, larger dataset, which a loader would take for part of this one: of `template`, those
    /// numbered `files` and above. Nothing else is touched.
    pub(super) fn remove_beyond(&self, template: &str, files: u32) -> Result<(), LerobotError> {
        let prefix = template.split("chunk-").next().unwrap_or_default();
        let keys: Result<Vec<_>, _> =
            self.out.list(prefix)?.map(|object| object.map(|object| object.key)).collect();
        for key in keys? {
            if FileRef::parse(template, &key)
                .is_some_and(|file| file.number().is_none_or(|number| number >= files))
            {
                tracing::info!(key, "removing a file of an older dataset");
                self.out.delete(&key)?;
            }
        }
        Ok(())
    }
}
