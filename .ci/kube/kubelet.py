"""A kubelet for tests: a pod that is bound to one of its nodes becomes processes of this machine, and nothing is a container.

What it does as a kubelet does: variables (literal, ConfigMap, Secret, field, resource), arguments, the service account's token at its
place, start-up, liveness and readiness probes over HTTP, restarts, exit codes in the status. A deletion becomes the `preStop` hooks, SIGTERM to
every container, SIGKILL at the end of the grace, and the exit codes before the pod goes. Each end is kept in `ends`.

What it does not: images (every image is one program), file systems, users, limits, networks. Pods share the host's network, so each gets an
address of its own on loopback, which the program takes from HEALTH_ADDRESS; to the API server it is a pod's usual address.
"""

import datetime
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from api import MERGE, STRATEGIC, Refused

TOKEN_PLACE = "/var/run/secrets/kubernetes.io/serviceaccount"
BACKOFF_S = 2  # before a container that ended is started again
LOOK_S = 0.2
LEAST_S = 2  # after a preStop hook that used the grace up: a kubelet gives so much more


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(stamp):
    parsed = datetime.datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ")
    return parsed.replace(tzinfo=datetime.timezone.utc).timestamp()


class Container:
    """One container of a pod: a process at a time."""

    def __init__(self, pod, spec):
        self.pod, self.spec, self.name = pod, spec, spec["name"]
        self.process, self.restarts, self.last = None, 0, None
        self.begun, self.started, self.ready, self.failures, self.asked = 0.0, False, False, 0, 0.0
        self.killed = False

    def start(self):
        environment = {"PATH": os.environ["PATH"], "HEALTH_ADDRESS": self.pod.address, **self.pod.variables(self.spec)}
        self.environment = environment
        arguments = [re.sub(r"\$\((\w+)\)", lambda m: environment.get(m[1], m[0]), word) for word in self.spec.get("args", [])]
        command = [self.pod.kubelet.program, *arguments]
        if self.pod.secrets:
            # In its own view of the file system; exec keeps the process's number, so signals reach the program itself.
            mount = f'mkdir -p {TOKEN_PLACE} && mount --bind "$0" {TOKEN_PLACE} && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", mount, str(self.pod.secrets), *command]
        self.log = self.pod.folder / f"{self.name}.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        self.begun, self.started, self.ready, self.failures = time.monotonic(), False, False, 0

    def signal(self, number):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.killed = self.killed or number == signal.SIGKILL

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def code(self):
        code = self.process.returncode
        return 128 - code if code < 0 else code

    def _asks(self, name):
        """Whether a probe succeeds now; none was asked for: true."""
        probe = self.spec.get(name)
        if not probe:
            return True
        ports = {port["name"]: port["containerPort"] for port in self.spec.get("ports", [])}
        port, path = probe["httpGet"]["port"], probe["httpGet"]["path"]
        url = f"http://{self.pod.address}:{ports.get(port, port)}{path}"
        try:
            with urllib.request.urlopen(url, timeout=probe.get("timeoutSeconds", 1)) as answer:
                return answer.status < 400
        except (OSError, urllib.error.HTTPError):
            return False

    def probe(self):
        """Each probe in its period, with its threshold: as a kubelet counts them."""
        name = "livenessProbe" if self.started else "startupProbe"
        period = self.spec.get("readinessProbe" if self.started else name, {}).get("periodSeconds", 10)
        if time.monotonic() < self.asked + period:
            return
        self.asked = time.monotonic()
        alive = self._asks(name)
        self.failures = 0 if alive else self.failures + 1
        self.started = self.started or alive
        self.ready = self.started and self._asks("readinessProbe")
        if self.failures >= self.spec.get(name, {}).get("failureThreshold", 3):
            self.pod.kubelet.say(self.pod, f"{self.name} failed its {name} and is restarted")
            self.signal(signal.SIGKILL)

    def status(self):
        if self.running:
            state = {"running": {"startedAt": self.pod.begun_at}}
        elif self.process is not None:
            state = {"terminated": {"exitCode": self.code(), "finishedAt": now(), "reason": "Error" if self.code() else "Completed"}}
        else:
            state = {"waiting": {"reason": "ContainerCreating"}}
        status = {"name": self.name, "image": self.spec["image"], "imageID": "local", "ready": self.running and self.ready,
                  "started": self.started, "restartCount": self.restarts, "state": state, "containerID": f"process://{self.name}"}
        if self.last is not None:
            status["lastState"] = {"terminated": {"exitCode": self.last, "finishedAt": now(), "reason": "Error"}}
        return status


class Pod:
    """A pod from its binding to its end, on a thread of its own."""

    def __init__(self, kubelet, manifest, number):
        self.kubelet, self.manifest = kubelet, manifest
        self.name, self.namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
        self.path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        self.outside, self.address = f"10.244.{number // 250}.{number % 250 + 1}", f"127.244.{number // 250}.{number % 250 + 1}"
        self.folder = kubelet.folder / self.name
        self.folder.mkdir(parents=True)
        self.begun_at, self.reported, self.deleted, self.secrets = now(), None, None, None
        self.containers = [Container(self, spec) for spec in manifest["spec"]["containers"]]
        self.thread = threading.Thread(target=self.live, daemon=True)

    def _data(self, kind, name):
        found = self.kubelet.api.get(f"/api/v1/namespaces/{self.namespace}/{kind}/{name}").get("data", {})
        if kind != "secrets":
            return found
        import base64
        return {key: base64.b64decode(value).decode() for key, value in found.items()}

    def variables(self, spec):
        result = {}
        for source in spec.get("envFrom", []):
            for reference, kind in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
                if reference in source:
                    result.update(self._data(kind, source[reference]["name"]))
        for variable in spec.get("env", []):
            origin = variable.get("valueFrom", {})
            if "fieldRef" in origin:
                value = {"metadata.name": self.name, "metadata.namespace": self.namespace, "status.podIP": self.outside}[
                    origin["fieldRef"]["fieldPath"]]
            elif "resourceFieldRef" in origin:
                kind, resource = origin["resourceFieldRef"]["resource"].split(".")
                amount = spec["resources"][kind][resource]
                value = str(-(-int(amount[:-1]) // 1000) if amount.endswith("m") else int(amount))
            else:
                value = variable["value"]
            result[variable["name"]] = value
        if self.secrets:
            server = self.kubelet.api.url.removeprefix("https://").split(":")
            result.update(KUBERNETES_SERVICE_HOST=server[0], KUBERNETES_SERVICE_PORT=server[1])
        return result

    def _write_token(self):
        if self.manifest["spec"].get("automountServiceAccountToken") is False:
            return
        account = self.manifest["spec"]["serviceAccountName"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": self.name, "uid": self.manifest["metadata"]["uid"]}
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                 "spec": {"audiences": ["api"], "expirationSeconds": 3600, "boundObjectRef": bound}}
        granted = self.kubelet.api.create(f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token", asked)
        folder = self.folder / "secrets"
        folder.mkdir()
        (folder / "token").write_text(granted["status"]["token"])
        (folder / "ca.crt").write_text(Path(self.kubelet.api.authority).read_text())
        (folder / "namespace").write_text(self.namespace)
        self.secrets = folder

    def live(self):
        try:
            self._write_token()
            for container in self.containers:
                container.start()
            while not self.deleted:
                for container in self.containers:
                    if container.running:
                        container.probe()
                    elif time.monotonic() > container.begun + BACKOFF_S:
                        self.kubelet.ended(self, container, asked=False)
                        container.last, container.restarts = container.code(), container.restarts + 1
                        container.start()
                self._report("Running")
                time.sleep(LOOK_S)
            self._end()
        except (OSError, Refused, KeyError) as error:
            self.kubelet.say(self, f"lost: {error!r}")
            for container in self.containers:
                container.signal(signal.SIGKILL)

    def _report(self, phase):
        ready = all(container.ready for container in self.containers) and phase == "Running" and not self.deleted
        kinds = {"PodScheduled": True, "Initialized": True, "PodReadyToStartContainers": True, "ContainersReady": ready, "Ready": ready}
        statuses = [container.status() for container in self.containers]
        if (phase, ready, [(s["restartCount"], list(s["state"])) for s in statuses]) == self.reported:
            return
        self.reported = (phase, ready, [(s["restartCount"], list(s["state"])) for s in statuses])
        conditions = [{"type": kind, "status": "True" if good else "False", "lastTransitionTime": now()} for kind, good in kinds.items()]
        status = {"phase": phase, "startTime": self.begun_at, "hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.1"}],
                  "podIP": self.outside, "podIPs": [{"ip": self.outside}], "conditions": conditions, "containerStatuses": statuses,
                  "observedGeneration": self.manifest["metadata"].get("generation", 0)}
        self.kubelet.api.patch(self.path + "/status", {"status": status}, STRATEGIC)

    def _hooks(self):
        """The containers' preStop hooks, at once, out of the grace. Until when they let nobody be killed."""
        hooks = [(c, c.spec["lifecycle"]["preStop"]) for c in self.containers if c.spec.get("lifecycle", {}).get("preStop")]
        if not hooks:
            return 0

        def run(container, hook):
            left = max(0, self.deleted - time.time())
            if "sleep" in hook:
                time.sleep(min(hook["sleep"]["seconds"], left))
            elif "exec" in hook:
                try:
                    subprocess.run(hook["exec"]["command"], env=container.environment, timeout=left, check=True, capture_output=True)
                except (OSError, subprocess.SubprocessError) as error:
                    self.kubelet.say(self, f"preStop of {container.name}: {error}")
            else:
                self.kubelet.say(self, f"preStop of {container.name}: {hook} is not known here")

        threads = [threading.Thread(target=run, args=hook) for hook in hooks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.time() + LEAST_S

    def _end(self):
        """The hooks, SIGTERM to all, at the end of the grace SIGKILL, the exit codes, and the pod may go."""
        asked = time.monotonic()
        least = self._hooks()
        for container in self.containers:
            container.signal(signal.SIGTERM)
        took = {}
        while len(took) < len(self.containers):
            for container in self.containers:
                if not container.running and container.name not in took:
                    took[container.name] = time.monotonic() - asked
                    self.kubelet.ended(self, container, asked=True, seconds=took[container.name])
            # `deleted` may become earlier: by a second deletion.
            if time.time() > max(self.deleted, least):
                for container in self.containers:
                    container.signal(signal.SIGKILL)
            for container in self.containers:
                if container.running:
                    container.probe()
            self._report("Running")
            time.sleep(0.05)
        self._report("Failed" if any(container.code() for container in self.containers) else "Succeeded")
        self.kubelet.api.delete(self.path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0,
                                            "preconditions": {"uid": self.manifest["metadata"]["uid"]}})


class Kubelet:
    def __init__(self, api, folder, program, nodes=2):
        self.api, self.folder, self.program = api, Path(folder), str(program)
        self.nodes = [f"node-{number}" for number in range(nodes)]
        self.pods, self.ends, self.said, self.stopping = {}, [], [], threading.Event()
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def say(self, pod, text):
        with self.lock:
            self.said.append(f"{pod.name}: {text}")

    def ended(self, pod, container, asked, seconds=0.0):
        with self.lock:
            self.ends.append({"pod": pod.name, "container": container.name, "code": container.code(), "asked": asked,
                              "killed": container.killed, "seconds": seconds})

    def start(self):
        for number, name in enumerate(self.nodes):
            labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"zone-{number}"}
            self.api.create("/api/v1/nodes", {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "labels": labels}})
            room = {"cpu": "64", "memory": "256Gi", "pods": "200", "ephemeral-storage": "100Gi"}
            condition = {"type": "Ready", "status": "True", "reason": "Here", "lastHeartbeatTime": now(), "lastTransitionTime": now()}
            self.api.patch(f"/api/v1/nodes/{name}/status", {"status": {"capacity": room, "allocatable": room, "conditions": [condition]}}, STRATEGIC)
        self.thread.start()

    def _untaint(self):
        """The controllers taint new nodes until they have seen them ready."""
        for name in self.nodes:
            taints = self.api.get(f"/api/v1/nodes/{name}")["spec"].get("taints", [])
            if any(taint["key"] == "node.kubernetes.io/not-ready" for taint in taints):
                kept = [taint for taint in taints if taint["key"] != "node.kubernetes.io/not-ready"]
                self.api.patch(f"/api/v1/nodes/{name}", {"spec": {"taints": kept or None}}, MERGE)

    def _run(self):
        while not self.stopping.is_set():
            try:
                self._untaint()
                for manifest in self.api.get("/api/v1/pods")["items"]:
                    self._look(manifest)
            except (OSError, Refused) as error:
                self.said.append(f"looking: {error!r}")
            self.stopping.wait(LOOK_S)

    def _look(self, manifest):
        uid, stamp = manifest["metadata"]["uid"], manifest["metadata"].get("deletionTimestamp")
        if manifest["spec"].get("nodeName") not in self.nodes:
            return
        pod = self.pods.get(uid)
        if pod is None and stamp:
            # Nothing of it ever ran here.
            path = f"/api/v1/namespaces/{manifest['metadata']['namespace']}/pods/{manifest['metadata']['name']}"
            self.api.delete(path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})
        elif pod is None:
            pod = self.pods[uid] = Pod(self, manifest, len(self.pods))
            pod.thread.start()
        elif pod is not None and stamp:
            pod.deleted = seconds(stamp)

    def stop(self):
        """Ends whatever is still running, by its own processes."""
        self.stopping.set()
        for pod in self.pods.values():
            pod.deleted = pod.deleted or time.time() + 20
        for pod in self.pods.values():
            pod.thread.join(40)
            for container in pod.containers:
                container.signal(signal.SIGKILL)
