//! One stretch of a recording in memory: a chunk decompressed and checked, or messages that stand outside of chunks.

use super::SourceError;
use super::catalog::Stretch;
use super::format::Format;
use bytes::Bytes;
use std::io::{self, Read};

/// A chunk may be this large, compressed or not.
pub(crate) const MAX_CHUNK_BYTES: u64 = 256 << 20;

const _: () = assert!(MAX_CHUNK_BYTES <= u32::MAX as u64, "offsets into a chunk are 32 bits");

/// A message as the file holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MessageRecord<'a> {
    pub(crate) channel: u16,
    pub(crate) log_ns: u64,
    pub(crate) publish_ns: u64,
    pub(crate) data: &'a [u8],
}

/// One record of a chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'a> {
    /// Where the next one begins.
    pub(crate) end: usize,
    /// The message, where it is one.
    pub(crate) message: Option<MessageRecord<'a>>,
}

/// The records of a stretch.
#[derive(Debug)]
pub(crate) struct Chunk {
    format: Format,
    body: Body,
    /// Where the stretch begins in the file, for messages.
    at: u64,
}

/// A chunk's records, unpacked.
#[derive(Debug)]
pub(crate) enum Body {
    /// As read.
    Plain(Bytes),
    Decompressed(Vec<u8>),
}

impl Body {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Decompressed(bytes) => bytes,
        }
    }
}

impl Chunk {
    /// Of records that are unpacked already.
    pub(crate) fn new(format: Format, body: Body, at: u64) -> Self {
        Self { format, body, at }
    }

    /// Takes a stretch as it was read from the file. `spare` is a buffer to reuse.
    pub(crate) fn from_bytes(
        file: &str,
        format: Format,
        stretch: &Stretch,
        bytes: Bytes,
        spare: Vec<u8>,
    ) -> Result<Self, SourceError> {
        let at = stretch.range.start;
        let body =
            if stretch.is_chunk { format.unpack(file, at, &bytes, spare)? } else { Body::Plain(bytes) };
        Ok(Self { format, body, at })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.body.bytes()
    }

    /// Its buffer, to be used again.
    pub(crate) fn into_spare(self) -> Vec<u8> {
        match self.body {
            Body::Plain(_) => Vec::new(),
            Body::Decompressed(bytes) => bytes,
        }
    }

    /// Each message in it, with its offset.
    pub(crate) fn messages<'a>(
        &'a self,
        file: &'a str,
    ) -> impl Iterator<Item = Result<(usize, MessageRecord<'a>), SourceError>> + 'a {
        let mut offset = 0;
        std::iter::from_fn(move || {
            while offset < self.bytes().len() {
                let at = offset;
                match self.format.step(self.bytes(), at) {
                    Ok(Step { end, message }) => {
                        offset = end;
                        if let Some(message) = message {
                            return Some(Ok((at, message)));
                        }
                    }
                    Err(reason) => {
                        offset = usize::MAX;
                        return Some(Err(self.damaged(file, at, reason)));
                    }
                }
            }
            None
        })
    }

    /// The message at an offset that an index gave.
    pub(crate) fn message_at(&self, file: &str, offset: u32) -> Result<MessageRecord<'_>, SourceError> {
        let offset = offset as usize;
        let step = self.format.step(self.bytes(), offset);
        step.map_err(|reason| self.damaged(file, offset, &format!("the index points to {reason}")))?
            .message
            .ok_or_else(|| self.damaged(file, offset, "the index points to a record that is no message"))
    }

    pub(crate) fn damaged(&self, file: &str, inner: usize, reason: &str) -> SourceError {
        SourceError::Damaged {
            file: file.to_owned(),
            offset: self.at,
            reason: format!("{reason} (byte {inner} of the chunk)"),
        }
    }
}

pub(crate) fn too_large(file: &str, offset: u64, size: u64) -> SourceError {
    SourceError::TooLarge {
        file: file.to_owned(),
        offset,
        reason: format!("a chunk of {size} bytes is over the limit of {MAX_CHUNK_BYTES}"),
    }
}

/// How a chunk's records are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    None,
    Zstd,
    Lz4,
    Bz2,
}

impl Packing {
    /// Exactly `size` bytes out of a chunk at `at`. Whatever follows them is ignored, as padded chunks exist.
    pub(crate) fn unpack(
        self,
        file: &str,
        at: u64,
        packed: Bytes,
        size: u64,
        spare: Vec<u8>,
    ) -> Result<Body, SourceError> {
        let damaged = |reason: String| SourceError::Damaged { file: file.to_owned(), offset: at, reason };
        if size > MAX_CHUNK_BYTES {
            return Err(too_large(file, at, size));
        }
        if self == Self::None {
            return if packed.len() as u64 == size {
                Ok(Body::Plain(packed))
            } else {
                Err(damaged("an uncompressed chunk whose two sizes differ".to_owned()))
            };
        }
        let bytes = self.decompress(&packed, size, spare);
        bytes.map(Body::Decompressed).map_err(|error| damaged(format!("its {} data: {error}", self.name())))
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "plain",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Bz2 => "bz2",
        }
    }

    fn decompress(self, packed: &[u8], size: u64, mut out: Vec<u8>) -> io::Result<Vec<u8>> {
        /// What a hostile size may reserve before the data bears it out.
        const FIRST_RESERVE_BYTES: u64 = 8 << 20;
        out.clear();
        out.reserve(usize::try_from(size.min(FIRST_RESERVE_BYTES)).unwrap_or(0));
        // At once where the size is believed, without the decoder's own window in between. Whatever it does not take, as what
        // follows the frame in a padded chunk, is for the stream to take or to name.
        if self == Self::Zstd
            && size <= FIRST_RESERVE_BYTES
            && zstd::bulk::Decompressor::new()?
                .decompress_to_buffer(packed, &mut out)
                .is_ok_and(|read| read as u64 == size)
        {
            return Ok(out);
        }
        out.clear();
        let read = match self {
            Self::None => packed.take(size).read_to_end(&mut out)?,
            Self::Zstd => {
                zstd::stream::read::Decoder::with_buffer(packed)?.take(size).read_to_end(&mut out)?
            }
            Self::Lz4 => lz4::Decoder::new(packed)?.take(size).read_to_end(&mut out)?,
            Self::Bz2 => bzip2::read::BzDecoder::new(packed).take(size).read_to_end(&mut out)?,
        };
        if read as u64 == size {
            Ok(out)
        } else {
            let short = format!("{read} bytes came out, not {size}");
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, short))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(packed: Vec<u8>, size: u64) -> Result<Vec<u8>, String> {
        // A buffer that was used before has more room than this chunk needs.
        let spare = Vec::with_capacity(1 << 20);
        let body = Packing::Zstd.unpack("a.mcap", 7, packed.into(), size, spare);
        body.map(|body| body.bytes().to_vec()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_zstd_chunk_comes_out_whole_whatever_stands_behind_it() {
        let data: Vec<u8> = (0..100_000u32).map(|number| (number.wrapping_mul(number) >> 7) as u8).collect();
        let size = data.len() as u64;
        let packed = zstd::encode_all(data.as_slice(), 3).unwrap();
        assert_eq!(unpacked(packed.clone(), size).as_ref(), Ok(&data));
        assert_eq!(unpacked([&packed[..], &[0; 9]].concat(), size).as_ref(), Ok(&data), "padded");
        assert_eq!(unpacked([&packed[..], &packed[..]].concat(), size).as_ref(), Ok(&data), "another frame");
        let (first, second) = data.split_at(5_000);
        let both = [first, second].map(|part| zstd::encode_all(part, 3).unwrap()).concat();
        assert_eq!(unpacked(both, size).as_ref(), Ok(&data), "two frames");
    }

    #[test]
    fn a_zstd_chunk_of_another_size_is_damaged() {
        let packed = zstd::encode_all([3u8; 1000].as_slice(), 3).unwrap();
        assert!(unpacked(packed.clone(), 1001).unwrap_err().contains("1000 bytes came out, not 1001"));
        assert!(unpacked(packed[..packed.len() - 3].to_vec(), 1000).unwrap_err().contains("zstd data"));
        // Fewer are asked for than there are: what follows is ignored, as ever.
        assert_eq!(unpacked(packed, 999), Ok(vec![3; 999]));
    }
}
