//! From observed outcomes to edges, and from edges to few enough of them to be looked at.
//!
//! It draws nothing.

use crate::effect::Leaf;
use crate::explore::Table;
use crate::machine::Disposition;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// What a leaf does on entering it, without waiting for an event: UML's completion transition.
pub(super) const AT_ONCE: &str = "at once";

/// A superstate of the hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Active,
    Owning,
    Stopping,
    Draining,
}

impl Group {
    /// Outer before inner: an edge is collapsed onto the outermost that shares it.
    const ALL: [Self; 4] = [Self::Stopping, Self::Draining, Self::Active, Self::Owning];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Owning => "Owning",
            Self::Stopping => "Stopping",
            Self::Draining => "Draining",
        }
    }

    pub(super) fn leaves(self) -> &'static [Leaf] {
        match self {
            Self::Active => &[Leaf::Idle, Leaf::Claiming, Leaf::Processing, Leaf::Checkpointing],
            Self::Owning => &[Leaf::Processing, Leaf::Checkpointing],
            Self::Stopping => &[Leaf::AwaitingClaim, Leaf::Finishing, Leaf::Saving, Leaf::Releasing],
            Self::Draining => &[Leaf::AwaitingClaim, Leaf::Finishing, Leaf::Saving],
        }
    }
}

/// A node of the hierarchy, with what is in it.
pub(super) enum Tree {
    Leaf(Leaf),
    Group(Group, Vec<Tree>),
}

/// The hierarchy of the design, outside in.
pub(super) fn hierarchy() -> Vec<Tree> {
    let leaves = |of: &[Leaf]| of.iter().copied().map(Tree::Leaf).collect::<Vec<_>>();
    let owning = Tree::Group(Group::Owning, leaves(Group::Owning.leaves()));
    let draining = Tree::Group(Group::Draining, leaves(Group::Draining.leaves()));
    vec![
        Tree::Group(Group::Active, vec![Tree::Leaf(Leaf::Idle), Tree::Leaf(Leaf::Claiming), owning]),
        Tree::Group(Group::Stopping, vec![draining, Tree::Leaf(Leaf::Releasing)]),
        Tree::Leaf(Leaf::Exited),
    ]
}

/// Each event of each leaf, and where it was seen to lead.
pub(super) struct Edges(pub(super) BTreeMap<Leaf, BTreeMap<&'static str, BTreeSet<Leaf>>>);

impl Edges {
    pub(super) fn of(table: &Table) -> Self {
        let mut edges: BTreeMap<Leaf, BTreeMap<&'static str, BTreeSet<Leaf>>> = BTreeMap::new();
        for ((source, event), outcomes) in &table.rows {
            for outcome in outcomes {
                let mut from = *source;
                // An ignored event moves nothing; if the step moved, time did, and its tick is in the table too.
                let mut label = match outcome.disposition {
                    Disposition::Ignored(_) => continue,
                    Disposition::Handled | Disposition::Fault(_) => *event,
                };
                for to in &outcome.entered {
                    edges.entry(from).or_default().entry(label).or_default().insert(*to);
                    from = *to;
                    label = AT_ONCE;
                }
            }
        }
        Self(edges)
    }
}

/// An end of a drawn edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Leaf(Leaf),
    Group(Group),
}

impl End {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Leaf(leaf) => leaf.name(),
            Self::Group(group) => group.name(),
        }
    }
}

/// Edges merged for the eye: one a pair of ends, with one label.
pub(super) struct Picture {
    pub(super) edges: Vec<(End, End, String)>,
    /// The events of each, in the same order.
    pub(super) events: Vec<BTreeSet<&'static str>>,
}

impl Picture {
    pub(super) fn of(edges: &Edges) -> Self {
        let mut drawn: BTreeMap<End, BTreeMap<End, BTreeSet<&'static str>>> = BTreeMap::new();
        for (source, events) in &edges.0 {
            for (event, targets) in events {
                for target in targets {
                    let to = drawn_target(*source, event, *target);
                    drawn.entry(End::Leaf(*source)).or_default().entry(to).or_default().insert(event);
                }
            }
        }
        Group::ALL.into_iter().for_each(|group| collapse(&mut drawn, group));
        let flat = drawn.into_iter().flat_map(|(from, targets)| {
            targets.into_iter().map(move |(to, events)| ((from, to, label(&events)), events))
        });
        let (edges, events) = flat.filter(|((_, _, label), _)| !label.is_empty()).unzip();
        Self { edges, events }
    }

    /// Which drawn edge an observed one is part of.
    pub(super) fn edge_of(&self, source: Leaf, event: &str, target: Leaf) -> Option<usize> {
        let to = drawn_target(source, event, target);
        let begins = |from: &End| match from {
            End::Leaf(leaf) => *leaf == source,
            End::Group(group) => group.leaves().contains(&source),
        };
        self.edges
            .iter()
            .zip(&self.events)
            .position(|((from, end, _), events)| *end == to && begins(from) && events.contains(event))
    }
}

/// A stop event leads into Draining; into which leaf of it, what is in flight tells.
fn drawn_target(source: Leaf, event: &str, target: Leaf) -> End {
    let active = Group::Active.leaves().contains(&source);
    if active && is_stop(event) && Group::Draining.leaves().contains(&target) {
        End::Group(Group::Draining)
    } else {
        End::Leaf(target)
    }
}

fn is_stop(event: &str) -> bool {
    event.starts_with("SIG") || event.starts_with("Drain")
}

/// Moves the edges that all leaves of a group share onto the group.
fn collapse(drawn: &mut BTreeMap<End, BTreeMap<End, BTreeSet<&'static str>>>, group: Group) {
    let of = |drawn: &BTreeMap<End, BTreeMap<End, BTreeSet<&'static str>>>, leaf: &Leaf| {
        drawn.get(&End::Leaf(*leaf)).cloned().unwrap_or_default()
    };
    let Some((first, rest)) = group.leaves().split_first() else { return };
    let mut shared: BTreeMap<End, BTreeSet<&'static str>> = of(drawn, first);
    for leaf in rest {
        let other = of(drawn, leaf);
        for (to, events) in &mut shared {
            events.retain(|event| other.get(to).is_some_and(|seen| seen.contains(event)));
        }
    }
    shared.retain(|to, events| {
        let outside = !matches!(to, End::Leaf(leaf) if group.leaves().contains(leaf));
        outside && !events.is_empty()
    });
    for leaf in group.leaves() {
        for (to, events) in &shared {
            if let Some(own) = drawn.get_mut(&End::Leaf(*leaf)).and_then(|targets| targets.get_mut(to)) {
                own.retain(|event| !events.contains(event));
            }
        }
    }
    drawn.insert(End::Group(group), shared);
}

/// All events of one edge in few words: `any stop event`, `any Convert`, `Claim Empty, Lost`. No colons: they end a
/// label in Mermaid. Some of the stop events only ever make a machine that is stopping stop harder.
fn label(events: &BTreeSet<&'static str>) -> String {
    let (stops, others): (Vec<&str>, Vec<&str>) = events.iter().copied().partition(|event| is_stop(event));
    let mut words = Vec::new();
    match stops.len() {
        0 => {}
        7 => words.push("any stop event".to_string()),
        _ if stops.iter().any(|event| event.starts_with("Drain")) => words.push("harder stop".to_string()),
        _ => words.push("signal again".to_string()),
    }
    let mut families: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in others {
        match event.split_once(':') {
            Some((family, answer)) => families.entry(family).or_default().push(answer),
            None => words.push(event.to_string()),
        }
    }
    for (family, answers) in families {
        let all = if matches!(family, "Claim" | "Convert") { 6 } else { 5 };
        words.push(match answers.len() == all {
            true => ["any", family].join(" "),
            false => [family, &answers.join(", ")].join(" "),
        });
    }
    words.join(" / ")
}
