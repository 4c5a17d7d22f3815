//! Every state that the machine can reach, walked breadth first over clones of the machine that ships.
//!
//! There is no model beside the machine: each step is [`crate::step`], checked against all of
//! [`crate::invariant::RULES`]. What is abstracted is only which data are tried and when two states count as one
//! (in `bounds`, with the reasons). It proves nothing about the shell around the machine.

mod bounds;
#[cfg(test)]
mod tests;

use crate::effect::{Effect, Leaf};
use crate::event::{Event, Input, Signal};
use crate::invariant::{Violation, check_step};
use crate::machine::{Disposition, Machine, step};
use crate::policy::Settings;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// A walk that finds more states than this has lost its bounds.
pub const MAX_STATES: usize = 400_000;
/// Ticks alone must end a stop in fewer than this many.
const MAX_TICKS: usize = 2_000;

/// What was seen of one step, without its data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outcome {
    /// The leaves entered, in order. Empty where it stayed.
    pub entered: Vec<Leaf>,
    /// The names of the effects, in order.
    pub effects: Vec<&'static str>,
    /// What became of the event.
    pub disposition: Disposition,
}

impl Outcome {
    /// The leaf it ended in, having begun in `source`.
    pub fn target(&self, source: Leaf) -> Leaf {
        self.entered.last().copied().unwrap_or(source)
    }
}

/// A leaf, and whether the machine was asked to stop.
pub type Standing = (Leaf, bool);

/// Every outcome observed, by leaf and event name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The outcomes.
    pub rows: BTreeMap<(Leaf, &'static str), BTreeSet<Outcome>>,
    /// Which leaf was seen to lead to which, each with whether the machine was asked to stop.
    pub ways: BTreeSet<(Standing, Standing)>,
    /// States reached.
    pub states: usize,
    /// Steps taken and checked.
    pub steps: usize,
}

/// A way from the initial machine to a step that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterexample {
    /// The rule.
    pub violation: Violation,
    /// The settings it was found under.
    pub settings: Settings,
    /// The events that lead there; the last one breaks the rule.
    pub events: Vec<Event>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, after", self.violation)?;
        self.events.iter().try_for_each(|event| write!(f, "\n  {} ms {:?}", event.at_ms, event.input))
    }
}

impl core::error::Error for Counterexample {}

struct Node {
    machine: Machine,
    parent: usize,
    by: Option<Event>,
}

struct Walk {
    settings: Settings,
    nodes: Vec<Node>,
    seen: BTreeSet<bounds::Key>,
    table: Table,
}

/// Walks everything, under each of the settings in `bounds`.
///
/// # Errors
/// The first step found to break a rule, with the events that lead to it.
pub fn explore() -> Result<Table, Counterexample> {
    let mut table = Table::default();
    for settings in bounds::settings() {
        let walk = Walk::new(settings, table);
        table = walk.run()?;
    }
    Ok(table)
}

impl Walk {
    fn new(settings: Settings, table: Table) -> Self {
        let machine = Machine::new(settings.clone());
        let seen = BTreeSet::from([bounds::key(&machine)]);
        Self { settings, nodes: vec![Node { machine, parent: 0, by: None }], seen, table }
    }

    fn run(mut self) -> Result<Table, Counterexample> {
        let mut next = 0;
        while let Some(node) = self.nodes.get(next) {
            let machine = node.machine.clone();
            for event in bounds::events(&machine) {
                self.visit(next, &machine, event)?;
            }
            self.ends_by_time(next, &machine)?;
            next += 1;
        }
        self.table.states += self.nodes.len();
        Ok(self.table)
    }

    fn visit(&mut self, parent: usize, before: &Machine, event: Event) -> Result<(), Counterexample> {
        let mut after = before.clone();
        let effects = step(&mut after, event.clone());
        self.table.steps += 1;
        if let Err(violation) = check_step(before, &event, &after, &effects) {
            return Err(self.counterexample(violation, parent, vec![event]));
        }
        self.table.note(before, &event, &after, &effects);
        if self.seen.insert(bounds::key(&after)) {
            if self.nodes.len() >= MAX_STATES {
                let violation = Violation { rule: "bounds", what: "more states than the walk is bounded to" };
                return Err(self.counterexample(violation, parent, vec![event]));
            }
            self.nodes.push(Node { machine: after, parent, by: Some(event) });
        }
        Ok(())
    }

    /// F11 over the whole graph: from here, one stop signal and then nothing but time reaches the exit within the
    /// force deadline, though no request is ever answered. With answers it cannot take longer, since F11 of each
    /// step says that any event at the deadline ends it.
    fn ends_by_time(&mut self, parent: usize, from: &Machine) -> Result<(), Counterexample> {
        if from.exit().is_some() {
            return Ok(());
        }
        let mut machine = from.clone();
        let mut events = Vec::new();
        let mut at_ms = from.worker().now_ms;
        if machine.force_at_ms().is_none() {
            let event = Event { at_ms, dice: 0, input: Input::Signal(Signal::Int) };
            step(&mut machine, event.clone());
            events.push(event);
        }
        let force_at_ms = machine.force_at_ms();
        for _ in 0..MAX_TICKS {
            let (None, Some(wake)) = (machine.exit(), machine.wake_at_ms()) else { break };
            at_ms = wake;
            let event = Event { at_ms, dice: 0, input: Input::Tick };
            step(&mut machine, event.clone());
            events.push(event);
            self.table.steps += 1;
        }
        if machine.exit().is_none() || force_at_ms.is_some_and(|force| at_ms > force) {
            let violation =
                Violation { rule: "F11", what: "time alone does not end a stop by the force deadline" };
            return Err(self.counterexample(violation, parent, events));
        }
        Ok(())
    }

    fn counterexample(&self, violation: Violation, mut at: usize, last: Vec<Event>) -> Counterexample {
        let mut events = last;
        while let Some(Node { parent, by: Some(event), .. }) = self.nodes.get(at) {
            events.insert(0, event.clone());
            at = *parent;
        }
        Counterexample { violation, settings: self.settings.clone(), events }
    }
}

impl Table {
    /// The leaves that may still come after this one, itself only where it may come again.
    pub fn reaches(&self, leaf: Leaf, stopping: bool) -> BTreeSet<Leaf> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![(leaf, stopping)]);
        while let Some(from) = open.pop() {
            for (_, to) in self.ways.iter().filter(|(source, _)| *source == from) {
                if seen.insert(*to) {
                    open.push(*to);
                }
            }
        }
        seen.into_iter().map(|(leaf, _)| leaf).collect()
    }

    fn note(&mut self, before: &Machine, event: &Event, after: &Machine, effects: &[Effect]) {
        let source = before.leaf();
        let Some(disposition) = after.last_disposition() else { return };
        let mut from = (source, before.mode().is_some());
        for entered in after.trail().iter().skip(1) {
            let to = (*entered, after.mode().is_some());
            self.ways.insert((from, to));
            from = to;
        }
        let outcome = Outcome {
            entered: after.trail().iter().skip(1).copied().collect(),
            effects: effects.iter().map(Effect::name).collect(),
            disposition,
        };
        self.rows.entry((source, event.name())).or_default().insert(outcome);
    }
}
