//! The LeRobot v3.0 format: layout, metadata, data files, assembly from staging, validation.
//!
//! Architecture Invariant: nothing here knows recordings, queues or signals.

pub mod data;
pub mod error;
pub mod feature;
pub mod parquet_file;
pub mod staged;
