//! What a location names on this host: paths and `file://` URLs.
//!
//! It opens nothing. A scheme that is not the disk's is refused by name, never taken for a path.

use super::StorageError;
use std::path::PathBuf;

/// The path that a location names, when it names one.
///
/// # Errors
/// [`StorageError::Refused`] for another scheme, another host, or a broken escape.
pub fn local_path(location: &str) -> Result<PathBuf, StorageError> {
    let refuse = |reason: &str| StorageError::Refused {
        location: location.into(),
        action: "opening",
        key: "it".into(),
        reason: reason.into(),
    };
    let Some((scheme, rest)) = location.split_once("://") else {
        return if location.is_empty() {
            Err(refuse("the location is empty: give a path or a file:// URL"))
        } else {
            Ok(PathBuf::from(location))
        };
    };
    match scheme.to_ascii_lowercase().as_str() {
        "file" => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(refuse("a file URL is file:///absolute/path, on this host"));
            }
            unescape(path)
                .map(PathBuf::from)
                .ok_or_else(|| refuse("a `%` is not followed by two hex digits of UTF-8"))
        }
        "s3" => Err(refuse("object storage is not this host's disk: give a path or a file:// URL")),
        _ => Err(refuse("this scheme is not served: give a path or a file:// URL")),
    }
}

/// A location as every process of this host, and with object storage every host, understands it: paths absolute, no `/` at
/// the end, the scheme in lower case.
///
/// # Errors
/// As [`local_path`], and [`StorageError::Refused`] for a bucket that is not named.
pub fn absolute(location: &str) -> Result<String, StorageError> {
    let refuse = |reason: String| StorageError::Refused {
        location: location.into(),
        action: "opening",
        key: "it".into(),
        reason,
    };
    if let Some((scheme, rest)) = location.split_once("://")
        && scheme.eq_ignore_ascii_case("s3")
    {
        let rest = rest.trim_end_matches('/');
        if rest.is_empty() || rest.starts_with('/') {
            return Err(refuse("no bucket is named: write s3://BUCKET/PREFIX".into()));
        }
        return Ok(format!("s3://{rest}"));
    }
    let path = std::path::absolute(local_path(location)?).map_err(|error| refuse(error.to_string()))?;
    let text = path.to_str().ok_or_else(|| refuse("its path is not valid UTF-8: rename it".into()))?;
    Ok(if text.len() > 1 { text.trim_end_matches('/').to_owned() } else { text.to_owned() })
}

/// Whether a location is a path or `file://` URL: something that other hosts see only if they share the disk.
pub fn is_local(location: &str) -> bool {
    location.split_once("://").is_none_or(|(scheme, _)| scheme.eq_ignore_ascii_case("file"))
}

/// Replaces `%41` by `A`.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_file_urls_are_paths() {
        for (location, path) in [
            ("out", "out"),
            ("./a b", "./a b"),
            ("/data/x", "/data/x"),
            ("file:///data/x", "/data/x"),
            ("file://localhost/data/x", "/data/x"),
            ("FILE:///a%20b%C3%A4", "/a bä"),
        ] {
            assert_eq!(local_path(location).unwrap(), PathBuf::from(path), "{location}");
        }
    }

    #[test]
    fn locations_are_made_absolute() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute("set/").unwrap(), here.join("set").to_str().unwrap());
        assert_eq!(absolute("file:///data/a%20b/").unwrap(), "/data/a b");
        assert_eq!(absolute("/").unwrap(), "/");
        assert_eq!(absolute("S3://bucket/set/").unwrap(), "s3://bucket/set");
        for wrong in ["s3://", "s3:///x", "gs://b/x", ""] {
            assert!(absolute(wrong).is_err(), "{wrong}");
        }
        assert!(is_local("x") && is_local("FILE:///x") && !is_local("s3://b"));
    }

    #[test]
    fn pitfall_29_other_schemes_never_fall_back_to_the_disk() {
        for (location, word) in [
            ("s3://bucket/x", "not this host's disk"),
            ("gs://bucket/x", "not served"),
            ("file://host/x", "this host"),
            ("file:///a%2", "hex"),
            ("", "empty"),
        ] {
            let message = local_path(location).unwrap_err().to_string();
            assert!(message.contains(word) && message.contains(location), "{message}");
        }
    }
}
