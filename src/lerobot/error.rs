//! What can go wrong with a dataset or with what it is made of.

use crate::error::{Class, Classified};
use crate::storage::StorageError;
use crate::work::WorkError;

/// An error of reading, writing or assembling a dataset.
#[derive(Debug, thiserror::Error)]
pub enum LerobotError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A file is not what it should be.
    #[error("{key}: {reason}")]
    Damaged {
        /// The file.
        key: String,
        /// What is wrong, and what to do where that is known.
        reason: String,
    },
    /// Episodes that do not fit together, a limit, or an empty input: the message names what and what to do.
    #[error("{0}")]
    Unfit(String),
    /// Asked to stop.
    #[error("stopped as asked")]
    Stopped,
}

impl LerobotError {
    /// A damaged file.
    pub(crate) fn damaged(key: &str, reason: impl ToString) -> Self {
        Self::Damaged { key: key.to_owned(), reason: reason.to_string() }
    }
}

impl Classified for LerobotError {
    fn class(&self) -> Class {
        match self {
            Self::Storage(error) => error.class(),
            Self::Damaged { .. } | Self::Unfit(_) => Class::Permanent,
            Self::Stopped => Class::Transient,
        }
    }
}

impl From<LerobotError> for WorkError {
    fn from(error: LerobotError) -> Self {
        match (&error, error.class()) {
            (LerobotError::Stopped, _) => Self::Stopped,
            (_, Class::Transient) => Self::Transient(error.to_string()),
            (_, Class::Permanent | Class::Lost) => Self::Permanent(error.to_string()),
        }
    }
}
