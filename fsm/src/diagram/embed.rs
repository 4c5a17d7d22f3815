//! A diagram inside a Markdown file, between two markers, so that a test can hold it in step.

use alloc::format;
use alloc::string::String;

/// The line before the diagram.
pub const BEGIN: &str = "<!-- machine diagram: begin -->";
/// The line after it.
pub const END: &str = "<!-- machine diagram: end -->";

/// `page` with the Mermaid text put between its markers. `None` if it does not hold both, in order.
pub fn embed(page: &str, mermaid: &str) -> Option<String> {
    let (head, rest) = page.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n```mermaid\n{mermaid}```\n{END}{tail}"))
}

/// Whether `page` shows exactly this Mermaid text between its markers.
pub fn embedded(page: &str, mermaid: &str) -> bool {
    embed(page, mermaid).as_deref() == Some(page)
}
