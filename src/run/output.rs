//! The output folder before a run: empty, ours from before, or not ours.
//!
//! What makes it ours is the note `.roboflow/run.json`, written before anything else. It holds what the run was started
//! with, so that the same command goes on, and another one is refused with what differs.

use crate::convert::source::SourceError;
use crate::convert::source::rosbag2;
use crate::lerobot::layout::INFO_KEY;
use crate::queue::{BatchId, NewBatch, NewJob, Source, config_hash};
use crate::recipe::{OWN_FOLDER, Recipe, append_staging, staging_path};
use crate::recordings::Found;
use crate::storage::fs::FsStorage;
use crate::storage::{ObjectInfo, Places, Storage, StorageError, is_partial};
use crate::submit::dataset_mapping;
use crate::work::StopFlag;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The note's name below the output.
const NOTE_KEY: &str = ".roboflow/run.json";
/// That of the latest run that added to the dataset.
const APPEND_NOTE_KEY: &str = ".roboflow/append-run.json";
/// A note is at most this long: [`crate::recordings::MAX_RECORDINGS`] names and then some.
const MAX_NOTE_BYTES: u64 = 256 * 1024 * 1024;
/// The version of [`RunNote`].
const VERSION: u32 = 1;
/// Differences that are listed at most.
const MAX_LISTED: usize = 5;

/// What a run was started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunNote {
    /// Version of this note.
    version: u32,
    /// How it is converted.
    pub(super) recipe: Recipe,
    /// The recordings, in the order of their keys.
    pub(super) recordings: Vec<RecordingNote>,
}

/// One recording as it was when the run was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecordingNote {
    /// Its path below the recipe's input; of a folder, that of its `metadata.yaml`.
    #[serde(rename = "name")]
    pub(super) key: String,
    /// Its size in bytes.
    pub(super) bytes: u64,
    /// Changes when the recording does.
    pub(super) version: String,
}

impl RecordingNote {
    /// What the recording is called.
    pub(super) fn name(&self) -> &str {
        rosbag2::name_of(&self.key)
    }
}

/// Why an output is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    /// Something is there that is not ours.
    #[error("{output}: {found}: nothing is written into it; choose another --out, or an empty folder")]
    Foreign {
        /// Where.
        output: String,
        /// What was found.
        found: String,
    },
    /// A dataset is there, and nobody said to add to it.
    #[error("{output} holds a dataset: give --append to add to it, or choose another --out")]
    Dataset {
        /// Where.
        output: String,
    },
    /// To be added to, but no dataset is there.
    #[error("{output}: there is no dataset to append to: leave out --append to begin one")]
    NoDataset {
        /// Where.
        output: String,
    },
    /// To be added to, but not ended.
    #[error(
        "{output}: the run that makes this dataset has not ended: end it first, by the same command without --append"
    )]
    Unfinished {
        /// Where.
        output: String,
    },
    /// Ours, but from other settings.
    #[error(
        "{output} was begun with other settings: {differences}; give the same ones to go on, or choose another --out"
    )]
    Differs {
        /// Where.
        output: String,
        /// Which settings, and how.
        differences: String,
    },
    /// `--resume` with nothing there.
    #[error("{output}: there is nothing here to go on with (--resume)")]
    NothingToResume {
        /// Where.
        output: String,
    },
    /// Ours, but the note cannot be read.
    #[error("{output}: the note {note} is damaged: {reason}; remove it to start anew")]
    Damaged {
        /// Where.
        output: String,
        /// Which.
        note: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be written or read.
    #[error("the output cannot be used")]
    Storage(#[from] StorageError),
    /// It cannot be looked into.
    #[error("{output}: cannot be used as an output: {source}")]
    Io {
        /// Where.
        output: String,
        /// Why.
        source: io::Error,
    },
}

impl RunNote {
    /// Of recordings as they are now.
    pub(super) fn new(recipe: Recipe, found: &Found) -> Self {
        let note = |info: &ObjectInfo| RecordingNote {
            key: info.key.clone(),
            bytes: info.size,
            version: info.version.clone(),
        };
        Self { version: VERSION, recipe, recordings: found.objects.iter().map(note).collect() }
    }

    /// The recordings of then, as they are now.
    ///
    /// # Errors
    /// When one cannot be looked at.
    pub(super) fn look_again(&self, places: &Places, stop: &StopFlag) -> Result<Found, SourceError> {
        let location = self.recipe.input.clone();
        let storage = places.open(&location, stop)?;
        let objects = self
            .recordings
            .iter()
            .map(|note| rosbag2::look(&*storage, &note.key))
            .collect::<Result<_, SourceError>>()?;
        Ok(Found { location, storage, objects })
    }

    /// The recordings as jobs.
    pub(super) fn jobs(&self) -> Vec<NewJob> {
        let location = self.recipe.input.clone();
        let source = |recording: &RecordingNote| Source {
            name: recording.name().to_owned(),
            location: location.clone(),
            key: recording.key.clone(),
            size: recording.bytes,
            version: recording.version.clone(),
        };
        self.recordings.iter().map(|recording| NewJob { source: source(recording), priority: 0 }).collect()
    }

    /// What of `self` differs from `before`, for people; empty when nothing does.
    fn differences(&self, before: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let (new, old) = (&self.recipe, &before.recipe);
        if new.mapping != old.mapping {
            found.push(format!("the mapping has changed (it was saved as {OWN_FOLDER}/mapping.toml)"));
        }
        if new.segment_frames != old.segment_frames {
            found.push(format!("--segment-frames was {}, now {}", old.segment_frames, new.segment_frames));
        }
        if new.input != old.input {
            found.push(format!("the recordings were below {}, now {}", old.input, new.input));
            return found;
        }
        let name = |note: &RecordingNote| note.key.clone();
        let (news, olds): (Vec<_>, Vec<_>) =
            (self.recordings.iter().map(name).collect(), before.recordings.iter().map(name).collect());
        let added =
            news.iter().filter(|name| olds.binary_search(name).is_err()).map(|name| format!("{name} is new"));
        let gone = olds
            .iter()
            .filter(|name| news.binary_search(name).is_err())
            .map(|name| format!("{name} is gone"));
        found.extend(added.chain(gone));
        if news == olds {
            let changed = self.recordings.iter().zip(&before.recordings).filter(|(new, old)| new != old);
            found.extend(changed.map(|(new, _)| format!("{} has changed", new.name())));
        }
        if found.len() > MAX_LISTED {
            let more = found.len() - MAX_LISTED;
            found.truncate(MAX_LISTED);
            found.push(format!("and {more} more"));
        }
        found
    }
}

/// An output folder that may be written.
#[derive(Debug)]
pub(super) struct Output {
    /// Its path, absolute.
    pub(super) path: PathBuf,
    /// The note of an earlier run of ours; where is added to, of the latest that added.
    pub(super) before: Option<RunNote>,
    /// Whether is added to what is there.
    pub(super) append: bool,
    /// The mapping of the dataset that is added to, where it says.
    pub(super) mapping: Option<String>,
}

impl Output {
    /// Looks at the folder and writes nothing.
    ///
    /// # Errors
    /// When it holds something that is not ours, or cannot be read.
    pub(super) fn look(output: &Path, append: bool) -> Result<Self, OutputError> {
        if append { Self::look_to_append(output) } else { Self::look_to_begin(output) }
    }

    /// A dataset, whoever wrote it, that nothing else is being added to.
    fn look_to_append(output: &Path) -> Result<Self, OutputError> {
        let shown = output.display().to_string();
        let failed = |source| OutputError::Io { output: shown.clone(), source };
        let path = std::path::absolute(output).map_err(failed)?;
        if !path.join(INFO_KEY).is_file() {
            return Err(OutputError::NoDataset { output: shown });
        }
        if path.join(NOTE_KEY).is_file() && staging_path(&path).exists() {
            return Err(OutputError::Unfinished { output: shown });
        }
        let storage = FsStorage::open(&path)?;
        let before = read_note(&storage, APPEND_NOTE_KEY, &shown)?;
        let mapping = dataset_mapping(&storage)?;
        Ok(Self { path, before, append: true, mapping })
    }

    fn look_to_begin(output: &Path) -> Result<Self, OutputError> {
        let shown = output.display().to_string();
        let failed = |source| OutputError::Io { output: output.display().to_string(), source };
        let path = std::path::absolute(output).map_err(failed)?;
        let foreign = |found: &str| OutputError::Foreign { output: shown.clone(), found: found.to_owned() };
        let mut entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::new(path, None)),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(foreign("it is a file"));
            }
            Err(error) => return Err(failed(error)),
        };
        if entries.next().is_none() {
            return Ok(Self::new(path, None));
        }
        match read_note(&FsStorage::open(&path)?, NOTE_KEY, &shown)? {
            Some(note) => Ok(Self::new(path, Some(note))),
            // A run that was killed before its note stood has made this folder at most.
            None if only_our_empty_folder(&path).map_err(failed)? => Ok(Self::new(path, None)),
            None if path.join(INFO_KEY).is_file() => Err(OutputError::Dataset { output: shown }),
            None => Err(foreign("it is not empty, and not from an earlier run of this program")),
        }
    }

    fn new(path: PathBuf, before: Option<RunNote>) -> Self {
        Self { path, before, append: false, mapping: None }
    }

    /// Makes the folder this run's: writes the note, or checks that it says the same.
    ///
    /// # Errors
    /// When the settings differ from those before, or the folder cannot be written.
    pub(super) fn claim(&self, note: &RunNote) -> Result<(), OutputError> {
        if let Some(before) = self.before.as_ref().filter(|_| !self.append || self.is_open()) {
            let differences = note.differences(before);
            if differences.is_empty() {
                return Ok(());
            }
            let output = self.path.display().to_string();
            return Err(OutputError::Differs { output, differences: differences.join(", ") });
        }
        if self.append && self.is_complete(note) {
            return Ok(());
        }
        let storage = FsStorage::create(&self.path)?;
        if !self.append {
            storage.put(".roboflow/mapping.toml", note.recipe.mapping.as_bytes())?;
        }
        let text = serde_json::to_vec(note).map_err(|error| OutputError::Damaged {
            output: self.path.display().to_string(),
            note: NOTE_KEY.to_owned(),
            reason: error.to_string(),
        })?;
        if self.append {
            // Once the note stands it is under way, until this folder is gone again.
            fs::create_dir_all(self.staging(note))
                .map_err(|source| OutputError::Io { output: self.path.display().to_string(), source })?;
        }
        storage.put(if self.append { APPEND_NOTE_KEY } else { NOTE_KEY }, &text)?;
        Ok(())
    }

    /// Whether the dataset is published and its run was ended: `meta/info.json` is the last of the dataset to be written,
    /// the staging folder goes after the queue knows of it.
    pub(super) fn is_complete(&self, note: &RunNote) -> bool {
        let begun = !self.append || self.before.as_ref() == Some(note);
        begun && self.path.join(INFO_KEY).is_file() && !self.staging(note).exists()
    }

    /// Whether the run of the note from before is under way.
    pub(super) fn is_open(&self) -> bool {
        self.before.as_ref().is_some_and(|before| self.staging(before).exists())
    }

    /// Where the segments of a run wait.
    pub(super) fn staging(&self, note: &RunNote) -> PathBuf {
        PathBuf::from(self.batch(note, false).staging)
    }

    /// The run as a batch.
    pub(super) fn batch(&self, note: &RunNote, skip_failed: bool) -> NewBatch {
        let out = self.path.display().to_string();
        let config = config_hash(&note.recipe.mapping);
        let (id, staging) = if self.append {
            let jobs = note.jobs();
            let id = BatchId::derive_append(&out, &config, jobs.iter().map(|job| &job.source));
            (id, append_staging(&out, &id))
        } else {
            (BatchId::derive(&out, &config), staging_path(&self.path).display().to_string())
        };
        let segment_frames = note.recipe.segment_frames;
        NewBatch { id, staging, seen_under: out.clone(), out, skip_failed, config, segment_frames }
    }
}

fn read_note(storage: &FsStorage, key: &str, output: &str) -> Result<Option<RunNote>, OutputError> {
    let text = match storage.read(key, MAX_NOTE_BYTES) {
        Ok(text) => text,
        Err(StorageError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let damaged =
        |reason: String| OutputError::Damaged { output: output.to_owned(), note: key.to_owned(), reason };
    let note: RunNote = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    if note.version != VERSION {
        return Err(damaged(format!("it is of version {}, this program reads {VERSION}", note.version)));
    }
    Ok(Some(note))
}

/// Whether nothing is here but our own folder, in which nothing stands yet but what precedes the note.
fn only_our_empty_folder(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if name != OWN_FOLDER && !is_partial(&name.to_string_lossy()) {
            return Ok(false);
        }
    }
    match fs::read_dir(path.join(OWN_FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
        Ok(entries) => {
            for entry in entries {
                let name = entry?.file_name();
                if name != "mapping.toml" && !is_partial(&name.to_string_lossy()) {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}
