//! Graphviz DOT. An edge of a group starts or ends at the border of its cluster.

use super::picture::{End, Group, Picture, Tree, hierarchy};
use crate::effect::Leaf;
use alloc::format;
use alloc::string::String;

pub(super) fn render(picture: &Picture) -> String {
    let mut text = String::from(
        "digraph machine {\n  compound=true;\n  node [shape=box, style=rounded];\n  start [shape=point];\n",
    );
    for tree in hierarchy() {
        nest(&mut text, &tree, 1);
    }
    text.push_str(&format!("  start -> {};\n", Leaf::Idle.name()));
    for (from, to, label) in &picture.edges {
        let tail = cluster("ltail", *from);
        let head = cluster("lhead", *to);
        let (from, to) = (anchor(*from).name(), anchor(*to).name());
        text.push_str(&format!("  {from} -> {to} [label=\"{label}\"{tail}{head}];\n"));
    }
    text.push_str("}\n");
    text
}

fn nest(text: &mut String, tree: &Tree, depth: usize) {
    let indent = "  ".repeat(depth);
    match tree {
        Tree::Leaf(leaf) => text.push_str(&format!("{indent}{};\n", leaf.name())),
        Tree::Group(group, inner) => {
            let name = group.name();
            text.push_str(&format!("{indent}subgraph cluster_{name} {{\n{indent}  label=\"{name}\";\n"));
            inner.iter().for_each(|tree| nest(text, tree, depth + 1));
            text.push_str(&format!("{indent}}}\n"));
        }
    }
}

fn cluster(side: &str, end: End) -> String {
    match end {
        End::Leaf(_) => String::new(),
        End::Group(group) => format!(", {side}=cluster_{}", group.name()),
    }
}

/// DOT's edges join nodes; one inside stands for the cluster.
fn anchor(end: End) -> Leaf {
    match end {
        End::Leaf(leaf) => leaf,
        End::Group(Group::Active) => Leaf::Claiming,
        End::Group(Group::Owning) => Leaf::Processing,
        End::Group(Group::Stopping | Group::Draining) => Leaf::Finishing,
    }
}
