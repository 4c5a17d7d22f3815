//! Every numbered pitfall of worker shutdown that applies on one machine is held by a test that bears its number.
//!
//! It looks for names only, and lists them in `PITFALLS.md`. What each test holds is in the test.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a file that cannot be read is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The pitfalls that apply on one machine.
///
/// Left out, since nothing on one machine can go wrong that way yet: 30 to 35, which are Kubernetes' own.
const REQUIRED: [std::ops::RangeInclusive<u32>; 2] = [1..=29, 36..=41];

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// All functions `fn pitfall_NN_...` that stand behind a `#[test]`, by their number.
fn tests_in(text: &str) -> BTreeSet<(u32, String)> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines
        .iter()
        .enumerate()
        .filter_map(|(at, line)| {
            let name = line.trim_start_matches("async ").strip_prefix("fn ")?.split('(').next()?;
            let number = name.strip_prefix("pitfall_")?.split('_').next()?.parse().ok()?;
            let attributes = lines[..at]
                .iter()
                .rev()
                .take_while(|above| above.starts_with('#') || above.starts_with("//"));
            attributes
                .into_iter()
                .any(|above| above.starts_with("#[test]") || above.starts_with("#[tokio::test"))
                .then(|| (number, name.to_owned()))
        })
        .collect()
}

/// Where the tests of each pitfall stand.
fn index() -> BTreeMap<u32, BTreeSet<(String, String)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for folder in ["src", "fsm", "proptests"] {
        rust_files(&root.join(folder), &mut files);
    }
    let mut held: BTreeMap<u32, BTreeSet<(String, String)>> = BTreeMap::new();
    for file in files {
        let place = file.strip_prefix(root).unwrap().display().to_string();
        for (number, name) in tests_in(&fs::read_to_string(&file).unwrap()) {
            held.entry(number).or_default().insert((place.clone(), name));
        }
    }
    held
}

#[test]
fn every_pitfall_on_one_machine_has_a_test() {
    let held = index();
    let missing: Vec<u32> =
        REQUIRED.into_iter().flatten().filter(|number| !held.contains_key(number)).collect();
    assert!(missing.is_empty(), "no test is named after pitfalls {missing:?}");
}

#[test]
fn the_list_shows_every_test() {
    let mut page = String::from(
        "# Pitfalls of worker shutdown, and the tests that hold them\n\nMade from the tests' names: \
         `UPDATE_GOLDEN=1 cargo test -p roboflow-proptests --test pitfall_index`. Numbers 30 to 35 are Kubernetes' own.\n\n\
         | number | test | where |\n|---|---|---|\n",
    );
    for (number, tests) in index() {
        for (place, name) in tests {
            let words = name.splitn(3, '_').nth(2).unwrap_or_default().replace('_', " ");
            writeln!(page, "| {number} | {words} | [{place}](../{place}) |").unwrap();
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("PITFALLS.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let shown = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        shown == page,
        "PITFALLS.md is stale: UPDATE_GOLDEN=1 cargo test -p roboflow-proptests --test pitfall_index"
    );
}

#[test]
fn a_name_without_a_test_attribute_does_not_count() {
    assert!(tests_in("fn pitfall_07_helper() {}").is_empty());
    let found = tests_in("#[test]\n// why\nfn pitfall_07_wedged() {}");
    assert_eq!(found, BTreeSet::from([(7, "pitfall_07_wedged".to_owned())]));
}
