//! The primitives of mp4 files: boxes that are written into memory, and fields that are read from a slice.
//!
//! It knows no box by name.

/// Writes boxes; each knows its length when it is closed.
#[derive(Debug, Default)]
pub(super) struct Boxes(Vec<u8>);

impl Boxes {
    /// A box with what `fill` writes into it.
    pub(super) fn put(&mut self, kind: [u8; 4], fill: impl FnOnce(&mut Self)) {
        let begin = self.0.len();
        self.u32(0);
        self.bytes(&kind);
        fill(self);
        // Headers are far below 4 GiB: the tables are bounded by the frames of a file.
        let length = u32::try_from(self.0.len() - begin).unwrap_or(u32::MAX).to_be_bytes();
        if let Some(place) = self.0.get_mut(begin..begin + length.len()) {
            place.copy_from_slice(&length);
        }
    }

    /// A box with a version and flags before what `fill` writes.
    pub(super) fn full(&mut self, kind: [u8; 4], version: u8, flags: u32, fill: impl FnOnce(&mut Self)) {
        self.put(kind, |out| {
            out.u32(u32::from(version) << 24 | flags);
            fill(out);
        });
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn zeros(&mut self, count: usize) {
        self.0.resize(self.0.len() + count, 0);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads fields from a box's content, and never beyond it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// A length that is 64-bit in version 1 of a box.
    pub(super) fn wide(&mut self, version: u8) -> Option<u64> {
        if version == 1 { self.u64() } else { self.u32().map(u64::from) }
    }

    /// Version and flags.
    pub(super) fn version(&mut self) -> Option<u8> {
        self.u32().map(|word| (word >> 24) as u8)
    }

    /// The next box: its type and content; none at the end. A box that reaches beyond it is an error.
    pub(super) fn next_box(&mut self) -> Option<Result<([u8; 4], Fields<'a>), ()>> {
        if self.0.is_empty() {
            return None;
        }
        Some(self.read_box().ok_or(()))
    }

    fn read_box(&mut self) -> Option<([u8; 4], Fields<'a>)> {
        let all = self.0.len();
        let length = self.u32()?;
        let kind: [u8; 4] = self.take(4)?.try_into().ok()?;
        let length = match length {
            0 => all as u64,
            1 => self.u64()?,
            length => u64::from(length),
        };
        let header = all - self.0.len();
        let content = usize::try_from(length).ok()?.checked_sub(header)?;
        Some((kind, Fields(self.take(content)?)))
    }
}
