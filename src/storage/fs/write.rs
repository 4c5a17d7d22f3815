//! Writing a file so that it appears whole and stays: a temporary file beside, fsync, rename, fsync of the folder.

use super::super::key::check_key;
use super::{FsStorage, StorageError, partial};
use crate::storage::ObjectWriter;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Bytes gathered before they are handed to the system.
const WRITE_BUFFER_BYTES: usize = 128 * 1024;
/// How often a folder that another process removes as empty is made again.
const FOLDER_TRIES: u32 = 5;

/// A file being written under another name. Dropped before [`ObjectWriter::finish`], it is removed.
#[derive(Debug)]
pub(super) struct FsWriter {
    storage: FsStorage,
    key: String,
    /// The folder of both files.
    folder: PathBuf,
    temporary: PathBuf,
    target: PathBuf,
    file: BufWriter<File>,
    renamed: bool,
}

impl FsWriter {
    pub(super) fn new(storage: &FsStorage, key: &str) -> Result<Self, StorageError> {
        check_key(&storage.shown, key)?;
        let target = storage.root.join(key);
        let (folder, name) = match (target.parent(), target.file_name().and_then(|name| name.to_str())) {
            (Some(folder), Some(name)) => (folder.to_owned(), partial::new_name(name)),
            _ => return Err(storage.invalid(key, "it names no file")),
        };
        if target.is_dir() {
            return Err(storage.invalid(key, "a folder stands there: remove it or choose another output"));
        }
        let temporary = folder.join(name);
        let file = create(storage, key, &folder, &temporary)?;
        let file = BufWriter::with_capacity(WRITE_BUFFER_BYTES, file);
        Ok(Self {
            storage: storage.clone(),
            key: key.to_owned(),
            folder,
            temporary,
            target,
            file,
            renamed: false,
        })
    }

    fn settle(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        // Opened before: once the object has its name, another process may remove it, and the empty folder with it.
        let folder = File::open(&self.folder)?;
        fs::rename(&self.temporary, &self.target)?;
        self.renamed = true;
        folder.sync_all()
    }

    /// An error that keeps its kind, and says where it happened and what to do.
    fn explain(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), self.storage.error("writing", &self.key, error))
    }
}

impl Write for FsWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| self.explain(&error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|error| self.explain(&error))
    }
}

impl ObjectWriter for FsWriter {
    fn finish(mut self: Box<Self>) -> Result<(), StorageError> {
        self.settle().map_err(|error| self.storage.error("writing", &self.key, &error))
    }
}

impl Drop for FsWriter {
    fn drop(&mut self) {
        if !self.renamed
            && let Err(error) = fs::remove_file(&self.temporary)
        {
            tracing::warn!(path = %self.temporary.display(), %error, "an unfinished file stays behind; a sweep removes it");
        }
    }
}

/// Creates the temporary file, and its folder when that is missing.
fn create(storage: &FsStorage, key: &str, folder: &Path, temporary: &Path) -> Result<File, StorageError> {
    let mut tries = 0;
    loop {
        match make_folder(folder).and_then(|()| {
            storage.stay_inside(folder)?;
            File::create_new(temporary)
        }) {
            Ok(file) => return Ok(file),
            // Another process removed the folder, since it was empty, before our file stood in it.
            Err(error) if error.kind() == ErrorKind::NotFound && tries < FOLDER_TRIES => tries += 1,
            Err(error) => return Err(storage.error("writing", key, &error)),
        }
    }
}

/// Makes a folder and those above it, durably: each new name is synced in the folder above.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = match folder.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    make_folder(above)?;
    match fs::create_dir(folder) {
        Ok(()) => sync_folder(above),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
