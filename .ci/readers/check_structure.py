#!/usr/bin/env python3
"""Is this a LeRobot v3.0 dataset? Loads it as users do, with `datasets` and pandas, and holds it against the rules of the format.

    check_structure.py DATASET

Every frame of every video is decoded. Ends with a line that begins with OK, or with every rule that is broken and exit code 1. It
knows no recording and compares no values with one: `check_values.py` does.
"""
import glob, json, sys, tempfile
from io import BytesIO
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import DatasetCard
from PIL import Image

import videos

INDEX_FEATURES = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64"}
PICTURES = ("image", "video")
STATISTICS = ["min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"]
ARROW = {"float32": pa.float32(), "float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_(), "string": pa.string()}


class Rules:
    def __init__(self):
        self.broken = []

    def hold(self, truth, rule):
        if not truth:
            self.broken.append(rule)
        return truth


def loader_features(features):
    """The features as the loader of LeRobot gives them to `datasets`."""
    out = {}
    for name, f in features.items():
        shape, dtype = tuple(f["shape"]), f["dtype"]
        if dtype == "video":
            continue
        if dtype == "image":
            out[name] = datasets.Image()
        elif shape == (1,):
            out[name] = datasets.Value(dtype)
        elif len(shape) == 2:
            out[name] = datasets.Array2D(shape=shape, dtype=dtype)
        else:
            out[name] = datasets.Sequence(datasets.Value(dtype), length=shape[0])
    return datasets.Features(out)


def arrow_type(f):
    if f["dtype"] == "image" or len(f["shape"]) > 1:
        return None
    base = ARROW[f["dtype"]]
    return base if f["shape"] == [1] else pa.list_(pa.field("element", base), f["shape"][0])


def check_info(rules, info):
    rules.hold(info["codebase_version"] == "v3.0", "info.json: codebase_version is not v3.0")
    rules.hold(isinstance(info["fps"], int) and info["fps"] > 0, "info.json: fps is no positive integer")
    for key, value in {"chunks_size": 1000, "data_files_size_in_mb": 100, "video_files_size_in_mb": 200}.items():
        rules.hold(info.get(key) == value, f"info.json: {key} is not {value}")
    rules.hold(info["splits"] == {"train": f"0:{info['total_episodes']}"}, "info.json: splits does not name every episode")
    rules.hold("robot_type" in info, "info.json: no robot_type")
    features = info["features"]
    has_video = any(f["dtype"] == "video" for f in features.values())
    path = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4" if has_video else None
    rules.hold(info.get("video_path", 1) == path, f"info.json: video_path is not {path}")
    rules.hold(list(features)[-5:] == list(INDEX_FEATURES), "info.json: the five index features are not the last ones")
    for name, dtype in INDEX_FEATURES.items():
        f = features.get(name, {})
        rules.hold(f.get("dtype") == dtype and f.get("shape") == [1], f"info.json: {name} is not {dtype} [1]")
    for name, f in features.items():
        rules.hold("/" not in name, f"info.json: a slash in the name {name}")
        rules.hold(f["dtype"] in {*ARROW, "image", "video"}, f"info.json: {name} has dtype {f['dtype']}")
        if f["dtype"] in PICTURES:
            rules.hold(f["names"] == ["height", "width", "channels"] and f["shape"][2] == (1 if is_depth(f) else 3), f"info.json: {name} is not height, width, 3 channels")
        elif f["names"] is not None:
            rules.hold(len(f["names"]) == f["shape"][0], f"info.json: {name} has as many names as elements")


def check_data(rules, root, info, paths):
    """Each data file by itself: columns, types, row groups, compression."""
    episodes_seen = []
    for path in paths:
        file, where = pq.ParquetFile(path), Path(path).relative_to(root)
        schema = file.schema_arrow
        own = {name: f for name, f in info["features"].items() if f["dtype"] != "video"}
        rules.hold(schema.names == list(own), f"{where}: columns are not the features in their order")
        rules.hold(b"huggingface" in (schema.metadata or {}), f"{where}: no huggingface metadata")
        for name, f in own.items():
            want = arrow_type(f)
            if want is not None:
                rules.hold(schema.field(name).type == want, f"{where}: {name} is {schema.field(name).type}, not {want}")
            elif f["dtype"] == "image":
                fields = {x.name: x.type for x in schema.field(name).type}
                rules.hold(fields == {"bytes": pa.binary(), "path": pa.string()}, f"{where}: {name} is {fields}")
        for g in range(file.num_row_groups):
            group = file.read_row_group(g, columns=["episode_index"])["episode_index"].to_pylist()
            rules.hold(len(set(group)) == 1, f"{where}: row group {g} holds rows of several episodes")
            if episodes_seen[-1:] != group[:1]:  # a long episode has several row groups
                episodes_seen.append(group[0])
            for c in range(file.metadata.num_columns):
                column = file.metadata.row_group(g).column(c)
                feature = info["features"].get(column.path_in_schema.removesuffix(".bytes"), {})
                want = {"SNAPPY", "UNCOMPRESSED"} if feature.get("dtype") == "image" else {"SNAPPY"}  # JPEG and PNG are compressed already
                rules.hold(column.compression in want, f"{where}: row group {g}: {column.path_in_schema} is {column.compression}")
    rules.hold(episodes_seen == list(range(info["total_episodes"])), "data: the row groups are not the episodes in order")


def check_tasks(rules, root, info):
    tasks = pd.read_parquet(root / "meta/tasks.parquet")
    rules.hold(tasks.index.name == "task" and all(isinstance(t, str) for t in tasks.index), "tasks.parquet: the index is not the task's text")
    rules.hold(tasks.task_index.tolist() == list(range(info["total_tasks"])), "tasks.parquet: task_index does not count from 0")
    rules.hold(tasks.index.is_unique, "tasks.parquet: a task stands there twice")
    return tasks.index.tolist()


def check_episodes(rules, root, info, data, tasks):
    files = sorted(glob.glob(f"{root}/meta/episodes/*/*.parquet"))
    rows = [(f, row) for f in files for row in pq.read_table(f).to_pylist()]
    rules.hold(len(rows) == info["total_episodes"], "episodes: not as many as info.json says")
    at = 0
    for i, (f, e) in enumerate(rows):
        n = e["length"]
        rules.hold(n > 0, f"episode {i}: no frames")
        rules.hold(e["episode_index"] == i, f"episode {i}: episode_index is {e['episode_index']}")
        rules.hold((e["dataset_from_index"], e["dataset_to_index"]) == (at, at + n), f"episode {i}: its index range is wrong")
        span, at = slice(at, at + n), at + n
        rules.hold((data["episode_index"][span] == i).all(), f"episode {i}: rows of another episode in its range")
        rules.hold(np.array_equal(data["frame_index"][span], np.arange(n)), f"episode {i}: frame_index does not count from 0")
        exact = (np.arange(n) / info["fps"]).astype(np.float32)
        rules.hold(np.array_equal(data["timestamp"][span], exact), f"episode {i}: timestamp is not frame_index / fps")
        used = data["task_index"][span]
        valid = rules.hold(((used >= 0) & (used < len(tasks))).all(), f"episode {i}: a task_index that is no row of tasks.parquet")
        rules.hold(not valid or {tasks[t] for t in used} == set(e["tasks"]), f"episode {i}: tasks are not those of its frames")
        place = info["data_path"].format(chunk_index=e["data/chunk_index"], file_index=e["data/file_index"])
        inside = (root / place).is_file() and i in pq.read_table(root / place, columns=["episode_index"])["episode_index"].to_pylist()
        rules.hold(inside, f"episode {i}: not in {place}")
        own = f"meta/episodes/chunk-{e['meta/episodes/chunk_index']:03d}/file-{e['meta/episodes/file_index']:03d}.parquet"
        rules.hold(root / own == Path(f), f"episode {i}: its entry is not in {own}")
        for name, f in info["features"].items():
            stats = {s: e.get(f"stats/{name}/{s}") for s in STATISTICS}
            check_stats(rules, f"episode {i}: stats/{name}", f, stats, n)
    rules.hold(at == info["total_frames"], "episodes: lengths do not add up to total_frames")


def is_depth(f):
    """Whether a feature is one of 16-bit distances, which lerobot 0.6 finds by this mark."""
    return bool((f.get("info") or {}).get("is_depth_map"))


def check_stats(rules, where, f, stats, frames):
    if f["dtype"] == "string" or len(f["shape"]) == 2:  # LeRobot reduces matrices its own way, and nothing here writes one
        return
    if not rules.hold(all(stats.get(s) is not None for s in STATISTICS), f"{where}: one of {', '.join(STATISTICS)} is missing"):
        return
    shape = (f["shape"][2], 1, 1) if f["dtype"] in PICTURES else tuple(f["shape"])
    for s in STATISTICS:
        got = np.array(stats[s], dtype=float)
        rules.hold(got.shape == ((1,) if s == "count" else shape), f"{where}/{s}: shape {got.shape}")
        rules.hold(np.isfinite(got).all(), f"{where}/{s}: not a number")
    ordered = [np.array(stats[s], dtype=float) for s in ("min", "q01", "q10", "q50", "q90", "q99", "max")]
    rules.hold(all((a <= b + 1e-6 * (1 + abs(b))).all() for a, b in zip(ordered, ordered[1:])), f"{where}: quantiles out of order")
    count = stats["count"][0]
    rules.hold(0 < count <= frames if f["dtype"] in PICTURES else count == frames, f"{where}/count: {count} of {frames} frames")
    if f["dtype"] in PICTURES:
        most = 65535 if is_depth(f) else 1
        rules.hold(ordered[0].min() >= 0 and ordered[-1].max() <= most, f"{where}: pixels are not within 0 and {most}")


def check_numbers(rules, data, info, stats):
    """The statistics of the whole dataset against its own numbers, where they are exact."""
    for name, f in info["features"].items():
        check_stats(rules, f"stats.json: {name}", f, stats.get(name, {}), info["total_frames"])
        if f["dtype"] in (*PICTURES, "string") or len(f["shape"]) == 2 or name not in stats:
            continue
        x = np.asarray(data[name], dtype=np.float64).reshape(info["total_frames"], -1)
        for s, got in (("min", x.min(0)), ("max", x.max(0)), ("mean", x.mean(0)), ("std", x.std(0))):
            near = np.allclose(np.array(stats[name][s], dtype=float).reshape(-1), got, rtol=1e-5, atol=1e-6)
            rules.hold(near, f"stats.json: {name}/{s} is {stats[name][s]}, the data say {got.tolist()}")


def check_images(rules, rows, info):
    for name, f in info["features"].items():
        if f["dtype"] != "image":
            continue
        for i, cell in enumerate(rows[name]):
            rules.hold(not (cell["path"] or "").startswith("/"), f"row {i}: {name} has an absolute path")
            with Image.open(BytesIO(cell["bytes"])) as image:
                good = image.format in ("JPEG", "PNG") and [image.height, image.width] == f["shape"][:2]
                good &= image.mode == ("I;16" if is_depth(f) else "RGB")
                rules.hold(good, f"row {i}: {name} is {image.format} {image.size} {image.mode}")


def check_card(rules, root):
    """The card as the hub reads it."""
    card = DatasetCard.load(root / "README.md")
    configs = card.data.to_dict().get("configs")
    rules.hold(configs == [{"config_name": "default", "data_files": "data/*/*.parquet"}], f"README.md: configs are {configs}")
    rules.hold("LeRobot" in (card.data.tags or []), "README.md: not tagged as LeRobot")


def check_videos(rules, root, info):
    """Every frame of every file: its time, and that the episodes are where their rows say."""
    rows = [row for f in sorted(glob.glob(f"{root}/meta/episodes/*/*.parquet")) for row in pq.read_table(f).to_pylist()]
    fps, frames_read = info["fps"], 0
    for name, f in info["features"].items():
        if f["dtype"] != "video":
            continue
        files = {}
        for e in rows:
            place = e[f"videos/{name}/chunk_index"], e[f"videos/{name}/file_index"]
            files.setdefault(place, []).append(e)
        numbers = [chunk * info["chunks_size"] + file for chunk, file in files]
        rules.hold(numbers == list(range(len(numbers))), f"{name}: episodes are not in its files in order")
        for (chunk, file), episodes in files.items():
            path = root / info["video_path"].format(video_key=name, chunk_index=chunk, file_index=file)
            where = path.relative_to(root)
            if not rules.hold(path.is_file(), f"{where}: not there"):
                continue
            small = path.stat().st_size <= info["video_files_size_in_mb"] * 2**20
            rules.hold(small or len(episodes) == 1, f"{where}: too large for several episodes")
            frames, got = videos.frames(path)
            frames_read += len(frames)
            said = f["info"]
            want = {"streams": 1, "codec": said["video.codec"], "width": said["video.width"], "height": said["video.height"],
                    "pix_fmt": said["video.pix_fmt"], "fps": fps, "start": 0, "b_frames": 0, "matrix": 6, "range": 1}
            if said["video.codec"] == "av1":  # a decoder's delay, not of the stream
                want.pop("b_frames")
            for key, value in want.items():
                rules.hold(got[key] == value, f"{where}: {key} is {got[key]}, not {value}")
            rules.hold([got["height"], got["width"], 3] == f["shape"], f"{where}: not of the shape {f['shape']}")
            rules.hold((said["video.fps"], said["video.channels"], said["has_audio"], said["is_depth_map"]) == (fps, 3, False, False), f"{name}: info")
            late = [k for k, (at, _, _) in enumerate(frames) if abs(at - k / fps) > videos.TOLERANCE_S]
            rules.hold(not late, f"{where}: {len(late)} frames are not at their time, the first is {late[:1]}")
            at = 0
            for e in episodes:
                n, span = e["length"], (e[f"videos/{name}/from_timestamp"], e[f"videos/{name}/to_timestamp"])
                rules.hold(np.allclose(span, (at / fps, (at + n) / fps), rtol=0, atol=1e-6), f"{where}: episode {e['episode_index']} is not at {span}")
                rules.hold(at >= len(frames) or frames[at][2], f"{where}: episode {e['episode_index']} does not begin with a key frame")
                at += n
            rules.hold(len(frames) == at, f"{where}: {len(frames)} frames, the episodes have {at}")
            gaps = np.diff([k for k, (_, _, key) in enumerate(frames) if key])
            rules.hold(not len(gaps) or gaps.max() <= said["video.g"], f"{where}: {gaps.max(initial=0)} frames from key frame to key frame")
    return frames_read


def check(root):
    rules = Rules()
    info = json.loads((root / "meta/info.json").read_text())
    check_info(rules, info)
    paths = sorted(glob.glob(f"{root}/data/*/*.parquet"))
    check_data(rules, root, info, paths)
    with tempfile.TemporaryDirectory() as cache:
        data = datasets.Dataset.from_parquet(paths, features=loader_features(info["features"]), cache_dir=cache)
        for name, f in info["features"].items():
            if f["dtype"] == "image":
                first = data[0][name]  # decoded, as a user gets it
                rules.hold([first.height, first.width] == f["shape"][:2], f"{name}: pictures of {first.size}")
        rules.hold(len(data) == info["total_frames"], "data: not as many rows as info.json says")
        rules.hold(data["index"][:] == list(range(len(data))), "data: index is not the row's number")
        flat = {n: np.array(data[n][:]) for n, f in info["features"].items() if f["dtype"] not in (*PICTURES, "string")}
        tasks = check_tasks(rules, root, info)
        check_episodes(rules, root, info, flat, tasks)
        check_numbers(rules, flat, info, json.loads((root / "meta/stats.json").read_text()))
        rows = {n: data.cast_column(n, datasets.Image(decode=False))[n][:] for n, f in info["features"].items() if f["dtype"] == "image"}
        check_images(rules, rows, info)
    check_card(rules, root)
    decoded = check_videos(rules, root, info)
    left = [str(p.relative_to(root)) for p in root.rglob("*") if p.name.endswith((".tmp", ".part")) or p.name.startswith(".tmp")]
    rules.hold(not left, f"unfinished files left behind: {left}")
    filmed = f", {decoded} frames of videos" if decoded else ""
    return rules.broken, f"OK {info['total_episodes']} episodes, {info['total_frames']} frames{filmed}"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    datasets.disable_progress_bars()
    try:
        broken, summary = check(Path(sys.argv[1]))
    except Exception as error:  # whatever keeps a user from loading it
        sys.exit(f"{sys.argv[1]} cannot be loaded: {type(error).__name__}: {error}")
    if broken:
        print(f"{len(broken)} rules broken in {sys.argv[1]}", *broken[:12], sep="\n  ")
        sys.exit(1)
    print(summary)


if __name__ == "__main__":
    main()
