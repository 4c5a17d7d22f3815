"""Pods that are given 5 s, and workers that were told 40: a worker asks the API server when its own pod is to be gone, and cuts its segment.

Part of fleet.py. Then the same where the account may not read its pod: the worker believes what it was told, and is killed. So what is
checked before can fail.
"""

import json

from api import wait_for

GRACE_S = 5
SEGMENT_S, SEGMENTS = 20, 3  # how long one machine would take for a segment: far longer than the grace; segments of each recording
DEPLOYMENT = "/apis/apps/v1/namespaces/roboflow/deployments/roboflow-worker"
PODS = "/api/v1/namespaces/roboflow/pods"
BINDING = "/apis/rbac.authorization.k8s.io/v1/namespaces/roboflow/rolebindings/roboflow-worker"


def shorten(it):
    """The Deployment's pods get 5 s. What the workers read in their ConfigMap stays as it was: 40."""
    it.api.patch(DEPLOYMENT, {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": GRACE_S}}}})
    it.plane.kubectl("rollout", "status", "deploy/roboflow-worker", "-n", "roboflow", "--timeout=180s")
    wait_for(120, "the pods of before are gone", lambda: {pod["spec"]["terminationGracePeriodSeconds"] for pod in it.pods()} == {GRACE_S})
    it.wait_workers(2)


def lines(pod):
    """The worker's log as objects."""
    return [json.loads(line) for line in (pod.folder / "worker.log").read_text().splitlines() if line.startswith("{")]


def field(line, name):
    return line.get("fields", line).get(name)


def held(it, batch, good):
    """A recording's job that a worker holds and that is as asked for, and the pod."""
    def look():
        jobs = {job["id"]: job for job in batch.jobs() if job["kind"] == "convert" and job["status"] == "leased" and good(job)}
        return next(((pod, jobs[job]) for pod, job in it.holders() if job in jobs), None)
    return wait_for(300, "a worker holds such a job", look)


def taken_anew(it, batch, before):
    """The job in the hands of another worker: which has none of the segment in hand yet."""
    return held(it, batch, lambda job: job["id"] == before["id"] and job["epoch"] > before["epoch"])


def delete(it, batch, pod, job):
    """How its worker ended, and the job after that."""
    it.api.delete(pod.path)
    wait_for(60, "the pod is gone", lambda: it.api.find(pod.path) is None)
    end = next(end for end in it.kubelet.ends if end["pod"] == pod.name and end["container"] == "worker" and end["asked"])
    return end, next(after for after in batch.jobs() if after["id"] == job["id"])


def cut(it, batch):
    """A grace of 5 s: it is seen, the segment is cut, the job goes back as far as it was. The job."""
    # First so that there is a checkpoint, and the next worker begins a segment that no one has made ahead.
    pod, job = held(it, batch, lambda job: job["segments_done"])
    end, job = delete(it, batch, pod, job)
    it.check(f"a worker with a checkpoint is gone after {end['seconds']:.1f} s of {GRACE_S}, with 0, and was not killed",
             end["code"] == 0 and not end["killed"] and job["segments_done"], end)
    pod, before = taken_anew(it, batch, {**job, "epoch": job["epoch"] - (job["status"] == "leased")})
    end, after = delete(it, batch, pod, before)
    told = [line for line in lines(pod) if field(line, "message") == "draining: the time left is known"]
    it.check("the log says what is left, who said so, and what is kept of it", len(told) == 1, told)
    if told:
        left, reserve, drain, by = (field(told[0], name) for name in ("left_ms", "reserve_ms", "drain_ms", "by"))
        print(f"      left {left} ms by {by}, less {reserve} ms for the last checkpoint and the release: drain {drain} ms")
        it.check("it is what the API server says of the pod's deletion", by == "the pod's deletion" and 0 < left <= GRACE_S * 1000, told)
        it.check("and the drain has what the reserve leaves", drain == max(0, left - reserve), told)
    steps = [str(field(line, "effects")) for line in lines(pod) if field(line, "message") == "stepped"]
    it.check("the segment is cut", sum("CancelConvert" in effects for effects in steps) == 1, steps[-5:])
    it.check(f"the worker is gone after {end['seconds']:.1f} s of {GRACE_S}, with 0, and was not killed", end["code"] == 0 and not end["killed"], end)
    it.check("its job goes on from the checkpoint, interrupted once more, and nothing else counted",
             after["interruptions"] == before["interruptions"] + 1 and after["segments_done"] == before["segments_done"]
             and not after["failures"] and not after["crashes"], (before, after))
    return before


def killed(it, batch, job):
    """Without the right to read its own pod: the name of the pod that was killed."""
    binding = it.api.get(BINDING)
    pod, before = taken_anew(it, batch, job)
    it.api.delete(BINDING)
    try:
        end, after = delete(it, batch, pod, before)
    finally:
        kept = ("name", "namespace", "labels")
        it.api.create(BINDING.rsplit("/", 1)[0],
                      {**binding, "metadata": {name: binding["metadata"][name] for name in kept if name in binding["metadata"]}})
    said = (pod.folder / "worker.log").read_text()
    it.check("without the right to read it, the worker says what it may not", "may not get its own pod" in said, said[-2000:])
    it.check("believes what it was told, and is killed (137)", end["code"] == 137 and end["killed"], end)
    it.check("and its job waits for its lease to run out", after["status"] == "leased" and after["epoch"] == before["epoch"], after)
    return pod.name


def shown(it):
    """All of it. Names of pods that were to be killed."""
    from fleet import holds
    if not holds(it.check, f"pods are given {GRACE_S} s", lambda: shorten(it)):
        return []
    segment = it.rate * SEGMENT_S
    batch, jobs, gone = it.new_batch("short", 2, SEGMENTS * segment, segment), [], []
    batch.submit()
    if holds(it.check, f"a pod with {GRACE_S} s", lambda: jobs.append(cut(it, batch))):
        holds(it.check, "a pod that may not read itself", lambda: gone.append(killed(it, batch, jobs[0])))
    batch.published(crashes=len(gone))
    batch.same_bytes()
    return gone
