//! What real processes write to their log: each line in its context, each transition once, and a last word of one that had
//! to go.

use crate::lab::{Lab, listed, long, short};
use crate::replay::replay;
use crate::signals::Locked;
use roboflow_proptests::program::Ended;
use rustix::process::Signal;
use serde_json::Value;

const STORE: &str = "--store sqlite:queue.db";

/// Every line, each of them JSON.
fn lines(ended: &Ended) -> Vec<Value> {
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line} is no JSON"));
    ended.stderr.lines().map(line).collect()
}

fn said<'a>(lines: &'a [Value], message: &'a str) -> impl Iterator<Item = &'a Value> {
    lines.iter().filter(move |line| line.get("message").and_then(Value::as_str) == Some(message))
}

#[test]
fn each_transition_is_one_line_and_each_line_has_its_context() {
    let lab = Lab::with(4, &short());
    lab.run(&format!("submit in --out set {STORE}")).expect_code(0);
    let level = "--log-format json --log-level info,roboflow::transition=debug";
    let mut running = lab.start(&format!(
        "worker {STORE} --workers 2 --name w-7 --transition-log steps.jsonl --poll-interval 20ms {level}"
    ));
    assert!(running.until("the dataset", || lab.path("set/meta/info.json").exists()));
    let done = || {
        listed(&lab.run(&format!("jobs list {STORE} --json"))).iter().all(|job| job["status"] == "completed")
    };
    assert!(running.until("every job", done));
    running.signal(Signal::TERM);
    let ended = running.wait();
    ended.expect_code(0);
    let lines = lines(&ended);
    for line in &lines {
        assert_eq!(line["span"]["worker"], "w-7", "{line}");
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
    let steps = replay(&lab.path("steps.jsonl"));
    for machine in 0..2u32 {
        let of = |line: &&Value| line["span"]["machine"] == machine;
        let told: Vec<(Value, Value)> = said(&lines, "transition")
            .filter(of)
            .map(|line| (line["from"].clone(), line["to"].clone()))
            .collect();
        let steps = steps.iter().filter(|step| step.machine == machine);
        let taken: Vec<(Value, Value)> = steps
            .flat_map(|step| step.trail.windows(2).map(|pair| (pair[0].name().into(), pair[1].name().into())))
            .collect();
        assert!(taken.len() >= 3, "{taken:?}");
        assert_eq!(told, taken, "machine {machine}");
        let numbers: Vec<u64> =
            said(&lines, "transition").filter(of).filter_map(|line| line["number"].as_u64()).collect();
        assert!(numbers.iter().copied().eq(1..=taken.len() as u64), "{numbers:?}");
    }
    assert_eq!(said(&lines, "completed").count(), 5, "four recordings and the assembly");
    for line in said(&lines, "completed") {
        assert_eq!((&line["span"]["job"], &line["span"]["epoch"]), (&line["job"], &1.into()), "{line}");
        assert!(line["span"]["state"].is_string() && line["span"]["machine"] == line["machine"], "{line}");
    }
    for line in said(&lines, "transition") {
        let holds = ["Processing", "Checkpointing"].contains(&line["to"].as_str().unwrap());
        assert!(!holds || line["span"]["job"].is_string() && line["span"]["epoch"].is_u64(), "{line}");
        assert!(line["cause"].is_string() && line["dwell_ms"].is_u64(), "{line}");
    }
    assert_eq!(said(&lines, "asked to stop").count(), 1);
}

/// However little is logged, the last word has its context; and it is said once.
#[test]
fn who_has_to_go_names_the_state_the_job_and_what_recovers_it() {
    let lab = Lab::with(1, &long());
    lab.run(&format!("submit in --out set {STORE}")).expect_code(0);
    let mut running = lab.start(&format!(
        "worker {STORE} --name w-8 --transition-log steps.jsonl --drain-budget 1s --force-after 4s --log-format json --log-level warn"
    ));
    assert!(running.until("a checkpoint", || {
        std::fs::read_to_string(lab.path("steps.jsonl")).unwrap_or_default().contains("\"Checkpoint\"")
    }));
    let locked = Locked::at(&lab.path("queue.db"));
    running.signal(Signal::TERM);
    let ended = running.wait();
    ended.expect_code(75);
    locked.unlock();
    let lines = lines(&ended);
    let words: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"].as_str().unwrap().starts_with("the drain did not end in time"))
        .collect();
    assert_eq!(words.len(), 1, "{}", ended.stderr);
    let (word, job) = (words[0], &listed(&lab.run(&format!("jobs list {STORE} --json")))[0]);
    assert_eq!((&word["job"], &word["epoch"], &word["machine"]), (&job["id"], &1.into(), &0.into()), "{job}");
    let stood = replay(&lab.path("steps.jsonl")).last().unwrap().before.name();
    assert_eq!((&word["state"], &word["lease_ms"]), (&stood.into(), &10_000.into()), "{word}");
    assert_eq!((&word["level"], &word["span"]["worker"]), (&"WARN".into(), &"w-8".into()), "{word}");
    let message = word["message"].as_str().unwrap();
    assert!(message.contains("left to its lease") && message.contains("last checkpoint"), "{message}");
}

/// Whoever waits for one dataset reads of recordings, not of machines.
#[test]
fn a_run_tells_of_recordings_and_not_of_machines() {
    let lab = Lab::with(1, &short());
    let ended = lab.run("run in --out set");
    ended.expect_code(0);
    assert!(ended.stderr.contains("claimed") && ended.stderr.contains("completed"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("transition") && !ended.stderr.contains("machine{"), "{}", ended.stderr);
}
