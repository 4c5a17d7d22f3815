//! The metrics as they are defined, shown and documented: the three agree.

use roboflow::health::Health;
use roboflow::metrics::{Exposition, Kind, Metrics, text};
use roboflow::queue::QueueDepth;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn exposition(metrics: &Arc<Metrics>) -> Exposition {
    Exposition::new(Arc::clone(metrics), Arc::new(Health::default()))
}

#[test]
fn the_snapshot_names_each_counter_with_its_count() {
    let metrics = Metrics::default();
    metrics.frames.add(7);
    metrics.claims.inc();
    let snapshot = metrics.snapshot();
    assert!(snapshot.contains(&("frames", 7)));
    assert!(snapshot.contains(&("claims", 1)));
    assert!(snapshot.contains(&("exits", 0)));
}

#[test]
fn what_is_shown_is_what_is_defined() {
    let metrics = Arc::new(Metrics::default());
    metrics.shutdown_seconds.observe_at("abort", Duration::from_millis(30));
    let text = text::plain(&exposition(&metrics).open_metrics().unwrap());
    let shown: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|rest| rest.split_once(' ').unwrap())
        .collect();
    let names: Vec<(String, Kind)> =
        Metrics::definitions().iter().map(|one| (one.full_name(), one.kind)).collect();
    let defined: BTreeMap<&str, &str> =
        names.iter().map(|(name, kind)| (name.as_str(), kind.name())).collect();
    assert_eq!(names.len(), defined.len(), "a name is defined twice");
    assert_eq!(shown, defined);
    assert!(text.contains("roboflow_shutdown_seconds_bucket{le=\"0.05\",rung=\"abort\"} 1\n"), "{text}");
}

#[test]
fn names_follow_the_rules_of_the_ecosystem() {
    for definition in Metrics::definitions() {
        let name = definition.full_name();
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert!(!definition.name.ends_with("_total"), "{name}: the kind adds it");
        assert!(definition.kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
        let help = definition.help.trim();
        assert!(help.ends_with('.') && !help.contains(['\n', '|', '\\']), "{name}: {help}");
    }
}

#[test]
fn counts_come_out_as_they_went_in() {
    let metrics = Arc::new(Metrics::default());
    metrics.frames.add(123);
    metrics.segment_seconds.observe(Duration::from_millis(40));
    metrics.segment_seconds.observe(Duration::from_secs(4_000));
    metrics.set_depth(Some(QueueDepth { ready: 5, oldest_ready_ms: 1_500, ..QueueDepth::default() }));
    let shown = exposition(&metrics);
    let open = shown.open_metrics().unwrap();
    let plain = text::plain(&open);
    for line in [
        "roboflow_frames_total 123",
        "roboflow_segment_seconds_count 2",
        "roboflow_segment_seconds_bucket{le=\"0.05\"} 1",
        "roboflow_segment_seconds_bucket{le=\"+Inf\"} 2",
        "roboflow_queue_ready_jobs 5.0",
        "roboflow_queue_oldest_ready_seconds 1.5",
        "roboflow_ready 0.0",
    ] {
        assert!(plain.lines().any(|shown| shown == line), "{line} is missing in\n{plain}");
        assert!(open.lines().any(|shown| shown == line), "{line} is missing in\n{open}");
    }
    assert!(plain.contains("# TYPE roboflow_frames_total counter\n") && !plain.contains("# EOF"));
    assert!(open.contains("# TYPE roboflow_frames counter\n") && open.ends_with("# EOF\n"));
    metrics.set_depth(None);
    assert!(
        !shown.open_metrics().unwrap().contains("\nroboflow_queue_ready_jobs "),
        "nobody leads here any more"
    );
}

/// The parser of Rust's other client library is not at hand; this is the format's grammar, written apart from the writer.
#[test]
fn each_sample_belongs_to_a_family_and_each_family_stands_once() {
    let metrics = Arc::new(Metrics::default());
    metrics.shutdown_seconds.observe_at("finish", Duration::from_secs(1));
    let text = text::plain(&exposition(&metrics).open_metrics().unwrap());
    let (mut seen, mut families) = (BTreeSet::new(), BTreeSet::new());
    let (mut family, mut kind) = ("", "");
    let mut helped = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helped = rest.split_once(' ').unwrap().0;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            (family, kind) = rest.split_once(' ').unwrap();
            assert_eq!(family, helped, "the help comes before the kind");
            assert!(families.insert(family.to_owned()), "{family} stands twice");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
            let name = series.split('{').next().unwrap();
            let rest = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} stands below {family}"));
            let allowed: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(allowed.contains(&rest), "{line} stands below {family}");
            assert!(seen.insert(series.to_owned()), "{series} stands twice");
        }
    }
    assert!(seen.len() > 100, "{}", seen.len());
}

#[test]
fn golden_the_documented_table_is_the_defined_one() {
    const MARKS: [&str; 2] = ["<!-- metrics: begin -->\n", "<!-- metrics: end -->"];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/metrics.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(MARKS[0]).expect("deploy/metrics.md holds the first mark");
    let (table, tail) = rest.split_once(MARKS[1]).expect("deploy/metrics.md holds the second mark");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let page = format!("{head}{}{}{}{tail}", MARKS[0], Metrics::table(), MARKS[1]);
        std::fs::write(&path, page).unwrap();
        return;
    }
    assert!(
        table == Metrics::table(),
        "deploy/metrics.md does not show the metrics as they are: refresh it with UPDATE_GOLDEN=1 cargo test -p \
         roboflow-proptests --test metrics, and read the difference"
    );
}
