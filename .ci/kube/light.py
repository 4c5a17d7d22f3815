"""What can be checked of deploy/ without a server: light.py CACHE.

Renders every kustomization, holds each object against the schemas of Kubernetes and of the custom resources, the Dockerfile against its
linter, and the alerts against their tests. Each check must also refuse something broken, or its word is worth nothing. It knows
fields, not the rules that only an API server has.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
RELEASE = "1.34.0"
CACHE = Path(sys.argv[1]).resolve()
failed = []


def run(tool, *arguments):
    """Whether it succeeded, and what it said."""
    near = CACHE / "bin" / tool if (CACHE / "bin" / tool).exists() else CACHE / "venv" / "bin" / tool
    program = str(near) if near.exists() else tool
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def check(name, good, said=""):
    print(("ok    " if good else "FAIL  ") + name)
    if not good:
        failed.append(name)
        print("\n".join("      " + line for line in said.splitlines()[:20]))


def close(schema):
    """Makes a schema of a custom resource refuse what it does not name, as the server does."""
    if isinstance(schema, list):
        for part in schema:
            close(part)
    if not isinstance(schema, dict):
        return
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    if schema.pop("x-kubernetes-int-or-string", False):
        schema.pop("type", None)
        schema["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    for part in schema.values():
        close(part)


def write_schemas(folder):
    """For kubeconform, which would fetch them from the network: those that a wheel carries, without their absolute names, and those of
    the custom resources."""
    carried = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{RELEASE}-local-strict"
    for file in carried.glob("*.json"):
        schema = json.loads(file.read_text().replace('"/api/_definitions.json', '"_definitions.json'))
        schema.pop("$id", None)
        (folder / file.name).write_text(json.dumps(schema))
    for file in (CACHE / "crds").glob("*.yaml"):
        spec = yaml.safe_load(file.read_text())["spec"]
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            close(schema)
            schema["properties"]["metadata"] = {"type": "object"}
            name = f"{spec['names']['kind'].lower()}-{spec['group'].split('.')[0]}-{version['name']}.json"
            (folder / name).write_text(json.dumps(schema))


def render(scratch):
    """Each kustomization, each component on the base, and the files that no kustomization names."""
    rendered = {}
    wanted = [KUBERNETES / "base", *sorted((KUBERNETES / "overlays").iterdir())]
    for component in sorted((KUBERNETES / "components").iterdir()):
        around = scratch / component.name
        around.mkdir()
        path = {name: os.path.relpath(KUBERNETES / name, around) for name in ("base", f"components/{component.name}")}
        (around / "kustomization.yaml").write_text(
            json.dumps({"namespace": "roboflow", "resources": [path["base"]], "components": [path[f"components/{component.name}"]]})
        )
        wanted.append(around)
    for folder in wanted:
        good, said = run("kustomize", "build", folder)
        check(f"kustomize build {folder.name}", good, said)
        out = scratch / f"{folder.name}.yaml"
        out.write_text(said if good else "")
        rendered[folder.name] = out
    rendered["secrets"] = KUBERNETES / "secrets.example.yaml"
    return rendered


def schemas(scratch, rendered):
    folder = scratch / "schemas"
    folder.mkdir()
    write_schemas(folder)
    location = f"{folder}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
    flags = ["-strict", "-summary", "-kubernetes-version", RELEASE, "-schema-location", location]
    for name, file in rendered.items():
        good, said = run("kubeconform", *flags, file)
        # A file that could not be rendered has no objects, and none of them is bad.
        check(f"schemas of {name}", good and "0 resources" not in said, said)
    base = rendered["base"].read_text()
    for kind, right, wrong in [
        ("Deployment", "readinessProbe:", "readynessProbe:"),
        ("HorizontalPodAutoscaler", "minReplicas: 2", "minReplicas: few"),
        ("ServiceMonitor", "scrapeTimeout:", "scrapeTimeOut:"),
        ("PrometheusRule", "  - alert:", "  - alarm:"),
    ]:
        broken = scratch / "broken.yaml"
        broken.write_text(base.replace(right, wrong))
        good, said = run("kubeconform", *flags, broken)
        check(f"a broken {kind} is refused", wrong in broken.read_text() and not good and kind in said, said)


def image(scratch):
    good, said = run("hadolint", "--no-color", DEPLOY / "Dockerfile")
    check("Dockerfile", good, said)
    broken = scratch / "Dockerfile"
    broken.write_text((DEPLOY / "Dockerfile").read_text().replace('ENTRYPOINT ["/usr/bin/roboflow"]', "ENTRYPOINT /usr/bin/roboflow"))
    good, said = run("hadolint", "--no-color", broken)
    check("an entry point that is run by a shell is refused", not good and "DL3025" in said, said)


def alerts(scratch):
    """Also that each alert's test fails when it never fires, and when it always does."""
    rules = yaml.safe_load((KUBERNETES / "base" / "alerts.yaml").read_text())["spec"]
    folder = scratch / "alerts"
    folder.mkdir()
    (folder / "test.yaml").write_text((KUBERNETES / "alerts_test.yaml").read_text())

    def tested(change=None):
        changed = json.loads(json.dumps(rules))
        for rule in (rule for group in changed["groups"] for rule in group["rules"]):
            if change and rule["alert"] == change[0]:
                rule["expr"] = change[1]
        (folder / "alerts.rules.yaml").write_text(yaml.safe_dump(changed))
        return run("promtool", "test", "rules", folder / "test.yaml")

    good, said = tested()
    check("tests of the alerts", good, said)
    good, said = run("promtool", "check", "rules", folder / "alerts.rules.yaml")
    check("alerts", good, said)
    names = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    untested = [(name, expr) for name in names for expr in ("vector(1) > 2", "vector(1) > 0") if tested((name, expr))[0]]
    check(f"the test of each of {len(names)} alerts fails when it never fires, or always", not untested and names, str(untested))


def main():
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        scratch = Path(scratch)
        schemas(scratch, render(scratch))
        image(scratch)
        alerts(scratch)
    print(f"{len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
