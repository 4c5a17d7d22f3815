//! What this module's tests share: seeded randomness.

use proptest::test_runner::{Config, RngSeed};

/// Cases of a property test: 256 or `CASES`, from seed 1 or `SEED`, which a failure prints.
pub(crate) fn cases() -> Config {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("SEED").unwrap_or(1);
    println!("SEED={seed}");
    let cases = number("CASES").unwrap_or(256);
    Config {
        cases: u32::try_from(cases).unwrap_or(u32::MAX),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    }
}
