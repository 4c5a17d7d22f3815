//! A batch that is submitted to a fleet: its output made its own, and its recordings as jobs.
//!
//! What makes an output a batch's own is the note `.roboflow/batch.json`, with the mapping beside it. It says what the
//! batch was begun with, so that more recordings can be submitted to it under names and a mapping that fit, and another
//! batch is refused with what differs. Object storage has no first-come: two that begin at one instant are told apart
//! by the queue alone.

use crate::convert::source::rosbag2;
use crate::lerobot::layout::{INFO_KEY, MAPPING_KEY as DATASET_MAPPING_KEY};
use crate::queue::{BatchId, ConfigHash, NewBatch, NewJob, Source, config_hash};
use crate::recipe;
use crate::recordings::Found;
use crate::storage::{ObjectInfo, Places, SharedStorage, Storage, StorageError, is_local, local_path};
use crate::work::StopFlag;
use serde::{Deserialize, Serialize};

/// The note's name below the output.
const NOTE_KEY: &str = ".roboflow/batch.json";
/// The mapping's, which stands before the note does.
const MAPPING_KEY: &str = ".roboflow/mapping.toml";
/// What makes an output a run's.
const RUN_NOTE_KEY: &str = ".roboflow/run.json";
/// A note and a mapping are at most so long.
const MAX_NOTE_BYTES: u64 = 1024 * 1024;
/// The version of [`BatchNote`].
const VERSION: u32 = 1;

/// What a batch was begun with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchNote {
    /// Version of this note.
    version: u32,
    /// The batch, for people.
    batch: String,
    /// The place below which recordings are named.
    pub input: String,
    /// Frames of a segment.
    pub segment_frames: u32,
    /// The mapping.
    #[serde(skip)]
    pub mapping: String,
}

/// Why an output is not used.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Something is there that is not ours.
    #[error("{output}: {found}: nothing is written into it; choose another --out")]
    Foreign {
        /// Where.
        output: String,
        /// What was found.
        found: String,
    },
    /// A dataset is there, and nobody said to add to it.
    #[error("{output} holds a dataset ({INFO_KEY}): give --append to add to it, or choose another --out")]
    Dataset {
        /// Where.
        output: String,
    },
    /// To be added to, but no dataset is there.
    #[error(
        "{output}: there is no dataset to append to, nor a batch that makes one: leave out --append to begin one"
    )]
    Nothing {
        /// Where.
        output: String,
    },
    /// A batch's, but begun with other settings.
    #[error(
        "{output} was begun with other settings: {difference}; give the same to add to it, or choose another --out"
    )]
    Differs {
        /// Where.
        output: String,
        /// Which setting, and how.
        difference: String,
    },
    /// A batch's, but the note cannot be read.
    #[error("{output}: the note {NOTE_KEY} is damaged: {reason}; choose another --out")]
    Damaged {
        /// Where.
        output: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be written or read.
    #[error("the output cannot be used")]
    Storage(#[from] StorageError),
}

/// An output, looked at.
#[derive(Debug, Clone)]
pub struct Output {
    /// Where, absolute.
    location: String,
    /// What an earlier submission began it with.
    before: Option<BatchNote>,
    /// The mapping of the dataset that is added to, where it says; none when nothing is added to.
    append: Option<Option<String>>,
}

/// What is submitted besides the recordings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The mapping's text.
    pub mapping: String,
    /// Frames of a segment.
    pub segment_frames: u32,
    /// Publish without what cannot be converted.
    pub skip_failed: bool,
}

impl Output {
    /// Looks at the place and writes nothing. One that is not there yet is nobody's. `append`: a batch is to be added to
    /// the dataset there, or to the one that an earlier batch is making.
    ///
    /// # Errors
    /// When it holds something that is not ours, or cannot be read.
    pub fn look(
        location: String,
        append: bool,
        places: &Places,
        stop: &StopFlag,
    ) -> Result<Self, OutputError> {
        // Whether a folder can be made is tried when it is claimed.
        if is_local(&location) && !local_path(&location)?.exists() {
            if append {
                return Err(OutputError::Nothing { output: location });
            }
            return Ok(Self { location, before: None, append: None });
        }
        let storage = places.open(&location, stop)?;
        let before = read_note(&storage, &location)?;
        let has_dataset = match storage.head(INFO_KEY) {
            Ok(_) => true,
            Err(StorageError::NotFound { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        if append {
            if before.is_none() && !has_dataset {
                return Err(OutputError::Nothing { output: location });
            }
            let mapping = dataset_mapping(storage.as_ref())?;
            return Ok(Self { location, before, append: Some(mapping) });
        }
        if before.is_none() && has_dataset {
            return Err(OutputError::Dataset { output: location });
        }
        if before.is_none() {
            let foreign = |found: String| OutputError::Foreign { output: location.clone(), found };
            if storage.head(RUN_NOTE_KEY).is_ok() {
                return Err(foreign("it is the output of 'roboflow run'".to_owned()));
            }
            for object in storage.list("")? {
                match object?.key.as_str() {
                    // A submission that was killed before its note stood.
                    MAPPING_KEY => {}
                    key => {
                        return Err(foreign(format!(
                            "it holds {key}, which is not of this program's making"
                        )));
                    }
                }
            }
        }
        Ok(Self { location, before, append: None })
    }

    /// Where, absolute.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// What an earlier submission began it with.
    pub fn before(&self) -> Option<&BatchNote> {
        self.before.as_ref()
    }

    /// The mapping that was used here before, if it is known.
    pub fn mapping(&self) -> Option<&str> {
        let own = self.before.as_ref().map(|before| before.mapping.as_str());
        own.or(self.append.as_ref().and_then(Option::as_deref))
    }

    /// Whether batches are added to what is there.
    pub fn is_append(&self) -> bool {
        self.append.is_some()
    }

    /// The batch that made, or makes, what is added to, where it is known.
    pub fn first_batch(&self) -> Option<BatchId> {
        let before = self.before.as_ref()?;
        Some(BatchId::derive(&self.location, &config_hash(&before.mapping)))
    }

    /// The batch that fills it on these terms, or adds these recordings to it.
    pub fn batch(&self, terms: &Terms, jobs: &[NewJob]) -> NewBatch {
        let config: ConfigHash = config_hash(&terms.mapping);
        let (id, staging) = if self.is_append() {
            let sources = jobs.iter().map(|job| &job.source);
            let id = BatchId::derive_append(&self.location, &config, sources);
            (id, recipe::append_staging(&self.location, &id))
        } else {
            (BatchId::derive(&self.location, &config), recipe::staging_location(&self.location))
        };
        NewBatch {
            id,
            out: self.location.clone(),
            staging,
            config,
            segment_frames: terms.segment_frames,
            seen_under: self.location.clone(),
            skip_failed: terms.skip_failed,
        }
    }

    /// Makes the output this batch's: writes the note, or checks that it says the same. `input` is where its recordings
    /// are named from. What is added to stays whose it is.
    ///
    /// # Errors
    /// When the terms differ from those before, or the output cannot be written.
    pub fn claim(
        &self,
        terms: &Terms,
        input: &str,
        places: &Places,
        stop: &StopFlag,
    ) -> Result<(), OutputError> {
        if self.is_append() {
            return Ok(());
        }
        if let Some(before) = &self.before {
            return self.check(before, terms);
        }
        let storage = places.create(&self.location, stop)?;
        let note = BatchNote {
            version: VERSION,
            batch: self.batch(terms, &[]).id.to_string(),
            input: input.to_owned(),
            segment_frames: terms.segment_frames,
            mapping: terms.mapping.clone(),
        };
        let text = serde_json::to_vec_pretty(&note).map_err(|error| OutputError::Damaged {
            output: self.location.clone(),
            reason: error.to_string(),
        })?;
        storage.put(MAPPING_KEY, note.mapping.as_bytes())?;
        storage.put(NOTE_KEY, &text)?;
        Ok(())
    }

    fn check(&self, before: &BatchNote, terms: &Terms) -> Result<(), OutputError> {
        let difference = if before.mapping != terms.mapping {
            format!("the mapping has changed (it was saved as {MAPPING_KEY})")
        } else if before.segment_frames != terms.segment_frames {
            format!("--segment-frames was {}, now {}", before.segment_frames, terms.segment_frames)
        } else {
            return Ok(());
        };
        Err(OutputError::Differs { output: self.location.clone(), difference })
    }
}

/// The mapping that a dataset of this program says it was made by.
///
/// # Errors
/// The storage's.
pub(crate) fn dataset_mapping(storage: &dyn Storage) -> Result<Option<String>, StorageError> {
    match storage.read(DATASET_MAPPING_KEY, MAX_NOTE_BYTES) {
        Ok(text) => Ok(String::from_utf8(text.to_vec()).ok()),
        Err(StorageError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_note(storage: &SharedStorage, location: &str) -> Result<Option<BatchNote>, OutputError> {
    let damaged = |reason: String| OutputError::Damaged { output: location.to_owned(), reason };
    let text = match storage.read(NOTE_KEY, MAX_NOTE_BYTES) {
        Ok(text) => text,
        Err(StorageError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let note: BatchNote = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    if note.version != VERSION {
        return Err(damaged(format!("it is of version {}, this program reads {VERSION}", note.version)));
    }
    let mapping = storage.read(MAPPING_KEY, MAX_NOTE_BYTES)?;
    let mapping = String::from_utf8(mapping.to_vec()).map_err(|error| damaged(error.to_string()))?;
    Ok(Some(BatchNote { mapping, ..note }))
}

/// The recordings as jobs.
pub fn jobs(found: &Found, priority: u8) -> Vec<NewJob> {
    found.objects.iter().map(|object| job(&found.location, object, priority)).collect()
}

/// A recording at this place as a job. Its key is its name, or, of a folder, that of what makes it a recording.
pub fn job(location: &str, object: &ObjectInfo, priority: u8) -> NewJob {
    NewJob {
        source: Source {
            name: rosbag2::name_of(&object.key).to_owned(),
            location: location.to_owned(),
            key: object.key.clone(),
            size: object.size,
            version: object.version.clone(),
        },
        priority,
    }
}

#[cfg(test)]
mod tests;
