//! What can go wrong between a message's bytes and a value. It knows no file and no topic: whoever decodes adds those.

use crate::error::{Class, Classified};

/// Why a message definition or a message could not be used. All of it is permanent: the bytes will not change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// An encoding that this program does not read.
    #[error(
        "messages of type {schema} are encoded as {encoding}, which is not supported; supported are {supported}",
        supported = SUPPORTED
    )]
    Unsupported {
        /// The message type.
        schema: String,
        /// The encoding's name, of messages or of their definition.
        encoding: String,
    },
    /// The message definition cannot be read.
    #[error("the definition of {schema} cannot be used: {reason}")]
    Definition {
        /// The message type.
        schema: String,
        /// Line and reason.
        reason: String,
    },
    /// A path that leads nowhere, or to something of another kind.
    #[error("{schema} has no usable field {path}: {reason}")]
    Field {
        /// The message type.
        schema: String,
        /// The path as given.
        path: String,
        /// What is wrong with it, and what would be valid.
        reason: String,
    },
    /// A message whose bytes do not follow its definition.
    #[error("a message of type {schema} is damaged at byte {offset}: {reason}")]
    Message {
        /// The message type.
        schema: String,
        /// Where in the message.
        offset: usize,
        /// What was expected there.
        reason: String,
    },
    /// A message that follows another encoding than the recording says.
    #[error(
        "messages of type {schema} are labelled {label}, but their bytes are {seems}: the label looks wrong; \
         correct the message encoding (and the definition's) in the recording"
    )]
    WrongLabel {
        /// The message type.
        schema: String,
        /// What the recording says.
        label: &'static str,
        /// What the bytes seem to be.
        seems: &'static str,
    },
    /// The types of a message without a definition are known only after [`super::Schema::learn`].
    #[error("messages of type {schema} carry no definition: a first message is needed to know their fields")]
    NeedsSample {
        /// The message type.
        schema: String,
    },
}

/// What can be decoded, for messages.
const SUPPORTED: &str = "cdr with ros2msg or ros2idl, ros1 with ros1msg, protobuf, and json";

impl Classified for DecodeError {
    fn class(&self) -> Class {
        Class::Permanent
    }
}
