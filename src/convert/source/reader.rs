//! Messages by their place, over a small cache of decompressed chunks.

use super::chunk::Chunk;
use super::{Message, MessageRef, Recording, SourceError};
use crate::convert::spent::timed;
use std::time::Duration;

/// Decompressed chunks are kept up to this size. The two last ones are kept whatever their size. A segment takes its
/// messages in the order of the file: what is kept serves the next one, for what frames of both lies in the same chunks.
const MAX_CACHED_BYTES: usize = 2 << 20;
const MIN_CACHED_CHUNKS: usize = 2;

/// Reads messages of one recording. Each conversion has its own.
#[derive(Debug)]
pub struct Reader {
    recording: Recording,
    /// By number, the one used last at the end.
    cache: Vec<(u32, Chunk)>,
    bytes_read: u64,
    loading: Duration,
}

impl Reader {
    pub(crate) fn new(recording: Recording) -> Self {
        Self { recording, cache: Vec::new(), bytes_read: 0, loading: Duration::ZERO }
    }

    /// The message at a place that [`Recording::index`] gave. A chunk that is not in the cache costs one ranged read.
    ///
    /// # Errors
    /// Storage errors, damaged chunks and messages, and compressions that are not supported.
    pub fn message(&mut self, at: MessageRef) -> Result<Message<'_>, SourceError> {
        match self.cache.iter().position(|(number, _)| *number == at.chunk) {
            Some(last) if last + 1 == self.cache.len() => {}
            Some(place) => {
                let entry = self.cache.remove(place);
                self.cache.push(entry);
            }
            None => self.load(at)?,
        }
        let (Some((_, chunk)), Some(part)) = (self.cache.last(), self.recording.part_of(at.chunk)) else {
            return Err(self.no_such(at));
        };
        let file = part.file().name();
        let message = chunk.message_at(file, at.offset)?;
        let (topic, kind) = part.topic(message.channel).ok_or_else(|| {
            let reason = format!("a message of the unknown channel {}", message.channel);
            chunk.damaged(file, at.offset as usize, &reason)
        })?;
        Ok(Message {
            topic,
            kind,
            log_ns: message.log_ns,
            publish_ns: message.publish_ns,
            data: message.data,
        })
    }

    /// Bytes read from storage so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The time that reading and decompressing chunks took so far.
    #[must_use]
    pub fn loading(&self) -> Duration {
        self.loading
    }

    fn load(&mut self, at: MessageRef) -> Result<(), SourceError> {
        let recording = self.recording.clone();
        let found = recording.part_of(at.chunk).and_then(|part| Some((part, part.stretch(at.chunk)?)));
        let (part, stretch) = found.ok_or_else(|| self.no_such(at))?;
        let spare = self.evict();
        let (chunk, took) = timed(|| part.chunk(at.chunk, stretch, spare));
        self.loading += took;
        let chunk = chunk?;
        self.bytes_read = self.bytes_read.saturating_add(stretch.range.end - stretch.range.start);
        self.cache.push((at.chunk, chunk));
        Ok(())
    }

    /// Makes room for one more chunk; gives a buffer to fill.
    fn evict(&mut self) -> Vec<u8> {
        let mut spare = Vec::new();
        let held = |cache: &[(u32, Chunk)]| cache.iter().map(|(_, c)| c.bytes().len()).sum::<usize>();
        while self.cache.len() >= MIN_CACHED_CHUNKS && held(&self.cache) > MAX_CACHED_BYTES {
            spare = self.cache.remove(0).1.into_spare();
        }
        spare
    }

    fn no_such(&self, at: MessageRef) -> SourceError {
        SourceError::Damaged {
            file: self.recording.shown().to_owned(),
            offset: 0,
            reason: format!("chunk {} was asked for, and there is none", at.chunk),
        }
    }
}
