//! Alerts, their runbook and the dashboard ask for metrics that the program has.

use super::tree::{deploy, items, kubernetes, object, text};
use roboflow::metrics::{Definition, Kind, Metrics, PREFIX};
use serde_json::Value;
use std::collections::BTreeSet;

/// Each name under which a metric of the program can be asked for.
fn known() -> BTreeSet<String> {
    let names = |one: &Definition| match one.kind {
        Kind::Histogram => {
            ["bucket", "count", "sum"].map(|part| format!("{}_{part}", one.full_name())).to_vec()
        }
        Kind::Counter | Kind::Gauge => vec![one.full_name()],
    };
    Metrics::definitions().iter().flat_map(names).collect()
}

/// The metrics that a query asks for.
fn asked(query: &str) -> BTreeSet<&str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter(|word| word.starts_with(&format!("{PREFIX}_"))).collect()
}

/// A query asks for something, and for nothing that the program does not have.
pub(crate) fn assert_known(place: &str, query: &str) {
    let (known, asked) = (known(), asked(query));
    assert!(!asked.is_empty(), "{place}: {query:?} asks for none of our metrics");
    for name in asked {
        assert!(known.contains(name), "{place}: {name} is no metric of the program");
    }
}

#[test]
fn a_metric_that_is_none_is_found() {
    assert_known("here", "rate(roboflow_frames_total[5m]) / 2");
    assert!(!known().contains("roboflow_frames"));
    assert_eq!(
        asked("sum(rate(roboflow_wishes_total{a=\"b\"}[5m]))"),
        BTreeSet::from(["roboflow_wishes_total"])
    );
    std::panic::catch_unwind(|| assert_known("here", "roboflow_wishes_total > 0")).unwrap_err();
    std::panic::catch_unwind(|| assert_known("here", "up == 0")).unwrap_err();
}

#[test]
fn each_alert_asks_for_what_there_is_and_has_a_section_in_the_runbook() {
    let rules = object(&kubernetes().join("base/alerts.yaml"), "PrometheusRule", None);
    let rules: Vec<Value> =
        items(&rules["spec"]["groups"]).iter().flat_map(|group| items(&group["rules"])).collect();
    let (runbook, tests) = (text(&deploy().join("runbook.md")), text(&kubernetes().join("alerts_test.yaml")));
    let mut named = BTreeSet::new();
    for rule in &rules {
        let alert = rule["alert"].as_str().unwrap();
        assert_known(alert, rule["expr"].as_str().unwrap());
        assert_eq!(rule["annotations"]["runbook"], format!("deploy/runbook.md#{}", alert.to_lowercase()));
        assert!(runbook.contains(&format!("\n## {alert}\n")), "deploy/runbook.md has no section {alert}");
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} has no test");
        named.insert(alert.to_owned());
    }
    assert!(named.len() >= 6);
    let sections = runbook.lines().filter_map(|line| line.strip_prefix("## Roboflow"));
    for section in sections {
        assert!(
            named.contains(&format!("Roboflow{section}")),
            "deploy/runbook.md has a section on no alert: {section}"
        );
    }
}

/// All queries of a dashboard's panels and variables.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| queries(value, found));
        }
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let path = kubernetes().join("components/dashboard/roboflow.json");
    let dashboard: Value = serde_json::from_str(&text(&path)).unwrap();
    let mut found = Vec::new();
    queries(&dashboard, &mut found);
    assert!(found.len() >= 10, "{found:?}");
    for query in found {
        assert_known("roboflow.json", &query);
    }
    for variable in items(&dashboard["templating"]["list"]) {
        if variable["type"] == "query" {
            assert_known("roboflow.json", variable["query"].as_str().unwrap());
        }
    }
    let ids: BTreeSet<u64> =
        items(&dashboard["panels"]).iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), items(&dashboard["panels"]).len(), "each panel has its own number");
}

/// Paths that a probe or a scraper asks for are served.
#[test]
fn what_is_probed_and_scraped_is_served() {
    let routes = text(&deploy().parent().unwrap().join("src/http/routes.rs"));
    let mut paths = BTreeSet::new();
    for container in super::containers() {
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            paths.extend(container.value[probe]["httpGet"]["path"].as_str().map(str::to_owned));
        }
    }
    let monitor = object(&kubernetes().join("base/monitoring.yaml"), "ServiceMonitor", None);
    paths.extend(
        items(&monitor["spec"]["endpoints"]).iter().filter_map(|end| end["path"].as_str()).map(str::to_owned),
    );
    assert_eq!(paths, ["/health/live", "/health/ready", "/metrics"].map(str::to_owned).into());
    for path in paths {
        assert!(routes.contains(&format!("(\"{path}\", get(")), "{path} is served by no route");
    }
}

/// The numbers that lines begin with, behind a mark.
fn codes<'a>(text: &'a str, mark: &str) -> BTreeSet<&'a str> {
    let code = |line: &'a str| line.strip_prefix(mark)?.split_whitespace().next();
    text.lines().filter_map(code).filter(|word| word.parse::<u8>().is_ok()).collect()
}

#[test]
fn the_operators_page_says_what_to_do_for_each_exit_code() {
    let help = roboflow::cli::command().get_after_help().unwrap().to_string();
    let own = codes(help.split("Exit codes:").nth(1).unwrap(), " ");
    let page = text(&deploy().join("README.md"));
    let (mut explained, killed) = (codes(&page, "| "), "137");
    assert!(explained.remove(killed), "and for a kill, which no program tells of");
    assert_eq!(explained, own);
    assert!(own.len() >= 9, "{own:?}");
}
