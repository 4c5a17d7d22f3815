//! Errors of a mapping, at a place of its file.
//!
//! The text says what was wrong and what would be valid; there is nothing to match on but that.

use crate::error::{Class, Classified};
use crate::work::WorkError;

/// A place in a text, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The character in it.
    pub column: u32,
}

impl Place {
    /// The place of a byte of a text; past its end, the end.
    pub(super) fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
        Self {
            line: count(before.matches('\n').count()),
            column: count(before.get(line_start..).unwrap_or_default().chars().count()),
        }
    }
}

/// A mapping that cannot be used, or not with this recording.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{}:{}: {what}", place.line, place.column)]
pub struct MappingError {
    /// The mapping file's name.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// What is wrong there and what would be valid.
    pub what: String,
}

impl MappingError {
    pub(super) fn new(file: &str, place: Place, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), place, what: what.into() }
    }
}

impl Classified for MappingError {
    fn class(&self) -> Class {
        Class::Permanent
    }
}

impl From<MappingError> for WorkError {
    fn from(error: MappingError) -> Self {
        Self::Permanent(error.to_string())
    }
}
