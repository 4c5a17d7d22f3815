"""Where the episodes of a recording begin and end, from its truth and the mapping's table [episodes] alone. Like grid.py it was
written apart from the program, and by other means: it looks at all stamps in one sorted list.

Bounds are (begin, end, task): stamps in ns that both belong to the episode, and the task where a range brings its own.
"""
import numpy as np

from grid import NS, Episode

FOREVER = 2**64 - 1


def episodes(truth, mapping):
    """Every episode that must come out of a recording, in their order, and how many are left out. One that fails as it was asked to
    is left out; a recording that is one episode then has none."""
    rules = mapping.get("episodes", {})
    found = [Episode(truth, mapping, b) for b in bounds(truth, mapping)]
    kept = [e for e in found if e.failed is None and e.length >= rules.get("min_frames", 1)]
    return kept, len(found) - len(kept)


def bounds(truth, mapping):
    rules, clock = mapping.get("episodes", {}), mapping.get("time", "log")
    mapped = {s["topic"] for f in mapping["feature"] for s in f.get("source", [])}
    split = rules.get("split", "file")
    if split == "gap":
        topics = [rules["topic"]] if "topic" in rules else mapped
        stamps = np.unique(np.concatenate([truth.stamps(t, clock) for t in topics])).astype(np.int64)
        after = np.flatnonzero(np.diff(stamps) > rules["gap_ms"] * 1_000_000)
        begins = [0, *(int(s) for s in stamps[after + 1])]
        return [(b, e, None) for b, e in zip(begins, [*(int(s) for s in stamps[after]), FOREVER])]
    if split == "marker":
        return marked(truth.texts(rules["topic"], clock), rules)
    if split == "ranges":
        origin = min(int(truth.stamps(t, clock).min()) for t in mapped)
        at = lambda entry, side: entry[f"{side}_ns"] if f"{side}_ns" in entry else origin + round(entry[f"{side}_s"] * NS)
        return [(at(e, "start"), at(e, "end"), e.get("task")) for e in truth.meta["ranges"]]
    return [(0, FOREVER, None)]


def marked(said, rules):
    """By the messages of a topic, each (stamp, text)."""
    if rules.get("toggle"):
        stamps = [stamp for stamp, _ in said] + [FOREVER]
        return [(b, e, None) for b, e in zip(stamps[0:-1:2], stamps[1::2])]
    if "stop" in rules:
        found, begun = [], None
        for stamp, text in said + [(FOREVER, rules["stop"])]:
            if begun is None and text == rules["start"] and stamp != FOREVER:
                begun = stamp
            elif begun is not None and text == rules["stop"]:
                found.append((begun, stamp, None))
                begun = None
        return found
    if "start" in rules:
        begins = [stamp for stamp, text in said if text == rules["start"]]
    elif "field" in rules:
        begins = [stamp for k, (stamp, text) in enumerate(said) if k == 0 or said[k - 1][1] != text]
    else:
        begins = [stamp for stamp, _ in said]
    return [(b, e - 1, None) for b, e in zip(begins, [*begins[1:], FOREVER + 1]) if e > b]
