//! Recordings in a bucket: objects, prefixes and globs. The same rules as on a disk.

use super::{
    Found, InputError, Kind, MAX_RECORDINGS, folder_over, glob, has_glob, is_named_so, kind, say_strangers,
};
use crate::convert::source::rosbag2::{self, Folder};
use crate::storage::{ObjectInfo, Places, Storage, StorageError};
use crate::work::StopFlag;
use globset::GlobMatcher;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const SCHEME: &str = "s3://";

/// Whether an input is in a bucket.
pub(super) fn is_url(input: &str) -> bool {
    input.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
}

/// A place in a bucket, as typed. The key has no `/` at its ends.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Url<'a> {
    bucket: &'a str,
    key: &'a str,
}

fn parse(typed: &str) -> Result<Url<'_>, InputError> {
    let rest = typed.get(SCHEME.len()..).unwrap_or_default();
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        let reason = "no bucket is named: write s3://BUCKET/KEY".to_owned();
        return Err(InputError::NotARecording { path: typed.to_owned(), reason });
    }
    Ok(Url { bucket, key: key.trim_matches('/') })
}

/// Finds recordings, all of one bucket.
pub(super) fn find(
    urls: &[&String],
    base: Option<&str>,
    places: &Places,
    stop: &StopFlag,
) -> Result<Found, InputError> {
    let apart = |one: &str, other: &str| InputError::Apart { one: one.to_owned(), other: other.to_owned() };
    let mut found = BTreeMap::new();
    let mut bucket: Option<(&str, &str)> = None;
    for typed in urls {
        let url = parse(typed)?;
        match bucket {
            Some((first, other)) if first != url.bucket => return Err(apart(other, typed)),
            _ => bucket = Some((url.bucket, typed.as_str())),
        }
        look(typed, &url, places, stop, &mut found)?;
    }
    let (bucket, first) = bucket.unwrap_or_default();
    let folder = match base {
        None => common_folder(found.keys()),
        Some(base) if is_url(base) && parse(base)?.bucket == bucket => parse(base)?.key.to_owned(),
        Some(base) => return Err(apart(base, first)),
    };
    let location = place(bucket, &folder);
    let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut objects = Vec::with_capacity(found.len());
    for (key, info) in found {
        let Some(name) = key.strip_prefix(&below) else {
            return Err(InputError::Outside { path: place(bucket, &key), base: location });
        };
        objects.push(ObjectInfo { key: name.to_owned(), ..info });
    }
    Ok(Found { storage: places.open(&location, stop)?, location, objects })
}

/// Adds what one URL names, by its key in the bucket.
fn look(
    typed: &str,
    url: &Url<'_>,
    places: &Places,
    stop: &StopFlag,
    found: &mut BTreeMap<String, ObjectInfo>,
) -> Result<(), InputError> {
    let path = Path::new(url.key);
    if (is_named_so(path) || rosbag2::folder_of(url.key).is_some()) && !has_glob(url.key) {
        let (folder, name) = url.key.rsplit_once('/').unwrap_or(("", url.key));
        let storage = places.open(&place(url.bucket, folder), stop)?;
        if matches!(storage.head(name), Err(StorageError::NotFound { .. })) {
            return Err(InputError::Missing { path: typed.to_owned() });
        }
        let info = rosbag2::look(&*storage, name)?;
        found.insert(url.key.to_owned(), info);
        return Ok(());
    }
    let matcher = has_glob(url.key).then(|| glob(typed, url.key)).transpose()?;
    let fixed: Vec<&str> = url.key.split('/').take_while(|part| !has_glob(part)).collect();
    let folder = fixed.join("/");
    let storage = places.open(&place(url.bucket, &folder), stop)?;
    let mut listed = Vec::new();
    for info in storage.list("")? {
        let info = info?;
        if kind(&info.key) == Kind::Other {
            continue;
        }
        if found.len() + listed.len() >= MAX_RECORDINGS {
            let reason =
                format!("more than {MAX_RECORDINGS} recordings at once: split them over several outputs");
            return Err(InputError::TooMany { path: typed.to_owned(), reason });
        }
        listed.push(info);
    }
    let whole = |key: &str| if folder.is_empty() { key.to_owned() } else { format!("{folder}/{key}") };
    let taken = recordings(&*storage, listed, matcher.as_ref(), &whole)?;
    if taken.is_empty() {
        return Err(InputError::Nothing { path: typed.to_owned() });
    }
    found.extend(taken.into_iter().map(|info| (whole(&info.key), info)));
    Ok(())
}

/// What of a listing is a recording: folders of ROS 2, and the files that lie in none. A glob takes a folder by its own path or
/// that of a file of it; `whole` gives a key as the glob has it.
fn recordings(
    storage: &dyn Storage,
    listed: Vec<ObjectInfo>,
    glob: Option<&GlobMatcher>,
    whole: &dyn Fn(&str) -> String,
) -> Result<Vec<ObjectInfo>, InputError> {
    let taken = |key: &str| glob.is_none_or(|glob| glob.is_match(whole(key)));
    let over = |key: &str| folder_over(key).map(|(folder, _)| folder.to_owned());
    let mut inside: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for info in &listed {
        if let Some(folder) = over(&info.key) {
            inside.entry(folder).or_default().push(&info.key);
        }
    }
    let (mut recordings, mut bags) = (Vec::new(), BTreeSet::new());
    for info in &listed {
        let Some(folder) = rosbag2::folder_of(&info.key) else { continue };
        let files = inside.get(folder).map(Vec::as_slice).unwrap_or_default();
        if !(taken(folder) || taken(&info.key) || files.iter().any(|key| taken(key))) {
            continue;
        }
        if let Some(bag) = Folder::look(storage, &info.key)? {
            say_strangers(&bag, files.iter().copied());
            bags.insert(folder.to_owned());
            recordings.push(bag.object());
        }
    }
    let alone = |info: &ObjectInfo| {
        let in_bag = over(&info.key).is_some_and(|folder| bags.contains(&folder));
        kind(&info.key) == Kind::File && !in_bag && taken(&info.key)
    };
    recordings.extend(listed.iter().filter(|info| alone(info)).cloned());
    Ok(recordings)
}

fn place(bucket: &str, key: &str) -> String {
    if key.is_empty() { format!("{SCHEME}{bucket}") } else { format!("{SCHEME}{bucket}/{key}") }
}

/// The folder that all keys have in common.
fn common_folder<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    let mut common: Option<Vec<&str>> = None;
    for key in keys {
        // A folder that is a recording is named itself.
        let name = rosbag2::name_of(key);
        let folder: Vec<&str> = name.rsplit_once('/').map_or("", |(folder, _)| folder).split('/').collect();
        common = Some(match common {
            None => folder,
            Some(common) => {
                common.into_iter().zip(folder).take_while(|(a, b)| a == b).map(|(part, _)| part).collect()
            }
        });
    }
    common.unwrap_or_default().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        assert_eq!(parse("s3://b/x/y/").unwrap(), Url { bucket: "b", key: "x/y" });
        assert_eq!(parse("S3://b").unwrap(), Url { bucket: "b", key: "" });
        assert!(parse("s3:///x").unwrap_err().to_string().contains("s3://BUCKET/KEY"));
        assert!(is_url("S3://b/x") && !is_url("s3/x") && !is_url("/s3://b") && !is_url(""));
    }

    #[test]
    fn names_are_below_the_folder_in_common() {
        let common = |keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            common_folder(keys.iter())
        };
        assert_eq!(common(&["day/one.mcap"]), "day");
        assert_eq!(common(&["day/one.mcap", "day/in/two.mcap"]), "day");
        assert_eq!(common(&["day/one.mcap", "days/two.mcap"]), "");
        assert_eq!(common(&["one.mcap", "day/two.mcap"]), "");
    }

    #[test]
    fn buckets_do_not_mix_and_what_is_no_recording_is_named() {
        let look = |urls: &[&str]| {
            let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
            let urls: Vec<&String> = urls.iter().collect();
            find(&urls, None, &Places::default(), &StopFlag::default()).unwrap_err().to_string()
        };
        assert!(look(&["s3:///x.mcap"]).contains("no bucket"));
    }
    #[test]
    fn a_prefix_with_metadata_is_one_recording() {
        let storage = crate::storage::memory::MemoryStorage::new();
        let text = b"rosbag2_bagfile_information:\n  relative_file_paths: [b_0.mcap, b_1.mcap]\n";
        for (key, body) in [
            ("a.mcap", &b"x"[..]),
            ("b/b_0.mcap", b"x"),
            ("b/b_1.mcap", b"xy"),
            ("b/c/d.mcap", b"x"),
            ("b/metadata.yaml", text),
            ("e/f.db3", b"x"),
            ("e/metadata.yaml", b"other: thing"),
            ("g.txt", b"x"),
        ] {
            storage.put(key, body).unwrap();
        }
        let all = || storage.list("").unwrap().map(Result::unwrap).filter(|i| kind(&i.key) != Kind::Other);
        let found = |pattern: Option<&str>| {
            let matcher = pattern.map(|pattern| glob(pattern, pattern).unwrap());
            let whole = |key: &str| key.to_owned();
            let found = recordings(&storage, all().collect(), matcher.as_ref(), &whole).unwrap();
            let mut keys: Vec<(String, u64)> = found.into_iter().map(|info| (info.key, info.size)).collect();
            keys.sort();
            keys
        };
        let is = |key: &str, size| (key.to_owned(), size);
        assert_eq!(
            found(None),
            [is("a.mcap", 1), is("b/c/d.mcap", 1), is("b/metadata.yaml", 3), is("e/f.db3", 1)]
        );
        assert_eq!(found(Some("*/*.mcap")), [is("b/metadata.yaml", 3)]);
        assert_eq!(found(Some("b")), [is("b/metadata.yaml", 3)]);
        assert_eq!(found(Some("*.mcap")), [is("a.mcap", 1)]);
        assert_eq!(common_folder(["x/b/metadata.yaml".to_owned()].iter()), "x");
    }
}
