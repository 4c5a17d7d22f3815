//! What a bag's `metadata.yaml` says. Only what decides how the bag is read is taken.
//!
//! Format: rosbag2's `metadata.yaml`, versions 1 to 9. Before version 4 its paths begin with the folder's name.

use super::yaml::{self, Node};

/// Files of one bag.
const MAX_FILES: usize = 10_000;
/// From this version on, paths are relative to the folder.
const PATHS_IN_FOLDER: u64 = 4;

/// The part of it that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metadata {
    storage: String,
    /// Below the folder.
    pub(super) files: Vec<String>,
    compression_format: String,
    compression_mode: String,
}

impl Metadata {
    /// Out of the file's text; none when it describes no bag. The error is a reason.
    pub(super) fn parse(text: &[u8]) -> Result<Option<Self>, String> {
        let Ok(text) = std::str::from_utf8(text) else { return Ok(None) };
        let root = match yaml::parse(text) {
            Ok(root) => root,
            Err(reason) if text.contains("rosbag2_bagfile_information") => {
                return Err(format!("it cannot be read: {reason}; make a new one by `ros2 bag reindex`"));
            }
            Err(_) => return Ok(None),
        };
        let Some(about) = root.field("rosbag2_bagfile_information") else { return Ok(None) };
        let text = |name| about.field(name).and_then(Node::text).unwrap_or_default().to_owned();
        let version = text("version").parse().unwrap_or(PATHS_IN_FOLDER);
        let listed = about.field("relative_file_paths").map(Node::items).unwrap_or_default();
        if listed.is_empty() {
            return Err(
                "it names no files: the bag is empty or was not finished (`ros2 bag reindex`)".to_owned()
            );
        }
        if listed.len() > MAX_FILES {
            return Err(format!("it names {} files, over the limit of {MAX_FILES}", listed.len()));
        }
        let files = listed.iter().map(|path| path_in_folder(path, version)).collect::<Result<Vec<_>, _>>()?;
        let mut sorted = files.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() < files.len() {
            return Err("it names a file twice".to_owned());
        }
        Ok(Some(Self {
            storage: text("storage_identifier"),
            files,
            compression_format: text("compression_format"),
            compression_mode: text("compression_mode").to_ascii_lowercase(),
        }))
    }

    /// Whether it is a bag that is read. The error says why not, and what to do.
    pub(super) fn check(&self) -> Result<(), String> {
        let convert = "rewrite the bag without it by `ros2 bag convert`";
        if matches!(self.compression_mode.as_str(), "file" | "message") {
            return Err(format!(
                "the bag is compressed by {} ({} mode), which is not read; {convert}",
                or_unnamed(&self.compression_format),
                self.compression_mode
            ));
        }
        if let Some(file) = self.files.iter().find(|file| file.ends_with(".zstd") || file.ends_with(".zst")) {
            return Err(format!("its file {file} is compressed as a whole, which is not read; {convert}"));
        }
        if !matches!(self.storage.as_str(), "mcap" | "sqlite3" | "") {
            return Err(format!(
                "the bag is stored by {}, which is not read; rewrite it as MCAP by `ros2 bag convert`",
                or_unnamed(&self.storage)
            ));
        }
        Ok(())
    }
}

fn or_unnamed(name: &str) -> String {
    let name: String = name.chars().take(40).collect();
    if name.is_empty() { "a format without a name".to_owned() } else { name }
}

/// A file's path below the folder: never out of it.
fn path_in_folder(path: &Node, version: u64) -> Result<String, String> {
    let path = path.text().ok_or("one of the files that it names is no text")?;
    let below = if version < PATHS_IN_FOLDER { path.rsplit('/').next().unwrap_or(path) } else { path };
    let below = below.strip_prefix("./").unwrap_or(below);
    let leaves = below.is_empty() || below.split('/').any(|part| matches!(part, "" | "." | ".."));
    if leaves || below.contains('\0') {
        let shown: String = path.chars().take(100).collect();
        return Err(format!("it names the file {shown:?}, which does not lie in its folder"));
    }
    Ok(below.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::testing::cases;
    use proptest::prelude::*;

    const WHOLE: &str = "\
rosbag2_bagfile_information:
  version: 5
  storage_identifier: sqlite3
  duration:
    nanoseconds: 12
  topics_with_message_count:
    - topic_metadata:
        name: /a
        offered_qos_profiles: \"- history: 3\\n  depth: 0\"
      message_count: 4
  compression_format: \"\"
  compression_mode: \"\"
  relative_file_paths:
    - day_0.db3
    - day_1.db3
";

    fn of(text: &str) -> Result<Option<Metadata>, String> {
        Metadata::parse(text.as_bytes())
    }

    #[test]
    fn the_files_are_named_in_their_order_below_the_folder() {
        let metadata = of(WHOLE).unwrap().unwrap();
        assert_eq!(metadata.files, ["day_0.db3", "day_1.db3"]);
        metadata.check().unwrap();
        let old = WHOLE.replace("version: 5", "version: 3").replace("- day", "- day/day");
        assert_eq!(of(&old).unwrap().unwrap().files, metadata.files);
    }

    #[test]
    fn other_files_are_none_and_broken_ones_say_so() {
        for other in ["", "a: b", "- 1\n- 2", "just a text", "apiVersion: v1\nkind: Pod", "\u{0}{"] {
            assert_eq!(of(other), Ok(None), "{other:?}");
        }
        for (from, to, word) in [
            ("- day_1.db3", "- ../../etc/passwd", "does not lie in its folder"),
            ("- day_1.db3", "- /etc/passwd", "does not lie in its folder"),
            ("- day_1.db3", "- day_0.db3", "twice"),
            ("    - day_0.db3\n    - day_1.db3\n", "    []\n", "names no files"),
            ("version: 5", "version: [5", "cannot be read"),
        ] {
            let error = of(&WHOLE.replace(from, to)).unwrap_err();
            assert!(error.contains(word), "{to}: {error}");
        }
    }

    #[test]
    fn what_is_packed_otherwise_is_refused_with_what_to_do() {
        for (from, to, word) in [
            ("compression_mode: \"\"", "compression_mode: FILE", "file mode"),
            ("compression_mode: \"\"", "compression_mode: message", "message mode"),
            ("day_1.db3", "day_1.db3.zstd", "day_1.db3.zstd"),
            ("storage_identifier: sqlite3", "storage_identifier: rosbag_v2", "rosbag_v2"),
        ] {
            let error = of(&WHOLE.replace(from, to)).unwrap().unwrap().check().unwrap_err();
            assert!(error.contains(word) && error.contains("ros2 bag convert"), "{to}: {error}");
        }
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn any_text_is_read_or_refused(
            edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"[]{}:,-&*!|>'\"%@`#? \n\t\r\xff\xc3a".to_vec())), 0..10),
            cut in prop::option::of(any::<prop::sample::Index>()),
            noise in "\\PC{0,80}",
            deep in 0..200_usize,
        ) {
            let mut text = WHOLE.as_bytes().to_vec();
            for (at, with) in edits {
                let at = at.index(text.len());
                text[at] = with;
            }
            if let Some(cut) = cut {
                text.truncate(cut.index(text.len()));
            }
            let _ = Metadata::parse(&text);
            let _ = of(&noise);
            let _ = of(&format!("rosbag2_bagfile_information: {}", "[{a: ".repeat(deep)));
        }
    }
}
