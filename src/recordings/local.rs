//! Recordings on this host: files, folders and globs. Nothing is opened here.

use super::{InputError, MAX_RECORDINGS, has_glob, is_named_so};
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
    /// Their paths below it with `/` between the parts, in the order of their bytes.
    pub names: Vec<String>,
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
        let reason = "not a recording: a file whose name ends in .mcap or .bag is expected".to_owned();
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
        let entries = fs::read_dir(folder).map_err(|source| self.unreadable(folder, source))?;
        for entry in entries {
            let path = entry.map_err(|source| self.unreadable(folder, source))?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
                continue;
            }
            let Ok(meta) = fs::metadata(&path) else { continue };
            if meta.is_dir() {
                self.folder(&path, glob, depth + 1)?;
            } else if glob.is_none_or(|glob| glob.is_match(&path)) && is_named_so(&path) {
                self.add(path)?;
            }
        }
        Ok(())
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
        let folder = file.parent().unwrap_or(Path::new("/"));
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
    let mut names = Vec::with_capacity(files.len());
    for file in files {
        let outside =
            || InputError::Outside { path: file.display().to_string(), base: base.display().to_string() };
        let below = file.strip_prefix(&base).map_err(|_not_below| outside())?;
        names.push(below.to_str().ok_or_else(|| not_text(file))?.to_owned());
    }
    names.sort_unstable();
    Ok(Recordings { base, names })
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
        expand(&paths).map(|found| found.names).map_err(|error| error.to_string())
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
        assert!(names(&folder, &["empty"]).unwrap_err().contains("no recordings (*.mcap, *.bag) here"));
        assert!(names(&folder, &["clip.mp4"]).unwrap_err().contains(".mcap or .bag is expected"));
        assert!(names(&folder, &["gone.mcap"]).unwrap_err().contains("no such file or folder"));
        assert!(names(&folder, &["gone/*.mcap"]).unwrap_err().contains("no such file or folder"));
    }

    #[test]
    fn names_below_a_given_folder_are_paths_below_it() {
        let folder = tree(&["day/one.mcap", "other/two.mcap"]);
        let one = [folder.path().join("day/one.mcap")];
        assert_eq!(expand_below(&one, folder.path()).unwrap().names, ["day/one.mcap"]);
        let outside = expand_below(&one, &folder.path().join("other")).unwrap_err().to_string();
        assert!(outside.contains("day/one.mcap") && outside.contains("/other"), "{outside}");
    }
}
