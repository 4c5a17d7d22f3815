//! The whole table of leaf × event, for a person to read.

use crate::effect::Leaf;
use crate::explore::{Outcome, Table};
use crate::machine::Disposition;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

const HEAD: &str = "\
# Every leaf, every event, every outcome

Observed by walking all reachable states. What a step leads through stands between arrows; what it asks for stands in
brackets; `stays` has nothing in flight changed by a transition. Where an event has several outcomes, the data decide:
the mode, the lease, what is durable, what is asked for. An ignored event may still move the machine when it comes late
enough: then time moved it.
";

/// Every leaf × every event, as Markdown.
pub fn table(table: &Table) -> String {
    let mut text = String::from(HEAD);
    for leaf in Leaf::ALL {
        text.push_str(&format!("\n## {}\n\n| event | outcome |\n|---|---|\n", leaf.name()));
        let mut same: Vec<(String, Vec<&str>)> = Vec::new();
        for ((_, event), outcomes) in table.rows.iter().filter(|((source, _), _)| *source == leaf) {
            let cell = cell(outcomes);
            match same.iter_mut().find(|(known, _)| *known == cell) {
                Some((_, events)) => events.push(event),
                None => same.push((cell, Vec::from([*event]))),
            }
        }
        for (cell, events) in same {
            text.push_str(&format!("| {} | {cell} |\n", events.join("<br>")));
        }
    }
    text
}

fn cell(outcomes: &BTreeSet<Outcome>) -> String {
    outcomes.iter().map(line).collect::<Vec<_>>().join("<br>")
}

fn line(outcome: &Outcome) -> String {
    let way = outcome.entered.iter().map(|leaf| format!("→ {}", leaf.name())).collect::<Vec<_>>().join(" ");
    let mut words = Vec::new();
    match outcome.disposition {
        Disposition::Handled => {}
        named => words.push(format!("*{named}*")),
    }
    if !way.is_empty() {
        words.push(way);
    } else if outcome.disposition == Disposition::Handled {
        words.push("stays".to_string());
    }
    if !outcome.effects.is_empty() {
        words.push(format!("[{}]", outcome.effects.join(", ")));
    }
    words.join(" ")
}
