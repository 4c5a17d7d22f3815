#!/usr/bin/env python3
"""Is this a LeRobot v2.1 dataset? Reads it as its loader does, with `datasets` and jsonl, and holds it against the rules.

    check_v21.py DATASET

Ends with a line that begins with OK, or with every rule that is broken and exit code 1. Rules: lerobot 0.3.3,
datasets/utils.py and datasets/lerobot_dataset.py.
"""
import json, sys, tempfile
from io import BytesIO
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

import videos

INDEX_FEATURES = ["timestamp", "frame_index", "episode_index", "index", "task_index"]
DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def check_info(hold, info):
    hold(info["codebase_version"] == "v2.1", "info.json: codebase_version is not v2.1")
    hold(list(info["features"])[-5:] == INDEX_FEATURES, "info.json: the index features are not the last")
    hold(all("/" not in name for name in info["features"]), "info.json: a feature's name holds a /")
    films = filmed(info)
    for key, value in (("data_path", DATA_PATH), ("video_path", VIDEO_PATH if films else None)):
        hold(info[key] == value, f"info.json: {key} is {info[key]}")
    count = info["total_episodes"]
    hold(info["splits"] == {"train": f"0:{count}"}, "info.json: splits does not name every episode")
    hold(info["total_chunks"] == -(-count // info["chunks_size"]), "info.json: total_chunks")
    hold(info["total_videos"] == count * len(films), f"info.json: total_videos is {info['total_videos']}")
    hold( isinstance(info["fps"], int) and "robot_type" in info, "info.json: totals, fps or robot_type")


def filmed(info):
    """The features that are videos."""
    return [name for name, feature in info["features"].items() if feature["dtype"] == "video"]


def check_film(hold, root, info, name, i, length):
    """Every frame of an episode's video: the loader of lerobot 0.3.3 asks for each by its time within the episode."""
    path = root / info["video_path"].format(episode_chunk=i // info["chunks_size"], video_key=name, episode_index=i)
    if not hold(path.is_file(), f"{path.name}: {name} has no video"):
        return path
    frames, got = videos.frames(path)
    feature, where = info["features"][name], f"{name}/{path.name}"
    said = feature["info"]
    want = {"streams": 1, "codec": said["video.codec"], "width": said["video.width"], "height": said["video.height"],
            "pix_fmt": said["video.pix_fmt"], "fps": info["fps"], "start": 0}
    for key, value in want.items():
        hold(got[key] == value, f"{where}: {key} is {got[key]}, not {value}")
    hold([got["height"], got["width"], 3] == feature["shape"], f"{where}: not of the shape {feature['shape']}")
    keys = {"video.height", "video.width", "video.codec", "video.pix_fmt", "video.is_depth_map", "video.fps", "video.channels", "has_audio"}
    hold(set(said) == keys and said["video.fps"] == info["fps"], f"{where}: info is {said}")
    hold(len(frames) == length, f"{where}: {len(frames)} frames, the episode has {length}")
    late = [k for k, (at, _, _) in enumerate(frames) if abs(at - k / info["fps"]) > videos.TOLERANCE_S]
    hold(not late and frames[0][2], f"{where}: frames are not at their time, or the first does not decode alone: {late[:3]}")
    return path


def check_stats(hold, where, feature, stats, values):
    if not hold(set(stats) == {"min", "max", "mean", "std", "count"}, f"{where}: {sorted(stats)}"):
        return
    got = {name: np.array(value, dtype=float) for name, value in stats.items()}
    hold(got["count"].shape == (1,) and 0 < got["count"][0] <= len(values), f"{where}: count {got['count']}")
    if feature["dtype"] in ("image", "video"):
        hold(all(got[name].shape == (3, 1, 1) for name in ("min", "max", "mean", "std")), f"{where}: no shape (3, 1, 1)")
        hold(0 <= got["min"].min() and got["max"].max() <= 1, f"{where}: pixels are not within 0 and 1")
        return
    x = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    for name, want in (("min", x.min(0)), ("max", x.max(0)), ("mean", x.mean(0)), ("std", x.std(0))):
        hold(np.allclose(got[name], want, rtol=1e-5, atol=1e-6), f"{where}/{name}: {got[name]}, the data say {want}")


def check_episode(hold, root, info, episode, stats, tasks, start):
    i, n = episode["episode_index"], episode["length"]
    path = root / info["data_path"].format(episode_chunk=i // info["chunks_size"], episode_index=i)
    table = pq.read_table(path)
    films = filmed(info)
    hold(table.column_names == [name for name in info["features"] if name not in films], f"{path.name}: its columns are not the features in their order")
    hold(table.num_rows == n, f"{path.name}: {table.num_rows} rows, not {n}")
    want = {
        "frame_index": np.arange(n),
        "episode_index": np.full(n, i),
        "index": np.arange(start, start + n),
        "timestamp": (np.arange(n) / info["fps"]).astype(np.float32),
    }
    for name, values in want.items():
        hold(np.array_equal(table[name].to_numpy(), values), f"{path.name}: {name}")
    hold({tasks[t] for t in table["task_index"].to_pylist()} == set(episode["tasks"]), f"{path.name}: tasks")
    paths = [path] + [check_film(hold, root, info, name, i, n) for name in films]
    for name, feature in info["features"].items():
        values = range(n) if name in films else table[name].to_pylist()
        if feature["dtype"] == "image":
            for cell in values:
                with Image.open(BytesIO(cell["bytes"])) as image:
                    hold([image.height, image.width] == feature["shape"][:2], f"{path.name}: {name} is {image.size}")
        if feature["dtype"] != "string":
            check_stats(hold, f"episodes_stats.jsonl: episode {i}: {name}", feature, stats[name], values)
    return paths


def check(root):
    broken = []

    def hold(truth, rule):
        if not truth:
            broken.append(rule)
        return truth

    info = json.loads((root / "meta/info.json").read_text())
    check_info(hold, info)
    tasks, episodes, stats = (lines(root / f"meta/{name}.jsonl") for name in ("tasks", "episodes", "episodes_stats"))
    hold([t["task_index"] for t in tasks] == list(range(info["total_tasks"])), "tasks.jsonl: task_index does not count from 0")
    for name, found in (("episodes", episodes), ("episodes_stats", stats)):
        count = list(range(info["total_episodes"]))
        hold([line["episode_index"] for line in found] == count, f"{name}.jsonl: episode_index does not count from 0")
    paths, start = [], 0
    for episode, line in zip(episodes, stats):
        paths.extend(check_episode(hold, root, info, episode, line["stats"], [t["task"] for t in tasks], start))
        start += episode["length"]
    hold(start == info["total_frames"], "episodes.jsonl: lengths do not add up to total_frames")
    stray = {path for folder in ("data", "videos") for path in (root / folder).rglob("*") if path.is_file()} - set(paths)
    hold(not stray, f"files of no episode: {stray}")
    with tempfile.TemporaryDirectory() as cache:
        data = datasets.load_dataset("parquet", data_dir=str(root / "data"), split="train", cache_dir=cache)
        hold(len(data) == info["total_frames"], "data: not as many rows as info.json says")
        for name, feature in info["features"].items():
            if feature["dtype"] == "image":
                hold([data[0][name].height, data[0][name].width] == feature["shape"][:2], f"{name}: pictures of another size")
    return broken, f"OK v2.1, {info['total_episodes']} episodes, {info['total_frames']} frames"


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
