//! Every message of a recording once, in the order of its files: for those who look at all of it and convert nothing.
//!
//! What is damaged is passed over and named. A conversion never does that: it reads by [`super::Reader`].

use super::part::Part;
use super::{Message, Recording, SourceError};
use crate::convert::StopFlag;

/// Damaged places that are named; of more only the count is kept.
const MAX_NAMED: usize = 5;

/// How a walk went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walked {
    /// The first places that could not be read, and why.
    pub damaged: Vec<String>,
    /// How many places could not be read.
    pub damaged_count: u64,
}

impl Recording {
    /// Gives every message of a declared channel to `take`. Memory: one chunk.
    ///
    /// # Errors
    /// Of storage, and [`SourceError::Stopped`]. What is damaged is no error: the rest of its chunk is passed over.
    pub fn walk(&self, stop: &StopFlag, take: &mut dyn FnMut(&Message<'_>)) -> Result<Walked, SourceError> {
        let mut walked = Walked::default();
        for part in self.parts() {
            walked.part(part, stop, take)?;
        }
        Ok(walked)
    }
}

impl Walked {
    fn part(
        &mut self,
        part: &Part,
        stop: &StopFlag,
        take: &mut dyn FnMut(&Message<'_>),
    ) -> Result<(), SourceError> {
        let mut spare = Vec::new();
        for (number, stretch) in part.stretches() {
            if stop.is_set() {
                return Err(SourceError::Stopped);
            }
            let chunk = match part.chunk(number, stretch, std::mem::take(&mut spare)) {
                Ok(chunk) => chunk,
                Err(error) => {
                    self.note(error)?;
                    continue;
                }
            };
            for message in chunk.messages(part.file().name()) {
                match message {
                    Ok((_, record)) => {
                        if let Some((topic, kind)) = part.topic(record.channel) {
                            let (log_ns, publish_ns) = (record.log_ns, record.publish_ns);
                            take(&Message { topic, kind, log_ns, publish_ns, data: record.data });
                        }
                    }
                    Err(error) => self.note(error)?,
                }
            }
            spare = chunk.into_spare();
        }
        Ok(())
    }

    /// Keeps what is wrong with one place of the file, without the file's name.
    fn note(&mut self, error: SourceError) -> Result<(), SourceError> {
        let what = match error {
            SourceError::Damaged { offset, reason, .. } => format!("damaged at byte {offset}: {reason}"),
            SourceError::TooLarge { offset, reason, .. } => format!("at byte {offset}: {reason}"),
            SourceError::Compression { offset, compression, .. } => {
                format!("the chunk at byte {offset} is compressed by `{compression}`, which is not supported")
            }
            error => return Err(error),
        };
        self.damaged_count += 1;
        if self.damaged.len() < MAX_NAMED {
            self.damaged.push(what);
        }
        Ok(())
    }
}
