//! A row's columns out of its payload. No IO.

use super::page::varint;

/// Columns that a row may have. Those of a bag have at most eight.
pub(super) const MAX_COLUMNS: usize = 32;

/// A column of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'p> {
    Null,
    Integer(i64),
    Real,
    Text(&'p [u8]),
    Blob(&'p [u8]),
}

/// Where the columns of a row lie in its payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns {
    /// Kind, and where it begins.
    spans: [(i64, u64); MAX_COLUMNS],
    count: usize,
}

/// The bytes that a value of this kind takes.
fn width(kind: i64) -> Option<u64> {
    Some(match kind {
        0 | 8 | 9 => 0,
        1..=4 => kind.unsigned_abs(),
        5 => 6,
        6 | 7 => 8,
        12.. => (kind.unsigned_abs() - 12) / 2,
        _ => return None,
    })
}

impl Columns {
    /// Out of a payload's beginning; none when its header does not fit there, or in the payload.
    pub(super) fn of(prefix: &[u8], payload: u64) -> Option<Self> {
        let (header, _) = varint(prefix)?;
        let mut at = u64::try_from(header).ok()?;
        let begin = prefix.len() - varint(prefix)?.1.len();
        let mut rest = prefix.get(begin..usize::try_from(at).ok()?)?;
        let mut columns = Self { spans: [(0, 0); MAX_COLUMNS], count: 0 };
        while !rest.is_empty() {
            let (kind, after) = varint(rest)?;
            rest = after;
            *columns.spans.get_mut(columns.count)? = (kind, at);
            columns.count += 1;
            at = at.checked_add(width(kind)?)?;
        }
        (at <= payload).then_some(columns)
    }

    /// How many bytes a column of bytes has; none for other kinds.
    pub(super) fn blob_len(&self, column: usize) -> Option<u64> {
        let (kind, _) = *self.spans.get(..self.count)?.get(column)?;
        if kind >= 12 { width(kind) } else { None }
    }

    /// A column, of which `bytes` hold all; none where they do not. One behind a row's last is null: it was added later.
    pub(super) fn value<'p>(&self, bytes: &'p [u8], column: usize) -> Option<Value<'p>> {
        let Some((kind, at)) = self.spans.get(..self.count)?.get(column).copied() else {
            return Some(Value::Null);
        };
        let (at, len) = (usize::try_from(at).ok()?, usize::try_from(width(kind)?).ok()?);
        let bytes = bytes.get(at..at.checked_add(len)?)?;
        Some(match kind {
            0 => Value::Null,
            1..=6 => {
                let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
                let start = if negative { -1_i64 } else { 0 };
                Value::Integer(bytes.iter().fold(start, |value, byte| value << 8 | i64::from(*byte)))
            }
            7 => Value::Real,
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            kind if kind % 2 == 0 => Value::Blob(bytes),
            _ => Value::Text(bytes),
        })
    }
}

/// The names of a table's columns in the statement that made it, in order, and which of them is the row's number. None for a
/// statement that is none of a plain table.
pub(super) fn columns_of(sql: &str) -> Option<(Vec<String>, Option<usize>)> {
    let (begin, end) = (sql.find('(')?, sql.rfind(')')?);
    let mut names = Vec::new();
    let mut number = None;
    for part in split(sql.get(begin + 1..end)?) {
        let words: Vec<String> = part.split_whitespace().map(str::to_ascii_uppercase).collect();
        let first = words.first()?.as_str();
        let constraint = ["PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "CONSTRAINT"].contains(&first);
        if constraint {
            continue;
        }
        if words.get(1).is_some_and(|kind| kind == "INTEGER")
            && part.to_ascii_uppercase().contains("PRIMARY KEY")
        {
            number = Some(names.len());
        }
        let quotes = ['"', '`', '\'', '[', ']'];
        names.push(part.split_whitespace().next()?.trim_matches(quotes).to_owned());
    }
    (names.len() <= MAX_COLUMNS).then_some((names, number))
}

/// At the commas that stand in no brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_i32, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.extend(text.get(from..at));
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(from..));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_by_the_statement_that_made_the_table() {
        let sql = "CREATE TABLE messages(id INTEGER PRIMARY KEY,topic_id INTEGER NOT NULL,timestamp INTEGER NOT NULL, data BLOB NOT NULL)";
        let names = ["id", "topic_id", "timestamp", "data"].map(str::to_owned).to_vec();
        assert_eq!(columns_of(sql), Some((names, Some(0))));
        let other =
            "CREATE TABLE \"t\" (\n \"a\" DECIMAL(5, 2), [b] TEXT, PRIMARY KEY (a, b), CHECK (a > 1))";
        assert_eq!(columns_of(other), Some((vec!["a".to_owned(), "b".to_owned()], None)));
        assert_eq!(columns_of("nothing"), None);
    }

    #[test]
    fn integers_of_all_widths_are_read_and_what_is_missing_is_null() {
        // Header of 5 bytes: four kinds; -2 in one byte, 258 in two, zero in none, a text of two.
        let row = [5, 1, 2, 8, 17, 0xfe, 1, 2, b'h', b'i'];
        let columns = Columns::of(&row, 10).unwrap();
        assert_eq!(columns.value(&row, 0), Some(Value::Integer(-2)));
        assert_eq!(columns.value(&row, 1), Some(Value::Integer(258)));
        assert_eq!(columns.value(&row, 2), Some(Value::Integer(0)));
        assert_eq!(columns.value(&row, 3), Some(Value::Text(b"hi")));
        assert_eq!(columns.value(&row, 4), Some(Value::Null));
        assert_eq!(columns.value(&row[..8], 3), None, "not all of it is here");
        assert!(Columns::of(&row, 9).is_none(), "more columns than payload");
        assert!(Columns::of(&[5, 1, 2, 8], 10).is_none(), "a cut header");
    }
}
