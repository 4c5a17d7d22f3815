//! Recordings in a bucket: objects, prefixes and globs. The same rules as on a disk.

use super::{Found, InputError, MAX_RECORDINGS, glob, has_glob, is_named_so, is_recording};
use crate::storage::{ObjectInfo, Places, StorageError};
use crate::work::StopFlag;
use std::collections::BTreeMap;
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
    if is_named_so(path) && !has_glob(url.key) {
        let (folder, name) = url.key.rsplit_once('/').unwrap_or(("", url.key));
        let info = match places.open(&place(url.bucket, folder), stop)?.head(name) {
            Err(StorageError::NotFound { .. }) => {
                return Err(InputError::Missing { path: typed.to_owned() });
            }
            looked => looked?,
        };
        found.insert(url.key.to_owned(), info);
        return Ok(());
    }
    let matcher = has_glob(url.key).then(|| glob(typed, url.key)).transpose()?;
    let fixed: Vec<&str> = url.key.split('/').take_while(|part| !has_glob(part)).collect();
    let folder = fixed.join("/");
    let storage = places.open(&place(url.bucket, &folder), stop)?;
    let mut any = false;
    for info in storage.list("")? {
        let info = info?;
        let key = if folder.is_empty() { info.key.clone() } else { format!("{folder}/{}", info.key) };
        if !is_recording(&info.key) || matcher.as_ref().is_some_and(|matcher| !matcher.is_match(&key)) {
            continue;
        }
        if found.len() >= MAX_RECORDINGS {
            let reason =
                format!("more than {MAX_RECORDINGS} recordings at once: split them over several outputs");
            return Err(InputError::TooMany { path: typed.to_owned(), reason });
        }
        any = true;
        found.insert(key, info);
    }
    if !any {
        return Err(InputError::Nothing { path: typed.to_owned() });
    }
    Ok(())
}

fn place(bucket: &str, key: &str) -> String {
    if key.is_empty() { format!("{SCHEME}{bucket}") } else { format!("{SCHEME}{bucket}/{key}") }
}

/// The folder that all keys have in common.
fn common_folder<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    let mut common: Option<Vec<&str>> = None;
    for key in keys {
        let folder: Vec<&str> = key.rsplit_once('/').map_or("", |(folder, _)| folder).split('/').collect();
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
}
