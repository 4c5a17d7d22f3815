//! Recordings that are split into episodes, by the real program: what comes out, and the same bytes after blows at
//! random instants.
//!
//! `CASES=50 SEED=3 SECONDS=240 cargo test --release --test program split -- --nocapture --test-threads 1` tries more.

use crate::lab::Lab;
use crate::storm::setting;
use roboflow_proptests::recording::Robot;
use roboflow_proptests::storm::{Blow, RunCommand, exits, instants};
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(3);
/// Episodes of each recording, the last of which is too short.
const EPISODES: usize = 24;
const MAPPING: &str = r#"
fps = 30
[task]
text = "stack the cups"
[[feature]]
name = "observation.state"
source = [{ topic = "/joint_states", field = "position" }]
[[feature]]
name = "observation.images.front"
kind = "image"
source = [{ topic = "/camera_0/image/compressed" }]
[episodes]
split = "ranges"
file = "{recording}.episodes.csv"
min_frames = 10
"#;

/// Two recordings with their ranges beside them, which overlap, and the mapping.
fn lab(seconds: f64) -> Lab {
    let lab = Lab::with(2, &Robot { seconds, cameras: 1, ..Robot::default() });
    for recording in 0..2 {
        let mut text = "start_s,end_s,task\n".to_owned();
        for episode in 0..EPISODES - 1 {
            let start = seconds * 0.9 * episode as f64 / EPISODES as f64;
            writeln!(text, "{start:.3},{:.3},\"cup {}, gently\"", start + seconds * 0.08, episode % 3)
                .unwrap();
        }
        writeln!(text, "0,0.2,").unwrap();
        fs::write(lab.path(&format!("in/r{recording}.episodes.csv")), text).unwrap();
    }
    fs::write(lab.path("map.toml"), MAPPING).unwrap();
    lab
}

#[test]
fn each_range_is_an_episode_and_short_ones_are_named() {
    let lab = lab(20.0);
    let ran = lab.run("run in --out set --mapping map.toml");
    ran.expect_code(0);
    let left_out = "episode 24 of 24 (1768471200.000000000 s to 1768471200.200000000 s) is left out: it has 7 frames, and min_frames is 10";
    assert!(ran.stderr.contains(left_out), "{}", ran.stderr);
    lab.run("validate set").expect_code(0);
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(lab.path(name)).unwrap()).unwrap() };
    let info = read("set/meta/info.json");
    assert_eq!((info["total_episodes"].as_u64(), info["total_tasks"].as_u64()), (Some(46), Some(3)));
    let sync = read("set/meta/roboflow/sync.json");
    let sync = sync.as_array().unwrap();
    assert_eq!(sync.len(), 46);
    assert_eq!((&sync[22]["source"], &sync[23]["source"]), (&"r0.mcap".into(), &"r1.mcap".into()));
    assert_eq!(sync[0]["warnings"][0], left_out);
}

#[expect(clippy::print_stdout, reason = "says what a seed gave, for those who look")]
fn storm(blow: Blow, cases: u64) {
    let lab = lab(setting("SECONDS", 60) as f64);
    let (seed, cases) = (setting("SEED", 1), setting("CASES", cases));
    println!("{blow:?} over split recordings: SEED={seed} CASES={cases}");
    let (recordings, mapping) = (lab.path("in"), lab.path("map.toml"));
    let lease = format!("{}s", LEASE.as_secs());
    let arguments = [
        recordings.to_str().unwrap(),
        "--mapping",
        mapping.to_str().unwrap(),
        "--workers",
        "2",
        "--lease",
        &lease,
        "--renew-interval",
        "400ms",
    ];
    let run = RunCommand { program: lab.program.clone(), arguments: arguments.map(str::to_owned).to_vec() };
    let whole = run.whole(&lab.path("whole"));
    let mut seen = Vec::new();
    for (number, after) in (0..).zip(instants(seed, usize::try_from(cases).unwrap(), whole.took)) {
        seen.push(run.case(blow, after, &lab.path(&format!("set-{number}")), &whole));
    }
    println!("{blow:?}: {} of a run of {:?}", exits(&seen), whole.took);
}

#[test]
fn a_kill_among_episodes() {
    storm(Blow::Kill, 3);
}

#[test]
fn a_term_among_episodes() {
    storm(Blow::Term, 3);
}
