//! A chosen mapping as a TOML file with comments.
//!
//! It decides nothing.

use super::Choice;
use super::candidate::Candidate;
use std::fmt::Write;

/// How a camera is written, unless videos are asked for.
const IMAGE_LINE: &str = "kind = \"image\"  # JPEG and PNG files as they came, raw pixels as PNG";
/// How a camera is written that becomes a video.
const VIDEO_LINE: &str = "kind = \"video\"";

/// Joints of a source that stand on its own line; more stand below each other.
const SELECT_A_LINE: usize = 8;

/// The file's text.
pub(super) fn mapping(recording: &str, choice: &Choice) -> String {
    let mut out = String::new();
    let name = recording.rsplit('/').next().unwrap_or(recording);
    line(
        &mut out,
        &format!(
            "# Guessed from the topics of {}: read it, correct it, and give it by --mapping.",
            one_line(name)
        ),
    );
    line(&mut out, "");
    line(&mut out, &format!("fps = {}  # {}", choice.fps, choice.fps_reason));
    line(&mut out, "time = \"log\"  # which stamp orders messages: log | publish | header");
    line(&mut out, "# robot_type = \"so101\"");
    line(&mut out, "");
    task(&mut out, choice.task.as_ref());
    if !choice.states.is_empty() {
        vector(&mut out, "observation.state", &choice.states);
    }
    if !choice.actions.is_empty() {
        vector(&mut out, "action", &choice.actions);
    } else if !choice.states.is_empty() {
        line(&mut out, "[[feature]]");
        line(&mut out, "name = \"action\"");
        line(
            &mut out,
            "from = \"observation.state\"  # no topic looks like a command: the state one frame later",
        );
        line(&mut out, "shift = 1");
        line(&mut out, "");
    }
    for (name, camera) in &choice.cameras {
        line(&mut out, "[[feature]]");
        line(&mut out, &format!("name = {}", quoted(&format!("observation.images.{name}"))));
        line(&mut out, IMAGE_LINE);
        line(&mut out, &format!("source = [{{ topic = {} }}]{}", quoted(&camera.topic), rate(camera)));
        line(&mut out, "");
    }
    line(&mut out, "[episodes]");
    line(&mut out, "split = \"file\"  # one episode a file");
    out
}

/// The text with all cameras as videos.
pub(super) fn with_videos(text: &str) -> String {
    let lines = text.lines().map(|line| if line == IMAGE_LINE { VIDEO_LINE } else { line });
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn task(out: &mut String, topic: Option<&Candidate>) {
    line(out, "[task]");
    match topic.and_then(|topic| Some((topic, topic.taken.first()?))) {
        Some((topic, taken)) => {
            line(out, &format!("topic = {}", quoted(&topic.topic)));
            line(out, &format!("field = {}", quoted(&taken.field)));
        }
        None => line(
            out,
            "text = \"unspecified task\"  # what the robot does, in words; or: topic, or file = \"{recording}.task.txt\"",
        ),
    }
    line(out, "");
}

fn vector(out: &mut String, name: &str, parts: &[Candidate]) {
    line(out, "[[feature]]");
    line(out, &format!("name = {}", quoted(name)));
    line(out, "align = \"latest\"  # latest at or before the frame | nearest | linear");
    line(out, "# tolerance_ms = 100  # how far a message may be from its frame");
    line(out, "# on_missing = \"drop\"  # drop the frame | hold the last value | fail the episode");
    for part in parts {
        for taken in &part.taken {
            line(out, &format!("[[feature.source]]{}", rate(part)));
            line(out, &format!("topic = {}", quoted(&part.topic)));
            let beside = match taken.beside.as_slice() {
                [] => String::new(),
                beside => format!("  # there is also {}", one_line(&beside.join(", "))),
            };
            line(out, &format!("field = {}{beside}", quoted(&taken.field)));
            select(out, &taken.select);
        }
    }
    line(out, "");
}

fn select(out: &mut String, joints: &[String]) {
    let joints: Vec<String> = joints.iter().map(|joint| quoted(joint)).collect();
    match joints.len() {
        0 => {}
        1..=SELECT_A_LINE => line(out, &format!("select = [{}]", joints.join(", "))),
        _ => line(out, &format!("select = [\n    {},\n]", joints.join(",\n    "))),
    }
}

fn rate(topic: &Candidate) -> String {
    match topic.rate_hz() {
        Some(rate) => format!("  # {} messages, {rate:.1} a second", topic.messages),
        None => "  # 1 message".to_owned(),
    }
}

fn line(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

/// A text as TOML writes it, whatever is in it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A text that cannot break out of a comment.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
