//! The build script: which commit a release is built from, for `--version`. It compiles nothing and needs no network.

use std::process::Command;

/// In a build for development: so that a commit does not make everything be built anew.
const DEVELOPMENT: &str = "development";
/// Where neither the environment nor git tells.
const UNKNOWN: &str = "commit unknown";

fn git(words: &[&str]) -> Option<String> {
    let said = Command::new("git").args(words).output().ok().filter(|said| said.status.success())?;
    Some(String::from_utf8(said.stdout).ok()?.trim().to_owned())
}

fn commit() -> String {
    if let Some(given) = std::env::var("ROBOFLOW_COMMIT").ok().filter(|given| !given.is_empty()) {
        return given.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    }
    if std::env::var("PROFILE").is_ok_and(|profile| profile != "release") {
        return DEVELOPMENT.to_owned();
    }
    // A checkout that moves on has another log; without one, HEAD is all there is to watch.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| UNKNOWN.to_owned())
}

fn main() {
    println!("cargo:rerun-if-changed=src/build.rs");
    println!("cargo:rerun-if-env-changed=ROBOFLOW_COMMIT");
    println!("cargo:rustc-env=ROBOFLOW_COMMIT={}", commit());
}
