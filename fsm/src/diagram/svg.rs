//! SVG that stands alone, laid out here from the hierarchy: a row for each top of it, a column for each leaf in a row.
//!
//! A page can light it up: each leaf and edge is a group with what it stands for in `data-` attributes. It has both a light
//! and a dark dress, and nothing that is fetched from elsewhere.

use super::picture::{Edges, End, Group, Picture, Tree, hierarchy};
use crate::effect::Leaf;
use crate::explore::Table;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// From the middle of a column to that of the next.
const COLUMN: i32 = 230;
/// From the middle of a row to that of the next.
const ROW: i32 = 290;
/// The same to a leaf that has no group around it: no edges cross there.
const ROW_OF_ONE: i32 = 150;
/// Of the drawing, around everything.
const MARGIN: i32 = 24;
/// Of a leaf.
const WIDTH: i32 = 150;
const HEIGHT: i32 = 52;
/// Between a group and what is in it: beside, below, and above, where its name stands.
const PAD: i32 = 16;
const PAD_ABOVE: i32 = 38;
/// Levels of groups around a leaf at most.
const DEPTH: i32 = 2;
/// Of a length, in percent: how far an edge bends aside, to the left of where it goes, so that it never meets its way back.
const BEND_PERCENT: i32 = 30;
/// Of edges between rows, which have less in their way.
const BEND_ACROSS_PERCENT: i32 = 12;

const STYLE: &str = "\
svg.machine{--ink:#1c2330;--soft:#5b6472;--line:#8a94a6;--box:#ffffff;--group:#f3f5f9;--edge:#6b7688;--lit:#0b63ce;--lit-ink:#ffffff;\
font:15px system-ui,sans-serif}\
@media(prefers-color-scheme:dark){svg.machine{--ink:#e8ecf3;--soft:#a3adbd;--line:#5a6576;--box:#1b212c;--group:#141922;--edge:#8e9aad;\
--lit:#4b9bff;--lit-ink:#07121f}}\
svg.machine .group rect{fill:var(--group);stroke:var(--line)}\
svg.machine .name{fill:var(--soft);font-size:14px;paint-order:stroke;stroke:var(--group);stroke-width:5px}\
svg.machine .leaf rect{fill:var(--box);stroke:var(--line);stroke-width:1.5}\
svg.machine .leaf text{fill:var(--ink);text-anchor:middle;dominant-baseline:central}\
svg.machine .edge path{fill:none;stroke:var(--edge);stroke-width:1.5}\
svg.machine .edge .head{fill:var(--edge);stroke:none}\
svg.machine .edge rect{fill:var(--group);stroke:none}\
svg.machine .edge:not(.taken) rect{display:none}\
svg.machine .edge text{fill:var(--ink);font-size:13px;text-anchor:middle;dominant-baseline:central}";

/// A box by its middle.
#[derive(Debug, Clone, Copy)]
struct Box {
    x: i32,
    y: i32,
    width: i32,
    height: i32,
}

impl Box {
    /// Where the line from its middle toward a point leaves it, a little outside.
    fn leaves_toward(self, x: i32, y: i32) -> (i32, i32) {
        let (dx, dy) = (i64::from(x - self.x), i64::from(y - self.y));
        let (wide, high) = (i64::from(self.width / 2 + 3), i64::from(self.height / 2 + 3));
        if dx == 0 && dy == 0 {
            return (self.x, self.y);
        }
        // The nearer of the two sides that it can leave through.
        let through_side = dx.abs() * high >= dy.abs() * wide;
        let (share, of) = if through_side { (wide, dx.abs()) } else { (high, dy.abs()) };
        let part = |delta: i64| i32::try_from(delta * share / of).unwrap_or(0);
        (self.x + part(dx), self.y + part(dy))
    }
}

impl Box {
    /// Where an edge to what stands close below leaves this box, which is much wider: a little aside of it.
    fn door_to(self, below: Self) -> Self {
        let bottom = self.y + self.height / 2;
        let is_close = below.y > bottom && below.y - bottom < ROW / 2;
        if is_close { Self { x: below.x - COLUMN / 2, y: bottom, width: 0, height: 0 } } else { self }
    }
}

/// Where everything stands.
struct Layout {
    leaves: BTreeMap<Leaf, Box>,
    /// Outer before inner.
    groups: Vec<(Group, Box)>,
    width: i32,
    height: i32,
}

impl Layout {
    fn of(trees: &[Tree]) -> Self {
        let mut leaves = BTreeMap::new();
        let columns = trees.iter().map(|tree| members(tree).len()).max().unwrap_or(1);
        let first_x = MARGIN + DEPTH * PAD + WIDTH / 2;
        let first_y = MARGIN + DEPTH * PAD_ABOVE + HEIGHT / 2;
        let at = |count: usize| i32::try_from(count).unwrap_or(0);
        let mut y = first_y;
        for (row, tree) in trees.iter().enumerate() {
            let members = members(tree);
            let is_one = members.len() == 1;
            y += match (row, is_one) {
                (0, _) => 0,
                (_, true) => ROW_OF_ONE,
                (_, false) => ROW,
            };
            // A leaf without a group stands below the last of the row above, which is what leads to it.
            let skipped = if is_one { columns - 1 } else { 0 };
            for (column, leaf) in members.into_iter().enumerate() {
                let x = first_x + at(column + skipped) * COLUMN;
                leaves.insert(leaf, Box { x, y, width: WIDTH, height: HEIGHT });
            }
        }
        let mut layout = Self {
            leaves,
            groups: Vec::new(),
            width: first_x + at(columns - 1) * COLUMN + WIDTH / 2 + DEPTH * PAD + MARGIN,
            height: y + HEIGHT / 2 + MARGIN,
        };
        trees.iter().for_each(|tree| layout.surround(tree));
        layout
    }

    /// Puts a box around each group of a tree. How deep the tree goes on below it.
    fn surround(&mut self, tree: &Tree) {
        let Tree::Group(group, inner) = tree else { return };
        let depth = depth(tree);
        let boxes: Vec<Box> =
            members(tree).iter().filter_map(|leaf| self.leaves.get(leaf).copied()).collect();
        let left = boxes.iter().map(|leaf| leaf.x - leaf.width / 2).min().unwrap_or(0) - depth * PAD;
        let right = boxes.iter().map(|leaf| leaf.x + leaf.width / 2).max().unwrap_or(0) + depth * PAD;
        let top = boxes.iter().map(|leaf| leaf.y - leaf.height / 2).min().unwrap_or(0) - depth * PAD_ABOVE;
        let bottom = boxes.iter().map(|leaf| leaf.y + leaf.height / 2).max().unwrap_or(0) + depth * PAD;
        let (width, height) = (right - left, bottom - top);
        self.groups.push((*group, Box { x: left + width / 2, y: top + height / 2, width, height }));
        inner.iter().for_each(|tree| self.surround(tree));
    }

    fn end(&self, end: End) -> Option<Box> {
        match end {
            End::Leaf(leaf) => self.leaves.get(&leaf).copied(),
            End::Group(group) => self.groups.iter().find(|(of, _)| *of == group).map(|(_, place)| *place),
        }
    }
}

/// How many levels of groups a tree has.
fn depth(tree: &Tree) -> i32 {
    match tree {
        Tree::Leaf(_) => 0,
        Tree::Group(_, inner) => 1 + inner.iter().map(depth).max().unwrap_or(0),
    }
}

fn members(tree: &Tree) -> Vec<Leaf> {
    match tree {
        Tree::Leaf(leaf) => Vec::from([*leaf]),
        Tree::Group(_, inner) => inner.iter().flat_map(members).collect(),
    }
}

pub(super) fn render(edges: &Edges, table: &Table) -> String {
    let picture = Picture::of(edges);
    let layout = Layout::of(&hierarchy());
    let mut text = format!(
        "<svg class=\"machine\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"group\" \
         aria-label=\"The worker's state machine\">\n<style>{STYLE}</style>\n",
        layout.width, layout.height
    );
    for (group, place) in &layout.groups {
        let (left, top) = (place.x - place.width / 2, place.y - place.height / 2);
        text.push_str(&format!(
            "<g class=\"group\" data-group=\"{}\"><rect x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{}\" rx=\"12\"/></g>\n",
            group.name(),
            place.width,
            place.height,
        ));
    }
    for (number, (from, to, label)) in picture.edges.iter().enumerate() {
        if let (Some(start), Some(end)) = (layout.end(*from), layout.end(*to)) {
            let start = if matches!(from, End::Group(_)) { start.door_to(end) } else { start };
            text.push_str(&edge(number, (*from, start), (*to, end), label, &hops(edges, &picture, number)));
        }
    }
    // After the edges: a name is read although a line crosses it.
    for (group, place) in &layout.groups {
        let (left, top) = (place.x - place.width / 2, place.y - place.height / 2);
        let (x, y) = (left + PAD, top + PAD_ABOVE / 2 + 5);
        text.push_str(&format!("<text class=\"name\" x=\"{x}\" y=\"{y}\">{}</text>\n", group.name()));
    }
    for (leaf, place) in &layout.leaves {
        text.push_str(&drawn_leaf(*leaf, *place, table));
    }
    text.push_str("</svg>\n");
    text
}

fn drawn_leaf(leaf: Leaf, place: Box, table: &Table) -> String {
    let names = |stopping| {
        let names: Vec<&str> = table.reaches(leaf, stopping).into_iter().map(Leaf::name).collect();
        names.join(" ")
    };
    format!(
        "<g class=\"leaf\" data-leaf=\"{name}\" data-reaches=\"{}\" data-reaches-stopping=\"{}\" tabindex=\"0\" role=\"img\" \
         aria-label=\"{name}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"8\"/>\
         <text x=\"{}\" y=\"{}\">{name}</text></g>\n",
        names(false),
        names(true),
        place.x - place.width / 2,
        place.y - place.height / 2,
        place.width,
        place.height,
        place.x,
        place.y,
        name = leaf.name(),
    )
}

/// What was observed of a drawn edge: `Idle|Tick|Claiming`, several separated by `;`.
fn hops(edges: &Edges, picture: &Picture, number: usize) -> String {
    let mut hops = Vec::new();
    for (source, events) in &edges.0 {
        for (event, targets) in events {
            for target in targets {
                if picture.edge_of(*source, event, *target) == Some(number) {
                    hops.push([source.name(), event, target.name()].join("|"));
                }
            }
        }
    }
    hops.join(";")
}

fn edge(number: usize, from: (End, Box), to: (End, Box), label: &str, hops: &str) -> String {
    let ((from, start), (to, end)) = (from, to);
    let (dx, dy) = (end.x - start.x, end.y - start.y);
    let bend = if dy.abs() < ROW / 2 { BEND_PERCENT } else { BEND_ACROSS_PERCENT };
    let control = (start.x + dx / 2 + dy * bend / 100, start.y + dy / 2 - dx * bend / 100);
    let (x1, y1) = start.leaves_toward(control.0, control.1);
    let (x2, y2) = end.leaves_toward(control.0, control.1);
    // The middle of a curve with one control point lies halfway between that point and the middle of the ends.
    let (mx, my) = ((x1 + 2 * control.0 + x2) / 4, (y1 + 2 * control.1 + y2) / 4);
    let title = format!("{} to {}: {label}", from.name(), to.name());
    format!(
        "<g class=\"edge\" data-edge=\"{number}\" data-from=\"{}\" data-to=\"{}\" data-hops=\"{hops}\"><title>{title}</title>\
         <path d=\"M{x1} {y1}Q{} {} {x2} {y2}\"/>{}\
         <rect x=\"{}\" y=\"{}\" width=\"30\" height=\"18\" rx=\"9\"/><text x=\"{mx}\" y=\"{my}\"></text></g>\n",
        from.name(),
        to.name(),
        control.0,
        control.1,
        head(control, (x2, y2)),
        mx - 15,
        my - 9,
    )
}

/// The tip of an arrow that comes from a point.
fn head(from: (i32, i32), tip: (i32, i32)) -> String {
    let (dx, dy) = (tip.0 - from.0, tip.1 - from.1);
    // No square roots without std: the greater of the two is long enough for a tip's direction.
    let length = dx.abs().max(dy.abs()).max(1) + dx.abs().min(dy.abs()) * 2 / 5;
    let back = (tip.0 - dx * 9 / length, tip.1 - dy * 9 / length);
    let aside = (dy * 4 / length, -dx * 4 / length);
    let corner = |(x, y): (i32, i32)| [x.to_string(), y.to_string()].join(",");
    format!(
        "<path class=\"head\" d=\"M{} L{} L{}Z\"/>",
        corner(tip),
        corner((back.0 + aside.0, back.1 + aside.1)),
        corner((back.0 - aside.0, back.1 - aside.1)),
    )
}
