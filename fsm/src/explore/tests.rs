//! The walk itself, and that it would find what it looks for.

use super::*;
use std::println;

#[test]
fn every_reachable_state_keeps_every_rule() {
    let table = explore().unwrap_or_else(|found| panic!("{found}"));
    println!("explored {} states in {} steps, {} rows", table.states, table.steps, table.rows.len());
    assert!(table.states > 1_000, "{}", table.states);
    for leaf in Leaf::ALL {
        assert!(table.rows.keys().any(|(source, _)| *source == leaf), "{leaf:?} was never reached");
    }
}
