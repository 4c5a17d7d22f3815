"""The manifests against a real control plane, and real workers under real controllers: fleet.py SERVERS PROGRAM STATE DEV_CLUSTER.

First what the server says of each object, then a fleet on the test kubelet with the dev cluster's store and bucket: it is rolled, evicted,
drained and scaled while recordings are converted. Every job must end well, no attempt be counted, no process be killed, and the dataset have
the bytes that one machine makes of the same recordings.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from api import Refused, wait_for
from bucket import Bucket
from kubelet import Kubelet
from measured import Measured, told
from rules import KUBERNETES, ROOT, attempt, shown

RECORDINGS = 60
WORKERS = "app.kubernetes.io/component=worker"
PODS = "/api/v1/namespaces/roboflow/pods"
DEPLOYMENT = "/apis/apps/v1/namespaces/roboflow/deployments/roboflow-worker"


def write_variant(folder, dev):
    """The base, small and quick, with the dev cluster's addresses: an overlay as a user would write one."""
    folder.mkdir()
    store = [f"TIKV_PD_ENDPOINTS={dev['TIKV_PD_ENDPOINTS']}", f"AWS_ENDPOINT_URL_S3={dev['AWS_ENDPOINT_URL_S3']}", "TIKV_KEY_PREFIX=kubernetes"]
    bucket = f"s3://{dev['ROBOFLOW_DEV_BUCKET']}"
    worker = [*store, f"STORAGE_URL={bucket}/", "WORKER_POLL_INTERVAL_SECS=1", "WORKER_CHECKPOINT_INTERVAL_FRAMES=10"]
    scanner = [*store, f"STORAGE_URL={bucket}/incoming/", f"SCANNER_OUT={bucket}/found"]
    scaler = [
        {"op": "replace", "path": "/spec/maxReplicas", "value": 6},
        {"op": "replace", "path": "/spec/metrics/0/external/target/averageValue", "value": "4"},
        {"op": "replace", "path": "/spec/metrics/1/containerResource/target/averageUtilization", "value": 100},
        {"op": "replace", "path": "/spec/behavior/scaleDown",
         "value": {"stabilizationWindowSeconds": 5, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 5}]}},
    ]
    back = os.path.relpath(KUBERNETES, folder.resolve())
    (folder / "kustomization.yaml").write_text(json.dumps({
        "namespace": "roboflow", "resources": [f"{back}/base"], "components": [f"{back}/components/static-credentials"],
        "configMapGenerator": [{"name": "roboflow-worker", "behavior": "merge", "literals": worker},
                               {"name": "roboflow-scanner", "behavior": "merge", "literals": scanner}],
        "patches": [{"target": {"kind": "HorizontalPodAutoscaler", "name": "roboflow-worker"}, "patch": json.dumps(scaler)}],
        "secretGenerator": [{"name": "roboflow-s3", "literals": [f"{key}={dev[key]}" for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]}],
    }))


def holds(check, name, action):
    """It ends without an error."""
    try:
        action()
    except (RuntimeError, TimeoutError, Refused, OSError) as error:
        return check(name, False, error)
    return check(name, True)


class Fleet:
    def __init__(self, check, plane, kubelet, program, state, dev):
        self.check, self.plane, self.kubelet, self.api = check, plane, kubelet, plane.api
        self.program, self.state, self.dev = program, state, dev
        self.bucket = Bucket(dev["AWS_ENDPOINT_URL_S3"], dev["ROBOFLOW_DEV_BUCKET"])
        self.lowest = None

    def roboflow(self, *arguments, **more):
        environment = {**os.environ, **self.dev, "TIKV_KEY_PREFIX": "kubernetes"}
        return subprocess.Popen([self.program, *map(str, arguments)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, **more)

    def workers(self):
        pods = self.api.get(f"{PODS}?labelSelector={WORKERS}")["items"]
        ready = lambda pod: any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        return [pod["metadata"]["name"] for pod in pods if not pod["metadata"].get("deletionTimestamp") and ready(pod)]

    def wait_workers(self, count, seconds=120):
        wait_for(seconds, f"{count} workers are ready", lambda: len(self.workers()) == count)

    def install(self):
        write_variant(self.state / "variant", self.dev)
        self.plane.kubectl("apply", "-k", self.state / "variant")
        for name in ("worker", "scanner"):
            self.plane.kubectl("rollout", "status", f"deploy/roboflow-{name}", "-n", "roboflow", "--timeout=180s")
        self.wait_workers(2)
        wait_for(60, "a scanner leads and tells of the queue", lambda: told(self.kubelet, "roboflow_queue_ready_jobs"))

    def submit(self):
        recording = (ROOT / "proptests/data/turtlesim/turtlesim_ros2.mcap").read_bytes()
        local = self.state / "recordings"
        local.mkdir()
        for number in range(RECORDINGS):
            name = f"turtle-{number:02}.mcap"
            (local / name).write_bytes(recording)
            self.bucket.put(f"recordings/{name}", recording)
        place = f"s3://{self.dev['ROBOFLOW_DEV_BUCKET']}"
        mapping = ROOT / "proptests/data/turtlesim/follow.toml"
        common = ["--mapping", mapping, "--segment-frames", "25"]
        self.submitted = self.roboflow("submit", f"{place}/recordings/", "--out", f"{place}/set", *common, "--wait")
        self.common, self.local = common, local

    def own_token(self):
        """A worker reads its own pod with the token that it was given, and no list of pods."""
        pod = next(pod for pod in self.kubelet.pods.values() if pod.secrets and pod.containers[0].running)
        asked = self.api.as_bearer((pod.secrets / "token").read_text())
        self.check("with its own token a worker reads its pod", attempt(lambda: asked.get(pod.path))[0])
        good, said = attempt(lambda: asked.get(PODS))
        self.check("and lists none (403)", not good and said.startswith("403"), said)

    def evict(self):
        first, second, *_ = wait_for(60, "two workers are ready", lambda: (lambda w: w if len(w) > 1 else None)(self.workers()))
        wait_for(60, "the budget allows a disruption", lambda: self.api.get(
            "/apis/policy/v1/namespaces/roboflow/poddisruptionbudgets/roboflow-worker")["status"].get("disruptionsAllowed") == 1)
        one, two = attempt(lambda: self.api.evict("roboflow", first)), attempt(lambda: self.api.evict("roboflow", second))
        self.check("the first eviction is granted", one[0], one[1])
        self.check("the second is refused by the budget (429)", not two[0] and two[1].startswith("429"), two[1])
        wait_for(60, "the evicted pod is gone", lambda: self.api.find(f"{PODS}/{first}") is None)

    def roll(self):
        def whole():
            found = self.api.get(DEPLOYMENT)
            return found["status"].get("availableReplicas") == found["spec"]["replicas"]

        wait_for(120, "all workers are available", whole)
        wanted = self.api.get(DEPLOYMENT)["spec"]["replicas"]
        old = set(self.workers())
        stamp = {"spec": {"template": {"metadata": {"annotations": {"rolled": str(time.time())}}}}}
        self.api.patch(DEPLOYMENT, stamp)
        missing = 0

        def rolled():
            nonlocal missing
            status = self.api.get(DEPLOYMENT)
            # The autoscaler may take some away meanwhile.
            missing = max(missing, min(wanted, status["spec"]["replicas"]) - status["status"].get("availableReplicas", 0))
            return status["status"].get("observedGeneration") == status["metadata"]["generation"] and not old & set(self.names())

        wait_for(600, "all workers are new ones", rolled)
        self.check(f"a rolling update of {len(old)} workers: never fewer available than wanted", missing == 0, f"{missing} were missing")

    def names(self):
        return [pod["metadata"]["name"] for pod in self.api.get(f"{PODS}?labelSelector={WORKERS}")["items"]]

    def drain(self):
        said = self.plane.kubectl("drain", "node-0", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=240s")
        left = [pod["metadata"]["name"] for pod in self.api.get(PODS)["items"] if pod["spec"].get("nodeName") == "node-0"]
        self.check("a node is drained", not left and "drained" in said, said)
        self.plane.kubectl("uncordon", "node-0")

    def converted(self):
        out, error = self.submitted.communicate(timeout=1800)
        self.check(f"the batch of {RECORDINGS} is published", self.submitted.returncode == 0, out + error)
        jobs = json.loads(self.roboflow("jobs", "list", "--json").communicate()[0])
        ours = [job for job in jobs if job["status"].lower() == "completed"]
        self.check(f"{RECORDINGS} recordings and the assembly are completed", len(ours) == len(jobs) == RECORDINGS + 1, [j["status"] for j in jobs])
        counted = [job for job in jobs if job["failures"] or job["crashes"]]
        self.check("no attempt was counted, no crash", not counted, counted)
        print(f"      {sum(job['interruptions'] for job in jobs)} interruptions of {len(jobs)} jobs")

    def same_bytes(self):
        out = self.state / "alone"
        done = self.roboflow("run", self.local, "--out", out, *self.common)
        said = done.communicate()
        self.check("one machine converts the same recordings", done.returncode == 0, said[1])
        files = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file() and ".roboflow" not in path.parts}
        keys = {key.removeprefix("set/"): key for key in self.bucket.keys("set/") if "/.roboflow/" not in key}
        other = [name for name in files.keys() & keys.keys() if files[name].read_bytes() != self.bucket.get(keys[name])]
        self.check(f"{len(files)} files of the same bytes", files.keys() == keys.keys() and files and not other,
                   (sorted(files.keys() ^ keys.keys()), other))

    def ends(self):
        asked = [end for end in self.kubelet.ends if end["asked"]]
        slowest = max((end["seconds"] for end in asked), default=0)
        print(f"      {len(asked)} containers were asked to stop; the slowest took {slowest:.1f} s of its grace")
        self.check("each ended with 0, by itself", asked and all(end["code"] == 0 and not end["killed"] for end in asked),
                   [end for end in asked if end["code"] or end["killed"]])
        self.check("no other container ended", all(end["asked"] for end in self.kubelet.ends), [e for e in self.kubelet.ends if not e["asked"]])
        self.check("and the kubelet met nothing odd", not self.kubelet.said, "\n".join(self.kubelet.said))


def fleet(check, plane, program, state, dev):
    kubelet = Kubelet(plane.api, state / "pods", program)
    kubelet.start()
    try:
        Measured(kubelet, plane.certificate, plane.key).register(plane)
        it = Fleet(check, plane, kubelet, program, state, dev)
        if not holds(check, "the fleet is installed: two workers, two scanners, ready by their own probes", it.install):
            return
        it.own_token()
        it.submit()
        holds(check, "the autoscaler goes from 2 to 6 by the queue's depth", lambda: it.wait_workers(6, 300))
        holds(check, "eviction", it.evict)
        holds(check, "rolling update", it.roll)
        holds(check, "drain", it.drain)
        it.converted()
        holds(check, "the autoscaler goes back to 2 when the queue is empty", lambda: it.wait_workers(2, 400))
        it.same_bytes()
        plane.kubectl("delete", "deploy", "--all", "-n", "roboflow", "--wait=false")
        holds(check, "all pods end when the fleet is deleted", lambda: wait_for(90, "no pod is left", lambda: not plane.api.get(PODS)["items"]))
        it.ends()
    finally:
        kubelet.stop()


def main():
    servers, program, state, cluster = (Path(argument).resolve() for argument in sys.argv[1:5])
    dev = dict(line.split("=", 1) for line in (cluster / "env").read_text().splitlines())
    return shown(servers, state, lambda check, plane: fleet(check, plane, str(program), state, dev))


if __name__ == "__main__":
    sys.exit(main())
