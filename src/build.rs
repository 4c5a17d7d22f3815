//! The build script: which commit a release is built from, for `--version`; and `allocator.c`, where there is glibc. It needs no
//! network.

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

/// Into every program that the library is part of: nothing calls it, so that a linker would leave it out.
fn settle_the_allocator() {
    println!("cargo:rerun-if-changed=src/allocator.c");
    let is_glibc = std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu")
        && std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if is_glibc {
        cc::Build::new().file("src/allocator.c").link_lib_modifier("+whole-archive").compile("allocator");
    }
}

fn main() {
    settle_the_allocator();
    println!("cargo:rerun-if-changed=src/build.rs");
    println!("cargo:rerun-if-env-changed=ROBOFLOW_COMMIT");
    println!("cargo:rustc-env=ROBOFLOW_COMMIT={}", commit());
}
