//! The LeRobot v3.0 format: layout, metadata, data files, assembly from staging, validation.
//!
//! Architecture Invariant: nothing here knows recordings, queues or signals.

pub mod assemble;
mod base;
mod card;
pub mod data;
pub mod episodes;
pub mod error;
pub mod feature;
mod file_pages;
pub mod info;
mod json;
pub mod layout;
pub mod parquet_file;
pub mod picture;
pub mod row_groups;
mod splice;
pub mod staged;
pub mod stats;
pub mod summary;
pub mod tasks;
mod v21;
pub mod validate;
pub mod video;

pub use base::{Wanted, WantedPicture, check_wanted};
pub use error::LerobotError;
pub use json::Ordered;
pub use summary::{DatasetSummary, summary};
pub use validate::validate;
