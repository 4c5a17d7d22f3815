//! Mermaid `stateDiagram-v2`.

use super::picture::{Picture, Tree, hierarchy};
use crate::effect::Leaf;
use alloc::format;
use alloc::string::String;

pub(super) fn render(picture: &Picture) -> String {
    let mut text = String::from("stateDiagram-v2\n");
    for tree in hierarchy() {
        nest(&mut text, &tree, 1);
    }
    text.push_str(&format!("    [*] --> {}\n", Leaf::Idle.name()));
    for (from, to, label) in &picture.edges {
        text.push_str(&format!("    {} --> {} : {label}\n", from.name(), to.name()));
    }
    text.push_str(&format!("    {} --> [*]\n", Leaf::Exited.name()));
    text
}

fn nest(text: &mut String, tree: &Tree, depth: usize) {
    let indent = "    ".repeat(depth);
    match tree {
        Tree::Leaf(leaf) => text.push_str(&format!("{indent}{}\n", leaf.name())),
        Tree::Group(group, inner) => {
            text.push_str(&format!("{indent}state {} {{\n", group.name()));
            inner.iter().for_each(|tree| nest(text, tree, depth + 1));
            text.push_str(&format!("{indent}}}\n"));
        }
    }
}
