//! The shared files of AWS: a profile's keys and region.
//!
//! Read here and not by rusoto, whose reader cuts a value at its second `=`, panics at a line without one, and starts
//! programs that a file names. A profile that needs more than keys is refused by name.

use super::options::Environment;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The region when nobody names one.
const DEFAULT_REGION: &str = "us-east-1";
/// Shared files are small: what is larger is none.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// What a profile may ask for that is not served.
const NOT_SERVED: [&str; 6] = [
    "credential_process",
    "role_arn",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
    "credential_source",
];

/// A profile's entries.
type Entries = BTreeMap<String, String>;

/// The profile that is meant, and whether somebody named it.
pub(super) fn name(environment: &Environment) -> (String, bool) {
    match environment.get("AWS_PROFILE").or_else(|| environment.get("AWS_DEFAULT_PROFILE")) {
        Some(name) => (name, true),
        None => ("default".to_owned(), false),
    }
}

/// The files' paths: credentials and configuration.
fn paths(environment: &Environment) -> [Option<PathBuf>; 2] {
    let at = |variable: &str, name: &str| {
        let given = environment.get(variable).map(PathBuf::from);
        given.or_else(|| environment.get("HOME").map(|home| Path::new(&home).join(".aws").join(name)))
    };
    [at("AWS_SHARED_CREDENTIALS_FILE", "credentials"), at("AWS_CONFIG_FILE", "config")]
}

/// The file that holds keys, for messages.
pub(super) fn credentials_path(environment: &Environment) -> String {
    let [path, _] = paths(environment);
    path.map_or_else(|| "~/.aws/credentials".to_owned(), |path| path.display().to_string())
}

/// What both files say of a profile; the one of credentials comes first. None when neither has it.
///
/// # Errors
/// For a file that is there and cannot be read.
pub(super) fn read(environment: &Environment, profile: &str) -> Result<Option<Entries>, String> {
    let [credentials, config] = paths(environment);
    let mut found: Option<Entries> = None;
    for (path, header) in [(credentials, profile.to_owned()), (config, in_config(profile))] {
        let Some(text) = path.as_deref().map(text_of).transpose()?.flatten() else { continue };
        if let Some(entries) = section(&text, &header) {
            let found = found.get_or_insert_default();
            for (name, value) in entries {
                found.entry(name).or_insert(value);
            }
        }
    }
    Ok(found)
}

/// Key, secret and session token of a profile.
///
/// # Errors
/// When the profile is missing, incomplete, or needs what is not served.
pub(super) fn keys(
    environment: &Environment,
    profile: &str,
) -> Result<(String, String, Option<String>), String> {
    let path = credentials_path(environment);
    let Some(entries) = read(environment, profile)? else {
        return Err(format!(
            "{path} has no profile {profile}: check AWS_PROFILE and AWS_SHARED_CREDENTIALS_FILE"
        ));
    };
    let get = |name: &str| entries.get(name).cloned();
    match (get("aws_access_key_id"), get("aws_secret_access_key")) {
        (Some(key), Some(secret)) => {
            Ok((key, secret, get("aws_session_token").or_else(|| get("aws_security_token"))))
        }
        _ => Err(match NOT_SERVED.iter().find(|name| entries.contains_key(**name)) {
            Some(name) => format!(
                "profile {profile} needs {name}, which is not served: give it keys, or use a web identity"
            ),
            None => format!("profile {profile} of {path} needs aws_access_key_id and aws_secret_access_key"),
        }),
    }
}

/// The region: `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's, or the first that there was.
///
/// # Errors
/// For a name that no region has, or a shared file that cannot be read.
pub(super) fn region(environment: &Environment) -> Result<String, String> {
    let named = environment.get("AWS_REGION").or_else(|| environment.get("AWS_DEFAULT_REGION"));
    let region = match named {
        Some(region) => region,
        None => read(environment, &name(environment).0)?
            .and_then(|mut entries| entries.remove("region"))
            .unwrap_or_else(|| DEFAULT_REGION.to_owned()),
    };
    let fits = region.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if fits && region.len() <= 64 { Ok(region) } else { Err(format!("AWS_REGION: {region:?} is no region")) }
}

fn in_config(profile: &str) -> String {
    if profile == "default" { profile.to_owned() } else { format!("profile {profile}") }
}

/// A file's text; none when there is no such file.
fn text_of(path: &Path) -> Result<Option<String>, String> {
    let fail = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() && meta.len() <= MAX_FILE_BYTES => {}
        Ok(_) => return Err(fail(&"it is no small file of profiles")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(&error)),
    }
    std::fs::read_to_string(path).map(Some).map_err(|error| fail(&error))
}

/// The entries below `[header]`.
fn section(text: &str, header: &str) -> Option<Entries> {
    let mut found: Option<Entries> = None;
    let mut inside = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(title) =
            trimmed.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(title, _)| title)
        {
            inside = title.split_ascii_whitespace().eq(header.split_ascii_whitespace());
            if inside {
                found.get_or_insert_default();
            }
            continue;
        }
        // An indented line belongs to a nested setting.
        if !inside || line.starts_with([' ', '\t']) {
            continue;
        }
        if let (Some((name, value)), Some(found)) = (trimmed.split_once('='), found.as_mut()) {
            found.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "# mine\n[default]\naws_access_key_id = K\naws_secret_access_key=S/+=\n\n[ other ]\n\
        aws_access_key_id=K2\naws_secret_access_key=S2\naws_session_token = T==\nbroken line\n[half]\naws_access_key_id=K3\n";
    const CONFIG: &str = "[default]\nregion=eu-north-1\ns3 =\n    addressing_style = path\n[profile other]\nregion = eu-west-1\n\
        [profile process]\ncredential_process = /bin/steal --now\n";

    fn environment(folder: &Path, profile: &str) -> Environment {
        std::fs::write(folder.join("credentials"), CREDENTIALS).unwrap();
        std::fs::write(folder.join("config"), CONFIG).unwrap();
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        Environment::of([
            ("AWS_SHARED_CREDENTIALS_FILE".to_owned(), path("credentials")),
            ("AWS_CONFIG_FILE".to_owned(), path("config")),
            ("AWS_PROFILE".to_owned(), profile.to_owned()),
        ])
    }

    #[test]
    fn profiles_give_keys_tokens_and_regions() {
        let folder = tempfile::tempdir().unwrap();
        let owned = |key: &str, secret: &str, token: Option<&str>| {
            (key.to_owned(), secret.to_owned(), token.map(str::to_owned))
        };
        let env = environment(folder.path(), "");
        assert_eq!(name(&env), ("default".to_owned(), false));
        assert_eq!(keys(&env, "default").unwrap(), owned("K", "S/+=", None));
        assert_eq!(region(&env).unwrap(), "eu-north-1");
        let env = environment(folder.path(), "other");
        assert_eq!(name(&env), ("other".to_owned(), true));
        assert_eq!(keys(&env, "other").unwrap(), owned("K2", "S2", Some("T==")));
        assert_eq!(region(&env).unwrap(), "eu-west-1");
    }

    #[test]
    fn what_a_profile_lacks_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let env = environment(folder.path(), "half");
        for (profile, words) in [
            ("half", &["half", "aws_secret_access_key"][..]),
            ("missing", &["no profile missing", "AWS_PROFILE", "credentials"]),
            ("process", &["credential_process", "not served"]),
        ] {
            let error = keys(&env, profile).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)) && !error.contains("K3"), "{error}");
        }
        let wild = Environment::of([("AWS_REGION", "eu/../x")]);
        assert!(region(&wild).unwrap_err().contains("AWS_REGION"));
        assert_eq!(region(&Environment::of([("AWS_DEFAULT_REGION", "x-1")])).unwrap(), "x-1");
        assert_eq!(region(&Environment::of([("HOME", "/nowhere")])).unwrap(), DEFAULT_REGION);
    }
}
