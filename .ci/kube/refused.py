"""What an API server must refuse although every field of it is one that there is: no schema knows these rules. The base's own objects, each
with one thing wrong; and pods that ask for more than the namespace allows.
"""

import copy


def changed(document, *path, value):
    """A copy with one thing changed."""
    document = copy.deepcopy(document)
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is None:
        place.pop(path[-1], None)
    else:
        place[path[-1]] = value
    return document


def of(base, kind, name):
    return next(d for d in base if d["kind"] == kind and d["metadata"]["name"] == name)


def documents(base):
    """Name, document, and what the server's answer must speak of."""
    worker = of(base, "Deployment", "roboflow-worker")
    spec = ("spec", "template", "spec")
    scaler, budget = of(base, "HorizontalPodAutoscaler", "roboflow-worker"), of(base, "PodDisruptionBudget", "roboflow-worker")
    rule, monitor = of(base, "PrometheusRule", "roboflow"), of(base, "ServiceMonitor", "roboflow")
    yield ("a selector that finds other pods", changed(worker, "spec", "selector", "matchLabels", value={"a": "b"}), "selector")
    yield ("a mount of a volume that is not there", changed(worker, *spec, "volumes", value=None), "volumeMounts")
    yield ("a probe of a port that has no valid name",
           changed(worker, *spec, "containers", 0, "livenessProbe", "httpGet", "port", value="the port"), "port")
    yield ("an update that can neither add nor remove",
           changed(worker, "spec", "strategy", "rollingUpdate", value={"maxSurge": 0, "maxUnavailable": 0}), "maxUnavailable")
    yield ("fewer at most than at least", changed(scaler, "spec", "maxReplicas", value=1), "maxReplicas")
    yield ("a budget of both kinds", changed(budget, "spec", "minAvailable", value=1), "minAvailable")
    yield ("an alert with an interval that is none", changed(rule, "spec", "groups", 0, "interval", value="often"), "interval")
    yield ("a scrape by a scheme that is none", changed(monitor, "spec", "endpoints", 0, "scheme", value="ftp"), "scheme")


def pods(base):
    """Pods of the worker's own template that the standard `restricted` forbids, and what they break of it."""
    worker = of(base, "Deployment", "roboflow-worker")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "greedy", "namespace": "roboflow"}, "spec": worker["spec"]["template"]["spec"]}
    # The plane has no container that needs the ConfigMaps to be there, and a pod is refused before that.
    yield "the worker's own", pod, None
    first = ("spec", "containers", 0, "securityContext")
    yield "root", changed(pod, "spec", "securityContext", "runAsUser", value=0), "runAsUser"
    yield "maybe root", changed(pod, "spec", "securityContext", "runAsNonRoot", value=None), "runAsNonRoot"
    yield "no seccomp", changed(pod, "spec", "securityContext", "seccompProfile", value=None), "seccompProfile"
    yield "capabilities", changed(pod, *first, "capabilities", value=None), "capabilities"
    yield "privilege escalation", changed(pod, *first, "allowPrivilegeEscalation", value=None), "allowPrivilegeEscalation"
    yield "the host's files", changed(pod, "spec", "volumes", value=[{"name": "tmp", "hostPath": {"path": "/tmp"}}]), "hostPath"
