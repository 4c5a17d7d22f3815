//! The job queue: records, keys and transactions, written once over [`crate::store`].
//!
//! Architecture Invariant: no engine, no clock but the store's, no conversion.
