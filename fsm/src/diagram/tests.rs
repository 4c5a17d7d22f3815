//! The golden files: fsm/diagrams and fsm/README.md show the machine that ships.

use super::*;
use crate::effect::Leaf;
use crate::explore::explore;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs, println};

fn explored() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| explore().unwrap_or_else(|found| panic!("{found}")))
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn golden(name: &str, expected: &str) {
    let path = path(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, expected).unwrap();
        println!("wrote {}", path.display());
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{} does not show the machine as it is: refresh it with UPDATE_GOLDEN=1 cargo test -p roboflow-fsm, and read \
         the difference",
        path.display()
    );
}

#[test]
fn golden_diagrams_show_the_machine_as_it_is() {
    for format in Format::ALL {
        golden(&["diagrams/machine.", format.extension()].concat(), &render(format, explored()));
    }
}

#[test]
fn golden_table_shows_every_leaf_and_event() {
    assert_eq!(explored().rows.len(), Leaf::ALL.len() * 35, "every event is tried in every leaf");
    golden("diagrams/table.md", &table(explored()));
}

#[test]
fn golden_readme_shows_the_diagram() {
    let page = fs::read_to_string(path("README.md")).unwrap();
    let mermaid = render(Format::Mermaid, explored());
    golden("README.md", &embed(&page, &mermaid).expect("README.md holds both markers"));
    assert!(embedded(&fs::read_to_string(path("README.md")).unwrap(), &mermaid));
    assert!(!embedded(&page.replace("Claiming", "Clowning"), &mermaid));
}

#[test]
fn every_observed_edge_is_part_of_a_drawn_one() {
    let edges = Edges::of(explored());
    let drawn = Picture::of(&edges);
    for (source, events) in &edges.0 {
        for (event, targets) in events {
            for target in targets {
                let found = drawn.edge_of(*source, event, *target);
                assert!(found.is_some(), "{} -{event}-> {}", source.name(), target.name());
            }
        }
    }
}

#[test]
fn a_machine_that_stops_never_reaches_what_is_active() {
    let reaches = |leaf, stopping| explored().reaches(leaf, stopping);
    for leaf in [Leaf::Finishing, Leaf::Saving, Leaf::AwaitingClaim, Leaf::Releasing] {
        let after = reaches(leaf, true);
        assert!(after.contains(&Leaf::Exited), "{}", leaf.name());
        assert!(!after.contains(&Leaf::Idle) && !after.contains(&Leaf::Processing), "{}", leaf.name());
    }
    assert!(reaches(Leaf::Releasing, false).contains(&Leaf::Idle));
    assert_eq!(reaches(Leaf::Idle, false).len(), Leaf::ALL.len(), "from the beginning everything can come");
    assert!(reaches(Leaf::Exited, true).is_empty());
}

#[test]
fn formats_are_named_as_they_are_read() {
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
    }
    assert_eq!("png".parse::<Format>(), Err(UnknownFormat));
}
