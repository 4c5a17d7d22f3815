//! A key of a mapping file set from outside of it: what is typed as an option becomes part of the mapping, since the mapping is
//! what a dataset's bytes depend on.
//!
//! The file stays as its author wrote it, comments and order included, but for that key. Whether the value is valid is
//! found when the text is read again, at the key's own place.

use super::error::{MappingError, Place};
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

/// The text with the key at this path (tables, then the key) set to a text. It is the same text when it says so already.
///
/// # Errors
/// When it is no TOML, or what should be a table is none.
pub fn set(file: &str, text: &str, path: &[&str], value: &str) -> Result<String, MappingError> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        let begin = error.span().map_or(0, |span| span.start);
        MappingError::new(file, Place::of(text, begin), format!("not valid TOML: {}", error.message()))
    })?;
    let Some((key, tables)) = path.split_last() else { return Ok(text.to_owned()) };
    let no_table = |name: &str| {
        let what = format!("{name} must be a table, written [{name}]: {} goes into it", path.join("."));
        MappingError::new(file, Place { line: 1, column: 1 }, what)
    };
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for name in tables {
        table = table
            .entry(name)
            .or_insert_with(|| Item::Table(Table::new()))
            .as_table_like_mut()
            .ok_or_else(|| no_table(name))?;
    }
    match table.get_mut(key) {
        Some(Item::Value(old)) if old.as_str() == Some(value) => return Ok(text.to_owned()),
        // What stands around the old value, a comment perhaps, stays.
        Some(Item::Value(old)) => {
            let decor = old.decor().clone();
            *old = Value::from(value);
            *old.decor_mut() = decor;
        }
        _ => _ = table.insert(key, toml_edit::value(value)),
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# Mine.\nfps = 30   # a second\n\n[task]\ntext = \"t\"\n\n[[feature]]\nname = \"a\"\n";

    fn changed(text: &str, path: &[&str], value: &str) -> String {
        set("robot.toml", text, path, value).unwrap()
    }

    #[test]
    fn a_key_is_added_and_all_else_stays_as_written() {
        let text = changed(TEXT, &["video", "encoder"], "ffmpeg:libx264");
        assert_eq!(text, format!("{TEXT}\n[video]\nencoder = \"ffmpeg:libx264\"\n"));
        assert_eq!(changed(&text, &["video", "encoder"], "ffmpeg:libx264"), text, "again");
        let top = changed(TEXT, &["format"], "v2.1");
        assert_eq!(top, TEXT.replace("# a second\n", "# a second\nformat = \"v2.1\"\n"));
    }

    #[test]
    fn a_key_is_replaced_where_it_stands() {
        for (before, after) in [
            (
                "[video]\nquality = 20\nencoder = \"a\" # why\n",
                "[video]\nquality = 20\nencoder = \"b\" # why\n",
            ),
            ("video = { encoder = \"a\", quality = 20 }\n", "video = { encoder = \"b\", quality = 20 }\n"),
            ("video.encoder = \"a\"\n", "video.encoder = \"b\"\n"),
            ("[video]\nencoder = 7\n[task]\n", "[video]\nencoder = \"b\"\n[task]\n"),
        ] {
            assert_eq!(changed(before, &["video", "encoder"], "b"), after);
        }
    }

    #[test]
    fn no_toml_and_no_table_are_errors_with_a_place() {
        let refused = |text| set("robot.toml", text, &["video", "encoder"], "b").unwrap_err().to_string();
        assert!(
            refused("fps = 30\nfps = 31\n").starts_with("robot.toml:2:1: not valid TOML"),
            "{}",
            refused("fps = 30\nfps = 31\n")
        );
        assert!(refused("video = 1\n").contains("video must be a table"));
        assert!(refused("[[video]]\n").contains("video must be a table"));
    }
}
