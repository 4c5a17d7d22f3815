//! The store of a fleet: a TiKV cluster.

mod options;

pub use options::{TikvOptions, TlsFiles};
