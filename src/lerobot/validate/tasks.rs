//! Rules of `meta/tasks.parquet`.

use super::rule::{Findings, Rule};
use super::{Pending, or_finding};
use crate::lerobot::error::LerobotError;
use crate::lerobot::info::Info;
use crate::lerobot::layout::{INFO_KEY, TASKS_KEY};
use crate::lerobot::tasks::{Tasks, read_tasks};
use crate::storage::SharedStorage;
use std::collections::BTreeSet;

/// The tasks' texts by their numbers.
pub(super) fn check(
    storage: &SharedStorage,
    info: &Info,
    pending: Option<Pending>,
    found: &mut Findings,
) -> Result<Vec<String>, LerobotError> {
    let read = or_finding(read_tasks(storage), TASKS_KEY, Rule::TasksReadable, found)?;
    let Some(Tasks { mut rows, task_is_index }) = read else { return Ok(Vec::new()) };
    if pending.is_some() {
        // New tasks stand behind the old ones, maybe already.
        rows.truncate(usize::try_from(info.total_tasks).unwrap_or(usize::MAX));
    }
    found.hold(task_is_index, TASKS_KEY, Rule::TasksIndex, || {
        "its pandas metadata does not make `task` the index: the loader looks texts up there".into()
    });
    let mut texts = BTreeSet::new();
    for (row, (number, text)) in rows.iter().enumerate() {
        found.hold(i64::try_from(row) == Ok(*number), TASKS_KEY, Rule::TasksOrder, || {
            format!("row {row} has task_index {number}")
        });
        found.hold(texts.insert(text), TASKS_KEY, Rule::TasksOrder, || format!("{text:?} is there twice"));
    }
    found.hold(rows.len() as u64 == info.total_tasks, INFO_KEY, Rule::InfoTotals, || {
        format!("total_tasks is {}, tasks.parquet has {}", info.total_tasks, rows.len())
    });
    Ok(rows.into_iter().map(|(_, text)| text).collect())
}
