//! What mappings mean, and the very words of their errors.

use super::*;

const GOOD: &str = r#"
fps = 30
robot_type = "so101"
time = "header"

[task]
text = "pick the cube"

[[feature]]
name = "observation.state"
align = "linear"
tolerance_ms = 12.5
on_missing = "fail"
[[feature.source]]
topic = "/joint_states"
field = "position"
select = ["joint_1", "joint_2"]
[[feature.source]]
topic = "/gripper"
field = "data"

[[feature]]
name = "action"
from = "observation.state"
shift = 2
on_missing = "hold"

[[feature]]
name = "observation.images.front"
kind = "image"
source = [{ topic = "/camera_0/image/compressed" }]

[episodes]
split = "file"
"#;

/// The message about a mapping that must be refused.
fn refused(text: &str) -> String {
    match Mapping::parse("pick.toml", text) {
        Ok(mapping) => panic!("accepted: {mapping:?}"),
        Err(error) => error.to_string(),
    }
}

/// A mapping of one feature, whose table has these lines from line 5 on.
fn feature(lines: &str) -> String {
    format!("fps = 30\n[task]\ntext = \"t\"\n[[feature]]\n{lines}\n")
}

/// A mapping that is right but for these lines, which stand at its begin.
fn head(lines: &str) -> String {
    format!("{lines}\n[[feature]]\nname = \"a\"\nsource = [{{ topic = \"/a\", field = \"b\" }}]\n")
}

#[test]
fn a_full_mapping_is_read_as_written() {
    let mapping = Mapping::parse("pick.toml", GOOD).unwrap();
    assert_eq!((mapping.fps, mapping.time), (30, TimeSource::Header));
    assert_eq!(mapping.robot_type.as_deref(), Some("so101"));
    assert_eq!(mapping.task, Task::Text("pick the cube".to_owned()));
    assert_eq!(mapping.text, GOOD);
    let [state, action, front] = mapping.features.as_slice() else { panic!("{mapping:?}") };
    let Content::Vector { sources, rule, .. } = &state.content else { panic!("{state:?}") };
    assert_eq!(*rule, Rule { align: Align::Linear, tolerance_ns: Some(12_500_000) });
    assert_eq!(state.on_missing, OnMissing::Fail);
    assert_eq!(sources.len(), 2);
    let select: Vec<&str> = sources[0].select.iter().map(|name| name.value.as_str()).collect();
    assert_eq!(select, ["joint_1", "joint_2"]);
    assert_eq!(
        sources[0].topic,
        Located { value: "/joint_states".to_owned(), place: Place { line: 15, column: 9 } }
    );
    assert_eq!(action.content, Content::Shifted { from: 0, shift_frames: 2 });
    assert_eq!(action.on_missing, OnMissing::Hold);
    let Content::Image { source, rule, is_video: false, .. } = &front.content else { panic!("{front:?}") };
    assert_eq!((source.field.as_ref(), rule.align), (None, Align::Latest));
    assert_eq!(front.on_missing, OnMissing::Drop);
}

#[test]
fn a_source_may_be_one_table() {
    let one = feature("name = \"a\"\nsource = { topic = \"/a\", field = \"b\" }");
    let list = feature("name = \"a\"\nsource = [{ topic = \"/a\", field = \"b\" }]");
    let sources = |text: &str| match &Mapping::parse("m", text).unwrap().features[0].content {
        Content::Vector { sources, .. } => sources[0].topic.value.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(sources(&one), sources(&list));
}

#[test]
fn tasks_are_texts_topics_or_files() {
    let task = |lines: &str| Mapping::parse("m", &head(&format!("fps = 1\n[task]\n{lines}"))).unwrap().task;
    let value = |text: &str, line, column| Located { value: text.to_owned(), place: Place { line, column } };
    assert_eq!(
        task("topic = \"/task\""),
        Task::Topic { topic: value("/task", 3, 9), field: value("data", 3, 9) }
    );
    assert_eq!(task("file = \"tasks/{recording}.txt\""), Task::File(value("tasks/{recording}.txt", 3, 8)));
}

#[test]
fn errors_of_the_whole_file_say_what_would_be_valid() {
    let expected = [
        ("", "pick.toml:1:1: the mapping needs \"fps\", for example: fps = 30"),
        ("fps = 30\nfps = 20", "pick.toml:2:1: not valid TOML: duplicate key"),
        (
            "fsp = 30",
            "pick.toml:1:1: unknown key \"fsp\" in the mapping: did you mean \"fps\"?; valid are \"fps\", \"format\", \"robot_type\", \"time\", \"task\", \"feature\", \"episodes\", \"video\"",
        ),
        ("fps = 29.97", "pick.toml:1:7: fps must be a whole number from 1 to 1000"),
        ("fps = 0", "pick.toml:1:7: fps must be a whole number from 1 to 1000"),
        (
            "fps = 30\ntime = \"recv\"",
            "pick.toml:2:8: time = \"recv\": valid are \"log\", \"publish\", \"header\"",
        ),
        (
            "fps = 30\nrobot_type = 7",
            "pick.toml:2:14: robot_type must be a text in quotes, not the type integer",
        ),
        (
            "fps = 30",
            "pick.toml:1:1: no [task]: every LeRobot episode has a task; add a table [task] with text = \"pick the cube\", or topic = \"/task\", or file = \"{recording}.task.txt\"",
        ),
        (
            "fps = 30\n[task]\ntext = \"t\"",
            "pick.toml:1:1: the mapping needs \"feature\", for example: \n[[feature]]\nname = \"observation.state\"\nsource = [{ topic = \"/joint_states\", field = \"position\" }]",
        ),
    ];
    for (text, message) in expected {
        assert_eq!(refused(text), message);
    }
}

#[test]
fn errors_of_the_task_say_what_would_be_valid() {
    let one_of = "text = \"pick the cube\", or topic = \"/task\", or file = \"{recording}.task.txt\"";
    let expected = [
        ("", format!("pick.toml:2:1: [task] needs \"text\", for example: {one_of}")),
        ("text = \"\"", "pick.toml:3:8: text is empty".to_owned()),
        ("text = \"a\"\ntopic = \"/t\"", format!("pick.toml:2:1: [task] takes one of: {one_of}")),
        ("field = \"data\"\ntext = \"a\"", "pick.toml:3:9: field needs the topic that has it: topic = \"/task\"".to_owned()),
        (
            "file = \"../x.txt\"",
            "pick.toml:3:8: file is a path from the recording's folder, without . or .. parts, for example: file = \"{recording}.task.txt\"".to_owned(),
        ),
    ];
    for (lines, message) in expected {
        assert_eq!(refused(&head(&format!("fps = 30\n[task]\n{lines}"))), message);
    }
}

#[test]
fn errors_of_features_say_what_would_be_valid() {
    let expected = [
        ("", "pick.toml:4:1: a [[feature]] needs \"name\", for example: name = \"observation.state\""),
        (
            "name = \"index\"",
            "pick.toml:5:8: \"index\" is a column that every dataset has; choose another name",
        ),
        (
            "name = \"observation/state\"",
            "pick.toml:5:8: a feature's name has at most 200 bytes and no / or control characters: LeRobot separates by dots, for example \"observation.images.front\"",
        ),
        (
            "name = \"a\"\nalgin = \"nearest\"",
            "pick.toml:6:1: unknown key \"algin\" in a [[feature]]: did you mean \"align\"?; valid are \"name\", \"kind\", \"source\", \"align\", \"tolerance_ms\", \"on_missing\", \"dtype\", \"names\", \"from\", \"shift\", \"crop\", \"rotate\", \"resize\"",
        ),
        (
            "name = \"a\"\nkind = \"film\"",
            "pick.toml:6:8: kind = \"film\": valid are \"vector\", \"image\", \"video\"",
        ),
        (
            "name = \"a\"",
            "pick.toml:4:1: a [[feature]] needs \"source\", for example: source = [{ topic = \"/joint_states\", field = \"position\" }], or from = \"observation.state\" with shift = 1",
        ),
        (
            "name = \"a\"\nsource = [{ field = \"b\" }]",
            "pick.toml:6:11: a source needs \"topic\", for example: topic = \"/joint_states\"",
        ),
        (
            "name = \"a\"\nsource = [{ topic = \"/a\", field = \"b\", select = [\"x\", \"x\"] }]",
            "pick.toml:6:55: select names \"x\" twice",
        ),
        (
            "name = \"a\"\nsource = [{ topic = \"/a\", field = \"b\", select = \"x\" }]",
            "pick.toml:6:49: select must be a list of texts, for example: select = [\"joint_1\", \"joint_2\"]",
        ),
        ("name = \"a\"\nsource = \"/a\"", "pick.toml:6:10: source must hold tables, not the type string"),
        (
            "name = \"a\"\ntolerance_ms = -1",
            "pick.toml:6:16: tolerance_ms must be a number from 0 to 86400000",
        ),
        (
            "name = \"a\"\non_missing = \"skip\"",
            "pick.toml:6:14: on_missing = \"skip\": valid are \"drop\", \"hold\", \"fail\"",
        ),
    ];
    for (lines, message) in expected {
        assert_eq!(refused(&feature(lines)), message);
    }
}

#[test]
fn errors_of_features_that_clash_say_what_would_be_valid() {
    let source = "source = [{ topic = \"/a\", field = \"b\" }]";
    let expected = [
        (
            "name = \"a\"\nshift = 1",
            "pick.toml:6:9: shift needs the feature it shifts: from = \"observation.state\"",
        ),
        ("name = \"a\"\nfrom = \"b\"", "pick.toml:6:8: from needs how many frames later: shift = 1"),
        (
            "name = \"a\"\nfrom = \"b\"\nshift = 1",
            "pick.toml:6:8: from = \"b\" is no feature here; valid are none",
        ),
        (
            "name = \"a\"\nfrom = \"a\"\nshift = 1",
            "pick.toml:6:8: from = \"a\" has no vector source of its own; valid are none",
        ),
        (
            "name = \"a\"\nfrom = \"b\"\nshift = 1\non_missing = \"fail\"",
            "pick.toml:8:14: the last frames never have a later one, so \"fail\" would always fail; valid with from are \"drop\", \"hold\"",
        ),
        (
            "name = \"a\"\nfrom = \"b\"\nshift = 1\nalign = \"latest\"",
            "pick.toml:8:9: align does not go with from: a shifted feature takes it from \"b\"",
        ),
    ];
    for (lines, message) in expected {
        assert_eq!(refused(&feature(lines)), message);
    }
    let int = format!("name = \"a\"\n{source}\nalign = \"linear\"\ndtype = \"int64\"");
    assert_eq!(
        refused(&feature(&int)),
        "pick.toml:8:9: between two messages there are only floating point values: align = \"linear\" needs dtype float32 or float64"
    );
    let twice = format!("name = \"a\"\n{source}\n[[feature]]\nname = \"a\"\n{source}");
    assert_eq!(refused(&feature(&twice)), "pick.toml:8:8: a second feature named \"a\"");
}

#[test]
fn errors_of_images_say_what_would_be_valid() {
    let expected = [
        (
            "source = [{ topic = \"/a\" }]\nalign = \"linear\"",
            "pick.toml:8:9: an image cannot be \"linear\"; valid are \"latest\", \"nearest\"",
        ),
        (
            "source = [{ topic = \"/a\" }]\ndtype = \"bool\"",
            "pick.toml:8:9: dtype is for vectors: an image's is always the same",
        ),
        (
            "source = [{ topic = \"/a\" }, { topic = \"/b\" }]",
            "pick.toml:7:10: an image has exactly one source",
        ),
        (
            "source = [{ topic = \"/a\", select = [\"x\"] }]",
            "pick.toml:7:37: select is for vectors: an image is taken whole",
        ),
        (
            "from = \"b\"\nshift = 1",
            "pick.toml:7:8: from shifts vectors only; an image feature needs a source",
        ),
    ];
    for (lines, message) in expected {
        assert_eq!(refused(&feature(&format!("name = \"a\"\nkind = \"image\"\n{lines}"))), message);
    }
}

#[test]
fn columns_count_characters_and_deep_nesting_is_an_error() {
    assert_eq!(
        refused("fps = 30\n\"grüße\" = 1 # é\n"),
        "pick.toml:2:1: unknown key \"grüße\" in the mapping; valid are \"fps\", \"format\", \"robot_type\", \"time\", \"task\", \"feature\", \"episodes\", \"video\""
    );
    assert_eq!(
        refused("fps = 30\nrobot_type = \"ü\" x"),
        "pick.toml:2:18: not valid TOML: unexpected key or value, expected newline, `#`"
    );
    let deep = format!("fps = 30\nfeature = {}", "[".repeat(50_000));
    assert!(refused(&deep).starts_with("pick.toml:2:"));
    assert!(refused(&"#".repeat(MAPPING_BYTES_MAX + 1)).contains("at most 1048576 bytes"));
}

const VIDEO: &str = "name = \"a\"\nkind = \"video\"\nsource = [{ topic = \"/camera\" }]\n";

fn video(lines: &str) -> Video {
    Mapping::parse("pick.toml", &feature(&format!("{VIDEO}[video]\n{lines}"))).unwrap().video
}

#[test]
fn a_video_is_encoded_as_asked() {
    use video::Encoder;
    let default = Mapping::parse("pick.toml", &feature(VIDEO)).unwrap();
    assert_eq!(default.video, Video { encoder: Encoder::OpenH264, quality: 24, preset: "low" });
    assert!(default.has_videos());
    assert_eq!(video(""), default.video);
    assert_eq!(
        video("quality = 51\npreset = \"high\""),
        Video { quality: 51, preset: "high", ..Video::default() }
    );
    let svt = video("encoder = \"ffmpeg:libsvtav1\"");
    assert_eq!(svt, Video { encoder: Encoder::SvtAv1, quality: 30, preset: "12" }, "as lerobot has it");
    assert_eq!(video("encoder = \"ffmpeg:libsvtav1\"\npreset = 7").preset, "7", "a number is a word, too");
    assert_eq!(video("encoder = \"ffmpeg:libx264\"\nquality = 0").encoder.ffmpeg_name(), Some("libx264"));
}

#[test]
fn what_an_encoder_does_not_take_is_refused_with_what_it_does() {
    let refused_of = |lines: &str| refused(&feature(&format!("{VIDEO}[video]\n{lines}")));
    for (lines, what) in [
        (
            "encoder = \"x264\"",
            "encoder = \"x264\": valid are \"openh264\", \"ffmpeg:libx264\", \"ffmpeg:libsvtav1\", \"ffmpeg:libaom-av1\"",
        ),
        ("quality = 11", "quality must be a whole number from 12 to 51"),
        ("quality = 52", "from 12 to 51"),
        ("encoder = \"ffmpeg:libsvtav1\"\nquality = 64", "from 1 to 63"),
        ("preset = \"12\"", "preset = \"12\" is none of openh264: valid are \"low\", \"medium\", \"high\""),
        ("encoder = \"ffmpeg:libx264\"\npreset = 3", "\"veryfast\""),
        ("preset = true", "must be a text in quotes"),
        ("crf = 30", "unknown key \"crf\" in [video]"),
    ] {
        let found = refused_of(lines);
        assert!(found.contains(what), "{lines}: {found}");
    }
    let unused = refused(
        "fps = 30\n[video]\n[task]\ntext = \"t\"\n[[feature]]\nname = \"a\"\nsource = [{ topic = \"/a\", field = \"b\" }]\n",
    );
    assert!(unused.starts_with("pick.toml:2:1: [video]") && unused.contains("kind = \"video\""), "{unused}");
}
