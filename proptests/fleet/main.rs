//! Fleets of the real program on the dev cluster: scanners and workers as processes, recordings and datasets in S3.
//!
//! It needs servers, so it is no part of `cargo test`:
//! `ROBOFLOW_DEV=STATE cargo test --test fleet -- --test-threads 1`, after `deploy/dev/cluster start`. One test at a time:
//! they kill the cluster's stores. `SEED=`, `SECONDS=` and `CASES=` make the storm, the outage and the crowd larger.

#![expect(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod converts;
mod crowd;
mod outage;
mod storm;

use roboflow_proptests::fleet::FleetLab;
use std::path::Path;

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// A lab of its own for one test.
fn lab(name: &str, seed: u64) -> FleetLab {
    FleetLab::new(env!("CARGO_BIN_EXE_roboflow"), name, seed, Path::new(env!("CARGO_TARGET_TMPDIR")))
}
