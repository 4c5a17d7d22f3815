//! From a message's bytes to the values of one field: CDR (ROS 2), ROS 1, Protobuf and JSON.
//!
//! Architecture Invariant: pure. It knows no files, topics or frames; it never panics on any bytes, and allocates no
//! more than the message's own size gives cause for.
//!
//! A [`Schema`] is parsed once for each message type, an [`Extractor`] compiled once for each field wanted; per message
//! it skips to the field and reads nothing else.

mod binary;
mod error;
mod extract;
mod idl;
mod json;
mod path;
mod protobuf;
mod quaternion;
mod ros2;
mod rosmsg;
mod schema;
mod stamp;
mod target;
mod types;

pub use error::DecodeError;
pub use extract::{Extractor, ValueKind};
pub use quaternion::Quaternions;
pub use schema::{Encoding, FieldInfo, Schema};
pub use stamp::StampPlan;
pub use types::{Count, Primitive};

#[cfg(test)]
mod tests;
