//! The tables of a bag: which there are, and the small ones whole: topics and message definitions.

use super::super::SourceError;
use super::super::catalog::Channels;
use super::page::Pager;
use super::row::{Columns, MAX_COLUMNS, Value, columns_of};
use ::mcap::records::{Channel, Record, SchemaHeader};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// A row of a small table may have this many bytes: a definition, or the bag's metadata.
const MAX_ROW_BYTES: u64 = 16 << 20;
/// All rows of a small table.
const MAX_TABLE_BYTES: u64 = 256 << 20;
/// Rows of a small table.
const MAX_ROWS: usize = 100_000;

/// A table.
#[derive(Debug, Clone)]
pub(super) struct Table {
    root: u32,
    columns: Vec<String>,
    /// The column that stands for the row's number.
    rowid: Option<usize>,
}

/// A value that outlives its page.
#[derive(Debug, Clone, PartialEq)]
enum Owned {
    None,
    Integer(i64),
    Bytes(Vec<u8>),
}

/// The tables by their names.
pub(super) struct Tables(HashMap<String, Table>);

impl Table {
    pub(super) fn root(&self) -> u32 {
        self.root
    }

    /// Which column has this name.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.eq_ignore_ascii_case(name))
    }

    /// Gives each row of a small table, its columns by place.
    fn rows(
        &self,
        pager: &mut Pager<'_>,
        take: &mut dyn FnMut(&[Owned]) -> Result<(), String>,
    ) -> Result<(), SourceError> {
        let (mut rows, mut bytes) = (0_usize, 0_u64);
        let mut payload = Vec::new();
        pager.walk(self.root, &mut |pager, leaf| {
            for cell in leaf.cells(pager.shape) {
                let damaged = |pager: &Pager<'_>, reason: &str| pager.damaged(leaf.number(), reason);
                let cell = cell.ok_or_else(|| damaged(pager, "a row that does not fit in its page"))?;
                (rows, bytes) = (rows + 1, bytes.saturating_add(cell.payload));
                if cell.payload > MAX_ROW_BYTES || bytes > MAX_TABLE_BYTES || rows > MAX_ROWS {
                    return Err(damaged(pager, "a table of names or definitions over its limit"));
                }
                payload.clear();
                pager.payload(leaf, cell, &mut payload)?;
                let columns = Columns::of(&payload, cell.payload);
                let columns = columns.ok_or_else(|| damaged(pager, "a row whose header does not fit"))?;
                let mut values = Vec::with_capacity(self.columns.len());
                for column in 0..self.columns.len() {
                    let value = columns.value(&payload, column);
                    values.push(match value.ok_or_else(|| damaged(pager, "a row that is cut"))? {
                        Value::Null if self.rowid == Some(column) => Owned::Integer(cell.rowid),
                        Value::Null | Value::Real => Owned::None,
                        Value::Integer(value) => Owned::Integer(value),
                        Value::Text(bytes) | Value::Blob(bytes) => Owned::Bytes(bytes.to_vec()),
                    });
                }
                take(&values).map_err(|reason| damaged(pager, &reason))?;
            }
            Ok(())
        })
    }
}

/// The text of a row's column.
fn text(row: &[Owned], column: Option<usize>) -> Option<&str> {
    match row.get(column?)? {
        Owned::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn integer(row: &[Owned], column: Option<usize>) -> Option<i64> {
    match row.get(column?)? {
        Owned::Integer(value) => Some(*value),
        _ => None,
    }
}

impl Tables {
    /// Reads which tables there are: the table that begins in the file's first page.
    pub(super) fn read(pager: &mut Pager<'_>) -> Result<Self, SourceError> {
        let columns = ["type", "name", "tbl_name", "rootpage", "sql"].map(str::to_owned).to_vec();
        let master = Table { root: 1, columns, rowid: None };
        let mut tables = HashMap::new();
        master.rows(pager, &mut |row| {
            if text(row, Some(0)) == Some("table")
                && let (Some(name), Some(sql)) = (text(row, Some(1)), text(row, Some(4)))
                && let Some((columns, rowid)) = columns_of(sql)
                && let Some(root) = integer(row, Some(3)).and_then(|root| u32::try_from(root).ok())
            {
                tables.insert(name.to_ascii_lowercase(), Table { root, columns, rowid });
            }
            Ok(())
        })?;
        Ok(Self(tables))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Table> {
        self.0.get(name)
    }

    /// The topics as channels, and the channel of each topic's id. A topic whose type has no definition here has none.
    pub(super) fn channels(
        &self,
        pager: &mut Pager<'_>,
        topics: &Table,
    ) -> Result<(Channels, HashMap<i64, u16>), SourceError> {
        let definitions = self.definitions(pager)?;
        let (mut channels, mut ids) = (Channels::default(), HashMap::new());
        let place = |name| topics.column(name);
        let (id, name, kind, format, hash) = (
            place("id"),
            place("name"),
            place("type"),
            place("serialization_format"),
            place("type_description_hash"),
        );
        topics.rows(pager, &mut |row| {
            let key = integer(row, id).ok_or("a topic without an id")?;
            let topic = text(row, name).ok_or("a topic without a readable name")?.to_owned();
            let name = text(row, kind).ok_or("a topic without a readable type")?.to_owned();
            let message_encoding = text(row, format).unwrap_or_default().to_owned();
            let channel = u16::try_from(ids.len()).ok().filter(|channel| *channel < u16::MAX - 1);
            let channel = channel.ok_or("more topics than are read")?;
            ids.insert(key, channel);
            let none = (String::new(), Vec::new());
            let (encoding, definition) =
                definitions.of(&name, text(row, hash).unwrap_or_default()).unwrap_or(&none);
            // A schema's number is never 0: that stands for none.
            let header = SchemaHeader { id: channel + 1, name, encoding: encoding.clone() };
            channels.add(Record::Schema { header, data: Cow::Borrowed(definition) })?;
            channels.add(Record::Channel(Channel {
                id: channel,
                schema_id: channel + 1,
                topic,
                message_encoding,
                metadata: BTreeMap::new(),
            }))
        })?;
        Ok((channels, ids))
    }

    /// Encoding and text of each type's definition, where the bag carries them.
    fn definitions(&self, pager: &mut Pager<'_>) -> Result<Definitions, SourceError> {
        let mut found = Definitions::default();
        let Some(table) = self.get("message_definitions") else { return Ok(found) };
        let place = |name| table.column(name);
        let (kind, encoding, definition, hash) = (
            place("topic_type"),
            place("encoding"),
            place("encoded_message_definition"),
            place("type_description_hash"),
        );
        table.rows(pager, &mut |row| {
            if let (Some(kind), Some(encoding), Some(definition)) =
                (text(row, kind), text(row, encoding), text(row, definition))
            {
                let whole = (encoding.to_owned(), definition.as_bytes().to_vec());
                let hash = text(row, hash).unwrap_or_default().to_owned();
                found.0.entry(kind.to_owned()).or_default().push((hash, whole));
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// An encoding, and a text in it.
type Definition = (String, Vec<u8>);

/// By type: for each hash of its description its definition. A bag may hold two of one type, of recorders that disagree.
#[derive(Debug, Default)]
struct Definitions(HashMap<String, Vec<(String, Definition)>>);

impl Definitions {
    /// That of a type with this hash; without one of that hash the first of the type.
    fn of(&self, kind: &str, hash: &str) -> Option<&Definition> {
        let all = self.0.get(kind)?;
        all.iter().find(|(known, _)| known == hash).or(all.first()).map(|(_, definition)| definition)
    }
}

const _: () = assert!(MAX_COLUMNS >= 8, "a bag's widest table has so many columns");
