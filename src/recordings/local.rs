//! Recordings on this host: files, folders and globs. Nothing is opened here but a `metadata.yaml`.

use super::{BAG_EXTENSIONS, METADATA_FILE};
use super::{InputError, MAX_RECORDINGS, ends_so, has_glob, is_named_by_folder, is_named_so, say_strangers};
use crate::convert::source::rosbag2::Folder;
use crate::storage::fs::FsStorage;
use globset::GlobMatcher;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

/// Folders within folders at most.
const MAX_DEPTH: usize = 64;

/// Recordings by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recordings {
    /// The folder that all have in common, absolute.
    pub base: PathBuf,
    /// Their paths below it with `/` between the parts, in the order of their bytes: of a folder that of its `metadata.yaml`.
    pub keys: Vec<String>,
}

/// Finds the recordings. Each is listed once, however often it was named.
///
/// # Errors
/// When an input is missing, is no recording, or gives none.
pub fn expand(inputs: &[PathBuf]) -> Result<Recordings, InputError> {
    let files = files(inputs)?;
    let base = common_folder(&files);
    name(&files, base)
}

/// As [`expand`], with the folder given that the names are paths below.
///
/// # Errors
/// As there, and when a recording lies outside of it.
pub fn expand_below(inputs: &[PathBuf], base: &Path) -> Result<Recordings, InputError> {
    name(&files(inputs)?, base.to_owned())
}

fn files(inputs: &[PathBuf]) -> Result<BTreeSet<PathBuf>, InputError> {
    let mut files = BTreeSet::new();
    for input in inputs {
        let mut walk = Walk { typed: input.display().to_string(), files: &mut files, found: 0 };
        walk.input(input)?;
    }
    Ok(files)
}

struct Walk<'a> {
    typed: String,
    files: &'a mut BTreeSet<PathBuf>,
    found: usize,
}

impl Walk<'_> {
    fn input(&mut self, input: &Path) -> Result<(), InputError> {
        let path = std::path::absolute(input).map_err(|source| self.unreadable(input, source))?;
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => self.folder(&path, None, 0)?,
            Ok(_) if path.file_name().is_some_and(|name| name == METADATA_FILE) => {
                return self.metadata(path);
            }
            Ok(_) => return self.file(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.glob(&path)?,
            Err(source) => return Err(self.unreadable(input, source)),
        }
        if self.found > 0 {
            return Ok(());
        }
        Err(InputError::Nothing { path: self.typed.clone() })
    }

    fn file(&mut self, path: PathBuf) -> Result<(), InputError> {
        if is_named_so(&path) {
            return self.add(path);
        }
        let reason = "not a recording: a file whose name ends in .mcap, .bag or .db3 is expected".to_owned();
        Err(InputError::NotARecording { path: self.typed.clone(), reason })
    }

    fn glob(&mut self, path: &Path) -> Result<(), InputError> {
        if !has_glob(&self.typed) {
            return Err(InputError::Missing { path: self.typed.clone() });
        }
        let text = path.to_str().ok_or_else(|| not_text(path))?;
        let matcher = super::glob(&self.typed, text)?;
        let fixed = |part: &Component<'_>| !has_glob(&part.as_os_str().to_string_lossy());
        let base: PathBuf = path.components().take_while(fixed).collect();
        if !base.is_dir() {
            return Err(InputError::Missing { path: self.typed.clone() });
        }
        self.folder(&base, Some(&matcher), 0)
    }

    fn folder(&mut self, folder: &Path, glob: Option<&GlobMatcher>, depth: usize) -> Result<(), InputError> {
        if depth > MAX_DEPTH {
            let reason = format!("more than {MAX_DEPTH} folders within each other (a loop of links?)");
            return Err(InputError::TooMany { path: folder.display().to_string(), reason });
        }
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        let entries = fs::read_dir(folder).map_err(|source| self.unreadable(folder, source))?;
        for entry in entries {
            let path = entry.map_err(|source| self.unreadable(folder, source))?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
                continue;
            }
            let Ok(meta) = fs::metadata(&path) else { continue };
            if meta.is_dir() { folders.push(path) } else { files.push(path) }
        }
        let files = self.bag(folder, files, glob)?;
        for path in files {
            if glob.is_none_or(|glob| glob.is_match(&path)) && is_named_so(&path) {
                self.add(path)?;
            }
        }
        for path in folders {
            self.folder(&path, glob, depth + 1)?;
        }
        Ok(())
    }

    /// Where a folder is a ROS 2 bag, adds it if the glob takes the folder or a file of it. Gives the files that are left.
    fn bag(
        &mut self,
        folder: &Path,
        files: Vec<PathBuf>,
        glob: Option<&GlobMatcher>,
    ) -> Result<Vec<PathBuf>, InputError> {
        let of_bag = |path: &PathBuf| ends_so(path, &BAG_EXTENSIONS);
        let metadata = folder.join(METADATA_FILE);
        let taken = |path: &PathBuf| glob.is_none_or(|glob| glob.is_match(path));
        let any = taken(&folder.to_owned()) || files.iter().any(|path| of_bag(path) && taken(path));
        if !any && !taken(&metadata) {
            return Ok(files);
        }
        if !files.contains(&metadata) {
            let unfinished = files.iter().filter(|path| is_named_by_folder(&path.to_string_lossy()));
            if unfinished.count() > 1 {
                tracing::warn!(
                    folder = %folder.display(),
                    "it looks like a ROS 2 bag without its metadata.yaml: each of its files becomes an episode of its own; \
                     `ros2 bag reindex` makes one recording of them"
                );
            }
            return Ok(files);
        }
        let storage = FsStorage::open(folder)?;
        let Some(found) = Folder::look(&storage, METADATA_FILE)? else { return Ok(files) };
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let beside: Vec<String> = files.iter().filter(|path| of_bag(path)).filter_map(name).collect();
        say_strangers(&found, beside.iter().map(String::as_str));
        self.add(metadata)?;
        Ok(files.into_iter().filter(|path| !of_bag(path)).collect())
    }

    fn metadata(&mut self, path: PathBuf) -> Result<(), InputError> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        match Folder::look(&FsStorage::open(folder)?, METADATA_FILE)? {
            Some(_) => self.add(path),
            None => {
                let reason = "not a recording: it does not describe a ROS 2 bag".to_owned();
                Err(InputError::NotARecording { path: self.typed.clone(), reason })
            }
        }
    }

    fn add(&mut self, path: PathBuf) -> Result<(), InputError> {
        if self.files.len() >= MAX_RECORDINGS {
            let reason =
                format!("more than {MAX_RECORDINGS} recordings at once: split them over several outputs");
            return Err(InputError::TooMany { path: self.typed.clone(), reason });
        }
        self.found += 1;
        self.files.insert(path);
        Ok(())
    }

    fn unreadable(&self, path: &Path, source: io::Error) -> InputError {
        InputError::Unreadable { path: path.display().to_string(), source }
    }
}

fn not_text(path: &Path) -> InputError {
    let reason = "its path is not valid UTF-8: rename it".to_owned();
    InputError::NotARecording { path: path.display().to_string(), reason }
}

/// The folder that all files have in common.
fn common_folder(files: &BTreeSet<PathBuf>) -> PathBuf {
    let mut base: Option<PathBuf> = None;
    for file in files {
        let mut folder = file.parent().unwrap_or(Path::new("/"));
        // A folder that is a recording is named itself.
        if file.file_name().is_some_and(|name| name == METADATA_FILE) {
            folder = folder.parent().unwrap_or(folder);
        }
        base = Some(match base {
            None => folder.to_path_buf(),
            Some(base) => base
                .components()
                .zip(folder.components())
                .take_while(|(a, b)| a == b)
                .map(|(part, _)| part)
                .collect(),
        });
    }
    base.unwrap_or_default()
}

fn name(files: &BTreeSet<PathBuf>, base: PathBuf) -> Result<Recordings, InputError> {
    let mut keys = Vec::with_capacity(files.len());
    for file in files {
        let outside =
            || InputError::Outside { path: file.display().to_string(), base: base.display().to_string() };
        let below = file.strip_prefix(&base).map_err(|_not_below| outside())?;
        keys.push(below.to_str().ok_or_else(|| not_text(file))?.to_owned());
    }
    keys.sort_unstable();
    Ok(Recordings { base, keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"x").unwrap();
        }
        folder
    }

    fn names(folder: &tempfile::TempDir, inputs: &[&str]) -> Result<Vec<String>, String> {
        let paths: Vec<PathBuf> = inputs.iter().map(|input| folder.path().join(input)).collect();
        expand(&paths).map(|found| found.keys).map_err(|error| error.to_string())
    }

    #[test]
    fn a_folder_is_searched_to_its_depths_and_sorted_by_name() {
        let folder = tree(&["b.mcap", "a/z.mcap", "a/y.MCAP", "notes.txt", ".hidden/x.mcap"]);
        assert_eq!(names(&folder, &[""]).unwrap(), ["a/y.MCAP", "a/z.mcap", "b.mcap"]);
    }

    #[test]
    fn names_do_not_depend_on_where_the_recordings_lie_or_how_they_were_named() {
        let folder = tree(&["day/one.mcap", "day/two.mcap", "other/three.mcap"]);
        assert_eq!(names(&folder, &["day/one.mcap"]).unwrap(), ["one.mcap"]);
        assert_eq!(names(&folder, &["day", "day/two.mcap"]).unwrap(), ["one.mcap", "two.mcap"]);
        assert_eq!(
            names(&folder, &["other/three.mcap", "day/one.mcap"]).unwrap(),
            ["day/one.mcap", "other/three.mcap"]
        );
    }

    #[test]
    fn globs_match_within_one_folder_unless_they_say_otherwise() {
        let folder = tree(&["run1/a.mcap", "run2/a.mcap", "run2/deep/b.mcap", "else/a.mcap"]);
        assert_eq!(names(&folder, &["run*/*.mcap"]).unwrap(), ["run1/a.mcap", "run2/a.mcap"]);
        assert_eq!(names(&folder, &["run2/**/*.mcap"]).unwrap(), ["a.mcap", "deep/b.mcap"]);
        assert!(names(&folder, &["run[1/*.mcap"]).unwrap_err().contains("not a valid pattern"));
    }

    #[test]
    fn what_cannot_be_converted_is_named() {
        let folder = tree(&["bags/x.bag", "bags/y.bag.active", "empty/readme", "clip.mp4"]);
        assert_eq!(names(&folder, &["bags"]).unwrap(), ["x.bag"]);
        assert!(names(&folder, &["empty"]).unwrap_err().contains("no recordings (*.mcap, *.bag, *.db3"));
        assert!(names(&folder, &["clip.mp4"]).unwrap_err().contains(".mcap, .bag or .db3 is expected"));
        assert!(names(&folder, &["gone.mcap"]).unwrap_err().contains("no such file or folder"));
        assert!(names(&folder, &["gone/*.mcap"]).unwrap_err().contains("no such file or folder"));
    }

    #[test]
    fn names_below_a_given_folder_are_paths_below_it() {
        let folder = tree(&["day/one.mcap", "other/two.mcap"]);
        let one = [folder.path().join("day/one.mcap")];
        assert_eq!(expand_below(&one, folder.path()).unwrap().keys, ["day/one.mcap"]);
        let outside = expand_below(&one, &folder.path().join("other")).unwrap_err().to_string();
        assert!(outside.contains("day/one.mcap") && outside.contains("/other"), "{outside}");
    }
    /// Makes the folder a ROS 2 bag of these files.
    fn bag(folder: &Path, files: &[&str]) {
        let listed: String = files.iter().map(|file| format!("    - {file}\n")).collect();
        let text = format!("rosbag2_bagfile_information:\n  version: 5\n  relative_file_paths:\n{listed}");
        fs::write(folder.join(METADATA_FILE), text).unwrap();
    }

    #[test]
    fn a_folder_of_ros_2_is_one_recording_and_its_files_are_none() {
        let folder = tree(&["day/run/run_0.mcap", "day/run/run_1.mcap", "day/run/left.mcap", "day/one.mcap"]);
        bag(&folder.path().join("day/run"), &["run_0.mcap", "run_1.mcap"]);
        let both = ["one.mcap", "run/metadata.yaml"];
        assert_eq!(names(&folder, &[""]).unwrap(), both);
        assert_eq!(names(&folder, &["day", "day/run"]).unwrap(), both);
        assert_eq!(names(&folder, &["day/run"]).unwrap(), ["run/metadata.yaml"]);
        assert_eq!(names(&folder, &["day/run/metadata.yaml"]).unwrap(), ["run/metadata.yaml"]);
        assert_eq!(names(&folder, &["day/*/*.mcap"]).unwrap(), ["run/metadata.yaml"], "a glob of its files");
        assert_eq!(names(&folder, &["day/r*"]).unwrap(), ["run/metadata.yaml"], "a glob of it");
        assert_eq!(names(&folder, &["day/*.mcap"]).unwrap(), ["one.mcap"]);
        assert_eq!(names(&folder, &["day/run/run_1.mcap"]).unwrap(), ["run_1.mcap"], "as it was asked for");
    }

    #[test]
    fn without_its_metadata_or_with_another_a_folder_is_its_files() {
        let folder = tree(&["run/run_0.mcap", "run/run_1.mcap", "run/x.db3", "run/metadata.yaml"]);
        let files = ["run_0.mcap", "run_1.mcap", "x.db3"];
        assert_eq!(names(&folder, &["run"]).unwrap(), files);
        fs::remove_file(folder.path().join("run/metadata.yaml")).unwrap();
        assert_eq!(names(&folder, &["run"]).unwrap(), files);
    }

    #[test]
    fn a_folder_of_ros_2_that_lacks_a_file_is_named() {
        let folder = tree(&["run/run_0.db3", "run/run_2.db3"]);
        bag(&folder.path().join("run"), &["run_0.db3", "run_1.db3"]);
        let error = names(&folder, &[""]).unwrap_err();
        assert!(error.contains("run/run_1.db3") && error.contains("not there"), "{error}");
        fs::write(folder.path().join("run/run_1.db3"), b"").unwrap();
        assert!(names(&folder, &["run"]).unwrap_err().contains("empty"));
    }
}
