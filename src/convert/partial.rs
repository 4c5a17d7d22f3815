//! Joint states in parts: messages of one topic that each carry some of the selected joints, as several publishers write them.
//!
//! Each joint is aligned by itself, over the messages that carry it, as if these were a topic of their own; so everything
//! that holds for topics (alignments, tolerances, policies, where the grid begins and ends) holds for joints. Joints that
//! always come together share one list of messages. Where every message carries all, nothing changes.

use super::bind::{Bound, BoundFeature};
use super::nearest::listed;
use super::plan::Lane;
use super::rows::{Sources, complaint};
use super::source::{MessageRef, Reader, Recording};
use super::tap::Tap;
use super::{StopFlag, WorkError};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Different sets of joints that the messages of one topic carry.
const SETS_MAX: usize = 4096;
/// Messages in all lists of joints of a recording: 16 bytes each.
const LISTED_MESSAGES_MAX: usize = 32 << 20;
/// Messages that tell whether a topic's come in parts: the first ones, by stamp.
const LOOKED_AT: usize = 16;
/// Joints that a message lists.
const LISTED_MAX: usize = 4;
/// Names that are kept for an error.
const SEEN_MAX: usize = 20;

/// One source with a selection, which one lane or several of them have.
struct Selection {
    topic: usize,
    tap: Tap,
    /// The joints that each message carries: the number of a set.
    sets_of: Vec<u32>,
    /// The sets by what they hold, one flag a selected joint.
    sets: HashMap<Vec<bool>, u32>,
    /// Names that messages have, for an error.
    seen: BTreeSet<String>,
}

/// Joints that always come together.
struct Group {
    /// The place of their messages among the topics.
    topic: usize,
    /// What they are called.
    part: String,
}

/// What becomes of a lane: which of its joints, in its order, are taken from which group.
type Runs = Vec<(usize, Vec<String>)>;

/// Looks which sources come in parts, and replaces each of their lanes by one for every run of joints that come together.
/// The lists of their messages stand behind those of the topics.
///
/// Reads the first messages of each topic with a selection; where one lacks a joint, or the mapping says so, all of the
/// topic's.
///
/// # Errors
/// A selected joint that no message carries, messages that cannot be read, and [`WorkError::Stopped`].
pub(crate) fn spread(sources: &mut Sources, bound: &mut Bound, stop: &StopFlag) -> Result<(), WorkError> {
    let mut reader = sources.recording.reader();
    let in_parts = topics_in_parts(sources, bound, &mut reader)?;
    let (mut selections, mut of_lane): (Vec<Selection>, Vec<Option<usize>>) = (Vec::new(), Vec::new());
    for (lane, tap) in sources.lanes.iter().zip(&bound.taps) {
        let known = selections.iter().position(|one| one.topic == lane.topic && one.tap.selects_as(tap));
        let in_parts = tap.partial().unwrap_or_else(|| in_parts.contains(&lane.topic));
        of_lane.push(match known {
            Some(known) => Some(known),
            None if in_parts && !tap.selected().is_empty() => {
                let sets_of = vec![0; sources.messages.get(lane.topic).map_or(0, Vec::len)];
                let (topic, tap) = (lane.topic, tap.clone());
                let (sets, seen) = (HashMap::new(), BTreeSet::new());
                selections.push(Selection { topic, tap, sets_of, sets, seen });
                Some(selections.len() - 1)
            }
            None => None,
        });
    }
    if selections.is_empty() {
        return Ok(());
    }
    let mut topics: Vec<usize> = selections.iter().map(|one| one.topic).collect();
    topics.sort_unstable();
    topics.dedup();
    for topic in topics {
        read(sources, &mut reader, topic, &mut selections, stop)?;
    }
    let mut listed_messages = 0;
    let mut all = Vec::with_capacity(selections.len());
    for selection in &selections {
        all.push(selection.runs(sources, &mut listed_messages)?);
    }
    replace(sources, bound, &of_lane, &all);
    Ok(())
}

/// The topics whose messages each carry some of the joints: as the mapping says of any source, or else as the first messages
/// show.
fn topics_in_parts(
    sources: &Sources,
    bound: &Bound,
    reader: &mut Reader,
) -> Result<BTreeSet<usize>, WorkError> {
    let mut found = BTreeSet::new();
    let mut carried = Vec::new();
    for (lane, tap) in sources.lanes.iter().zip(&bound.taps) {
        if tap.partial() == Some(true) {
            found.insert(lane.topic);
        }
        if tap.partial().is_some() || tap.selected().is_empty() || found.contains(&lane.topic) {
            continue;
        }
        let messages = sources.messages.get(lane.topic).map(Vec::as_slice).unwrap_or_default();
        let mut tap = tap.clone();
        for first in messages.iter().take(LOOKED_AT) {
            look(&sources.recording, reader, *first, &lane.topic_name, &mut tap, &mut carried)?;
            if carried.contains(&false) {
                found.insert(lane.topic);
                break;
            }
        }
    }
    Ok(found)
}

/// Which of the selected joints a message carries.
fn look(
    recording: &Recording,
    reader: &mut Reader,
    at: MessageRef,
    topic: &str,
    tap: &mut Tap,
    carried: &mut Vec<bool>,
) -> Result<(), WorkError> {
    let message = reader.message(at)?;
    tap.carried(message.kind, message.data, carried)
        .map_err(|what| complaint(recording.name(), topic, at.stamp_ns, &what))
}

/// Reads the names in each message of a topic, in the order of the file, for all selections of it.
fn read(
    sources: &Sources,
    reader: &mut Reader,
    topic: usize,
    selections: &mut [Selection],
    stop: &StopFlag,
) -> Result<(), WorkError> {
    let messages = sources.messages.get(topic).map(Vec::as_slice).unwrap_or_default();
    let name = sources.topic_name(topic);
    let mut in_file: Vec<(usize, MessageRef)> = messages.iter().copied().enumerate().collect();
    in_file.sort_unstable_by_key(|(_, at)| (at.chunk, at.offset));
    let mut carried = Vec::new();
    for (number, at) in in_file {
        stop.check()?;
        for selection in selections.iter_mut().filter(|one| one.topic == topic) {
            look(&sources.recording, reader, at, name, &mut selection.tap, &mut carried)?;
            let next = selection.sets.len();
            let set = match selection.sets.get(&carried) {
                Some(set) => *set,
                None if next < SETS_MAX => {
                    let set = u32::try_from(next).unwrap_or(u32::MAX);
                    selection.sets.insert(carried.clone(), set);
                    let names = selection.tap.names_here().iter().cloned();
                    selection.seen.extend(names.take(SEEN_MAX.saturating_sub(selection.seen.len())));
                    set
                }
                None => {
                    return Err(WorkError::Permanent(format!(
                        "{}: the messages of {name} carry more than {SETS_MAX} different sets of the selected joints: \
                         select fewer, or leave the topic out",
                        sources.recording.name()
                    )));
                }
            };
            if let Some(place) = selection.sets_of.get_mut(number) {
                *place = set;
            }
        }
    }
    Ok(())
}

impl Selection {
    /// Makes the lists of messages, and says which joints are taken from which. None where every message carries all.
    fn runs(
        &self,
        sources: &mut Sources,
        listed_messages: &mut usize,
    ) -> Result<Option<(Runs, Vec<Group>)>, WorkError> {
        if self.sets.keys().all(|carried| carried.iter().all(|has| *has)) {
            return Ok(None);
        }
        let wanted = self.tap.selected();
        // For each joint, which of the sets hold it: those with the same come together.
        let mut holders: Vec<Vec<bool>> = vec![vec![false; self.sets.len()]; wanted.len()];
        for (carried, set) in &self.sets {
            for (holder, has) in holders.iter_mut().zip(carried) {
                if let Some(place) = holder.get_mut(*set as usize) {
                    *place = *has;
                }
            }
        }
        let mut together: BTreeMap<&[bool], Vec<&str>> = BTreeMap::new();
        for (holder, joint) in holders.iter().zip(wanted) {
            together.entry(holder).or_default().push(joint);
        }
        let name = sources.topic_name(self.topic).to_owned();
        let mut places: HashMap<&[bool], usize> = HashMap::new();
        let mut groups = Vec::with_capacity(together.len());
        for (holder, joints) in together {
            let part = listed(joints.iter().copied(), LISTED_MAX);
            let messages = self.holding(sources, holder);
            if messages.is_empty() {
                return Err(WorkError::Permanent(format!(
                    "{}: no message of {name} carries {part}, which is selected; there are: {}",
                    sources.recording.name(),
                    listed(self.seen.iter().map(String::as_str), SEEN_MAX)
                )));
            }
            *listed_messages = listed_messages.saturating_add(messages.len());
            if *listed_messages > LISTED_MESSAGES_MAX {
                return Err(WorkError::Permanent(format!(
                    "{}: the joints of {name} come in too many parts: their lists would have over {LISTED_MESSAGES_MAX} messages; \
                     select fewer joints, or cut the recording",
                    sources.recording.name()
                )));
            }
            places.insert(holder, groups.len());
            sources.names.push(format!("{part} of {name}"));
            sources.messages.push(messages);
            groups.push(Group { topic: sources.messages.len() - 1, part });
        }
        let mut runs: Runs = Vec::new();
        for (holder, joint) in holders.iter().zip(wanted) {
            let group = places.get(holder.as_slice()).copied().unwrap_or(0);
            match runs.last_mut() {
                Some((last, joints)) if *last == group => joints.push(joint.clone()),
                _ => runs.push((group, vec![joint.clone()])),
            }
        }
        Ok(Some((runs, groups)))
    }

    /// The messages of the sets that are held, by (stamp, place in the file) as they were.
    fn holding(&self, sources: &Sources, holder: &[bool]) -> Vec<MessageRef> {
        let messages = sources.messages.get(self.topic).map(Vec::as_slice).unwrap_or_default();
        let held = |set: &u32| holder.get(*set as usize).copied().unwrap_or(false);
        let of_both = messages.iter().zip(&self.sets_of).filter(|(_, set)| held(set));
        of_both.map(|(message, _)| *message).collect()
    }
}

/// Puts the lanes of each run in the place of the lane that they were.
fn replace(
    sources: &mut Sources,
    bound: &mut Bound,
    of_lane: &[Option<usize>],
    all: &[Option<(Runs, Vec<Group>)>],
) {
    let (mut lanes, mut taps) = (Vec::new(), Vec::new());
    // Where each lane's successors begin.
    let mut begins = Vec::with_capacity(of_lane.len() + 1);
    for ((lane, tap), of) in sources.lanes.iter().zip(&bound.taps).zip(of_lane) {
        begins.push(lanes.len());
        let Some((runs, groups)) = of.and_then(|of| all.get(of)).and_then(Option::as_ref) else {
            lanes.push(lane.clone());
            taps.push(tap.clone());
            continue;
        };
        for (group, joints) in runs {
            let Some(Group { topic, part }) = groups.get(*group) else { continue };
            lanes.push(Lane { topic: *topic, part: Some(part.clone()), ..lane.clone() });
            taps.push(tap.selecting(joints));
        }
    }
    begins.push(lanes.len());
    let begin = |at: usize| begins.get(at).copied().unwrap_or(lanes.len());
    let moved = |feature: &BoundFeature| BoundFeature {
        lanes: begin(feature.lanes.start)..begin(feature.lanes.end),
        ..feature.clone()
    };
    bound.features = bound.features.iter().map(moved).collect();
    sources.lanes = lanes;
    bound.taps = taps;
}
