//! A preview shows what the conversion then does, and fails with the same words.

use super::*;
use crate::convert::inspect::{Look, Preview, preview};

const LOOK: Look = Look { width: 100, unicode: true, colour: false };

fn previewed(said: &[Said], mapping: &str) -> Result<Preview, WorkError> {
    let mapping = Mapping::parse("m.toml", mapping).unwrap();
    preview(&stored(&recording(said, 2000)), "in/one.mcap", &mapping, &StopFlag::default())
}

/// Joints at 100 Hz and a camera at 20 Hz for 2 s, and again from 5 s to 6 s, there without joints for 300 ms.
fn two_spells() -> Vec<Said> {
    let mut all = said();
    all.extend(
        said()
            .into_iter()
            .filter(|(_, ns, _)| *ns <= 1000 * MS)
            .map(|(topic, ns, value)| (topic, ns + 5000 * MS, value)),
    );
    all.retain(|(topic, ns, _)| *topic != "/joints" || !(5210 * MS..5510 * MS).contains(ns));
    all
}

fn mapping_with(keys: &str, episodes: &str) -> String {
    let state =
        STATE.replace("name = \"observation.state\"", &format!("name = \"observation.state\"\n{keys}"));
    format!(
        "{HEAD}{state}{FRONT}[[feature]]\nname = \"action\"\nfrom = \"observation.state\"\nshift = 1\n[episodes]\n{episodes}\n"
    )
}

#[test]
fn it_is_what_the_conversion_does() {
    let gap = "split = \"gap\"\ngap_ms = 1000";
    for (keys, episodes) in [
        ("", "split = \"file\""),
        ("tolerance_ms = 50", gap),
        ("tolerance_ms = 50\non_missing = \"hold\"", gap),
        ("tolerance_ms = 50\non_missing = \"fail\"", gap),
        ("align = \"linear\"", "split = \"gap\"\ngap_ms = 1000\nmin_frames = 15\ntrim_start_ms = 100"),
    ] {
        let mapping = mapping_with(keys, episodes);
        let shown = previewed(&two_spells(), &mapping).unwrap();
        let job = open(&two_spells(), &mapping, 7).unwrap().run();
        let done: Vec<StagedEpisode> = job.work.episodes().cloned().collect();
        assert_eq!(shown.episodes.len(), done.len(), "{mapping}");
        for (shown, done) in shown.episodes.iter().zip(&done) {
            assert_eq!((shown.frames, &shown.task, &shown.sync), (done.frames, &done.task, &done.sync));
        }
        assert_eq!(shown.frames, job.work.frames());
        assert_eq!((&shown.left_out, &shown.warnings), (&done[0].left_out, &done[0].warnings));
        let features: Vec<_> =
            shown.features.iter().map(|f| (&f.name, f.dtype, &f.shape, &f.names)).collect();
        assert_eq!(
            features,
            done[0].features.iter().map(|f| (&f.name, f.dtype, &f.shape, &f.names)).collect::<Vec<_>>()
        );
    }
}

#[test]
fn it_fails_with_the_words_of_the_conversion() {
    for mapping in [
        mapping_with("", "split = \"file\"").replace("/joints", "/joint"),
        mapping_with("", "split = \"file\"").replace("\"position\"", "\"speed\""),
        mapping_with("tolerance_ms = 50\non_missing = \"fail\"", "split = \"file\""),
        mapping_with("", "min_frames = 999"),
    ] {
        let shown = previewed(&two_spells(), &mapping).unwrap_err().to_string();
        assert_eq!(shown, refused(&two_spells(), &mapping));
    }
}

#[test]
fn its_text_shows_features_episodes_and_what_is_left_out() {
    let mapping = mapping_with("tolerance_ms = 50\non_missing = \"fail\"", "split = \"gap\"\ngap_ms = 1000");
    let text = previewed(&two_spells(), &mapping).unwrap().render(LOOK);
    let expected = "\
in/one.mcap by m.toml: 1 episode, 20 frames at 10 fps (2.00 s), 1 of 21 grid frames dropped
warning: episode 2 of 2 (from 5.000000000 s) is left out: feature \"observation.state\": the frame at 5.300000000 s has no message of /jo...

features
  observation.state         float32  [2]        a, b
  observation.images.front  image    [3, 4, 3]  height, width, channels
  action                    float32  [2]        a, b

episodes
     frames  dropped    from  length  task
  0      20        1  0.00 s  2.00 s  t

how the topics meet the frames
  feature                   topic    matched  worst p95  greatest  missing  held
  observation.state         /joints  100.0 %       0 ms      0 ms        0     0
  observation.images.front  /camera  100.0 %       0 ms      0 ms        0     0
  action                    /joints   95.2 %       0 ms      0 ms        1     0

left out
  episode 2 of 2 (from 5.000000000 s): feature \"observation.state\": the frame at 5.300000000 s has no message of /joints within 50 ms";
    let shown: String = text.lines().map(|line| format!("{}\n", line)).collect();
    let cut = |text: &str| {
        text.lines().map(|line| line.chars().take(110).collect::<String>()).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(cut(&shown).trim_end(), cut(expected).trim_end(), "{text}");
    let hostile = mapping_with("", "split = \"file\"").replace("text = \"t\"", "text = \"a\\u001b[2Jb\"");
    let text = previewed(&two_spells(), &hostile).unwrap().render(LOOK);
    assert!(text.contains("a\\u{1b}[2Jb") && !text.contains('\u{1b}'), "{text}");
}
