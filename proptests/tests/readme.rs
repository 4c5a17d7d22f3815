//! The front page is true: it shows the machine's own diagram, its links lead somewhere, its first command is one that works.
//!
//! What that command prints is held by hand, as times and paths differ.

#![expect(clippy::unwrap_used, reason = "a page that cannot be read is a failed test")]

use roboflow_fsm::diagram::{embed, embedded};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

#[test]
fn the_front_page_shows_the_machine_as_it_is() {
    let mermaid = page("fsm/diagrams/machine.mmd"); // which its own crate's test holds to the machine
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let fresh = embed(&page("README.md"), &mermaid).expect("README.md holds both markers");
        if fresh != page("README.md") {
            fs::write(root().join("README.md"), fresh).unwrap(); // other tests read it meanwhile
        }
    }
    assert!(
        embedded(&page("README.md"), &mermaid),
        "README.md shows an old diagram: UPDATE_GOLDEN=1 cargo test -p roboflow-proptests --test readme"
    );
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    for name in [
        "README.md",
        "fsm/README.md",
        "deploy/README.md",
        "deploy/fleet.md",
        "deploy/mapping.md",
        "deploy/datasets.md",
        "proptests/PITFALLS.md",
    ] {
        let text = page(name);
        let folder = root().join(name).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            assert!(
                file.is_empty() || file.contains("://") || folder.join(file).exists(),
                "{name}: the link to {target} leads nowhere"
            );
        }
    }
}

#[test]
fn what_the_first_command_names_exists() {
    let text = page("README.md");
    let command = text.lines().find(|line| line.starts_with("cargo run --release -- run ")).unwrap();
    for word in command.split_whitespace().filter(|word| word.starts_with("proptests/")) {
        assert!(root().join(word).is_file(), "{word} is not in the repository");
    }
}
