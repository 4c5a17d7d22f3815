//! Places as they are typed: paths and `file://` URLs. Any other scheme is refused by name, never taken for a path.

use crate::storage::local_path;
use std::ffi::OsString;
use std::path::PathBuf;

/// Reads a place. A name that is no text can only be a path.
///
/// # Errors
/// When it names a scheme that is not served, with what to give instead.
pub(super) fn parse(typed: OsString) -> Result<PathBuf, String> {
    match typed.to_str() {
        Some(text) => local_path(text).map_err(|error| error.to_string()),
        None => Ok(PathBuf::from(typed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pitfall_29_a_scheme_that_is_not_served_is_never_a_folder() {
        for place in ["s3://bucket/set", "S3://bucket/set", "gs://bucket/set"] {
            let refused = parse(place.into()).unwrap_err();
            assert!(refused.contains("give a path"), "{place}: {refused}");
        }
        assert_eq!(parse("file:///data/set".into()), Ok("/data/set".into()));
        assert_eq!(parse("data/a:b".into()), Ok("data/a:b".into()));
    }
}
