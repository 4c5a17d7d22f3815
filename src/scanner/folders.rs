//! Folders of ROS 2 among what a scanner lists: each is one recording, and its files are none.
//!
//! A key alone does not tell: one look at a folder's `metadata.yaml` does, once a round for each folder with something new in it.

use crate::convert::source::SourceError;
use crate::convert::source::rosbag2::{Folder, folder_of};
use crate::error::{Class, Classified};
use crate::recordings::{Kind, folder_over, is_named_by_folder};
use crate::storage::{ObjectInfo, Storage, StorageError};
use globset::GlobMatcher;
use std::collections::{HashMap, HashSet};

/// Folders whose answer is kept within a round; of more, each is asked again.
const KEPT_MAX: usize = 10_000;
/// Keys that are remembered as said, and as files of a bag.
const SAID_MAX: usize = 100_000;

/// What a listed object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// No recording, or a part of one that stands under another key.
    Other,
    /// A recording that is in the queue.
    Known,
    /// A recording that is not whole yet.
    Unfinished,
    /// A recording; of a folder, with all objects that it is made of.
    Recording { object: ObjectInfo, files: Vec<ObjectInfo> },
}

/// What a folder's `metadata.yaml` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Bag,
    /// There is none, or it is something else's.
    Plain {
        has_metadata: bool,
    },
}

/// What is remembered of folders.
#[derive(Debug, Default)]
pub(super) struct Folders {
    answers: HashMap<String, Answer>,
    /// Keys of objects that belong to a folder.
    part_of_bag: HashSet<String>,
    said: HashSet<String>,
}

impl Folders {
    /// Whether this key was seen as a file of a bag.
    pub(super) fn is_part(&self, key: &str) -> bool {
        self.part_of_bag.contains(key)
    }

    /// Looks at an object that the queue does not know yet.
    pub(super) fn look(
        &mut self,
        input: &dyn Storage,
        pattern: &GlobMatcher,
        object: ObjectInfo,
        kind: Kind,
    ) -> Result<Seen, StorageError> {
        if kind == Kind::Folder {
            return self.folder(input, pattern, &object);
        }
        let alone = |object| Ok(Seen::Recording { object, files: Vec::new() });
        let Some((folder, metadata)) = folder_over(&object.key) else { return alone(object) };
        let answer = match self.answers.get(folder) {
            Some(answer) => *answer,
            None => {
                let answer = ask(input, &metadata)?;
                if self.answers.len() < KEPT_MAX {
                    self.answers.insert(folder.to_owned(), answer);
                }
                answer
            }
        };
        match answer {
            Answer::Bag => Ok(Seen::Other),
            Answer::Plain { has_metadata: false } if is_named_by_folder(&object.key) => {
                self.say(
                    folder,
                    "waits for its metadata.yaml, which rosbag2 writes when the recording ends; of one that will not end any more, \
                     `ros2 bag reindex` makes it",
                );
                Ok(Seen::Unfinished)
            }
            Answer::Plain { .. } => alone(object),
        }
    }

    fn folder(
        &mut self,
        input: &dyn Storage,
        pattern: &GlobMatcher,
        metadata: &ObjectInfo,
    ) -> Result<Seen, StorageError> {
        let found = match Folder::look(input, &metadata.key) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Seen::Other),
            Err(SourceError::Storage(StorageError::NotFound { .. })) => return Ok(Seen::Other),
            Err(SourceError::Storage(error)) => return Err(error),
            Err(error) if error.class() == Class::Permanent => {
                self.say(&metadata.key, &error.to_string());
                return Ok(Seen::Unfinished);
            }
            Err(_) => return Ok(Seen::Unfinished),
        };
        let folder = folder_of(&metadata.key).unwrap_or_default();
        let is_taken = |key: &str| pattern.is_match(key);
        let taken = is_taken(folder)
            || is_taken(&metadata.key)
            || found.files().iter().any(|file| is_taken(&file.key));
        if !taken {
            return Ok(Seen::Other);
        }
        if self.part_of_bag.len() < SAID_MAX {
            self.part_of_bag.extend(found.files().iter().map(|file| file.key.clone()));
        }
        let mut files = found.files().to_vec();
        files.push(metadata.clone());
        Ok(Seen::Recording { object: found.object(), files })
    }

    /// Once for each.
    fn say(&mut self, what: &str, why: &str) {
        if self.said.len() < SAID_MAX && self.said.insert(what.to_owned()) {
            tracing::warn!(recording = what, why, "a recording of ROS 2 waits");
        }
    }

    /// A listing is complete: a folder may have changed when it is met again.
    pub(super) fn round_over(&mut self) {
        self.answers.clear();
    }
}

fn ask(input: &dyn Storage, metadata: &str) -> Result<Answer, StorageError> {
    match Folder::look(input, metadata) {
        Ok(Some(_)) => Ok(Answer::Bag),
        Ok(None) => Ok(Answer::Plain { has_metadata: true }),
        Err(SourceError::Storage(StorageError::NotFound { .. })) => Ok(Answer::Plain { has_metadata: false }),
        Err(SourceError::Storage(error)) => Err(error),
        // A bag that lacks a file, or that is packed as none is read: its files are no recordings for that.
        Err(_) => Ok(Answer::Bag),
    }
}
