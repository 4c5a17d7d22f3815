//! Datasets with videos by the real program: with openh264, and with what an ffmpeg may do to it. The ffmpegs here are scripts; the
//! true one is tried by `.ci/readers/matrix.py`.

use crate::lab::{Lab, program, short};
use roboflow_proptests::program::{Program, dataset_bytes};
use roboflow_proptests::recording::Robot;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn filmed() -> Robot {
    Robot { cameras: 2, ..short() }
}

#[test]
fn cameras_become_videos_of_which_every_frame_decodes() {
    let lab = Lab::with(3, &filmed());
    let ran = lab.run("run in --out set --workers 2 --video-encoder openh264 --segment-frames 37");
    ran.expect_code(0);
    assert!(ran.stderr.contains("[video]\nencoder = \"openh264\""), "{}", ran.stderr);
    let checked = lab.run("validate set --deep --json");
    checked.expect_code(0);
    let report: Value = serde_json::from_str(&checked.stdout).unwrap();
    for list in ["problems", "advice", "unchecked"] {
        assert_eq!(report[list].as_array().unwrap().len(), 0, "{report}");
    }
    let films = ["camera_0", "camera_1"]
        .map(|camera| lab.path(&format!("set/videos/observation.images.{camera}/chunk-000/file-000.mp4")));
    assert!(films.iter().all(|film| film.is_file()), "{films:?}");
    let stored = fs::read_to_string(lab.path("set/meta/roboflow/mapping.toml")).unwrap();
    assert!(stored.contains("kind = \"video\"") && stored.contains("encoder = \"openh264\""), "{stored}");
}

#[test]
fn the_bytes_of_videos_are_a_function_of_recordings_and_configuration_alone() {
    let lab = Lab::with(3, &filmed());
    let run = |out: &str, more: &str| {
        lab.run(&format!("run in --out {out} --video-encoder openh264 {more}")).expect_code(0);
        dataset_bytes(&lab.path(out))
    };
    let one = run("one", "--workers 1");
    assert_eq!(one, run("three", "--workers 3"));
    // Other segments are other configuration: frames fall into groups that end with them.
    assert_ne!(one, run("other", "--segment-frames 7"));
}

#[test]
fn another_encoder_is_another_dataset() {
    let lab = Lab::with(1, &filmed());
    lab.run("run in --out set --video-encoder openh264").expect_code(0);
    let mapping = lab.path("set/.roboflow/mapping.toml");
    let text = fs::read_to_string(&mapping).unwrap().replace("[video]", "[video]\nquality = 30");
    fs::write(lab.path("other.toml"), text).unwrap();
    let refused = lab.run("run in --out set --mapping other.toml");
    refused.expect_code(78);
    assert!(refused.stderr.contains("the mapping has changed"), "{}", refused.stderr);
    let unknown = lab.run("run in --out new --video-encoder mpeg1");
    unknown.expect_code(78);
    assert!(unknown.stderr.contains("valid are \"openh264\", \"ffmpeg:libx264\""), "{}", unknown.stderr);
}

/// A lab whose `ffmpeg` is this script, and nothing else of that name; it stands in `bin`.
fn with_ffmpeg(script: &str) -> (Lab, Program) {
    let lab = Lab::with(1, &filmed());
    let bin = lab.path("bin");
    fs::create_dir(&bin).unwrap();
    if !script.is_empty() {
        let ffmpeg = bin.join("ffmpeg");
        fs::write(&ffmpeg, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&ffmpeg, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = bin.to_str().unwrap().to_owned();
    let program = program().with_env([("PATH", path.as_str())]);
    (lab, program)
}

const HAS_X264: &str = "case \"$*\" in *-encoders*) echo ' V....D libx264  H.264'; exit 0;; esac";

#[test]
fn without_ffmpeg_nothing_is_begun() {
    let (lab, program) = with_ffmpeg("");
    let refused =
        program.run(lab.folder(), ["run", "in", "--out", "set", "--video-encoder", "ffmpeg:libx264"]);
    refused.expect_code(78);
    assert!(refused.stderr.contains("none is found in PATH"), "{}", refused.stderr);
    assert!(!lab.path("set").exists());
}

#[test]
fn an_encoder_that_ffmpeg_lacks_is_refused_with_what_it_has() {
    let (lab, program) = with_ffmpeg(HAS_X264);
    let refused =
        program.run(lab.folder(), ["run", "in", "--out", "set", "--video-encoder", "ffmpeg:libsvtav1"]);
    refused.expect_code(78);
    assert!(
        refused.stderr.contains("has no encoder libsvtav1") && refused.stderr.contains("\"libx264\""),
        "{}",
        refused.stderr
    );
}

#[test]
fn what_ffmpeg_complains_is_in_the_error() {
    let (lab, program) = with_ffmpeg(&format!("{HAS_X264}\necho 'no memory for lookahead' >&2\nexit 3"));
    let failed =
        program.run(lab.folder(), ["run", "in", "--out", "set", "--video-encoder", "ffmpeg:libx264"]);
    failed.expect_code(65);
    for word in ["ffmpeg:libx264", "exit status: 3", "no memory for lookahead"] {
        assert!(failed.stderr.contains(word), "{word}: {}", failed.stderr);
    }
    let (lab, program) = with_ffmpeg(&format!("{HAS_X264}\nread line\necho nonsense"));
    let failed =
        program.run(lab.folder(), ["run", "in", "--out", "set", "--video-encoder", "ffmpeg:libx264"]);
    failed.expect_code(65);
    assert!(failed.stderr.contains("what ffmpeg wrote is not used"), "{}", failed.stderr);
}

#[test]
fn an_ffmpeg_that_lists_nothing_is_refused() {
    for (script, word) in [("exit 1", "it lists none"), ("exec /bin/sleep 600", "within 20 s")] {
        let (lab, program) = with_ffmpeg(script);
        let refused =
            program.run(lab.folder(), ["run", "in", "--out", "set", "--video-encoder", "ffmpeg:libx264"]);
        refused.expect_code(78);
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
    }
}

/// The child takes frames and never answers. Asked to stop, the program ends and leaves no child behind; the signal that reaches the
/// program's whole group does not reach the child, which would write that down.
#[test]
fn a_stop_ends_a_child_that_hangs() {
    let script = format!(
        "{HAS_X264}\ntrap 'echo hit >> caught' INT TERM\necho $$ > child\nwhile :; do /bin/sleep 0.05; done"
    );
    let (lab, program) = with_ffmpeg(&script);
    let mut running =
        program.start(lab.folder(), ["run", "in", "--out", "set", "--video-encoder", "ffmpeg:libx264"]);
    let child = lab.path("child");
    assert!(
        running
            .until("the child has started", || fs::read_to_string(&child).is_ok_and(|id| id.ends_with('\n')))
    );
    let id: i32 = fs::read_to_string(&child).unwrap().trim().parse().unwrap();
    running.signal_group(Signal::INT);
    running.signal_group(Signal::INT);
    running.wait().expect_code(0);
    let pid = rustix::process::Pid::from_raw(id).unwrap();
    assert!(rustix::process::test_kill_process(pid).is_err(), "the child {id} is still there");
    assert!(!lab.path("caught").exists(), "a signal to our group reached the child");
}
