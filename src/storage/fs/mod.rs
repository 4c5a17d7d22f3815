//! Storage in a folder of a local or shared file system.
//!
//! What returned `Ok` from [`Storage::put`] or `finish` has been synced, file and folder: it survives a power cut.
//! Nothing is written through a symbolic link that leads out of the folder, and a sweep enters none.

mod list;
mod partial;
mod write;

use super::key::{check_key, check_prefix};
use super::{ObjectInfo, ObjectIter, ObjectWriter, Storage, StorageError};
use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};
use std::collections::VecDeque;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// How many files stay open for [`Storage::read_at`].
const OPEN_FILES: usize = 8;
const _: () = assert!(OPEN_FILES >= 1);

/// A file kept open, and which one it is: another of the same name is another file.
#[derive(Debug)]
struct OpenFile {
    key: String,
    device: u64,
    inode: u64,
    file: Arc<File>,
}

/// A folder.
#[derive(Debug, Clone)]
pub struct FsStorage {
    /// Without symbolic links in it.
    root: PathBuf,
    /// As the user gave it.
    shown: String,
    open: Arc<Mutex<VecDeque<OpenFile>>>,
}

impl FsStorage {
    /// A folder to read from. It must exist; nothing in it is touched.
    ///
    /// # Errors
    /// [`StorageError::Refused`] when it is missing, no folder, or may not be read.
    pub fn open(root: &Path) -> Result<Self, StorageError> {
        let shown = root.display().to_string();
        let refuse = |reason: String| StorageError::Refused {
            location: shown.clone(),
            action: "opening",
            key: "the folder".into(),
            reason,
        };
        let root = match fs::canonicalize(root) {
            Ok(root) if root.is_dir() => root,
            Ok(_) => return Err(refuse("it is a file: give the folder that holds it".into())),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(refuse("it does not exist: check the spelling".into()));
            }
            Err(error) => return Err(refuse(advice(&error))),
        };
        fs::read_dir(&root).map_err(|error| refuse(advice(&error)))?;
        Ok(Self { root, shown, open: Arc::default() })
    }

    /// A folder to write to, made when it is missing. That a file can be written is tried at once.
    ///
    /// # Errors
    /// [`StorageError::Refused`] or, with a full disk, [`StorageError::Unavailable`]: both say what to do.
    pub fn create(root: &Path) -> Result<Self, StorageError> {
        let outside = Self { root: root.to_owned(), shown: root.display().to_string(), open: Arc::default() };
        write::make_folder(root).map_err(|error| outside.error("creating", "the folder", &error))?;
        let storage = Self::open(root)?;
        let probe = storage.root.join(partial::new_name("probe"));
        let tried = File::create_new(&probe).and_then(|mut file| file.write_all(b"probe"));
        let removed = if probe.exists() { fs::remove_file(&probe) } else { Ok(()) };
        tried.and(removed).map_err(|error| storage.error("writing", "a first file", &error))?;
        Ok(storage)
    }

    /// The folder's own path, without symbolic links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What an error of the system means for `key`, with its place and what to do.
    fn error(&self, action: &'static str, key: &str, error: &io::Error) -> StorageError {
        let (location, key) = (self.shown.clone(), key.to_owned());
        match error.kind() {
            ErrorKind::NotFound if matches!(action, "reading" | "deleting") => {
                StorageError::NotFound { location, key }
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                StorageError::Refused { location, action, key, reason: advice(error) }
            }
            ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::InvalidFilename
            | ErrorKind::AlreadyExists
            | ErrorKind::InvalidInput => StorageError::Invalid { location, key, reason: advice(error) },
            _ => StorageError::Unavailable { location, action, key, reason: advice(error) },
        }
    }

    fn invalid(&self, key: &str, reason: &str) -> StorageError {
        StorageError::Invalid { location: self.shown.clone(), key: key.to_owned(), reason: reason.to_owned() }
    }

    /// Refuses a folder that a symbolic link leads to outside of the root.
    fn stay_inside(&self, folder: &Path) -> io::Result<()> {
        if fs::canonicalize(folder)?.starts_with(&self.root) {
            return Ok(());
        }
        let message =
            format!("{} is a symbolic link that leads out of it: nothing is written there", folder.display());
        Err(io::Error::new(ErrorKind::PermissionDenied, message))
    }

    /// The metadata of a key's file; folders, pipes and devices are no objects.
    fn metadata(&self, key: &str) -> Result<Metadata, StorageError> {
        check_key(&self.shown, key)?;
        match fs::metadata(self.root.join(key)) {
            Ok(meta) if meta.is_file() => Ok(meta),
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Err(self.error("reading", key, &error))
            }
            _ => Err(StorageError::NotFound { location: self.shown.clone(), key: key.to_owned() }),
        }
    }

    /// The open file that now stands under a key: a replaced one is opened anew.
    fn open_file(&self, key: &str) -> Result<(Arc<File>, Metadata), StorageError> {
        let meta = self.metadata(key)?;
        let (device, inode) = (meta.dev(), meta.ino());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = open.iter().position(|file| file.key == key)
            && let Some(found) = open.remove(at)
            && (found.device, found.inode) == (device, inode)
        {
            let file = Arc::clone(&found.file);
            open.push_back(found);
            return Ok((file, meta));
        }
        let fail = |error| self.error("reading", key, &error);
        let file = Arc::new(File::open(self.root.join(key)).map_err(fail)?);
        let meta = file.metadata().map_err(fail)?;
        if open.len() >= OPEN_FILES {
            open.pop_front();
        }
        let kept =
            OpenFile { key: key.to_owned(), device: meta.dev(), inode: meta.ino(), file: Arc::clone(&file) };
        open.push_back(kept);
        Ok((file, meta))
    }

    /// Removes the files of a walk that are `wanted`, by name and path, and the folders left empty. Gives their count.
    fn remove_files(
        &self,
        mut walk: list::Walk<'_>,
        wanted: impl Fn(&str, &Path) -> bool,
    ) -> Result<u64, StorageError> {
        let mut removed = 0;
        while let Some(found) = walk.next_file() {
            let (key, path) = found?;
            if !wanted(key.rsplit('/').next().unwrap_or(&key), &path) {
                continue;
            }
            match fs::remove_file(&path) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(self.error("deleting", &key, &error)),
            }
            self.prune(&key);
        }
        Ok(removed)
    }

    /// Removes the folders above a key that are empty now, as an object store has none.
    fn prune(&self, key: &str) {
        let mut folder = key;
        while let Some((above, _)) = folder.rsplit_once('/') {
            folder = above;
            if fs::remove_dir(self.root.join(folder)).is_err() {
                return;
            }
        }
    }
}

impl Storage for FsStorage {
    fn location(&self) -> String {
        self.shown.clone()
    }

    fn head(&self, key: &str) -> Result<ObjectInfo, StorageError> {
        Ok(info_of(key, &self.metadata(key)?))
    }

    fn read_at(&self, object: &ObjectInfo, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        let (file, meta) = self.open_file(&object.key)?;
        if info_of(&object.key, &meta).version != object.version {
            return Err(StorageError::Changed { location: self.shown.clone(), key: object.key.clone() });
        }
        let rest = usize::try_from(meta.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        read_range(&file, offset, len.min(rest)).map_err(|error| self.error("reading", &object.key, &error))
    }

    fn read(&self, key: &str, limit_bytes: u64) -> Result<Bytes, StorageError> {
        let (file, meta) = self.open_file(key)?;
        let size = meta.len();
        if size > limit_bytes {
            return Err(
                self.invalid(key, &format!("it has {size} bytes; at most {limit_bytes} are read at once"))
            );
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        read_range(&file, 0, size).map_err(|error| self.error("reading", key, &error))
    }

    fn put(&self, key: &str, body: &[u8]) -> Result<(), StorageError> {
        let mut writer = write::FsWriter::new(self, key)?;
        writer.write_all(body).map_err(|error| super::from_io(self, "writing", key, error))?;
        Box::new(writer).finish()
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StorageError> {
        Ok(Box::new(write::FsWriter::new(self, key)?))
    }

    fn list_after(&self, prefix: &str, after: &str) -> Result<ObjectIter<'_>, StorageError> {
        check_prefix(&self.shown, prefix)?;
        Ok(Box::new(list::Walk::behind(self, prefix, after)?))
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        check_key(&self.shown, key)?;
        let path = self.root.join(key);
        let fail = |error: io::Error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Ok(()),
            _ => Err(self.error("deleting", key, &error)),
        };
        let folder = path.parent().unwrap_or(&self.root);
        if let Err(error) = self.stay_inside(folder).and_then(|()| fs::remove_file(&path)) {
            return fail(error);
        }
        // Best effort: that an object is gone may be found again after a power cut, and it is removed again.
        self.prune(key);
        Ok(())
    }

    fn delete_all(&self, prefix: &str) -> Result<u64, StorageError> {
        check_prefix(&self.shown, prefix)?;
        self.remove_files(list::Walk::new(self, prefix, false)?, |_, _| true)
    }

    fn sweep(&self, prefix: &str) -> Result<u64, StorageError> {
        check_prefix(&self.shown, prefix)?;
        self.remove_files(list::Walk::new(self, prefix, true)?, partial::is_abandoned)
    }

    fn sweep_all(&self, prefix: &str) -> Result<u64, StorageError> {
        check_prefix(&self.shown, prefix)?;
        self.remove_files(list::Walk::new(self, prefix, true)?, |name, _| partial::is_of_others(name))
    }
}

/// `len` bytes, fewer only where the file ends.
fn read_range(file: &File, offset: u64, len: usize) -> io::Result<Bytes> {
    // Room for exactly so much, which the kernel fills: zeros first would cost as much as a copy.
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = offset + bytes.len() as u64;
        match pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(len);
    Ok(Bytes::from(bytes))
}

/// What a listing and a look say of a file.
fn info_of(key: &str, meta: &Metadata) -> ObjectInfo {
    let version = format!("{:x}-{:x}.{:x}-{:x}", meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino());
    let modified_ms = u64::try_from(meta.mtime() * 1_000 + meta.mtime_nsec() / 1_000_000).ok();
    ObjectInfo { key: key.to_owned(), size: meta.len(), version, modified_ms }
}

/// What was seen and what to do.
fn advice(error: &io::Error) -> String {
    let todo = match error.kind() {
        ErrorKind::PermissionDenied => "check the owner and the mode of the file and the folders above it",
        ErrorKind::ReadOnlyFilesystem => "the file system is mounted read-only: choose another output",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free space there, then run it again",
        ErrorKind::NotADirectory => "a file stands where a folder should be",
        ErrorKind::IsADirectory => "a folder stands where a file should be",
        ErrorKind::InvalidFilename => "the name is too long for this file system",
        _ => return error.to_string(),
    };
    format!("{error}: {todo}")
}

#[cfg(test)]
mod tests;
