//! Which keys a storage takes. The same for every implementation, so that a dataset can move between them.

use super::StorageError;

/// A key's greatest length in bytes: what S3 takes.
pub const MAX_KEY_BYTES: usize = 1024;
/// How the last part of a key ends while its object is being written. With a leading dot such names are reserved.
pub(super) const PARTIAL_SUFFIX: &str = ".partial";

/// Whether a file name belongs to an object that is still being written.
pub(crate) fn is_partial(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(PARTIAL_SUFFIX)
}

/// Takes a relative path without `.`, `..`, empty or reserved parts.
///
/// # Errors
/// [`StorageError::Invalid`] that names the key and what is wrong with it.
pub(super) fn check_key(location: &str, key: &str) -> Result<(), StorageError> {
    let wrong = if key.is_empty() {
        "a key cannot be empty"
    } else if key.len() > MAX_KEY_BYTES {
        "a key has at most 1024 bytes"
    } else if key.contains('\0') {
        "a key holds no zero byte"
    } else if key.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        "a key is a relative path without empty, `.` or `..` parts"
    } else if key.rsplit('/').next().is_some_and(is_partial) {
        "names of the form `.*.partial` are kept for objects that are being written"
    } else {
        return Ok(());
    };
    Err(StorageError::Invalid { location: location.into(), key: shown(key), reason: wrong.into() })
}

/// Takes the empty prefix, and a key with a `/` behind it.
pub(super) fn check_prefix(location: &str, prefix: &str) -> Result<(), StorageError> {
    match prefix.strip_suffix('/') {
        None if prefix.is_empty() => Ok(()),
        Some(folder) => check_key(location, folder),
        None => Err(StorageError::Invalid {
            location: location.into(),
            key: shown(prefix),
            reason: "a prefix is empty or ends with `/`".into(),
        }),
    }
}

/// A key for a message: cut to a length that a line of a log bears.
fn shown(key: &str) -> String {
    key.chars().take(200).collect()
}
