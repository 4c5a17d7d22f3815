#!/usr/bin/env python3
"""Can the checkers fail? Breaks one thing at a time in copies of a good dataset, and expects to be told of it.

    checkers_test.py ROBOFLOW      converts a small recording with the program; `roboflow validate` must see the same as we do

A breach of form must be seen by check_structure.py and by `roboflow validate`; one of values by check_values.py.
"""
import json, shutil, sys, tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import make_recordings
from mappings import mapping
from matrix import HERE, call, expect

DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


def rewrite(root, name, edit):
    """Passes a parquet file's table through `edit`, and writes one row group an episode again."""
    path = root / name
    table = edit(pq.read_table(path))
    with pq.ParquetWriter(path, table.schema, compression="snappy") as writer:
        episodes = table["episode_index"].to_numpy() if "episode_index" in table.column_names else np.zeros(len(table))
        groups = np.unique(episodes) if name == DATA else [None]
        for g in groups:
            writer.write_table(table if g is None else table.take(np.flatnonzero(episodes == g)))


def column(root, name, feature, edit, kind=None):
    """Replaces a column by what `edit` makes of its list of values."""
    def change(table):
        at = table.column_names.index(feature)
        field = table.schema.field(at)
        field = field if kind is None else pa.field(feature, kind)
        values = edit(table[feature].to_pylist())
        return table.set_column(at, field, pa.array(values, field.type))
    rewrite(root, name, change)


def one(k, change):
    """Changes element k of a list, by itself."""
    def edit(values):
        values[k] = change(values[k])
        return values
    return edit


def nudge(row):
    """The first element, by one step of float32."""
    return [float(np.nextafter(np.float32(row[0]), np.float32(9)))] + row[1:]


def swap_pictures(cells):
    cells[3], cells[9] = cells[9], cells[3]
    return cells


def info(root, **changes):
    path = root / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def stats(root, feature, name, change):
    path = root / "meta/stats.json"
    all_stats = json.loads(path.read_text())
    all_stats[feature][name] = change(all_stats[feature][name])
    path.write_text(json.dumps(all_stats))


def drop_column(root, name, feature):
    rewrite(root, name, lambda t: t.drop_columns([feature]))


def other_task(root):
    rewrite(root, "meta/tasks.parquet", lambda t: t.set_column(t.column_names.index("task"), "task", pa.array(["do nothing"]))
            .replace_schema_metadata(t.schema.metadata))
    column(root, EPISODES, "tasks", lambda rows: [["do nothing"] for _ in rows])


def sync(root, change):
    """Changes the sync report of the first episode."""
    path = root / "meta/roboflow/sync.json"
    entries = json.loads(path.read_text())
    change(entries[0]["sync"])
    path.write_text(json.dumps(entries))


CAMERA = "observation.images.camera_0"
VALUES = {
    "one joint of one frame by one step of float32": lambda r: column(r, DATA, "observation.state", one(7, nudge)),
    "one action": lambda r: column(r, DATA, "action", one(0, nudge)),
    "two pictures in each other's place": lambda r: column(r, DATA, CAMERA, swap_pictures),
    "one byte of a picture": lambda r: column(r, DATA, CAMERA, one(5, lambda c: c | {"bytes": c["bytes"][:-3] + b"\0" + c["bytes"][-2:]})),
    "another task": other_task,
    "a count in the sync report": lambda r: sync(r, lambda s: s.update(dropped_frames=s["dropped_frames"] + 1)),
    "an episode's first grid frame in the sync report": lambda r: sync(r, lambda s: s.update(start_ns=s["start_ns"] + 1)),
    "a distance in the sync report": lambda r: sync(r, lambda s: s["sources"][1].update(p95_ms=s["sources"][1]["p95_ms"] + 0.01)),
    "a quantile of an episode": lambda r: column(r, EPISODES, "stats/action/q90", one(0, nudge)),
    "a picture's statistics": lambda r: column(r, EPISODES, f"stats/{CAMERA}/mean", one(1, lambda m: [[[m[0][0][0] + 0.02]]] + m[1:])),
}
FORM = {
    "a timestamp off by a millisecond": lambda r: column(r, DATA, "timestamp", one(4, lambda t: t + 0.001)),
    "a frame_index that jumps": lambda r: column(r, DATA, "frame_index", one(4, lambda k: k + 1)),
    "an index that jumps": lambda r: column(r, DATA, "index", one(4, lambda k: k + 1)),
    "a task_index without a task": lambda r: column(r, DATA, "task_index", one(4, lambda k: 7)),
    "a frame of another episode": lambda r: column(r, DATA, "episode_index", one(-1, lambda k: k + 1)),
    "a last frame too few": lambda r: rewrite(r, DATA, lambda t: t.slice(0, len(t) - 1)),
    "doubles where floats belong": lambda r: column(r, DATA, "action", lambda rows: rows, pa.list_(pa.float64(), 6)),
    "a list of any length": lambda r: column(r, DATA, "action", lambda rows: rows, pa.list_(pa.float32())),
    "no column for a feature": lambda r: drop_column(r, DATA, "action"),
    "no metadata for the loader": lambda r: rewrite(r, DATA, lambda t: t.replace_schema_metadata(None)),
    "a picture that is none": lambda r: column(r, DATA, CAMERA, one(0, lambda c: c | {"bytes": b"no picture"})),
    "another version": lambda r: info(r, codebase_version="v2.1"),
    "a frame too many in info.json": lambda r: info(r, total_frames=json.loads((r / "meta/info.json").read_text())["total_frames"] + 1),
    "splits of more episodes": lambda r: info(r, splits={"train": "0:9"}),
    "an episode's length": lambda r: column(r, EPISODES, "length", one(1, lambda n: n - 1)),
    "an episode's range": lambda r: column(r, EPISODES, "dataset_from_index", one(1, lambda n: n + 1)),
    "an episode's file": lambda r: column(r, EPISODES, "data/file_index", one(1, lambda n: n + 1)),
    "an episode's tasks": lambda r: column(r, EPISODES, "tasks", one(0, lambda t: ["do nothing"])),
    "no statistics of an episode": lambda r: drop_column(r, EPISODES, "stats/action/q10"),
    "a maximum that is too low": lambda r: stats(r, "observation.state", "max", lambda v: [v[0] - 0.5] + v[1:]),
    "a statistic left out": lambda r: stats(r, "action", "q99", lambda v: None),
    "no tasks": lambda r: (r / "meta/tasks.parquet").unlink(),
    "no statistics": lambda r: (r / "meta/stats.json").unlink(),
    "half a data file": lambda r: (r / DATA).write_bytes((r / DATA).read_bytes()[:5000]),
}

FILM = "videos/observation.images.camera_0/chunk-000/file-000.mp4"
SPAN = "videos/observation.images.camera_0/from_timestamp"
FILM_VALUES = {
    "frames of a camera in another order": lambda r: swap_samples(r / FILM, 3, 9),
    "the frames of the other camera": lambda r: shutil.copy(r / FILM.replace("camera_0", "camera_1"), r / FILM),
}
FILM_FORM = {
    "a film left out": lambda r: (r / FILM).unlink(),
    "half a film": lambda r: (r / FILM).write_bytes((r / FILM).read_bytes()[:5000]),
    "an episode at another time": lambda r: column(r, EPISODES, SPAN, one(1, lambda t: t + 0.5)),
    "frames that last too long": lambda r: box(r / FILM, b"stts", lambda b, at: b.__setitem__(at + 18, b[at + 18] + 1)),
    "another codec in info.json": lambda r: film_info(r, **{"video.codec": "av1"}),
    "no path of films": lambda r: info(r, video_path=None),
}


ADDED, ADDED_EPISODES = FILM.replace("file-000", "file-001"), EPISODES.replace("file-000", "file-001")
ADDED_VALUES = {
    "the old film in the place of the added one": lambda r: shutil.copy(r / FILM.replace("camera_0", "camera_1").replace("file-000", "file-001"), r / ADDED),
}
ADDED_FORM = {
    "an added film left out": lambda r: (r / ADDED).unlink(),
    "an added episode in the old film": lambda r: column(r, ADDED_EPISODES, SPAN.replace("from_timestamp", "file_index"), one(0, lambda n: 0)),
    "an added episode where the old film ended": lambda r: column(r, ADDED_EPISODES, SPAN, one(0, lambda t: t + 4.0)),
    "an added table of other types": lambda r: column(r, ADDED_EPISODES, "tasks", lambda rows: [t[0] for t in rows], pa.string()),
}

OLD_FILM = "videos/chunk-000/observation.images.camera_0/episode_000001.mp4"
OLD_FORM = {
    "a film left out": lambda r: (r / OLD_FILM).unlink(),
    "half a film": lambda r: (r / OLD_FILM).write_bytes((r / OLD_FILM).read_bytes()[:5000]),
    "a film of no episode": lambda r: shutil.copy(r / OLD_FILM, (r / OLD_FILM).with_name("episode_000007.mp4")),
    "frames that last too long": lambda r: box(r / OLD_FILM, b"stts", lambda b, at: b.__setitem__(at + 18, b[at + 18] + 1)),
    "another codec in info.json": lambda r: film_info(r, **{"video.codec": "av1"}),
    "a film too many in info.json": lambda r: info(r, total_videos=5),
    "a last frame too few": lambda r: short(r / "data/chunk-000/episode_000001.parquet"),
}


def short(path):
    table = pq.read_table(path)
    pq.write_table(table.slice(0, len(table) - 1), path)


def box(path, kind, edit):
    """Changes bytes of a file from the place on where a box's type stands first."""
    data = bytearray(path.read_bytes())
    edit(data, data.find(kind))
    path.write_bytes(bytes(data))


def swap_samples(path, one, two):
    """Changes the places of two groups of frames: in a file of one chunk, sizes and bytes."""
    data = bytearray(path.read_bytes())
    at = data.find(b"stsz") + 16
    count = int.from_bytes(data[at - 4 : at])
    sizes = [int.from_bytes(data[at + 4 * k : at + 4 * k + 4]) for k in range(count)]
    begin = data.find(b"mdat", at) + 4
    samples = []
    for size in sizes:
        samples.append(bytes(data[begin : begin + size]))
        begin += size
    groups = [samples[k : k + 2] for k in range(0, count, 2)]
    groups[one], groups[two] = groups[two], groups[one]
    samples = [sample for group in groups for sample in group]
    data[at : at + 4 * count] = b"".join(len(s).to_bytes(4) for s in samples)
    data[-sum(sizes) :] = b"".join(samples)
    path.write_bytes(bytes(data))


def film_info(root, **values):
    path = root / "meta/info.json"
    said = json.loads(path.read_text())
    said["features"]["observation.images.camera_0"]["info"].update(values)
    path.write_text(json.dumps(said))


def main():
    program = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        make_recordings.main([str(folder / "in"), "--episodes", "2", "--seconds", "2", "--jitter", "--quiet", "--gaps"])
        truths, python, blind = sorted((folder / "in").glob("*.npz")), sys.executable, []
        tried = 0
        kinds = (("image", VALUES, FORM), ("video", FILM_VALUES, FILM_FORM), ("appended", ADDED_VALUES, ADDED_FORM), ("v2.1", {}, OLD_FORM))
        for kind, breaches_of_values, breaches_of_form in kinds:
            good, mapped = folder / f"good-{kind}", folder / f"{kind}.toml"
            mapped.write_text(mapping(2, task="fold the towel", tolerance_ms=80, pictures="image" if kind == "image" else "video"))
            recordings = sorted((folder / "in").glob("*.mcap"))
            first = recordings[:1] if kind == "appended" else recordings
            older = ["--format", "v2.1"] if kind == "v2.1" else []
            expect(call("run", program, "run", *first, "--out", good, "--mapping", mapped, *older))
            if kind == "appended":
                expect(call("append", program, "run", *recordings[1:], "--out", good, "--append"))
            form = lambda root: [call("check_structure.py", python, HERE / "check_structure.py", root), call("validate", program, "validate", root)]
            if older:
                form = lambda root: [call("check_v21.py", python, HERE / "check_v21.py", root)]
            values = lambda root: [call("check_values.py", python, HERE / "check_values.py", root, "--mapping", mapped, *truths)]
            for done in form(good) + ([] if older else values(good)):
                expect(done)
            every = [(name, spoil, look) for breaches, look in ((breaches_of_values, values), (breaches_of_form, form)) for name, spoil in breaches.items()]
            tried += len(every)
            for name, spoil, look in every:
                bad = folder / "bad"
                shutil.copytree(good, bad)
                spoil(bad)
                for done in look(bad):
                    seen = done.returncode != 0 and "Traceback" not in done.tail and "panicked" not in done.tail
                    print(f"  {name}: {done.what}: {' '.join(done.tail.split())[-160:] if seen else 'SEES NOTHING, OR FALLS OVER'}", flush=True)
                    if not seen:
                        blind.append(f"{done.what}: {name}")
                shutil.rmtree(bad)
    if blind:
        sys.exit("these saw nothing:\n  " + "\n  ".join(blind))
    print(f"all {tried} breaches were seen")


if __name__ == "__main__":
    main()
