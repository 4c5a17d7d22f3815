//! The machine's picture, in six languages, drawn from what [`crate::explore`] observed.
//!
//! Nothing here knows how the machine works: an edge is drawn because a walk took it. The pictures for people
//! (Mermaid, PlantUML, DOT, SVG) merge edges; the ones for programs (SCXML, XState) name each event of each leaf.

mod dot;
mod embed;
mod mermaid;
mod picture;
mod plantuml;
mod programs;
mod svg;
mod table;
#[cfg(test)]
mod tests;

pub use embed::{BEGIN, END, embed, embedded};
pub use table::table;

use crate::explore::Table;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;
use picture::{Edges, Picture};

/// The machine drawn as [`Format::Svg`], as the golden file shows it: a process need not walk all states to show a page.
pub const MACHINE_SVG: &str = include_str!("../diagrams/machine.svg");

/// A language to draw in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Mermaid `stateDiagram-v2`: what forges render in a README.
    Mermaid,
    /// PlantUML state diagram.
    PlantUml,
    /// Graphviz DOT, with clusters.
    Dot,
    /// W3C SCXML 1.0.
    Scxml,
    /// An XState 5 machine configuration, as JSON.
    XState,
    /// A drawing that stands alone, and that a page can light up.
    Svg,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Mermaid, Self::PlantUml, Self::Dot, Self::Scxml, Self::XState, Self::Svg];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mermaid => "mermaid",
            Self::PlantUml => "plantuml",
            Self::Dot => "dot",
            Self::Scxml => "scxml",
            Self::XState => "xstate",
            Self::Svg => "svg",
        }
    }

    /// How files of it are usually called, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mermaid => "mmd",
            Self::PlantUml => "puml",
            Self::Dot => "dot",
            Self::Scxml => "scxml",
            Self::XState => "xstate.json",
            Self::Svg => "svg",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownFormat;

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a diagram format: mermaid, plantuml, dot, scxml, xstate or svg")
    }
}

impl core::error::Error for UnknownFormat {}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|format| format.name() == word).ok_or(UnknownFormat)
    }
}

/// Draws the machine. The text ends with a line feed and depends on nothing but its arguments.
pub fn render(format: Format, table: &Table) -> String {
    let edges = Edges::of(table);
    match format {
        Format::Mermaid => mermaid::render(&Picture::of(&edges)),
        Format::PlantUml => plantuml::render(&Picture::of(&edges)),
        Format::Dot => dot::render(&Picture::of(&edges)),
        Format::Scxml => programs::scxml(&edges),
        Format::XState => programs::xstate(&edges),
        Format::Svg => svg::render(&edges, table),
    }
}
