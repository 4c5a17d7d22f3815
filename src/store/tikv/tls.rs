//! The files of mutual TLS, looked at before anything is opened: the client would tell of a bad one as of a placement
//! driver that does not answer.
//!
//! It checks that each holds what it should, in PEM; whether they fit one another is for the handshake. What a file holds
//! never reaches an error.

use super::options::TlsFiles;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fs;
use std::path::Path;

/// The largest file that is read, in bytes.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Says which file cannot be used, and why.
pub(super) fn check(files: &TlsFiles) -> Result<(), String> {
    let certificate: fn(&str) -> bool = |label| label == "CERTIFICATE";
    let key: fn(&str) -> bool = |label| label.ends_with("PRIVATE KEY");
    let parts = [
        (&files.ca, "certificate of the authority", "--pd-ca", certificate),
        (&files.cert, "certificate", "--pd-cert", certificate),
        (&files.key, "private key", "--pd-key", key),
    ];
    for (path, what, option, wanted) in parts {
        check_file(path, wanted).map_err(|reason| {
            format!("the {what} {}: {reason}; give a PEM file with {option}", path.display())
        })?;
    }
    Ok(())
}

fn check_file(path: &Path, wanted: fn(&str) -> bool) -> Result<(), String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > FILE_MAX_BYTES {
        return Err(format!("it is larger than {FILE_MAX_BYTES} bytes"));
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&bytes);
    let mut blocks = blocks(&text);
    match blocks.find(|(label, _)| wanted(label)) {
        None => Err("there is none in it".to_owned()),
        Some((_, None)) => Err("what is in it is damaged".to_owned()),
        Some((_, Some(_))) => Ok(()),
    }
}

/// The blocks of a PEM file: their labels, and whether what they hold can be decoded.
fn blocks(text: &str) -> impl Iterator<Item = (&str, Option<()>)> {
    text.split("-----BEGIN ").skip(1).filter_map(|rest| {
        let (label, rest) = rest.split_once("-----")?;
        let body = rest.split_once("-----END ").map(|(body, _)| body);
        Some((label, body.and_then(decodes)))
    })
}

fn decodes(body: &str) -> Option<()> {
    let body: String = body.split_whitespace().collect();
    let bytes = STANDARD.decode(body).ok()?;
    // Everything that PEM files hold here is a sequence in DER.
    (bytes.first() == Some(&0x30)).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const SECRET: &str = "MCMEIEtlZXAgdGhpcyBzZWNyZXQgb3V0IG9mIGFsbCBlcnJvcnM=";

    fn pem(label: &str, body: &str) -> String {
        format!("some words\n-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    /// Three good files, of which one is then replaced.
    fn files(folder: &Path, bad: Option<(&str, &str)>) -> TlsFiles {
        let write = |name: &str, good: String| -> PathBuf {
            let text = bad.filter(|(which, _)| *which == name).map_or(good, |(_, text)| text.to_owned());
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        TlsFiles {
            ca: write("ca.pem", pem("CERTIFICATE", SECRET)),
            cert: write("cert.pem", pem("CERTIFICATE", SECRET)),
            key: write("key.pem", pem("RSA PRIVATE KEY", SECRET)),
        }
    }

    #[test]
    fn files_that_hold_what_they_should_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        check(&files(folder.path(), None)).unwrap();
    }

    #[test]
    fn a_bad_file_is_named_with_the_option_and_without_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let damaged = pem("PRIVATE KEY", &SECRET.replace('t', "!"));
        let cut = format!("-----BEGIN PRIVATE KEY-----\n{SECRET}");
        let cases = [
            ("ca.pem", "garbage", "--pd-ca"),
            ("cert.pem", &pem("PRIVATE KEY", SECRET), "--pd-cert"),
            ("key.pem", &pem("CERTIFICATE", SECRET), "--pd-key"),
            ("key.pem", &damaged, "--pd-key"),
            ("key.pem", &cut, "--pd-key"),
            ("key.pem", &pem("PRIVATE KEY", "AAAA"), "--pd-key"),
        ];
        for (name, text, option) in cases {
            let reason = check(&files(folder.path(), Some((name, text)))).unwrap_err();
            assert!(reason.contains(name) && reason.contains(option), "{reason}");
            assert!(!reason.contains("MCME") && !reason.contains("Keep"), "{reason}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = files(folder.path(), None);
        files.key = folder.path().join("nowhere.pem");
        let reason = check(&files).unwrap_err();
        assert!(reason.contains("nowhere.pem") && reason.contains("No such file"), "{reason}");
        files.key = folder.path().to_owned();
        assert!(check(&files).unwrap_err().contains("--pd-key"));
    }
}
