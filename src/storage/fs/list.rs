//! Walks a folder in the order of the keys' bytes, one folder's names in memory a level.
//!
//! Symbolic links to folders are not entered, so a walk ends and stays inside; links to files are listed as files.

use super::super::key::is_partial;
use super::{FsStorage, ObjectInfo, StorageError, info_of};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What stands in a folder.
#[derive(Debug)]
struct Entry {
    /// The file's name; a folder's with `/` behind it, so that sorting gives the order of the keys.
    name: String,
    is_folder: bool,
}

/// One folder on the way down: what is still to visit, last first.
#[derive(Debug)]
struct Level {
    prefix: String,
    rest: Vec<Entry>,
}

/// A walk over files, partial ones or whole ones.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    storage: &'a FsStorage,
    levels: Vec<Level>,
    partials: bool,
    /// Only what comes behind this key.
    after: String,
}

impl<'a> Walk<'a> {
    /// Starts at `prefix`, which need not exist. `partials`: the files being written instead of the whole ones.
    pub(super) fn new(storage: &'a FsStorage, prefix: &str, partials: bool) -> Result<Self, StorageError> {
        Self::start(storage, prefix, partials, "")
    }

    /// Over whole files, behind a key.
    pub(super) fn behind(storage: &'a FsStorage, prefix: &str, after: &str) -> Result<Self, StorageError> {
        Self::start(storage, prefix, false, after)
    }

    fn start(
        storage: &'a FsStorage,
        prefix: &str,
        partials: bool,
        after: &str,
    ) -> Result<Self, StorageError> {
        let mut walk = Self { storage, levels: Vec::new(), partials, after: after.to_owned() };
        // A link on the way to the prefix would lead out as well as one below it.
        let mut folder = storage.root.clone();
        for part in prefix.split('/').filter(|part| !part.is_empty()) {
            folder.push(part);
            if fs::symlink_metadata(&folder).is_ok_and(|meta| meta.is_symlink()) {
                return Ok(walk);
            }
        }
        walk.enter(prefix.to_owned())?;
        Ok(walk)
    }

    fn enter(&mut self, prefix: String) -> Result<(), StorageError> {
        let path = self.storage.root.join(&prefix);
        let fail = |error| self.storage.error("listing", &prefix, &error);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(());
            }
            Err(error) => return Err(fail(error)),
        };
        let mut rest = Vec::new();
        for entry in entries {
            let entry = entry.map_err(fail)?;
            let is_folder = entry.file_type().map_err(fail)?.is_dir();
            let Ok(mut name) = entry.file_name().into_string() else {
                tracing::warn!(path = %entry.path().display(), "left out of a listing: its name is not UTF-8");
                continue;
            };
            if is_folder {
                name.push('/');
            } else if is_partial(&name) != self.partials {
                continue;
            }
            if !self.is_behind(&format!("{prefix}{name}")) {
                continue;
            }
            rest.push(Entry { name, is_folder });
        }
        rest.sort_unstable_by(|a, b| b.name.cmp(&a.name));
        self.levels.push(Level { prefix, rest });
        Ok(())
    }

    /// Whether a file, or anything in a folder (whose key ends with `/`), comes behind the key to begin after.
    fn is_behind(&self, key: &str) -> bool {
        key > self.after.as_str() || (key.ends_with('/') && self.after.starts_with(key))
    }

    /// The next file: its key and path.
    pub(super) fn next_file(&mut self) -> Option<Result<(String, PathBuf), StorageError>> {
        loop {
            let level = self.levels.last_mut()?;
            let Some(entry) = level.rest.pop() else {
                self.levels.pop();
                continue;
            };
            let key = format!("{}{}", level.prefix, entry.name);
            if !entry.is_folder {
                let path = self.storage.root.join(&key);
                return Some(Ok((key, path)));
            }
            if let Err(error) = self.enter(key) {
                return Some(Err(error));
            }
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<ObjectInfo, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_file()? {
                Err(error) => return Some(Err(error)),
                Ok((key, path)) => match listed(self.storage, &key, &path) {
                    Ok(Some(info)) => return Some(Ok(info)),
                    Ok(None) => {}
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }
}

/// None for what is no file, or is gone by now.
fn listed(storage: &FsStorage, key: &str, path: &Path) -> Result<Option<ObjectInfo>, StorageError> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => Ok(Some(info_of(key, &meta))),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(storage.error("listing", key, &error)),
    }
}
