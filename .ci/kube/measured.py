"""The two metrics APIs that an autoscaler asks, answered from the pods of a test kubelet: external.metrics.k8s.io with the greatest value
that any pod's /metrics tells (as an adapter of Prometheus is told to in deploy/README.md), metrics.k8s.io with the processor time of its
processes. Nothing is made up here.
"""

import http.server
import json
import re
import ssl
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

from kubelet import now

EXTERNAL, PODS = "external.metrics.k8s.io", "metrics.k8s.io"
TICKS = 100  # of the kernel's clock in a second


def told(kubelet, metric):
    """What each pod tells of a metric."""
    values = []
    for pod in list(kubelet.pods.values()):
        for container in pod.containers:
            for port in container.spec.get("ports", []) if container.running else []:
                try:
                    url = f"http://{pod.address}:{port['containerPort']}/metrics"
                    text = urllib.request.urlopen(url, timeout=2).read().decode()
                except OSError:
                    continue
                values += [float(value) for value in re.findall(rf"^{metric}(?:{{[^}}]*}})? (\S+)", text, re.M)]
    return values


class Measured:
    def __init__(self, kubelet, certificate, key):
        self.kubelet, self.spent, measured = kubelet, {}, self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                path = urllib.parse.urlsplit(self.path)
                body = json.dumps(measured.answer(path.path.strip("/").split("/"), urllib.parse.parse_qs(path.query))).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Who asked and went before the answer is no fault here.
        self.server.handle_error = lambda *arguments: None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path, query):
        group = path[1] if len(path) > 1 else EXTERNAL
        version = f"{group}/v1beta1"
        if len(path) <= 3:
            names = [("pods", "PodMetrics", True)] if group == PODS else []
            resources = [{"name": n, "kind": k, "namespaced": s, "singularName": "", "verbs": ["get", "list"]} for n, k, s in names]
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
        if group == EXTERNAL:
            values = told(self.kubelet, path[-1])
            # Nobody tells of it: no value, and not the value 0, by which all workers would be sent away.
            items = [{"metricName": path[-1], "metricLabels": {}, "timestamp": now(), "value": str(int(max(values)))}] if values else []
            return {"kind": "ExternalMetricValueList", "apiVersion": version, "metadata": {}, "items": items}
        wanted = dict(pair.split("=", 1) for pair in query.get("labelSelector", [""])[0].split(",") if "=" in pair)
        return {"kind": "PodMetricsList", "apiVersion": version, "metadata": {}, "items": list(self._pods(path[4], wanted))}

    def _pods(self, namespace, wanted):
        for pod in list(self.kubelet.pods.values()):
            metadata = pod.manifest["metadata"]
            running = [container for container in pod.containers if container.running]
            if metadata["namespace"] == namespace and wanted.items() <= metadata["labels"].items() and running:
                yield {"metadata": {"name": pod.name, "namespace": namespace}, "timestamp": now(), "window": "5s",
                       "containers": [{"name": c.name, "usage": {"cpu": self._nanocores(c), "memory": "64Mi"}} for c in running]}

    def _nanocores(self, container):
        pid = container.process.pid
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return "0n"
        spent, at = (int(fields[11]) + int(fields[12])) / TICKS, time.monotonic()
        before, since = self.spent.get(pid, (0.0, container.begun))
        if at - since > 3:
            self.spent[pid] = (spent, at)
        return f"{int(max(0.0, spent - before) / max(at - since, 0.1) * 1e9)}n"

    def register(self, plane):
        """An address outside the cluster by a Service that is only a name: the API server reaches loopback by it."""
        port, documents = self.server.server_address[1], []
        for group, service in ((EXTERNAL, "external-metrics"), (PODS, "pod-metrics")):
            documents.append({"apiVersion": "v1", "kind": "Service", "metadata": {"name": service, "namespace": "kube-system"},
                              "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}})
            documents.append({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": f"v1beta1.{group}"},
                              "spec": {"group": group, "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
                                       "insecureSkipTLSVerify": True,
                                       "service": {"name": service, "namespace": "kube-system", "port": port}}})
        plane.kubectl("apply", "-f", "-", stdin="\n---\n".join(json.dumps(document) for document in documents))
        for group in (EXTERNAL, PODS):
            plane.kubectl("wait", "--for=condition=Available", "--timeout=60s", f"apiservice/v1beta1.{group}")
