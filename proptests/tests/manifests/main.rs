//! The manifests under `deploy` say what the program understands: variables, values, ports, paths, grace.
//!
//! It needs no server. Whether they fit the schemas of Kubernetes is checked by `.ci/run`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a manifest that is not as it should be is a failed test; a missing key of a JSON value is null"
)]

mod operated;
mod tree;

use roboflow::cli::duration::Millis;
use roboflow_fsm::Settings;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use tree::{Container, containers, deploy, documents, everything, items, kubernetes, object, text, variants};

/// How long a node that shuts down may give its pods, whatever they asked for (seconds).
const NODE_NOTICE_S: u64 = 15;
/// Between the force deadline and the end of the grace, at least: the signal's way on a busy node (seconds).
const GRACE_SPARE_S: u64 = 5;

/// The option that a variable sets, by the command's own account: its long name.
fn option_of(command: &str, variable: &str) -> Option<String> {
    let root = roboflow::cli::command();
    let found = root.find_subcommand(command).unwrap_or_else(|| panic!("there is no command {command}"));
    let mut options = found.get_arguments().chain(root.get_arguments());
    let option = options.find(|option| option.get_env().is_some_and(|name| name == variable))?;
    Some(option.get_long().unwrap().to_owned())
}

/// Whether the program looks a variable up itself, as it does with those that all clients of S3 share.
fn looked_up(variable: &str) -> bool {
    let folder = deploy().parent().unwrap().join("src/storage/s3");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    variable.starts_with("AWS_")
        && files.filter(|path| path.is_file()).any(|path| text(&path).contains(&format!("\"{variable}\"")))
}

/// Every variable that a manifest gives to a command: where it stands, the command, its name, its value if it is there.
fn variables() -> Vec<(String, String, String, Option<String>)> {
    let mut all = Vec::new();
    for command in ["worker", "scanner"] {
        for (variant, _, variables) in variants(command) {
            all.extend(
                variables
                    .into_iter()
                    .map(|(name, value)| (variant.clone(), command.to_owned(), name, Some(value))),
            );
        }
        let secret = object(&kubernetes().join("secrets.example.yaml"), "Secret", Some("roboflow-s3"));
        let names = secret["stringData"].as_object().unwrap().keys();
        all.extend(names.map(|name| ("secrets".to_owned(), command.to_owned(), name.clone(), None)));
    }
    for container in containers() {
        let file = container.file.display().to_string();
        let own = container.variables().into_iter();
        all.extend(own.map(|(name, value)| (file.clone(), container.command.clone(), name, value)));
    }
    all
}

#[test]
fn every_variable_is_a_knob_of_its_command() {
    assert_eq!(option_of("worker", "WORKER_FORCE_AFTER").as_deref(), Some("force-after"));
    assert_eq!(
        option_of("scanner", "WORKER_FORCE_AFTER"),
        None,
        "a scanner has no such option, so the check can fail"
    );
    assert!(!looked_up("AWS_REGIONS"));
    let all = variables();
    assert!(all.len() > 40, "{all:?}");
    for (place, command, name, _) in all {
        assert!(
            option_of(&command, &name).is_some() || looked_up(&name),
            "{place}: {name} is nothing that `roboflow {command}` reads"
        );
    }
}

#[test]
fn every_value_is_one_that_its_command_takes() {
    let accepts = |command: &str, arguments: &[String]| {
        let typed = ["roboflow", command].map(str::to_owned).into_iter().chain(arguments.iter().cloned());
        roboflow::cli::command().try_get_matches_from(typed).map_err(|error| error.to_string())
    };
    accepts("worker", &["--force-after=soon".to_owned()]).unwrap_err();
    for (place, command, name, value) in variables() {
        let (Some(option), Some(value)) = (option_of(&command, &name), value) else { continue };
        // A mapping without an output is refused.
        let mut arguments = vec![format!("--{option}={value}")];
        arguments.extend((option == "mapping").then(|| "--out=s3://datasets".to_owned()));
        accepts(&command, &arguments).unwrap_or_else(|error| panic!("{place}: {name}={value}: {error}"));
    }
    for Container { file, value, .. } in containers() {
        let arguments: Vec<String> =
            items(&value["args"]).iter().map(|word| word.as_str().unwrap().to_owned()).collect();
        if let Some((command, options)) = arguments.split_first() {
            accepts(command, options)
                .unwrap_or_else(|error| panic!("{}: {arguments:?}: {error}", file.display()));
            assert_eq!(
                value["name"], *command,
                "a container is named after its command: the tests rely on it"
            );
        }
    }
}

/// How a variant's workers stop, and the grace of their pods in seconds.
fn stopping(folder: &std::path::Path, variables: &BTreeMap<String, String>) -> (Settings, u64) {
    let ms = |name: &str| variables[name].parse::<Millis>().unwrap().0;
    let settings = Settings {
        shutdown_timeout_ms: ms("WORKER_SHUTDOWN_TIMEOUT"),
        drain_budget_ms: ms("WORKER_DRAIN_BUDGET"),
        force_after_ms: ms("WORKER_FORCE_AFTER"),
        checkpoint_interval_ms: ms("WORKER_CHECKPOINT_INTERVAL_SECS"),
        ..Settings::default()
    };
    let grace = |path: &std::path::Path| {
        let worker = documents(path).into_iter().find(|document| document["kind"] == "Deployment")?;
        worker["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64()
    };
    let own = folder.join("worker.yaml");
    let own = own.exists().then(|| grace(&own)).flatten();
    (settings, own.unwrap_or_else(|| grace(&kubernetes().join("base/worker.yaml")).unwrap()))
}

#[test]
fn pitfall_30_the_grace_holds_the_whole_shutdown_and_nothing_sleeps_in_it() {
    for (variant, folder, variables) in variants("worker") {
        let (settings, grace_s) = stopping(&folder, &variables);
        settings.check().unwrap_or_else(|error| panic!("{variant}: {error}"));
        assert!(
            settings.force_after_ms + GRACE_SPARE_S * 1_000 <= grace_s * 1_000,
            "{variant}: force deadline {} ms + {GRACE_SPARE_S} s > grace {grace_s} s",
            settings.force_after_ms
        );
        assert_eq!(
            variables["WORKER_GRACE"].parse::<Millis>().unwrap().0,
            grace_s * 1_000,
            "{variant}: the worker is told another grace than its pod has"
        );
    }
    for container in containers() {
        assert!(
            container.value["lifecycle"].is_null(),
            "{}: {}",
            container.file.display(),
            container.value["lifecycle"]
        );
    }
}

#[test]
fn pitfall_33_on_spot_nodes_the_shutdown_fits_in_what_a_node_gives() {
    let variants = variants("worker");
    let (_, folder, variables) = variants.iter().find(|(variant, ..)| variant == "spot").unwrap();
    let (settings, _) = stopping(folder, variables);
    assert!(settings.force_after_ms <= NODE_NOTICE_S * 1_000, "{settings:?}");
    assert!(settings.checkpoint_interval_ms <= 10_000, "{settings:?}");
}

/// Port names of a container, with their numbers.
fn ports(container: &Value) -> BTreeMap<String, u64> {
    let ports = items(&container["ports"]);
    ports
        .iter()
        .map(|port| (port["name"].as_str().unwrap().to_owned(), port["containerPort"].as_u64().unwrap()))
        .collect()
}

#[test]
fn what_is_probed_scraped_and_let_in_is_a_port_that_is_listened_on() {
    let mut known = BTreeMap::new();
    for container in containers().into_iter().filter(|container| container.value["image"].is_string()) {
        let (ports, place) = (ports(&container.value), container.file.display());
        let health: Vec<u64> = container
            .variables()
            .into_iter()
            .filter_map(|(name, value)| (name == "HEALTH_PORT").then(|| value.unwrap().parse().unwrap()))
            .collect();
        assert_eq!(
            ports.values().copied().collect::<Vec<_>>(),
            health,
            "{place}: it listens where HEALTH_PORT says"
        );
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let asked = &container.value[probe]["httpGet"];
            if !asked.is_null() {
                assert!(ports.contains_key(asked["port"].as_str().unwrap()), "{place}: {probe} asks {asked}");
            }
        }
        known.extend(ports);
    }
    let together = object(&kubernetes().join("base/worker.yaml"), "Deployment", None);
    let together = items(&together["spec"]["template"]["spec"]["containers"]);
    let numbers: BTreeSet<u64> =
        together.iter().flat_map(|container| ports(container).into_values()).collect();
    assert_eq!(numbers.len(), together.len(), "containers of a pod share its ports: each needs its own");
    for (file, document) in everything() {
        let place = file.display();
        for port in items(&document["spec"]["ports"]) {
            assert_eq!(
                known[port["targetPort"].as_str().unwrap()],
                port["port"].as_u64().unwrap(),
                "{place}: {port}"
            );
        }
        for endpoint in items(&document["spec"]["endpoints"]) {
            assert!(known.contains_key(endpoint["port"].as_str().unwrap()), "{place}: {endpoint}");
        }
        for port in items(&document["spec"]["ingress"]).iter().flat_map(|rule| items(&rule["ports"])) {
            assert!(known.contains_key(port["port"].as_str().unwrap()), "{place}: {port}");
        }
    }
    let exposed = text(&deploy().join("Dockerfile"));
    let exposed = exposed.lines().find_map(|line| line.strip_prefix("EXPOSE ")).unwrap();
    let exposed: BTreeSet<u64> = exposed.split(' ').map(|port| port.parse().unwrap()).collect();
    assert_eq!(exposed, known.into_values().collect());
}

#[test]
fn an_update_never_drops_below_capacity_and_pods_are_the_images_user() {
    let dockerfile = text(&deploy().join("Dockerfile"));
    let user = dockerfile.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    // Pitfall 1: the program is PID 1 itself.
    assert!(dockerfile.contains("\nENTRYPOINT [\"/usr/bin/roboflow\"]\n"), "{dockerfile}");
    for file in ["worker", "scanner"] {
        let deployment = object(&kubernetes().join("base").join(format!("{file}.yaml")), "Deployment", None);
        assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0, "{file}");
        let pod = &deployment["spec"]["template"]["spec"];
        let run_as = &pod["securityContext"];
        assert_eq!(user, format!("{}:{}", run_as["runAsUser"], run_as["runAsGroup"]), "{file}");
        for container in items(&pod["containers"]) {
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{file}: {container}");
        }
    }
}

#[test]
fn the_autoscalers_go_from_two_to_a_hundred_by_metrics_that_there_are() {
    let scaler = object(&kubernetes().join("base/autoscaling.yaml"), "HorizontalPodAutoscaler", None);
    assert_eq!(
        (&scaler["spec"]["minReplicas"], &scaler["spec"]["maxReplicas"]),
        (&Value::from(2), &Value::from(100))
    );
    let worker = object(&kubernetes().join("base/worker.yaml"), "Deployment", None);
    assert!(worker["spec"]["replicas"].is_null(), "the number is the autoscaler's");
    assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], worker["metadata"]["name"]);
    let external: Vec<Value> =
        items(&scaler["spec"]["metrics"]).into_iter().filter(|metric| metric["type"] == "External").collect();
    assert_eq!(external.len(), 1);
    operated::assert_known("autoscaling.yaml", external[0]["external"]["metric"]["name"].as_str().unwrap());
    let keda = object(&kubernetes().join("components/keda/scaledobject.yaml"), "ScaledObject", None);
    for trigger in items(&keda["spec"]["triggers"]) {
        operated::assert_known("scaledobject.yaml", trigger["metadata"]["query"].as_str().unwrap());
    }
}
