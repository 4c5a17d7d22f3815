//! What a queue operation can fail with, and the class of it.

use crate::error::{Class, Classified};
use crate::store::StoreError;

/// Why a queue operation did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// The right to do it is gone: the lease has expired and was taken back, or another claim owns the job. Nothing
    /// was written.
    #[error("no longer ours: {what}")]
    Lost {
        /// What was seen.
        what: String,
    },
    /// The commit may or may not have taken effect. Ask again with the same [`super::WriteId`].
    #[error("the outcome is unknown: {reason}")]
    Unknown {
        /// What was seen.
        reason: String,
    },
    /// Nothing was written; the store may be back later.
    #[error("the queue is not available: {reason}")]
    Unavailable {
        /// What was seen.
        reason: String,
    },
    /// The store cannot be used as it is set up.
    #[error("the queue cannot be used: {reason}")]
    Unusable {
        /// What was seen and what to do.
        reason: String,
    },
    /// A record cannot be read: damaged, or written by a newer program.
    #[error("the record {key} cannot be read: {reason}")]
    Corrupt {
        /// The record's key, printable.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such thing.
    #[error("there is no {what}")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// It is against the queue's rules, and will be.
    #[error("refused: {reason}")]
    Refused {
        /// Which rule, and what to do.
        reason: String,
    },
}

impl Classified for QueueError {
    fn class(&self) -> Class {
        match self {
            Self::Lost { .. } => Class::Lost,
            Self::Unknown { .. } | Self::Unavailable { .. } => Class::Transient,
            Self::Unusable { .. } | Self::Corrupt { .. } | Self::NotFound { .. } | Self::Refused { .. } => {
                Class::Permanent
            }
        }
    }
}

impl QueueError {
    pub(super) fn lost(what: impl Into<String>) -> Self {
        Self::Lost { what: what.into() }
    }

    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }

    pub(super) fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }
}

/// Why one try of a transaction ended without a result.
#[derive(Debug)]
pub(super) enum Halt {
    /// Another commit came first; nothing was written, and the whole try may be made again.
    Conflict,
    /// Anything else: it goes to the caller.
    Failed(QueueError),
}

impl From<QueueError> for Halt {
    fn from(error: QueueError) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Self::Conflict,
            StoreError::Unknown { reason } => Self::Failed(QueueError::Unknown { reason }),
            StoreError::Unavailable { .. } => {
                Self::Failed(QueueError::Unavailable { reason: error.to_string() })
            }
            StoreError::Unusable { .. } => Self::Failed(QueueError::Unusable { reason: error.to_string() }),
        }
    }
}
