//! "Did you mean": the names nearest to one that was mistyped.
//!
//! It only ranks; who asks writes the sentence.

/// Longest name that is compared, in characters; longer ones are never near.
const COMPARED_CHARS_MAX: usize = 200;

/// The candidates nearest to `wanted`, best first, at most `count`: by edit distance, names that hold `wanted` as a part first.
pub(crate) fn nearest<'a>(
    wanted: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    count: usize,
) -> Vec<&'a str> {
    let wanted_low = wanted.to_lowercase();
    let mut ranked: Vec<(usize, &str)> =
        candidates.into_iter().map(|name| (rank(&wanted_low, &name.to_lowercase()), name)).collect();
    ranked.sort();
    ranked.dedup();
    ranked.into_iter().take(count).map(|(_, name)| name).collect()
}

/// The one candidate so near to `wanted` that it was likely meant: at most a third of its letters differ.
pub(crate) fn meant<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let best = *nearest(wanted, candidates, 1).first()?;
    let letters = wanted.chars().count().max(best.chars().count());
    (edits(&wanted.to_lowercase(), &best.to_lowercase()) * 3 <= letters).then_some(best)
}

/// A list for a message: `"a", "b" and 12 more`.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>, count: usize) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    let shown: Vec<String> = names.iter().take(count).map(|name| format!("{name:?}")).collect();
    match names.len().saturating_sub(count) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn rank(wanted: &str, name: &str) -> usize {
    let part = !wanted.is_empty() && (name.contains(wanted) || wanted.contains(name));
    edits(wanted, name) * 2 / if part { 2 } else { 1 }
}

/// How many letters to add, remove, replace or swap with their neighbour (optimal string alignment).
fn edits(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(COMPARED_CHARS_MAX).collect();
    let b: Vec<char> = b.chars().take(COMPARED_CHARS_MAX).collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    let cell = |rows: &[Vec<usize>], i: usize, j: usize| {
        rows.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0)
    };
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let left = row.last().copied().unwrap_or(0) + 1;
            let mut least =
                left.min(cell(&rows, i, j + 1) + 1).min(cell(&rows, i, j) + usize::from(from != to));
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(to) && b.get(j - 1) == Some(from);
            if swapped {
                least = least.min(cell(&rows, i - 1, j - 1) + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    cell(&rows, a.len(), b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance_is_the_textbook_one() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", ""), 3);
        assert_eq!(edits("same", "same"), 0);
        assert_eq!(edits("fsp", "fps"), 1, "a swap is one slip");
    }

    #[test]
    fn near_names_come_first_and_far_ones_are_not_meant() {
        let topics = ["/joint_command", "/camera_0/image", "/joint_states"];
        assert_eq!(nearest("/joint_state", topics, 2), ["/joint_states", "/joint_command"]);
        assert_eq!(meant("algin", ["align", "name", "kind"]), Some("align"));
        assert_eq!(meant("colour", ["align", "name", "kind"]), None);
    }

    #[test]
    fn long_lists_are_cut_with_their_count() {
        assert_eq!(listed(["a", "b", "c"], 2), "\"a\", \"b\" and 1 more");
        assert_eq!(listed([], 2), "none");
    }
}
