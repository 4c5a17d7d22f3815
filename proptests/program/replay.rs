//! The transition log: replaying it through fresh machines gives what the program did.

use crate::lab::{Lab, short};
use roboflow::fsm::{Machine, step};
use roboflow::translog::{Head, Line, VERSION};
use std::collections::BTreeMap;
use std::path::Path;

/// Replays a log and asserts that it says what the machines do. Gives the lines.
pub(crate) fn replay(path: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let head: Head = serde_json::from_str(lines.next().expect("a head")).unwrap();
    assert_eq!(head.version, VERSION);
    let mut machines: BTreeMap<u32, Machine> = BTreeMap::new();
    let mut replayed = Vec::new();
    for (number, text) in lines.enumerate() {
        let line: Line =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("line {}: {error}", number + 2));
        let machine = machines.entry(line.machine).or_insert_with(|| Machine::new(head.settings.clone()));
        assert_eq!(machine.leaf(), line.before, "line {}", number + 2);
        let effects = step(machine, line.event.clone());
        assert_eq!(effects, line.effects, "line {}", number + 2);
        assert_eq!(machine.leaf(), line.after, "line {}", number + 2);
        assert_eq!(machine.trail(), line.trail, "line {}", number + 2);
        replayed.push(line);
    }
    assert!(machines.len() <= head.machines as usize);
    replayed
}

#[test]
fn a_log_replays_through_fresh_machines_with_the_same_effects() {
    let lab = Lab::with(3, &short());
    lab.run("run in --out set --workers 2 --transition-log steps.jsonl").expect_code(0);
    let lines = replay(&lab.path("steps.jsonl"));
    let completed =
        lines.iter().flat_map(|line| &line.effects).filter(|effect| effect.name() == "Complete").count();
    assert_eq!(completed, 4, "three recordings and one assembly");
    let exits = lines.iter().flat_map(|line| &line.effects).filter(|effect| effect.name() == "Exit").count();
    assert_eq!(exits, 2, "one a machine");
}
