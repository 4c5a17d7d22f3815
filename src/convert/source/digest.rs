//! What tells one recording from another without reading it whole: a SHA-256 over the sizes and both ends of its files.
//!
//! The same whatever the storage, and whether a file has an index or was scanned.

use super::Recording;
use super::SourceError;
use sha2::{Digest, Sha256};

/// How much of each end of a file is part of it.
pub const DIGEST_END_BYTES: u64 = 1 << 20;

impl Recording {
    /// SHA-256, in hexadecimal, of: for each file in the recording's order its size in decimal, a line feed, its first MiB and its
    /// last MiB (of a smaller file all of it, twice). At most 2 MiB of each file are read.
    ///
    /// # Errors
    /// Of storage, and a file that became shorter.
    pub fn digest(&self) -> Result<String, SourceError> {
        let mut digest = Sha256::new();
        for part in self.parts() {
            let (file, size) = (part.file(), part.file().size());
            let end = size.min(DIGEST_END_BYTES);
            let first = file.range(0..end)?;
            digest.update(format!("{size}\n"));
            digest.update(&first);
            if size > end {
                digest.update(file.range(size - end..size)?);
            } else {
                digest.update(&first);
            }
        }
        Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::convert::StopFlag;
    use crate::convert::source::Recording;
    use crate::convert::testing::{joints, random, recording};
    use crate::storage::Storage;
    use crate::storage::memory::MemoryStorage;
    use rand::Rng;
    use sha2::{Digest, Sha256};
    use std::sync::Arc;

    fn hex(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn digest(file: &[u8]) -> String {
        let storage = MemoryStorage::new();
        storage.put("f.mcap", file).unwrap();
        Recording::open(Arc::new(storage), "f.mcap", &StopFlag::default()).unwrap().digest().unwrap()
    }

    #[test]
    fn it_is_what_a_shell_makes_of_size_head_and_tail() {
        let small = recording(&[joints(1, &["a"], &[1.0])], 100);
        assert_eq!(digest(&small), hex(&[format!("{}\n", small.len()).as_bytes(), &small, &small].concat()));
        // Over 2 MiB of what cannot be compressed, so that its middle is not part of it.
        let mut random = random();
        let noise: Vec<f64> = (0..300_000).map(|_| random.random()).collect();
        let large = recording(&[joints(1, &["a"], &noise[..]), joints(2, &["a"], &noise[..])], 100);
        let mib = 1 << 20;
        assert!(large.len() > 2 * mib + 100, "{}", large.len());
        let ends = [&large[..mib], &large[large.len() - mib..]].concat();
        let whole = [format!("{}\n", large.len()).as_bytes(), &ends].concat();
        assert_eq!(digest(&large), hex(&whole));
        let mut other = large.clone();
        other[mib - 1] ^= 1;
        assert_ne!(digest(&other), digest(&large), "the first MiB counts to its last byte");
        let mut middle = large.clone();
        middle[mib] ^= 1;
        assert_eq!(digest(&middle), digest(&large), "and no byte more");
    }
}
