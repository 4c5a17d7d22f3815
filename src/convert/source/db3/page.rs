//! Pages of a SQLite file, and the cells of its tables. Safe on any bytes: nothing is followed that the file's size does not bear
//! out, and no walk visits more pages than there are.
//!
//! Format rules: <https://www.sqlite.org/fileformat2.html>. Not by the crate `rusqlite`: SQLite needs a file on this host, and
//! recordings lie in buckets too.

use super::super::SourceError;
use super::super::file::{File, Window};
use bytes::Bytes;
use std::ops::Range;

/// How a SQLite file begins.
pub(in crate::convert::source) const MAGIC: &[u8] = b"SQLite format 3\0";
/// The header of the file, in front of its first page's own.
const HEADER_BYTES: usize = 100;
/// The header of a leaf; that of an interior page is four bytes longer.
const LEAF_HEADER_BYTES: usize = 8;
const LEAF: u8 = 0x0d;
const INTERIOR: u8 = 0x05;
/// A cell with its pointer takes at least this.
const MIN_CELL_BYTES: usize = 6;
/// A page of the smallest size, less what may be reserved.
const MIN_USABLE_BYTES: u64 = 480;

/// How the file is cut into pages.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shape {
    page_bytes: u64,
    /// Without what extensions reserve at each page's end.
    usable: u64,
    /// Pages of the database.
    pub(super) pages: u32,
    /// Whether changes may stand in a write-ahead log beside it.
    pub(super) is_wal: bool,
}

impl Shape {
    /// Out of the file's header. The error is a reason.
    pub(super) fn of(header: &[u8], file_bytes: u64) -> Result<Self, String> {
        let short = || format!("its header has {} bytes, not {HEADER_BYTES}", header.len());
        let byte = |at: usize| header.get(at).copied().ok_or_else(short);
        let word = |at: usize| {
            let four = header.get(at..at + 4).and_then(|four| four.try_into().ok());
            four.map(u32::from_be_bytes).ok_or_else(short)
        };
        let page_bytes = match (byte(16)?, byte(17)?) {
            (0, 1) => 65_536,
            (high, low) => u64::from(high) << 8 | u64::from(low),
        };
        if !(512..=65_536).contains(&page_bytes) || !page_bytes.is_power_of_two() {
            return Err(format!("pages of {page_bytes} bytes cannot be"));
        }
        let usable = page_bytes.saturating_sub(u64::from(byte(20)?));
        if usable < MIN_USABLE_BYTES {
            return Err(format!("pages with {usable} usable bytes cannot be"));
        }
        if word(56)? > 1 {
            return Err("its texts are UTF-16, which is not read".to_owned());
        }
        // The count in the header counts where the last writer kept it.
        let counted = if word(24)? == word(92)? { word(28)? } else { 0 };
        let whole = u32::try_from(file_bytes / page_bytes).map_err(|_| "it has too many pages".to_owned())?;
        let pages = if counted == 0 { whole } else { counted };
        if pages > whole {
            return Err(format!(
                "it ends within its page {} of {pages}: it was cut or is still being copied",
                whole + 1
            ));
        }
        Ok(Self { page_bytes, usable, pages, is_wal: byte(19)? == 2 })
    }

    /// Where a page begins.
    pub(super) fn offset(&self, page: u32) -> u64 {
        u64::from(page.saturating_sub(1)) * self.page_bytes
    }

    /// The bytes that so many pages take.
    pub(super) fn bytes(&self, pages: u64) -> u64 {
        pages.saturating_mul(self.page_bytes)
    }

    /// The pages that a payload takes beside its leaf's.
    pub(super) fn overflow_pages(&self, payload: u64) -> u64 {
        payload.saturating_sub(self.local(payload)).div_ceil(self.usable - 4)
    }

    /// How much of a payload stands in its leaf.
    fn local(&self, payload: u64) -> u64 {
        let (greatest, least) = (self.usable - 35, (self.usable - 12) * 32 / 255 - 23);
        if payload <= greatest {
            return payload;
        }
        let even = least + (payload - least) % (self.usable - 4);
        if even <= greatest { even } else { least }
    }
}

/// What is read at once of pages that lie away from the others.
const STRAY_BYTES: u64 = 64 << 10;

/// Reads pages forward, some ahead.
pub(super) struct Pager<'f> {
    file: &'f File,
    window: Window<'f>,
    /// Pages outside of the window, once that stays where it is.
    stray: Option<Window<'f>>,
    pub(super) shape: Shape,
}

/// A page of a table.
#[derive(Debug)]
pub(super) enum TablePage {
    Leaf(Leaf),
    /// The pages below it, in the order of their rows.
    Interior(Vec<u32>),
}

/// A leaf of a table.
#[derive(Debug)]
pub(super) struct Leaf {
    number: u32,
    bytes: Bytes,
    /// Where each cell begins.
    cells: Vec<u16>,
}

/// A row as it stands in its leaf.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell<'l> {
    pub(super) rowid: i64,
    /// What the whole row takes.
    pub(super) payload: u64,
    /// Its beginning.
    pub(super) local: &'l [u8],
    /// The first page of the rest; 0 where there is none.
    pub(super) overflow: u32,
}

impl<'f> Pager<'f> {
    /// Reads so many bytes at once.
    pub(super) fn new(file: &'f File, shape: Shape, ahead_bytes: u64) -> Self {
        Self { file, window: Window::ahead(file, ahead_bytes), stray: None, shape }
    }

    pub(super) fn damaged(&self, page: u32, reason: &str) -> SourceError {
        SourceError::Damaged {
            file: self.file.name().to_owned(),
            offset: self.shape.offset(page),
            reason: reason.to_owned(),
        }
    }

    /// One that reads this range at once and keeps it; other pages are read a few at a time.
    pub(super) fn keeping(file: &'f File, shape: Shape, range: Range<u64>) -> Result<Self, SourceError> {
        let begin = range.start.min(shape.bytes(u64::from(shape.pages).saturating_sub(1)));
        let mut pager = Self::new(file, shape, range.end.saturating_sub(begin));
        pager.window.get(begin..begin + shape.page_bytes)?;
        pager.stray = Some(Window::ahead(file, STRAY_BYTES));
        Ok(pager)
    }

    fn page(&mut self, number: u32) -> Result<Bytes, SourceError> {
        if number == 0 || number > self.shape.pages {
            return Err(self.damaged(number, &format!("its page {number} is beyond its end")));
        }
        let at = self.shape.offset(number);
        let range = at..at + self.shape.page_bytes;
        match &mut self.stray {
            None => self.window.get(range),
            Some(stray) => self.window.held(&range).map_or_else(|| stray.get(range), Ok),
        }
    }

    /// A page of a table.
    pub(super) fn table_page(&mut self, number: u32) -> Result<TablePage, SourceError> {
        let bytes = self.page(number)?;
        let at = if number == 1 { HEADER_BYTES } else { 0 };
        let parsed = parse(number, &bytes, at);
        parsed
            .ok_or_else(|| self.damaged(number, "a page that is none of a table, or whose cells do not fit"))
    }

    /// A leaf of a table, which must be one.
    pub(super) fn leaf(&mut self, number: u32) -> Result<Leaf, SourceError> {
        match self.table_page(number)? {
            TablePage::Leaf(leaf) => Ok(leaf),
            TablePage::Interior(_) => Err(self.damaged(number, "a leaf of a table was expected")),
        }
    }

    /// Each leaf of a table, in the order of its rows.
    pub(super) fn walk(
        &mut self,
        root: u32,
        take: &mut dyn FnMut(&mut Self, &Leaf) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        let mut open = vec![root];
        let mut seen = 0_u32;
        while let Some(number) = open.pop() {
            seen = seen.saturating_add(1);
            if seen > self.shape.pages {
                return Err(self.damaged(number, "a table with more pages than the file: it contains itself"));
            }
            match self.table_page(number)? {
                TablePage::Leaf(leaf) => take(self, &leaf)?,
                TablePage::Interior(below) => open.extend(below.into_iter().rev()),
            }
            if open.len() > self.shape.pages as usize {
                return Err(self.damaged(number, "a table with more pages than the file: it contains itself"));
            }
        }
        Ok(())
    }

    /// Appends a row's whole payload.
    pub(super) fn payload(
        &mut self,
        leaf: &Leaf,
        cell: Cell<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), SourceError> {
        if cell.payload > self.shape.bytes(u64::from(self.shape.pages)) {
            return Err(self.damaged(leaf.number, "a row that is larger than the file"));
        }
        out.extend_from_slice(cell.local);
        let (mut left, mut next) = (cell.payload - cell.local.len() as u64, cell.overflow);
        while left > 0 {
            let page = self.page(next)?;
            let number = next;
            let short = || self.damaged(number, "an overflow page that is too short");
            let (head, rest) = page.split_at_checked(4).ok_or_else(short)?;
            let here = left.min(self.shape.usable - 4);
            let part = usize::try_from(here).ok().and_then(|here| rest.get(..here)).ok_or_else(short)?;
            out.extend_from_slice(part);
            left -= here;
            next = u32::from_be_bytes(head.try_into().unwrap_or_default());
        }
        Ok(())
    }
}

impl Leaf {
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Its rows, in order; none for one that does not fit.
    pub(super) fn cells(&self, shape: Shape) -> impl Iterator<Item = Option<Cell<'_>>> {
        self.cells.iter().map(move |at| {
            let rest = self.bytes.get(usize::from(*at)..)?;
            let (payload, rest) = varint(rest)?;
            let payload = u64::try_from(payload).ok()?;
            let (rowid, rest) = varint(rest)?;
            let local = shape.local(payload);
            let (local_bytes, rest) = rest.split_at_checked(usize::try_from(local).ok()?)?;
            let overflow = match local == payload {
                true => 0,
                false => u32::from_be_bytes(rest.get(..4)?.try_into().ok()?),
            };
            Some(Cell { rowid, payload, local: local_bytes, overflow })
        })
    }
}

/// A page of a table whose own header stands at `at`.
fn parse(number: u32, bytes: &Bytes, at: usize) -> Option<TablePage> {
    let half = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let kind = *bytes.get(at)?;
    let count = usize::from(half(at + 3)?);
    // No page holds more, as SQLite reckons.
    if count > bytes.len() / MIN_CELL_BYTES {
        return None;
    }
    let first = at + LEAF_HEADER_BYTES + if kind == INTERIOR { 4 } else { 0 };
    let cells = (0..count).map(|cell| half(first + 2 * cell)).collect::<Option<Vec<u16>>>()?;
    match kind {
        LEAF => Some(TablePage::Leaf(Leaf { number, bytes: bytes.clone(), cells })),
        INTERIOR => {
            let mut below = cells.iter().map(|at| word(usize::from(*at))).collect::<Option<Vec<u32>>>()?;
            below.push(word(at + LEAF_HEADER_BYTES)?);
            Some(TablePage::Interior(below))
        }
        _ => None,
    }
}

/// SQLite's integer of one to nine bytes, and what follows it.
pub(super) fn varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().take(9).enumerate() {
        if place == 8 {
            value = value << 8 | u64::from(*byte);
        } else {
            value = value << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 != 0 {
                continue;
            }
        }
        return Some((value.cast_signed(), bytes.get(place + 1..)?));
    }
    None
}
