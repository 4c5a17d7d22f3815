"""What a real API server says of the manifests: rules.py SERVERS STATE.

That it takes every kustomization and every component, refuses what is wrong although each field of it exists, holds pods to the standard
`restricted`, and gives the accounts the rights that they need and no others. No pod is started.
"""

import json
import os
import sys
import time
from pathlib import Path

import refused
from api import Refused
from plane import Plane

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"


class Checks:
    def __init__(self):
        self.failed = 0

    def __call__(self, name, good, said=""):
        print(("ok    " if good else "FAIL  ") + name, flush=True)
        if not good:
            self.failed += 1
            print("\n".join("      " + line for line in str(said).splitlines()[-6:]), flush=True)
        return good


def attempt(action):
    """What it said, or what it was refused with."""
    try:
        return True, action()
    except (RuntimeError, Refused) as error:
        return False, str(error)


def render(plane, folder):
    """The objects of a kustomization, and their text."""
    text = plane.kubectl("kustomize", folder)
    listed = plane.kubectl("create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-", stdin=text)
    decoder, documents, at = json.JSONDecoder(), [], 0
    while at < len(listed.rstrip()):
        document, end = decoder.raw_decode(listed[at:])
        documents += document.get("items", [document])
        at += end
        at += len(listed[at:]) - len(listed[at:].lstrip())
    return documents, text


def with_components(folder):
    """The base with each component."""
    for component in sorted((KUBERNETES / "components").iterdir()):
        around = folder / component.name
        around.mkdir(parents=True)
        back = os.path.relpath(KUBERNETES, around.resolve())
        (around / "kustomization.yaml").write_text(json.dumps(
            {"namespace": "roboflow", "resources": [f"{back}/base"], "components": [f"{back}/components/{component.name}"]}))
        yield around


def accepted(check, plane, crds):
    """What the server makes of each variant, and of what is wrong with one."""
    plane.kubectl("apply", "--server-side", "-f", crds)
    plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", crds)
    plane.kubectl("create", "namespace", "roboflow")
    # Before it holds to the standard: a warning would be lost, a refusal is not.
    for folder in [KUBERNETES / "base", *sorted((KUBERNETES / "overlays").iterdir()), *with_components(plane.state / "components")]:
        _, text = render(plane, folder)
        good, said = attempt(lambda text=text: plane.kubectl("apply", "--dry-run=server", "-f", "-", stdin=text, check=True))
        check(f"the server takes {folder.name} ({said.count('dry run')} objects)", good and said.count("dry run") > 5, said)
    base, text = render(plane, KUBERNETES / "base")
    for name, document, word in refused.documents(base):
        good, said = attempt(lambda: plane.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(document)))
        check(f"refused: {name}", not good and word in said, said)
    plane.kubectl("apply", "-n", "roboflow", "-f", KUBERNETES / "base/namespace.yaml", "-f", KUBERNETES / "base/accounts.yaml")
    for name, pod, word in refused.pods(base):
        good, said = attempt(lambda: plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod)))
        if word is None:
            check(f"under `restricted`: {name} pod is taken", good, said)
        else:
            check(f"under `restricted`: {name} is refused", not good and "restricted" in said and word in said, said)


def rights(check, plane):
    may = [("worker", "get", "pods", "yes")]
    may += [("worker", verb, what, "no") for verb, what in [("list", "pods"), ("delete", "pods"), ("get", "secrets"), ("get", "configmaps")]]
    may += [("scanner", "get", "pods", "no")]
    for account, verb, what, wanted in may:
        who = f"system:serviceaccount:roboflow:roboflow-{account}"
        said = plane.kubectl("auth", "can-i", verb, what, "-n", "roboflow", "--as", who, check=False).split()[:1]
        check(f"{account} may {verb} {what}: {wanted}", said == [wanted], said)


def shown(servers, state, more=lambda check, plane: None):
    """All of it on a control plane of its own, and more. The exit code."""
    check, plane, begun = Checks(), Plane(servers / "bin", state / "plane"), time.monotonic()
    try:
        plane.start()
        accepted(check, plane, servers / "crds")
        rights(check, plane)
        more(check, plane)
    finally:
        plane.stop()
    print(f"{check.failed} failed, {time.monotonic() - begun:.0f} s")
    return 1 if check.failed else 0


def main():
    servers, state = (Path(argument).resolve() for argument in sys.argv[1:3])
    return shown(servers, state)


if __name__ == "__main__":
    sys.exit(main())
