//! Joint states of several publishers, each with some of the joints.

use super::*;
use crate::convert::testing::cases;
use proptest::prelude::*;

fn mapping(select: &[&str], keys: &str, source: &str) -> String {
    format!(
        "{HEAD}[[feature]]\nname = \"s\"\n{keys}\nsource = [{{ topic = \"/joints\", field = \"position\", select = {select:?}{source} }}]\n"
    )
}

/// An arm at 50 Hz and wheels at 20 Hz, neither with the joints of the other.
fn two_publishers(until: u64) -> Vec<Said> {
    let mut said = Vec::new();
    for ms in 0..=until {
        let value = ms as f64;
        if ms % 20 == 0 {
            said.push(joints(ms, &["a", "b"], &[value, -value]));
        }
        if ms % 50 == 7 {
            said.push(joints(ms, &["r", "l"], &[value + 0.5, value + 0.25]));
        }
    }
    said
}

fn rows(said: &[Said], mapping: &str) -> Vec<Vec<f32>> {
    vectors(&open(said, mapping, 100_000).unwrap().run().batch(0), "s")
}

#[test]
fn each_joint_is_that_of_the_latest_message_that_carries_it() {
    let said = two_publishers(1025);
    let job = open(&said, &mapping(&["l", "a", "r", "b"], "", ""), 4).unwrap().run();
    let mut found = Vec::new();
    (0..3).for_each(|segment| found.extend(vectors(&job.batch(segment), "s")));
    // The first moment at which all are known is 7 ms.
    let expected: Vec<Vec<f32>> = (0..=10)
        .map(|k| {
            let at = 7 + k * 100;
            let (arm, wheels) = ((at / 20 * 20) as f32, ((at - 7) / 50 * 50 + 7) as f32);
            vec![wheels + 0.25, arm, wheels + 0.5, -arm]
        })
        .collect();
    assert_eq!(found, expected);
    let episode = job.work.episodes().next().unwrap();
    assert_eq!(episode.features[0].names.clone().unwrap(), ["l", "a", "r", "b"]);
    assert_eq!(episode.sync.start_ns, 7 * MS);
    let parts: Vec<_> = episode.sync.sources.iter().map(|source| source.part.clone().unwrap()).collect();
    assert_eq!(
        parts,
        [r#""l", "r""#, r#""a", "b""#, r#""l", "r""#, r#""a", "b""#],
        "those that come together"
    );
}

#[test]
fn whole_messages_give_the_same_bytes_whether_they_are_looked_through_or_not() {
    for keys in ["", "align = \"linear\"", "align = \"nearest\"\ntolerance_ms = 4"] {
        let plain = open(&said(), &mapping(&["b", "a"], keys, ""), 8).unwrap().run();
        for partial in ["true", "false"] {
            let looked = mapping(&["b", "a"], keys, &format!(", partial = {partial}"));
            assert_eq!(open(&said(), &looked, 8).unwrap().run().files(), plain.files(), "{keys} {partial}");
        }
    }
}

#[test]
fn the_tolerance_is_that_of_the_oldest_joint() {
    let mut said = two_publishers(1025);
    // The wheels are silent from 307 to 607 ms: at 507 ms they are 250 ms old.
    said.retain(|(_, stamp_ns, value)| value["name"][0] != "r" || !(258 * MS..600 * MS).contains(stamp_ns));
    let with = |keys: &str| {
        open(&said, &mapping(&["a", "l"], keys, ""), 100)
            .map(|job| job.run().work.episodes().next().unwrap().clone())
    };
    let dropped = with("tolerance_ms = 100").unwrap();
    assert_eq!((dropped.frames, dropped.sync.dropped_frames), (9, 2), "those at 407 and 507 ms");
    let held = with("tolerance_ms = 100\non_missing = \"hold\"").unwrap();
    assert_eq!(held.frames, 11);
    assert_eq!((held.sync.sources[0].held_frames, held.sync.sources[1].held_frames), (0, 2));
    let failed = with("tolerance_ms = 100\non_missing = \"fail\"").unwrap_err().to_string();
    assert!(
        failed.contains(
            "the frame at 0.407000000 s has no message of \"l\" of /joints within 100 ms (it is 150 ms away)"
        ),
        "{failed}"
    );
}

#[test]
fn a_joint_that_no_message_carries_is_named_and_so_is_what_is_there() {
    let error = refused(&two_publishers(300), &mapping(&["a", "x", "l"], "", ""));
    assert_eq!(
        error,
        "in/one.mcap: no message of /joints carries \"x\", which is selected; there are: \"a\", \"b\", \"l\", \"r\""
    );
}

#[test]
fn the_mapping_may_say_whether_messages_come_in_parts() {
    let no = refused(&two_publishers(300), &mapping(&["a", "l"], "", ", partial = false"));
    assert!(
        no.contains(
            "name has no \"l\", which is selected; there are: \"a\", \"b\"; where messages carry some"
        ),
        "{no}"
    );
    // The first 16 messages have all, a later one has not: said by name, and looked through when asked for.
    let whole = |count: u64| (0..count).map(|k| joints(k, &["a", "l"], &[5.0, 6.0])).collect::<Vec<_>>();
    let after = |count: u64| {
        let mut said = whole(count);
        said.extend(two_publishers(300).into_iter().filter(|(_, stamp_ns, _)| *stamp_ns >= 16 * MS));
        said
    };
    let later = refused(&after(16), &mapping(&["a", "l"], "", ""));
    assert!(later.contains("write partial = true beside select"), "{later}");
    let expected = [[5.0, 6.0], [100.0, 57.25]];
    assert_eq!(rows(&after(16), &mapping(&["a", "l"], "", ", partial = true"))[..2], expected);
    assert_eq!(rows(&after(15), &mapping(&["a", "l"], "", ""))[..2], expected, "the sixteenth tells");
    let alone =
        Mapping::parse("m.toml", &mapping(&["a"], "", ", partial = true").replace("select = [\"a\"], ", ""))
            .unwrap_err();
    assert!(alone.to_string().contains("it needs select"), "{alone}");
}

#[test]
fn an_empty_field_carries_no_joint() {
    let mut said = two_publishers(400);
    said.extend((1..40u64).map(|k| joints(k * 10 + 1, &["a", "l"], &[])));
    said.sort_by_key(|(_, stamp_ns, _)| *stamp_ns);
    assert_eq!(
        rows(&said, &mapping(&["l", "a"], "", "")),
        rows(&two_publishers(400), &mapping(&["l", "a"], "", ""))
    );
    said.push(joints(399, &["a", "l"], &[1.0]));
    let uneven = refused(&said, &mapping(&["l", "a"], "", ""));
    assert!(
        uneven.contains("position has 1 values for the 2 names in name") && uneven.contains("0.399"),
        "{uneven}"
    );
}

#[test]
fn parts_stand_beside_other_sources_and_are_shifted_as_them() {
    let said = two_publishers(1025);
    let more = format!(
        "{}[[feature]]\nname = \"action\"\nfrom = \"s\"\nshift = 2\n[[feature]]\nname = \"arm\"\nsource = [{{ topic = \"/joints\", \
         field = \"position\", select = [\"b\", \"a\"], partial = true }}]\n",
        mapping(&["l", "a"], "", "")
    );
    let batch = open(&said, &more, 100).unwrap().run().batch(0);
    let (state, action, arm) = (vectors(&batch, "s"), vectors(&batch, "action"), vectors(&batch, "arm"));
    assert_eq!(state.len(), 9);
    assert_eq!(action[..7], state[2..]);
    assert!(arm.iter().zip(&state).all(|(arm, state)| arm == &[-state[1], state[1]]), "{arm:?}");
}

#[test]
fn a_topic_comes_in_parts_for_all_of_its_sources() {
    // Each of these alone is in the first messages whole, and in some later ones not at all.
    let said: Vec<Said> = (0..60u64)
        .map(|k| match k {
            0..20 => joints(k * 20, &["a", "b"], &[k as f64, -(k as f64)]),
            _ if k % 2 == 0 => joints(k * 20, &["a", "b"], &[k as f64, -(k as f64)]),
            _ => joints(k * 20, &["l"], &[k as f64]),
        })
        .collect();
    let two = |select: &str| {
        format!(
            "{}[[feature]]\nname = \"t\"\nsource = [{{ topic = \"/joints\", field = \"position\", select = {select} }}]\n",
            mapping(&["a", "b"], "", "")
        )
    };
    assert!(refused(&said, &mapping(&["a", "b"], "", "")).contains("write partial = true"));
    let batch = open(&said, &two("[\"l\", \"a\"]"), 100).unwrap().run().batch(0);
    assert_eq!(vectors(&batch, "s")[0], [20.0, -20.0], "at 420 ms, when all are known");
    assert_eq!(vectors(&batch, "t")[0], [21.0, 20.0]);
}

#[test]
fn a_piece_without_one_of_the_joints_is_left_out() {
    let mut said = two_publishers(1000);
    said.extend(
        two_publishers(1000)
            .into_iter()
            .filter(|(_, _, value)| value["name"][0] == "a")
            .map(|(topic, ns, value)| (topic, ns + 5000 * MS, value)),
    );
    let split = format!("{}[episodes]\nsplit = \"gap\"\ngap_ms = 1000\n", mapping(&["a", "l"], "", ""));
    let job = open(&said, &split, 8).unwrap();
    assert_eq!(job.work.episodes().count(), 1);
    let out = &job.work.episodes().next().unwrap().left_out;
    assert!(out[0].reason.contains("\"l\" of /joints has no message in it"), "{out:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases().cases.min(64), ..cases() })]

    /// Any joints in any messages: at each frame each joint's value is that of the last message at or before it that has it.
    #[test]
    fn latest_equals_a_search_through_all_messages(
        messages in prop::collection::vec((1u64..60, 0usize..8), 4..30),
        select in prop::sample::subsequence(vec!["c", "a", "b"], 1..=3),
    ) {
        let mut at = 0;
        let mut said: Vec<(u64, Vec<&str>, f64)> = vec![(0, vec!["a", "b", "c"], -1.0)];
        for (number, (step, set)) in messages.into_iter().enumerate() {
            at += step;
            let names = ["a", "b", "c"].into_iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1);
            said.push((at, names.map(|(_, name)| name).collect(), number as f64));
        }
        let written: Vec<Said> = said
            .iter()
            .map(|(ms, names, value)| joints(*ms, names, &names.iter().map(|name| value * 4.0 + f64::from(name.as_bytes()[0] - b'a')).collect::<Vec<_>>()))
            .collect();
        let last = |joint: &str, until: u64| said.iter().rev().find(|(ms, names, _)| *ms <= until && names.contains(&joint)).unwrap().2;
        let end = select.iter().map(|joint| said.iter().rev().find(|(_, names, _)| names.contains(joint)).unwrap().0).min().unwrap();
        let expected: Vec<Vec<f32>> = (0..=end / 100)
            .map(|k| select.iter().map(|joint| (last(joint, k * 100) * 4.0 + f64::from(joint.as_bytes()[0] - b'a')) as f32).collect())
            .collect();
        let mut found = rows_of(&written, &mapping(&select, "", ", partial = true"));
        found.truncate(expected.len());
        prop_assert_eq!(found, expected);
    }
}

/// As [`rows`], also of one element a row.
fn rows_of(said: &[Said], mapping: &str) -> Vec<Vec<f32>> {
    let batch = open(said, mapping, 100_000).unwrap().run().batch(0);
    let column = batch.column_by_name("s").unwrap();
    match column.as_primitive_opt::<Float32Type>() {
        Some(single) => single.values().iter().map(|value| vec![*value]).collect(),
        None => vectors(&batch, "s"),
    }
}
