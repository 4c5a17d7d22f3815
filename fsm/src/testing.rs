//! How randomised tests of this crate are seeded.

use proptest::test_runner::{Config, RngSeed};
use std::{env, println};

/// 256 cases or `CASES`, from seed 1 or `SEED`, which is printed so that a failure can be replayed.
pub(crate) fn config() -> Config {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("SEED").unwrap_or(1);
    println!("SEED={seed}");
    let cases = number("CASES").and_then(|cases| u32::try_from(cases).ok()).unwrap_or(256);
    Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() }
}
