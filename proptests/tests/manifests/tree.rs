//! The manifests as data: YAML to JSON values, containers with their variables, overlays on the base.
//!
//! It reads only as much of kustomize as these files use: env files, literals that are merged, and strategic patches. What kustomize
//! makes of them is checked by `.ci/kube`.

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// `deploy/`.
pub(crate) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy")
}

/// `deploy/kubernetes/`.
pub(crate) fn kubernetes() -> PathBuf {
    deploy().join("kubernetes")
}

/// A file's text.
pub(crate) fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => Value::from(*value),
        Yaml::Value(Scalar::Integer(value)) => Value::from(*value),
        Yaml::Value(Scalar::FloatingPoint(value)) => Value::from(value.0),
        Yaml::Value(Scalar::String(value)) => Value::from(value.as_ref()),
        Yaml::Sequence(items) => items.iter().map(json).collect(),
        Yaml::Mapping(entries) => {
            entries.iter().map(|(key, value)| (key.as_str().unwrap().to_owned(), json(value))).collect()
        }
        other => panic!("{other:?} has no place in a manifest"),
    }
}

/// All documents of a file.
pub(crate) fn documents(path: &Path) -> Vec<Value> {
    let parsed =
        Yaml::load_from_str(&text(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parsed.iter().map(json).filter(|document| !document.is_null()).collect()
}

/// All YAML files below `deploy/kubernetes`, and what is in them.
pub(crate) fn everything() -> Vec<(PathBuf, Value)> {
    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    files(&kubernetes(), &mut found);
    found.sort();
    assert!(found.len() > 10, "the manifests are not where they were");
    found
        .iter()
        .flat_map(|path| documents(path).into_iter().map(|document| (path.clone(), document)))
        .collect()
}

/// The only document of this kind, and name if one is given, in a file.
pub(crate) fn object(path: &Path, kind: &str, name: Option<&str>) -> Value {
    let mut fitting: Vec<Value> = documents(path)
        .into_iter()
        .filter(|document| {
            document["kind"] == kind && name.is_none_or(|name| document["metadata"]["name"] == name)
        })
        .collect();
    assert_eq!(fitting.len(), 1, "{}: {kind} {name:?}", path.display());
    fitting.remove(0)
}

/// The items of an array; none of what is none.
pub(crate) fn items(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// A container, of the base or of a patch, whose name is the command it runs.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) file: PathBuf,
    /// `worker` or `scanner`.
    pub(crate) command: String,
    pub(crate) value: Value,
}

impl Container {
    /// Its own variables, with their values where the manifest has them.
    pub(crate) fn variables(&self) -> Vec<(String, Option<String>)> {
        let variable = |entry: Value| {
            let value = entry["value"].as_str().map(str::to_owned);
            assert!(value.is_some() || entry["valueFrom"].is_object(), "{entry}: values are texts");
            (entry["name"].as_str().unwrap().to_owned(), value)
        };
        items(&self.value["env"]).into_iter().map(variable).collect()
    }
}

/// The containers of every Deployment and every patch of one.
pub(crate) fn containers() -> Vec<Container> {
    let deployments = everything().into_iter().filter(|(_, document)| document["kind"] == "Deployment");
    let of = |(file, document): (PathBuf, Value)| {
        let all = items(&document["spec"]["template"]["spec"]["containers"]);
        all.into_iter().map(move |value| Container {
            file: file.clone(),
            command: value["name"].as_str().unwrap().to_owned(),
            value,
        })
    };
    deployments.flat_map(of).collect()
}

/// The lines `NAME=value` of an env file.
pub(crate) fn env_file(path: &Path) -> BTreeMap<String, String> {
    let text = text(path);
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| pair(line, path)).collect()
}

fn pair(line: &str, path: &Path) -> (String, String) {
    let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{}: {line}", path.display()));
    (name.to_owned(), value.to_owned())
}

/// What a kustomization puts into the ConfigMap of a command, beside the base.
pub(crate) fn literals(folder: &Path, command: &str) -> BTreeMap<String, String> {
    let path = folder.join("kustomization.yaml");
    let maps = items(&object(&path, "Kustomization", None)["configMapGenerator"]);
    let ours = maps.into_iter().filter(|map| map["name"] == format!("roboflow-{command}"));
    let lines = ours.flat_map(|map| items(&map["literals"]));
    lines.map(|line| pair(line.as_str().unwrap(), &path)).collect()
}

/// Base and overlays: how a variant is called, its folder, the variables that its workers or scanners get by their ConfigMap.
pub(crate) fn variants(command: &str) -> Vec<(String, PathBuf, BTreeMap<String, String>)> {
    let base = kubernetes().join("base");
    let common = env_file(&base.join(format!("{command}.env")));
    let mut variants = vec![("base".to_owned(), base, common.clone())];
    let mut overlays: Vec<PathBuf> =
        fs::read_dir(kubernetes().join("overlays")).unwrap().map(|entry| entry.unwrap().path()).collect();
    overlays.sort();
    for folder in overlays {
        let mut variables = common.clone();
        variables.extend(literals(&folder, command));
        variants.push((folder.file_name().unwrap().to_string_lossy().into_owned(), folder, variables));
    }
    variants
}
