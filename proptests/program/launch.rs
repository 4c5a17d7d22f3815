//! How the program is launched: behind a shell, with signals ignored, in a group that a terminal signals as one.

use crate::lab::{Lab, long};
use crate::replay::replay;
use roboflow::fsm::Input;
use roboflow_proptests::program::Program;
use rustix::process::Signal;

fn steps(lab: &Lab, text: &str) -> usize {
    std::fs::read_to_string(lab.path("steps.jsonl")).unwrap_or_default().matches(text).count()
}

/// As PID 1 no signal has a default action, and behind `nohup`-like launchers SIGTERM is ignored: either way only an own handler
/// hears it. A shell that execs leaves no shell in front.
#[test]
fn pitfall_01_a_launcher_that_ignores_signals_does_not_swallow_them() {
    let lab = Lab::with(1, &long());
    let program = env!("CARGO_BIN_EXE_roboflow");
    let script = format!(
        "trap '' TERM INT HUP; exec {program} run in --out set --workers 1 --transition-log steps.jsonl"
    );
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut running = Program::new("sh").start(lab.folder(), ["-c", &script]);
        assert!(
            running.until("a checkpoint", || steps(&lab, "\"Checkpoint\"") >= 1),
            "too short for this test"
        );
        running.signal(signal);
        running.wait().expect_code(0);
        assert_eq!(lab.jobs("set")[0]["status"], "ready");
        std::fs::remove_file(lab.path("steps.jsonl")).unwrap();
    }
}

/// What `main` does before its handlers stand, a signal undoes.
#[test]
fn pitfall_01_the_handlers_are_the_first_statement_of_main() {
    let text = include_str!("../../src/main.rs");
    let body = text.split("fn main()").nth(1).unwrap().split('{').nth(1).unwrap().trim_start();
    assert!(body.starts_with("let handlers = ctrlc::set_handler("), "main begins with: {body}");
}

/// ^C at a terminal signals the whole group. There is no child in it that could be hit first, and the program takes it for one signal.
#[test]
fn pitfall_05_a_signal_to_the_group_hits_no_child_and_is_one_signal() {
    let lab = Lab::with(1, &long());
    let mut running = lab.start("run in --out set --workers 1 --transition-log steps.jsonl");
    assert!(running.until("a checkpoint", || steps(&lab, "\"Checkpoint\"") >= 1), "too short for this test");
    assert_eq!(running.children(), Vec::<String>::new());
    running.signal_group(Signal::INT);
    running.wait().expect_code(0);
    let log = replay(&lab.path("steps.jsonl"));
    assert_eq!(log.iter().filter(|line| matches!(line.event.input, Input::Signal(_))).count(), 1);
    assert_eq!(lab.jobs("set")[0]["status"], "ready");
}
