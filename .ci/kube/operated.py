"""What deploy/README.md tells an operator to type, typed: every kubectl command of its part on Kubernetes, as it stands there and in its order.

Part of fleet.py. Names in capitals are put in, and what needs a container's inside (exec, port-forward) is left out, aloud: the test kubelet
has none. After the commands that promise something, it is looked whether that holds.
"""

import os
import re
import subprocess

from api import wait_for
from rules import ROOT

INSIDE = ("exec", "port-forward")
SCALER = "/apis/autoscaling/v2/namespaces/roboflow/horizontalpodautoscalers/roboflow-worker"


def commands():
    """Lines of code and pieces of code, with lines that go on joined."""
    text = (ROOT / "deploy/README.md").read_text().split("\n## On Kubernetes\n")[1].replace("\\\n", " ")
    for line in text.splitlines():
        if re.match(r" {4,}kubectl ", line):
            yield line.strip()
        elif not line.startswith("    "):
            yield from re.findall(r"`(kubectl [^`]+)`", line)


class Operator:
    def __init__(self, it):
        self.it, self.folder, self.stops = it, it.state / "operator", 0
        self.folder.mkdir()
        for name in ("ca.crt", "tls.crt", "tls.key"):
            (self.folder / name).write_bytes((it.plane.key if name.endswith("key") else it.plane.certificate).read_bytes())
        (self.folder / "deploy").symlink_to(ROOT / "deploy")
        path = f"{it.plane.servers}:{os.environ['PATH']}"
        self.environment = {**os.environ, "KUBECONFIG": str(it.plane.config), "PATH": path}

    def type(self, command):
        typed = command.replace("deploy/kubernetes/overlays/ours", str(self.it.state / "variant")).replace("…", "rotated")
        typed = typed.replace("NODE", "node-1").replace("POD", next(iter(self.it.workers()), "POD"))
        done = subprocess.run(["sh", "-c", typed], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        return self.it.check(f"`{command}`", done.returncode == 0, done.stdout + done.stderr)

    def stopped(self):
        """No worker, the autoscaler leaves it at that, and a job stays where it is; until somebody wants two again."""
        it = self.it
        wait_for(90, "the workers are gone", lambda: not it.pods())
        self.stops += 1
        batch = it.new_batch(f"stopped-{self.stops}", 1, it.rate, it.rate / 2)
        batch.submit()
        off = lambda: any(c["type"] == "ScalingActive" and c["reason"] == "ScalingDisabled" for c in it.api.get(SCALER)["status"]["conditions"])
        wait_for(60, "the autoscaler leaves a Deployment of none alone", off)
        it.check("the jobs stay in the queue, and no worker comes", batch.busy() == 1 and not it.pods())
        it.plane.kubectl("-n", "roboflow", "scale", "deploy/roboflow-worker", "deploy/roboflow-scanner", "--replicas", "2")
        batch.published()
        it.plane.kubectl("-n", "roboflow", "rollout", "status", "deploy/roboflow-scanner", "--timeout=180s")
        it.wait_workers(2)

    def rotated(self):
        """All pods have the new keys, and work."""
        for name in ("worker", "scanner"):
            self.it.plane.kubectl("-n", "roboflow", "rollout", "status", f"deploy/roboflow-{name}", "--timeout=180s")
        gone = lambda: not [pod for pod in self.it.api.get("/api/v1/namespaces/roboflow/pods")["items"] if pod["metadata"].get("deletionTimestamp")]
        wait_for(90, "the old pods are gone", gone)
        running = [c for pod in list(self.it.kubelet.pods.values()) for c in pod.containers if c.running]
        keys = {c.environment["AWS_ACCESS_KEY_ID"] for c in running}
        self.it.check(f"all of {len(running)} containers have the new keys", keys == {"rotated"}, keys)


def shown(it):
    operator, seen = Operator(it), 0
    for command in commands():
        if any(f" {word} " in command for word in INSIDE):
            print(f"      not typed: {command}")
            continue
        seen += 1
        operator.type(command)
        if "--replicas 0" in command:
            operator.stopped()
        elif "rollout restart" in command:
            operator.rotated()
        elif " drain " in command:
            it.plane.kubectl("uncordon", "node-1")
        elif " undo " in command:
            it.plane.kubectl("-n", "roboflow", "rollout", "status", "deploy/roboflow-worker", "--timeout=180s")
    it.check(f"{seen} commands of deploy/README.md were typed", seen > 10)
