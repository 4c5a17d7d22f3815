//! Object storage against real servers: the storage contract, faults on the wire, credentials, sweeping, and memory.
//!
//! `ROBOFLOW_MOTO` and `ROBOFLOW_S3S_FS` name the servers' programs; the tests start them on free ports of loopback.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken promise fails the test at once"
)]
#![expect(clippy::print_stdout, reason = "what people would be told is looked at, too")]

mod announced;
mod contract;
mod credentials;
mod faults;
mod memory;
mod overlap;
mod servers;
mod sources;
mod sweep;
