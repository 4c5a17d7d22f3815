//! The storage contract on servers of two makes, and on one behind a wire that fails.

use crate::servers::{Server, new_place, options};
use rand::Rng;
use roboflow::storage::Places;
use roboflow::storage::s3::S3Options;
use roboflow_proptests::http_proxy::{HttpFault, HttpProxy, Rule};
use roboflow_proptests::storage_contract::{PROMISES, check_all};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// What s3s-fs, which keeps objects in folders and files, cannot hold; each with what it does instead.
const NOT_ON_S3S: [&str; 2] = [
    // It answers 500 where a folder stands under a key, or a file above one.
    "what is missing is said to be",
    // The same: a key cannot follow where others were below it.
    "deleting is idempotent",
];

#[test]
fn moto_keeps_the_contract() {
    let places = Places::new(options(&Server::shared_moto().endpoint()));
    check_all(|| new_place(&places));
}

#[test]
fn s3s_keeps_the_contract_as_far_as_files_can() {
    let server = Server::s3s();
    // It is not waited for long: its 500 does not pass.
    let places =
        Places::new(S3Options { patience: Duration::from_millis(500), ..options(&server.endpoint()) });
    let mut broken = Vec::new();
    for (name, promise) in PROMISES {
        println!("promise: {name}");
        if catch_unwind(AssertUnwindSafe(|| promise(&new_place(&places)))).is_err() {
            broken.push(*name);
        }
    }
    assert_eq!(broken, NOT_ON_S3S);
}

/// Every kind of fault, often enough that nearly each operation meets some.
pub(crate) fn mix() -> Vec<Rule> {
    vec![
        Rule::share(0.06, HttpFault::Answer(503, "SlowDown")),
        Rule::share(0.04, HttpFault::Answer(500, "InternalError")),
        Rule::share(0.05, HttpFault::Reset),
        Rule::share(0.05, HttpFault::CutBody),
        Rule::share(0.04, HttpFault::LoseAnswer),
        Rule::share(0.02, HttpFault::SlowBody(200_000, Duration::from_millis(2))),
    ]
}

#[test]
fn the_contract_holds_while_the_wire_fails() {
    let seed = std::env::var("SEED").ok().map_or_else(|| rand::rng().random(), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let server = Server::shared_moto();
    let proxy = HttpProxy::start(server.address, seed);
    let places = Places::new(options(&proxy.endpoint()));
    for (name, promise) in PROMISES {
        println!("promise: {name}");
        proxy.set([]);
        let place = new_place(&places);
        // A lost answer to the beginning of an upload leaves one that nobody knows of: the sweeps would count it.
        let rules = mix().into_iter().filter(|rule| {
            !(name.contains("sweep") || name.contains("finish")) || rule.fault != HttpFault::LoseAnswer
        });
        let rules = rules.filter(|rule| {
            !(name.contains("sweep") || name.contains("finish")) || rule.fault != HttpFault::CutBody
        });
        proxy.set(rules);
        promise(&place);
    }
    let (requests, faults) = (proxy.requests(), proxy.faults());
    println!("{faults} of {requests} requests were hit");
    assert!(faults * 10 > requests, "the mix hits often: {faults} of {requests}");
}
