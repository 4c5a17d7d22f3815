//! The real program as processes: commands, signals, kills, exit codes. One file a concern.
//!
//! It stands in the root package so that cargo builds the program for it: `cargo test --test program`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what cannot be done is a failed test"
)]

mod append;
mod commands;
mod completions;
mod fleet;
mod http;
mod inspect;
mod lab;
mod launch;
mod leases;
mod logs;
mod memory;
mod pod;
mod replay;
mod scanner;
mod signals;
mod split;
mod storm;
mod traces;
mod videos;
