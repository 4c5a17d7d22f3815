"""What a conversion must give: every frame of an episode, from the truth of its recording and the mapping, by the definition
of the frame grid alone. Written apart from the program, in another language, without looking at how the program does it.

The grid: `start` is the latest among the first stamps of all mapped topics, `end` the earliest among their last ones. Frame k
stands at start + round(k * 10^9 / fps) ns, while that is at or before `end`. It reads truth files, and no recordings and no datasets.
"""
import json
from bisect import bisect_left, bisect_right
from pathlib import Path

import numpy as np

NS = 1_000_000_000
# Which of x, y, z, x, y, z, w a field of a pose has.
POSE_FIELDS = {"pose": (0, 7), "pose.position": (0, 3), "pose.orientation": (3, 7)}


class Truth:
    """The truth of one recording, as the generators of recordings write it."""

    def __init__(self, path):
        path = Path(path)
        if path.suffix == ".json":
            rows = json.loads(path.read_text())
            self.meta = rows.pop("meta")
            self.rows = {k: np.array(v) for k, v in rows.items()}
        else:
            with np.load(path) as z:
                self.rows = {k: z[k] for k in z.files}
            self.meta = json.loads(self.rows.pop("meta").tobytes())
        self.number = {t["topic"]: k for k, t in enumerate(self.meta["topics"])}

    def column(self, topic, name):
        """Column `name` of `topic` over the messages that count: those of whole chunks."""
        k = self.number[topic]
        return self.rows[f"{k}/{name}"][self.rows[f"{k}/present"] == 1]

    def has(self, topic, name):
        return f"{self.number[topic]}/{name}" in self.rows

    def file_order(self, topic):
        return self.column(topic, "write_order")

    def values(self, topic, spec):
        """One row a message: the numbers of a source, or the CRC of a picture."""
        if self.kind(topic) == "image":
            return self.column(topic, "jpeg_crc32").astype(np.int64)
        if self.kind(topic) == "pose":
            first, last = POSE_FIELDS[spec["field"]]
            return self.column(topic, "values").astype(np.float64)[:, first:last]
        name = {"position": "values", "data": "values", "velocity": "velocity"}[spec["field"]]
        rows = self.column(topic, name).astype(np.float64)
        return rows[:, [self.meta["joints"].index(joint) for joint in spec["select"]]] if "select" in spec else rows

    def kind(self, topic):
        return self.meta["topics"][self.number[topic]]["kind"]

    def quaternions(self, topic, spec):
        """Where quaternions begin in a row, by the message's type."""
        if self.kind(topic) != "pose":
            return []
        return {"pose": [3], "pose.position": [], "pose.orientation": [0]}[spec["field"]]

    def texts(self, topic, clock):
        """(stamp, text) of each message that counts, in the order of their stamps."""
        k = self.number[topic]
        words = [w for w, there in zip(self.meta["topics"][k]["texts"], self.rows[f"{k}/present"]) if there == 1]
        return sorted(zip(self.stamps(topic, clock).tolist(), words), key=lambda row: row[0])

    def stamps(self, topic, clock):
        log = self.column(topic, "log_time_ns").astype(np.int64)
        if clock == "header":
            header = self.column(topic, "header_stamp_ns").astype(np.int64)
            return np.where(header >= 0, header, log)
        if clock == "publish":
            if self.has(topic, "publish_time_ns"):
                return self.column(topic, "publish_time_ns").astype(np.int64)
            return log - 50_000
        return log


class Source:
    """One mapped topic in the order of its stamps; of equal stamps, in the order of the file."""

    def __init__(self, truth, spec, clock):
        topic = spec["topic"]
        stamps = truth.stamps(topic, clock)
        order = np.lexsort((truth.file_order(topic), stamps))
        if "carried" in spec:  # only the messages that have these joints
            order = order[truth.column(topic, "carried")[order, spec["carried"]].astype(bool)]
        self.stamps = stamps[order].tolist()
        self.rows = truth.values(topic, spec)[order]
        forced = {"slerp": [0], "linear": []}
        self.turns = forced[spec["interpolate"]] if "interpolate" in spec else truth.quaternions(topic, spec)

    def only(self, begin, end):
        """Forgets what lies outside: the episode is as a recording of its own."""
        inside = slice(bisect_left(self.stamps, begin), bisect_right(self.stamps, end))
        self.stamps, self.rows = self.stamps[inside], self.rows[inside]

    def at_or_before(self, t):
        return bisect_right(self.stamps, t) - 1

    def nearest(self, t):
        """The smallest distance; of several the earliest: by stamp, then by place in the file."""
        right = self.at_or_before(t) + 1
        near = self.stamps[max(right - 1, 0)]
        if right < len(self.stamps) and self.stamps[right] - t < abs(t - near):
            near = self.stamps[right]
        return bisect_left(self.stamps, near)

    def pick(self, t, align, tolerance):
        """(the value at t, its distance in ns), or (None, distance) when it is further off than the tolerance."""
        if align == "linear":
            return self.between(t, tolerance)
        i = self.nearest(t) if align == "nearest" else self.at_or_before(t)
        distance = abs(t - self.stamps[i])
        return (self.rows[i] if tolerance is None or distance <= tolerance else None), distance

    def between(self, t, tolerance):
        left = self.at_or_before(t)
        if self.stamps[left] == t:
            return self.rows[left], 0
        right = left + 1
        before, after = t - self.stamps[left], self.stamps[right] - t
        distance = max(before, after)  # a value between two messages is as good as the further of them
        if tolerance is not None and distance > tolerance:
            return None, distance
        share = before / (before + after)
        value = self.rows[left] + (self.rows[right] - self.rows[left]) * share
        for at in self.turns:
            value[at:at + 4] = part_of_turn(self.rows[left][at:at + 4], self.rows[right][at:at + 4], share)
        return value, distance


def parts(truth, spec):
    """A source as it is; one whose messages have some of the joints each, as one for every run of joints that the same ones have."""
    topic = spec["topic"]
    if "select" not in spec or not truth.has(topic, "carried"):
        return [spec]
    carried = truth.column(topic, "carried")
    runs = []
    for joint in spec["select"]:
        at = truth.meta["joints"].index(joint)
        if runs and np.array_equal(carried[:, runs[-1]["carried"]], carried[:, at]):
            runs[-1]["select"].append(joint)
        else:
            runs.append(spec | {"select": [joint], "carried": at})
    return runs


def product(p, q):
    """Of two quaternions x, y, z, w."""
    v = p[3] * q[:3] + q[3] * p[:3] + np.cross(p[:3], q[:3])
    return np.append(v, p[3] * q[3] - p[:3] @ q[:3])


def part_of_turn(a, b, share):
    """From rotation `a` the given share of the way to `b`: `a`, and then that share of the angle of the turn that is left."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    rest = product(a * [-1, -1, -1, 1], b)
    if rest[3] < 0:
        rest = -rest
    size = np.linalg.norm(rest[:3])
    if size == 0:
        return a
    half = np.arctan2(size, rest[3]) * share
    return product(a, np.append(rest[:3] / size * np.sin(half), np.cos(half)))


class Episode:
    """What one episode of a recording must become: `columns` {feature: array or list of CRCs}, `length`, `grid`, `dropped`, `task`.

    `failed` names the feature for whose sake the episode must fail, when on_missing says so."""

    def __init__(self, truth, mapping, bounds):
        begin, finish, own_task = bounds
        rules = mapping.get("episodes", {})
        clock, fps = mapping.get("time", "log"), mapping["fps"]
        features = mapping["feature"]
        own = [f | {"source": [part for s in f["source"] for part in parts(truth, s)]} for f in features if "source" in f]
        sources = {f["name"]: [Source(truth, s, clock) for s in f["source"]] for f in own}
        spans = [s.stamps for many in sources.values() for s in many]
        if rules.get("split") == "gap":
            for source in (s for many in sources.values() for s in many):
                source.only(begin, finish)
            spans = [s.stamps for many in sources.values() for s in many]
        self.length, self.failed = 0, None
        if not all(spans):
            return  # a topic says nothing in it
        start = max(begin, *(s[0] for s in spans)) + round(rules.get("trim_start_ms", 0) * 1_000_000)
        end = min(finish, *(s[-1] for s in spans)) - round(rules.get("trim_end_ms", 0) * 1_000_000)
        self.times = []
        while (t := start + round_half_up(len(self.times) * NS, fps)) <= end:
            self.times.append(t)
        self.grid = len(self.times)
        if not self.times:
            return
        kept = np.ones(self.grid, bool)
        columns, missing, self.sync = {}, {}, []
        for f in own:
            columns[f["name"]], missing[f["name"]] = self.column(sources[f["name"]], f)
            kept &= self.settle(f, missing[f["name"]])
        for f in features:
            if "from" in f:
                of = next(other for other in own if other["name"] == f["from"])
                columns[f["name"]], lost = shifted(columns[of["name"]], missing[of["name"]], f, of)
                kept &= ~lost
        at = np.flatnonzero(kept)
        self.columns = {name: [rows[k] for k in at] for name, rows in columns.items()}
        self.pictures = truth.meta.get("pictures", "files")
        self.images = {f["name"] for f in own if f.get("kind") in ("image", "video")}
        self.linear = {f["name"] for f in own if f.get("align") == "linear"}
        self.linear |= {f["name"] for f in features if f.get("from") in self.linear}
        self.length, self.dropped = len(at), self.grid - len(at)
        # A file beside the recording holds what the truth says, if the trial put it there.
        task = mapping["task"]
        self.task = task["text"] if "text" in task else truth.meta["task"]
        if "topic" in task and rules.get("split", "file") != "file":
            self.task = [text for stamp, text in truth.texts(task["topic"], clock) if stamp <= end][-1]
        self.task = own_task or self.task

    def column(self, sources, f):
        """The feature at every grid frame, and which of them miss a source within the tolerance."""
        tolerance = None if "tolerance_ms" not in f else int(f["tolerance_ms"] * 1_000_000)
        picked = [[source.pick(t, f.get("align", "latest"), tolerance) for t in self.times] for source in sources]
        far = np.array([[value is None for value, _ in frames] for frames in picked])
        for spec, frames, off in zip(f["source"], picked, far):
            self.sync.append(met(f, spec["topic"], [distance for _, distance in frames], off))
        rows = []
        for k, t in enumerate(self.times):
            # What is too far off is what "hold" holds: the latest message, whatever its age.
            parts = [s.rows[s.at_or_before(t)] if off[k] else frames[k][0] for s, frames, off in zip(sources, picked, far)]
            rows.append(parts[0] if f.get("kind") in ("image", "video") else np.concatenate(parts))
        return rows, far.any(axis=0)

    def settle(self, f, missing):
        """Which frames stay, as on_missing says."""
        policy = f.get("on_missing", "drop")
        if policy == "fail" and missing.any():
            self.failed = f["name"]
        return ~missing if policy == "drop" else np.ones(self.grid, bool)


def met(f, topic, distances_ns, off):
    """How well one source met the grid, as the sync report of an episode says it."""
    ms = np.array(distances_ns) / 1e6
    held = f.get("on_missing") == "hold"
    return {"feature": f["name"], "topic": topic, "match_rate": float((~off).mean()), "p50_ms": float(np.quantile(ms, 0.5)),
            "p95_ms": float(np.quantile(ms, 0.95)), "max_ms": float(ms.max()),
            "missing_frames": 0 if held else int(off.sum()), "held_frames": int(off.sum()) if held else 0}


def round_half_up(n, d):
    return (2 * n + d) // (2 * d)


def shifted(rows, missing, f, of):
    """Feature `of`, some grid frames later, as feature `f`; and the frames for which there is none: those past the end,
    unless `f` holds, and those whose later frame misses its source, unless one of the two holds."""
    n, shift = len(rows), f["shift"]
    later = np.arange(n) + shift
    beyond, at = later >= n, np.minimum(later, n - 1)
    hold, source_holds = f.get("on_missing") == "hold", of.get("on_missing") == "hold"
    lost = np.where(beyond, not hold, missing[at] & (not (hold or source_holds)))
    return [rows[k] for k in at], lost.astype(bool)
