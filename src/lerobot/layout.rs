//! Where a dataset's files lie, and which file an episode goes to.
//!
//! Format rules: lerobot 0.6.1 `datasets/utils.py`. It touches no storage.

/// `meta/info.json`: a dataset is one from the moment that this is there.
pub const INFO_KEY: &str = "meta/info.json";
/// Statistics of the whole dataset.
pub const STATS_KEY: &str = "meta/stats.json";
/// The tasks' texts.
pub const TASKS_KEY: &str = "meta/tasks.parquet";
/// The dataset's card.
pub const CARD_KEY: &str = "README.md";
/// Where files of this program's stand that say how the dataset came about.
pub const OWN_PREFIX: &str = "meta/roboflow/";
/// The mapping that made the dataset.
pub const MAPPING_KEY: &str = "meta/roboflow/mapping.toml";
/// How well each episode's topics met the frame grid.
pub const SYNC_KEY: &str = "meta/roboflow/sync.json";
/// Recordings that gave no episode, and why. Only there when there are any.
pub const SKIPPED_KEY: &str = "meta/roboflow/skipped.json";

/// `data_path` of info.json.
pub const DATA_PATH: &str = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet";
/// `video_path` of info.json, when there are videos.
pub const VIDEO_PATH: &str = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4";
/// Where the episodes' table lies. Not in info.json: the loader knows it.
pub const EPISODES_PATH: &str = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet";

/// Files in a chunk folder.
pub const CHUNK_FILES: u32 = 1000;
/// A new data file before an episode would pass this, in MB of 2^20 bytes. An episode is never split.
pub const DATA_FILE_MB: u32 = 100;
/// The same for video files.
pub const VIDEO_FILE_MB: u32 = 200;
/// [`DATA_FILE_MB`] in bytes.
pub const DATA_FILE_BYTES: u64 = DATA_FILE_MB as u64 * 1024 * 1024;
/// [`VIDEO_FILE_MB`] in bytes.
pub const VIDEO_FILE_BYTES: u64 = VIDEO_FILE_MB as u64 * 1024 * 1024;

/// A file by its chunk folder and its number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileRef {
    /// The chunk folder.
    pub chunk: u32,
    /// The file in it.
    pub file: u32,
}

impl FileRef {
    /// The `number`-th file of all, from 0.
    pub fn nth(number: u32) -> Self {
        Self { chunk: number / CHUNK_FILES, file: number % CHUNK_FILES }
    }

    /// The number among all files; none for a file number that no chunk has.
    pub fn number(self) -> Option<u32> {
        if self.file >= CHUNK_FILES {
            None
        } else {
            self.chunk.checked_mul(CHUNK_FILES)?.checked_add(self.file)
        }
    }

    /// The file that a key of a template like [`DATA_PATH`] names, if it is one.
    pub fn parse(template: &str, key: &str) -> Option<Self> {
        let (folder, name) = template.split_once("{chunk_index:03d}")?;
        let (name, end) = name.split_once("{file_index:03d}")?;
        let (chunk, rest) = key.strip_prefix(folder)?.split_once(name)?;
        let file = rest.strip_suffix(end)?;
        let number =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
        Some(Self { chunk: number(chunk)?, file: number(file)? })
    }

    /// The file's key under a template like [`DATA_PATH`]. Knows the two places of an index, with or without `:03d`.
    pub fn key(self, template: &str) -> String {
        let mut key = template.to_owned();
        for (name, value) in [("chunk_index", self.chunk), ("file_index", self.file)] {
            key = key.replace(&format!("{{{name}:03d}}"), &format!("{value:03}"));
            key = key.replace(&format!("{{{name}}}"), &value.to_string());
        }
        key
    }
}

/// The key of a video's file.
pub fn video_key(template: &str, feature: &str, file: FileRef) -> String {
    file.key(&template.replace("{video_key}", feature))
}

/// Deals things of known sizes to files, in order: a new file before one would pass the limit.
#[derive(Debug, Clone, Copy)]
pub struct Packer {
    limit_bytes: u64,
    file: u32,
    filled_bytes: u64,
    empty: bool,
}

impl Packer {
    /// Starts with the first file.
    pub fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, file: 0, filled_bytes: 0, empty: true }
    }

    /// What comes next begins a new file, unless this one is empty.
    pub fn part(&mut self) {
        if !self.empty {
            self.file += 1;
            (self.filled_bytes, self.empty) = (0, true);
        }
    }

    /// The number of the file that the next thing goes to. One that is above the limit alone has a file of its own.
    pub fn place(&mut self, bytes: u64) -> u32 {
        let filled = self.filled_bytes.saturating_add(bytes);
        if filled > self.limit_bytes && !self.empty {
            self.file += 1;
            self.filled_bytes = bytes;
        } else {
            self.filled_bytes = filled;
        }
        self.empty = false;
        self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_the_loader_looks_for_them() {
        assert_eq!(FileRef::nth(0).key(DATA_PATH), "data/chunk-000/file-000.parquet");
        assert_eq!(FileRef::nth(999).key(DATA_PATH), "data/chunk-000/file-999.parquet");
        assert_eq!(FileRef::nth(1000).key(EPISODES_PATH), "meta/episodes/chunk-001/file-000.parquet");
        let key = video_key(VIDEO_PATH, "observation.images.front", FileRef { chunk: 1, file: 2 });
        assert_eq!(key, "videos/observation.images.front/chunk-001/file-002.mp4");
        assert_eq!(FileRef { chunk: 1234, file: 5 }.key("{chunk_index}-{file_index:03d}"), "1234-005");
    }

    #[test]
    fn keys_are_files_again() {
        for number in [0, 1, 999, 1000, 1_000_000] {
            let file = FileRef::nth(number);
            assert_eq!(FileRef::parse(DATA_PATH, &file.key(DATA_PATH)), Some(file));
            assert_eq!(file.number(), Some(number));
        }
        for key in
            ["data/x.parquet", "data/chunk-000/file-+00.parquet", "data/chunk-000/file-000.txt", "chunk-000"]
        {
            assert_eq!(FileRef::parse(DATA_PATH, key), None, "{key}");
        }
    }

    #[test]
    fn a_new_file_comes_before_the_limit_is_passed() {
        let mut packer = Packer::new(100);
        let places: Vec<u32> =
            [60, 40, 1, 99, 500, 0, 1].into_iter().map(|size| packer.place(size)).collect();
        assert_eq!(places, [0, 0, 1, 1, 2, 3, 3]);
        assert_eq!(Packer::new(10).place(50), 0, "a first file is never left empty");
        packer.part();
        packer.part();
        assert_eq!([packer.place(1), packer.place(99)], [4, 4], "a file is parted once");
    }
}
