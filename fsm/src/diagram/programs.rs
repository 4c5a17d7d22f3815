//! SCXML and XState: for programs, so every event of every leaf stands for itself.
//!
//! Where one event leads to several leaves, the machine's data decide, which neither language has: the transition
//! is guarded by where it leads. SCXML reads it from the data item `outcome`, XState from the guard `leadsTo`.

use super::picture::{AT_ONCE, Edges, Tree, hierarchy};
use crate::effect::Leaf;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// An event's name as both languages take it: SCXML splits names at dots and may not hold brackets.
fn event_name(event: &str) -> String {
    event.replace([':', '('], ".").replace(')', "")
}

pub(super) fn scxml(edges: &Edges) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<scxml xmlns=\"http://www.w3.org/2005/07/scxml\" version=\"1.0\" \
         name=\"machine\" datamodel=\"ecmascript\" initial=\"{}\">\n  <datamodel>\n    <data id=\"outcome\" \
         expr=\"''\"/>\n  </datamodel>\n",
        Leaf::Idle.name()
    );
    for tree in hierarchy() {
        scxml_nest(&mut text, &tree, edges, 1);
    }
    text.push_str("</scxml>\n");
    text
}

fn scxml_nest(text: &mut String, tree: &Tree, edges: &Edges, depth: usize) {
    let indent = "  ".repeat(depth);
    match tree {
        Tree::Leaf(Leaf::Exited) => {
            text.push_str(&format!("{indent}<final id=\"{}\"/>\n", Leaf::Exited.name()))
        }
        Tree::Leaf(leaf) => {
            text.push_str(&format!("{indent}<state id=\"{}\">\n", leaf.name()));
            for (event, targets) in edges.0.get(leaf).into_iter().flatten() {
                // Without an event it is taken at once, as soon as its condition holds.
                let on = match *event {
                    AT_ONCE => String::new(),
                    event => format!(" event=\"{}\"", event_name(event)),
                };
                for target in targets {
                    let target = target.name();
                    text.push_str(&format!(
                        "{indent}  <transition{on} cond=\"outcome === '{target}'\" target=\"{target}\"/>\n"
                    ));
                }
            }
            text.push_str(&format!("{indent}</state>\n"));
        }
        Tree::Group(group, inner) => {
            text.push_str(&format!("{indent}<state id=\"{}\">\n", group.name()));
            inner.iter().for_each(|tree| scxml_nest(text, tree, edges, depth + 1));
            text.push_str(&format!("{indent}</state>\n"));
        }
    }
}

pub(super) fn xstate(edges: &Edges) -> String {
    let inner = hierarchy();
    format!(
        "{{\n  \"id\": \"machine\",\n  \"initial\": \"Active\",\n  \"states\": {{\n{}\n  }}\n}}\n",
        xstate_all(&inner, edges, 2)
    )
}

fn xstate_all(trees: &[Tree], edges: &Edges, depth: usize) -> String {
    trees.iter().map(|tree| xstate_one(tree, edges, depth)).collect::<Vec<_>>().join(",\n")
}

fn xstate_one(tree: &Tree, edges: &Edges, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    match tree {
        Tree::Leaf(leaf) => {
            let name = leaf.name();
            let mut fields = Vec::from([format!("\"id\": \"{name}\"")]);
            if *leaf == Leaf::Exited {
                fields.push("\"type\": \"final\"".to_string());
            }
            let events = edges.0.get(leaf);
            if let Some(targets) = events.and_then(|events| events.get(AT_ONCE)) {
                fields.push(format!("\"always\": {}", xstate_targets(targets)));
            }
            let on = events.into_iter().flatten().filter(|(event, _)| **event != AT_ONCE);
            let on: Vec<String> = on
                .map(|(event, targets)| {
                    format!("{indent}    \"{}\": {}", event_name(event), xstate_targets(targets))
                })
                .collect();
            if !on.is_empty() {
                fields.push(format!("\"on\": {{\n{}\n{indent}  }}", on.join(",\n")));
            }
            let fields = fields.join(&format!(",\n{indent}  "));
            format!("{indent}\"{name}\": {{\n{indent}  {fields}\n{indent}}}")
        }
        Tree::Group(group, inner) => {
            let initial = match inner.first() {
                Some(Tree::Leaf(leaf)) => leaf.name(),
                Some(Tree::Group(group, _)) => group.name(),
                None => "",
            };
            format!(
                "{indent}\"{}\": {{\n{indent}  \"initial\": \"{initial}\",\n{indent}  \"states\": {{\n{}\n{indent}  }}\n\
                 {indent}}}",
                group.name(),
                xstate_all(inner, edges, depth + 2)
            )
        }
    }
}

fn xstate_targets<'a>(targets: impl IntoIterator<Item = &'a Leaf>) -> String {
    let all: Vec<String> = targets
        .into_iter()
        .map(|leaf| {
            let name = leaf.name();
            format!(
                "{{ \"target\": \"#{name}\", \"guard\": {{ \"type\": \"leadsTo\", \"params\": {{ \"leaf\": \
                 \"{name}\" }} }} }}"
            )
        })
        .collect();
    format!("[{}]", all.join(", "))
}
