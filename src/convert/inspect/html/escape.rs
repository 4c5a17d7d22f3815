//! Texts as they stand in a page: what a recording says is never markup.

use crate::readable::{name, steers};
use std::fmt::{self, Display, Formatter, Write};

/// A text between tags or inside a quoted attribute, on one line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a>(pub(super) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // What is too long to be a name is cut here as everywhere.
        for char in name(self.0).chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                char if steers(char) => {}
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// A name between tags, which may be broken behind each `/` but the first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a>(pub(super) &'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // No escape holds a slash.
        let text = Text(self.0).to_string();
        let (root, rest) = text.strip_prefix('/').map_or(("", text.as_str()), |rest| ("/", rest));
        f.write_str(root)?;
        f.write_str(&rest.replace('/', "/<wbr>"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_markup() {
        let hostile = "</title><script>alert('x' + \"&\")</script>\u{1b}[31m\u{202e}";
        let shown = Text(hostile).to_string();
        assert_eq!(
            shown,
            "&lt;/title&gt;&lt;script&gt;alert(&#39;x&#39; + &quot;&amp;&quot;)&lt;/script&gt;\\u{1b}[31m\\u{202e}"
        );
        assert_eq!(Name("/a/<b>").to_string(), "/a/<wbr>&lt;b&gt;");
    }
}
