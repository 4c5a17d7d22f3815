"""The manifests against a real control plane, and real workers under real controllers: fleet.py SERVERS PROGRAM STATE DEV_CLUSTER.

First what the server says of each object, then a fleet on the test kubelet with the dev cluster's store and bucket: it is scaled, evicted,
rolled and drained while recordings are converted. Every job must end well, no attempt be counted, no process be killed, and the dataset have
the bytes that one machine makes of the same recordings. operated.py then types what the operator's page says, and grace.py gives pods too
little time.
"""

import json
import os
import sys
import time
import urllib.request
from pathlib import Path

import grace
import operated
from api import Refused, wait_for
from batch import PREFIX, Batch, Caller, frames_a_second
from bucket import Bucket
from kubelet import Kubelet
from measured import Measured, told
from rules import KUBERNETES, attempt, shown

RECORDINGS = 60
TOGETHER_S, SEGMENTS = 240, 6  # how long one machine would take for them one after the other; segments of each
WORKERS = "app.kubernetes.io/component=worker"
PODS = "/api/v1/namespaces/roboflow/pods"
DEPLOYMENT = "/apis/apps/v1/namespaces/roboflow/deployments/roboflow-worker"
BUDGET = "/apis/policy/v1/namespaces/roboflow/poddisruptionbudgets/roboflow-worker"


def write_variant(folder, dev):
    """The base, small and quick, with the dev cluster's addresses: an overlay as a user would write one."""
    folder.mkdir()
    store = [f"TIKV_PD_ENDPOINTS={dev['TIKV_PD_ENDPOINTS']}", f"AWS_ENDPOINT_URL_S3={dev['AWS_ENDPOINT_URL_S3']}", f"TIKV_KEY_PREFIX={PREFIX}"]
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
    # So that each step of the machine stands in the log.
    steps = [{"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": ["worker", "--log-level", "info,roboflow::driver=trace"]}]
    back = os.path.relpath(KUBERNETES, folder.resolve())
    (folder / "kustomization.yaml").write_text(json.dumps({
        "namespace": "roboflow", "resources": [f"{back}/base"], "components": [f"{back}/components/static-credentials"],
        "configMapGenerator": [{"name": "roboflow-worker", "behavior": "merge", "literals": worker},
                               {"name": "roboflow-scanner", "behavior": "merge", "literals": scanner}],
        "patches": [{"target": {"kind": "HorizontalPodAutoscaler", "name": "roboflow-worker"}, "patch": json.dumps(scaler)},
                    {"target": {"kind": "Deployment", "name": "roboflow-worker"}, "patch": json.dumps(steps)}],
        "secretGenerator": [{"name": "roboflow-s3", "options": {"disableNameSuffixHash": True},
                             "literals": [f"{key}={dev[key]}" for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]}],
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
        self.state, self.dev, self.call = state, dev, Caller(program, dev)
        self.bucket = Bucket(dev["AWS_ENDPOINT_URL_S3"], dev["ROBOFLOW_DEV_BUCKET"])
        self.batch, self.rate = None, frames_a_second(self.call, state / "batches" / "pace")

    def new_batch(self, name, count, frames, segment):
        return Batch(self.check, self.call, self.bucket, self.state / "batches" / name, count, int(frames), int(segment))

    def pods(self):
        return self.api.get(f"{PODS}?labelSelector={WORKERS}")["items"]

    def workers(self):
        """Names of those that are ready and stay."""
        ready = lambda pod: any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        return [pod["metadata"]["name"] for pod in self.pods() if not pod["metadata"].get("deletionTimestamp") and ready(pod)]

    def holders(self):
        """Of them, those that hold a job now, by their own word: the test kubelet's pod, and the job."""
        staying = set(self.workers())
        for pod in [pod for pod in list(self.kubelet.pods.values()) if pod.name in staying]:
            for held in json.load(urllib.request.urlopen(f"http://{pod.address}:8080/jobs", timeout=5))["jobs"]:
                yield pod, held["job"]

    def wait_workers(self, count, seconds=120):
        wait_for(seconds, f"{count} workers are ready", lambda: len(self.workers()) == count)

    def install(self):
        write_variant(self.state / "variant", self.dev)
        self.plane.kubectl("apply", "-k", self.state / "variant")
        for name in ("worker", "scanner"):
            self.plane.kubectl("rollout", "status", f"deploy/roboflow-{name}", "-n", "roboflow", "--timeout=180s")
        self.wait_workers(2)
        wait_for(60, "a scanner leads and tells of the queue", lambda: told(self.kubelet, "roboflow_queue_ready_jobs"))

    def own_token(self):
        """A worker reads its own pod with the token that it was given, and no list of pods."""
        pod = next(pod for pod in self.kubelet.pods.values() if pod.secrets and pod.containers[0].running)
        asked = self.api.as_bearer((pod.secrets / "token").read_text())
        self.check("with its own token a worker reads its pod", attempt(lambda: asked.get(pod.path))[0])
        good, said = attempt(lambda: asked.get(PODS))
        self.check("and lists none (403)", not good and said.startswith("403"), said)

    def met_at_work(self):
        """How many workers had a job in hand when they were asked to stop, by their receipts: they hand it back, or finish it in time."""
        met = [said["met"] for receipt in self.call.json("receipts", "list", "--limit", 1000) for said in receipt["machines"]]
        return sum(state in ("Processing", "Checkpointing") for state in met)

    def while_converting(self, name, action, stops=True):
        """It meets workers at work, and leaves work to do."""
        before, back, begun = self.met_at_work(), self.batch.interruptions(), time.monotonic()
        holds(self.check, name, action)
        met, back, left = self.met_at_work() - before, self.batch.interruptions() - back, self.batch.busy()
        print(f"      {name}: {time.monotonic() - begun:.0f} s, {met} workers had a job in hand, {back} were handed back; "
              f"{left} of {RECORDINGS} are not converted yet")
        self.check(f"{name}: it met work, and there is more", left and (met or not stops), f"{met} met, {left} left")

    def evict(self):
        first = wait_for(60, "a worker holds a job", lambda: next(self.holders(), None))[0].name
        second = wait_for(60, "two workers are ready", lambda: [name for name in self.workers() if name != first][:1])[0]
        wait_for(60, "the budget allows a disruption", lambda: self.api.get(BUDGET)["status"].get("disruptionsAllowed") == 1)
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
        self.plane.kubectl("rollout", "restart", "deploy/roboflow-worker", "-n", "roboflow")
        missing = 0

        def rolled():
            nonlocal missing
            status = self.api.get(DEPLOYMENT)
            # The autoscaler may take some away meanwhile.
            missing = max(missing, min(wanted, status["spec"]["replicas"]) - status["status"].get("availableReplicas", 0))
            left = {pod["metadata"]["name"] for pod in self.pods()}
            return status["status"].get("observedGeneration") == status["metadata"]["generation"] and not old & left

        wait_for(600, "all workers are new ones", rolled)
        self.check(f"a rolling update of {len(old)} workers: never fewer available than wanted", missing == 0, f"{missing} were missing")

    def drain(self):
        said = self.plane.kubectl("drain", "node-0", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=240s")
        left = [pod["metadata"]["name"] for pod in self.api.get(PODS)["items"] if pod["spec"].get("nodeName") == "node-0"]
        self.check("a node is drained", not left and "drained" in said, said)
        self.plane.kubectl("uncordon", "node-0")

    def reconciled(self):
        code, out, error = self.call("reconcile")
        self.check("every claim is accounted for: reconcile is clean", code == 0, out + error)
        print("      " + out.splitlines()[0] if out else "")

    def end(self):
        self.plane.kubectl("delete", "deploy", "--all", "-n", "roboflow", "--wait=false")
        wait_for(90, "no pod is left", lambda: not self.api.get(PODS)["items"])

    def ends(self, but=()):
        """How containers ended; without those of pods that were to be killed."""
        asked = [end for end in self.kubelet.ends if end["asked"] and end["pod"] not in but]
        slowest = max((end["seconds"] for end in asked), default=0)
        print(f"      {len(asked)} containers were asked to stop; the slowest took {slowest:.1f} s of its grace")
        self.check("each ended with 0, by itself", asked and all(end["code"] == 0 and not end["killed"] for end in asked),
                   [end for end in asked if end["code"] or end["killed"]])
        self.check("no other container ended", all(end["asked"] for end in self.kubelet.ends), [e for e in self.kubelet.ends if not e["asked"]])
        self.check("and the kubelet met nothing odd", not self.kubelet.said, "\n".join(self.kubelet.said))


def under_way(it):
    """Everything that moves pods, while 60 recordings are converted."""
    frames = it.rate * TOGETHER_S / RECORDINGS
    it.batch = it.new_batch("many", RECORDINGS, frames, frames / SEGMENTS)
    it.batch.submit()
    it.while_converting("the autoscaler goes from 2 to 6 by the queue's depth", lambda: it.wait_workers(6, 300), stops=False)
    it.while_converting("an eviction", it.evict)
    it.while_converting("a rolling update", it.roll)
    it.reconciled()
    it.while_converting("a drain", it.drain)
    it.batch.published()
    holds(it.check, "the autoscaler goes back to 2 when the queue is empty", lambda: it.wait_workers(2, 400))
    it.batch.same_bytes()


def fleet(check, plane, program, state, dev):
    kubelet = Kubelet(plane.api, state / "pods", program)
    kubelet.start()
    try:
        Measured(kubelet, plane.certificate, plane.key).register(plane)
        it = Fleet(check, plane, kubelet, program, state, dev)
        if not holds(check, "the fleet is installed: two workers, two scanners, ready by their own probes", it.install):
            return
        it.own_token()
        under_way(it)
        holds(check, "what deploy/README.md says is so", lambda: operated.shown(it))
        killed = grace.shown(it)
        holds(check, "all pods end when the fleet is deleted", it.end)
        it.ends(but=killed)
        it.reconciled()
    finally:
        kubelet.stop()


def main():
    servers, program, state, cluster = (Path(argument).resolve() for argument in sys.argv[1:5])
    dev = dict(line.split("=", 1) for line in (cluster / "env").read_text().splitlines())
    return shown(servers, state, lambda check, plane: fleet(check, plane, str(program), state, dev))


if __name__ == "__main__":
    sys.exit(main())
