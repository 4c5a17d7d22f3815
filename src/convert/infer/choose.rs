//! Which candidates go together into one mapping, and at which rate.
//!
//! Pure: it sees names, times and rates.

use super::Choice;
use super::candidate::{Candidate, Role};
use super::words::{camera_parts, robot};
use std::collections::{BTreeMap, BTreeSet};

/// Rates that cameras are set to.
const USUAL_FPS: [u32; 14] = [1, 2, 5, 10, 15, 20, 24, 25, 30, 50, 60, 90, 100, 120];
/// Without a camera, the state's rate up to this.
const STATE_FPS_MAX: f64 = 30.0;
/// Without any rate.
const DEFAULT_FPS: u32 = 30;

/// Chooses, and notes what was left out.
pub(super) fn choose(candidates: Vec<Candidate>, notes: &mut Vec<String>) -> Choice {
    let candidates = one_robot(long_enough(candidates, notes), notes);
    let mut choice = Choice::default();
    let mut cameras = Vec::new();
    for candidate in candidates {
        match candidate.role {
            Role::State => choice.states.push(candidate),
            Role::Action => choice.actions.push(candidate),
            Role::Camera => cameras.push(candidate),
            Role::Task if choice.task.is_none() => choice.task = Some(candidate),
            Role::Task => notes.push(format!("left out {}: another topic gives the task", candidate.topic)),
        }
    }
    if choice.actions.is_empty() && !choice.states.is_empty() {
        notes.push("no topic looks like a command: the action is the state one frame later".to_owned());
    }
    if choice.states.is_empty() {
        notes.push("no topic looks like joints or a pose: there is no observation.state".to_owned());
    }
    if choice.task.is_none() {
        notes.push("no topic gives the task: write its text into the mapping".to_owned());
    }
    choice.cameras = named(cameras);
    (choice.fps, choice.fps_reason) = rate(&choice);
    choice
}

/// Leaves out topics that would shorten the episode to less than half.
fn long_enough(candidates: Vec<Candidate>, notes: &mut Vec<String>) -> Vec<Candidate> {
    let longest = candidates.iter().map(Candidate::span_ns).max().unwrap_or(0);
    let keep = |candidate: &Candidate| {
        let keep = candidate.role == Role::Task || candidate.span_ns() >= longest / 2;
        if !keep {
            let covered = candidate.span_ns() as f64 / 1e9;
            notes.push(format!(
                "left out {}: its {} messages cover {covered:.3} s of {:.3} s",
                candidate.topic,
                candidate.messages,
                longest as f64 / 1e9
            ));
        }
        keep
    };
    candidates.into_iter().filter(keep).collect()
}

/// Of robots beside each other, the one with state and command that overlap the longest.
fn one_robot(candidates: Vec<Candidate>, notes: &mut Vec<String>) -> Vec<Candidate> {
    let is_body = |candidate: &&Candidate| matches!(candidate.role, Role::State | Role::Action);
    let mut families: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (family, member) in candidates.iter().filter(is_body).filter_map(|c| robot(&c.topic)) {
        families.entry(family).or_default().insert(member);
    }
    let mut dropped: BTreeSet<String> = BTreeSet::new();
    for (_, members) in families.into_iter().filter(|(_, members)| members.len() > 1) {
        let score = |member: &str| {
            let own = || {
                candidates
                    .iter()
                    .filter(is_body)
                    .filter(|c| robot(&c.topic).is_some_and(|(_, m)| m == member))
            };
            let both = own().any(|c| c.role == Role::State) && own().any(|c| c.role == Role::Action);
            let begin = own().map(|c| c.first_ns).max().unwrap_or(0);
            let end = own().map(|c| c.last_ns).min().unwrap_or(0);
            (both, end.saturating_sub(begin))
        };
        // Of equal ones the first.
        let Some(best) = members.iter().rev().copied().max_by_key(|member| score(member)) else { continue };
        for other in members.iter().filter(|member| **member != best) {
            notes.push(format!("left out {other}: {best} is another robot, whose topics overlap for longer"));
            dropped.insert((*other).to_owned());
        }
    }
    candidates
        .into_iter()
        .filter(|c| !robot(&c.topic).is_some_and(|(_, member)| dropped.contains(member)))
        .collect()
}

/// Gives each camera a name of its own: its last particular part, or as many as it takes.
fn named(cameras: Vec<Candidate>) -> Vec<(String, Candidate)> {
    let parts: Vec<Vec<String>> = cameras.iter().map(|camera| camera_parts(&camera.topic)).collect();
    let last: Vec<String> = parts.iter().map(|parts| parts.last().cloned().unwrap_or_default()).collect();
    let full: Vec<String> = parts.iter().map(|parts| parts.join("_")).collect();
    let names = if differ(&last) {
        last
    } else if differ(&full) {
        full
    } else {
        full.iter().enumerate().map(|(at, name)| format!("{name}_{at}")).collect()
    };
    names.into_iter().zip(cameras).collect()
}

fn differ(names: &[String]) -> bool {
    names.iter().collect::<BTreeSet<_>>().len() == names.len()
}

/// The cameras' rate, or else the state's, as a usual one; and why.
fn rate(choice: &Choice) -> (u32, String) {
    let slowest = |rates: Vec<f64>| rates.into_iter().min_by(f64::total_cmp);
    let cameras = choice.cameras.iter().filter_map(|(_, camera)| camera.rate_hz());
    if let Some(rate) = slowest(cameras.collect()) {
        return (usual(rate), format!("the slowest camera has {rate:.1} frames a second"));
    }
    let body = if choice.states.is_empty() { &choice.actions } else { &choice.states };
    match slowest(body.iter().filter_map(Candidate::rate_hz).collect()) {
        Some(rate) if rate > STATE_FPS_MAX => (
            usual(STATE_FPS_MAX),
            format!("no camera; the slowest of these topics has {rate:.1} messages a second"),
        ),
        Some(rate) => (usual(rate), format!("the slowest of these topics has {rate:.1} messages a second")),
        None => (DEFAULT_FPS, "the recording is too short to tell a rate".to_owned()),
    }
}

/// The usual rate nearest by ratio.
fn usual(rate: f64) -> u32 {
    let distance = |fps: &u32| (f64::from(*fps) / rate).ln().abs();
    USUAL_FPS.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(DEFAULT_FPS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::infer::fields::Taken;

    fn candidate(topic: &str, role: Role, messages: usize, from_s: u64, to_s: u64) -> Candidate {
        let taken = vec![Taken::whole("data")];
        let period_ns = match messages {
            0 | 1 => 0,
            many => (to_s - from_s) * 1_000_000_000 / (many as u64 - 1),
        };
        Candidate {
            period_ns,
            topic: topic.to_owned(),
            role,
            taken,
            first_ns: from_s * 1_000_000_000,
            last_ns: to_s * 1_000_000_000,
            messages,
        }
    }

    fn topics(candidates: &[Candidate]) -> Vec<&str> {
        candidates.iter().map(|candidate| candidate.topic.as_str()).collect()
    }

    #[test]
    fn robots_are_not_mixed_but_arms_are() {
        let mut notes = Vec::new();
        let turtles = vec![
            candidate("/turtle1/pose", Role::State, 100, 0, 20),
            candidate("/turtle1/cmd_vel", Role::Action, 100, 2, 18),
            candidate("/turtle2/pose", Role::State, 100, 0, 20),
            candidate("/turtle2/cmd_vel", Role::Action, 100, 1, 20),
        ];
        let choice = choose(turtles, &mut notes);
        assert_eq!(topics(&choice.states), ["/turtle2/pose"]);
        assert_eq!(topics(&choice.actions), ["/turtle2/cmd_vel"]);
        assert_eq!(notes[0], "left out turtle1: turtle2 is another robot, whose topics overlap for longer");
        let arms = vec![
            candidate("/arm_0/joint_states", Role::State, 100, 0, 20),
            candidate("/arm_1/joint_states", Role::State, 100, 0, 20),
        ];
        assert_eq!(choose(arms, &mut notes).states.len(), 2);
    }

    #[test]
    fn rates_are_usual_ones() {
        let fps = |role, messages| choose(vec![candidate("/a", role, messages, 0, 10)], &mut Vec::new()).fps;
        assert_eq!(fps(Role::Camera, 299), 30);
        assert_eq!(fps(Role::Camera, 250), 25);
        assert_eq!(fps(Role::State, 1000), 30);
        assert_eq!(fps(Role::State, 97), 10);
        assert_eq!(fps(Role::State, 1), 30);
    }

    #[test]
    fn short_topics_are_left_out_with_their_reason() {
        let mut notes = Vec::new();
        let found = vec![
            candidate("/joints", Role::State, 100, 0, 20),
            candidate("/initial_pose", Role::State, 1, 3, 3),
        ];
        assert_eq!(topics(&choose(found, &mut notes).states), ["/joints"]);
        assert_eq!(notes[0], "left out /initial_pose: its 1 messages cover 0.000 s of 20.000 s");
    }

    #[test]
    fn cameras_of_one_name_take_longer_names() {
        let cameras = ["/left/wrist/image", "/right/wrist/image", "/front/image"];
        let found = cameras.map(|topic| candidate(topic, Role::Camera, 10, 0, 1)).to_vec();
        let names: Vec<String> = named(found).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["left_wrist", "right_wrist", "front"]);
    }
}
