//! Object storage that speaks S3.

mod options;

pub use options::S3Options;
