#!/usr/bin/env python3
"""What somebody without this program would write: one process that converts ROS 2 MCAP recordings of the generated arm.

    plain_convert.py OUT RECORDING.mcap ... --mapping mapping.json --video none|libx264|libsvtav1

It is the other side of the comparison in compare_speed.py and not part of any product: the public packages as their pages show
them, with nothing tuned and nothing made slow. It reads every message once (mcap, mcap-ros2-support), takes the latest one
before each frame, decodes only the pictures that it needs (pillow: those that lerobot's rule samples for statistics, or for a
video all), and writes Parquet (pyarrow), statistics (numpy) and mp4 (av: the encoder's own number of threads, as it comes).
A recording at a time is in memory. Encoders get the settings that the program's mapping names: quality 30, a key frame every second
frame, preset veryfast or 12.

The mapping: {"fps": 30, "features": {"observation.state": "/joint_states", ...}, "task": "/task"}.
The last line it prints is JSON: frames, and the seconds since its packages were loaded.
"""
import argparse, bisect, io, json, time
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from PIL import Image

NS = 1_000_000_000
PRESETS = {"libx264": {"preset": "veryfast", "bf": "0"}, "libsvtav1": {"preset": "12"}}
QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)


def read(path):
    """All messages by topic, as (log time, value)."""
    topics = {}
    with open(path, "rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for _, channel, message, ros in reader.iter_decoded_messages():
            if hasattr(ros, "format"):
                value = bytes(ros.data)
            else:
                value = list(ros.position) if hasattr(ros, "position") else ros.data
            topics.setdefault(channel.topic, []).append((message.log_time, value))
    return topics


def latest(messages, frames):
    """What each frame takes: the last message at or before it."""
    times = [at for at, _ in messages]
    return [messages[bisect.bisect_right(times, at) - 1][1] for at in frames]


def described(values):
    """Statistics over the rows of an array [n, d]."""
    values = np.asarray(values, np.float64)
    about = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    about |= {f"q{round(q * 100):02}": value for q, value in zip(QUANTILES, np.quantile(values, QUANTILES, axis=0))}
    return {name: value.tolist() for name, value in about.items()} | {"count": [len(values)]}


def sampled(frames):
    """The frames that lerobot looks at for statistics of pictures."""
    count = max(min(100, frames), min(int(frames**0.75), 10_000))
    return set(np.round(np.linspace(0, frames - 1, count)).astype(int).tolist())


class Film:
    """One mp4 file."""

    def __init__(self, path, encoder, fps, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = av.open(str(path), "w")
        self.stream = self.file.add_stream(encoder, rate=fps, options={"crf": "30", "g": "2"} | PRESETS[encoder])
        self.stream.width, self.stream.height = size
        self.stream.pix_fmt = "yuv420p"

    def add(self, pixels):
        self.file.mux(self.stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))

    def close(self):
        self.file.mux(self.stream.encode())
        self.file.close()


def camera(files, encoder, path, fps):
    """Statistics of a camera's pictures, which become a film if there is an encoder."""
    looked_at, kept, film = sampled(len(files)), [], None
    for number, file in enumerate(files):
        if encoder == "none" and number not in looked_at:
            continue
        pixels = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
        if encoder != "none":
            film = film or Film(path, encoder, fps, (pixels.shape[1], pixels.shape[0]))
            film.add(pixels)
        if number in looked_at:
            longer = max(pixels.shape[:2])
            step = longer // 150 if longer >= 300 else 1
            kept.append(pixels[::step, ::step])
    if film:
        film.close()
    stats = described(np.stack(kept).reshape(-1, 3) / 255.0)
    return stats | {"count": [len(kept)]}, list(pixels.shape)


def column(values):
    """Values of all frames as Arrow has them."""
    if isinstance(values, list):
        return pa.StructArray.from_arrays([pa.array(values, pa.binary()), pa.nulls(len(values), pa.string())], ["bytes", "path"])
    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return pa.array(values)


def convert(path, number, before, opt, mapping):
    """One recording as one episode; gives its row, and what its features are."""
    topics = read(path)
    chosen = mapping["features"]
    begin = max(topics[topic][0][0] for topic in chosen.values())
    end = min(topics[topic][-1][0] for topic in chosen.values())
    count = (end - begin) * mapping["fps"] // NS + 1
    frames = [begin + round(at * NS / mapping["fps"]) for at in range(count)]
    columns, stats, shapes = {}, {}, {}
    for feature, topic in chosen.items():
        values = latest(topics[topic], frames)
        if isinstance(values[0], bytes):
            film = opt.out / f"videos/{feature}/chunk-000/file-{number:03}.mp4"
            stats[feature], shapes[feature] = camera(values, opt.video, film, mapping["fps"])
            if opt.video == "none":
                columns[feature] = values
        else:
            columns[feature] = np.array(values, np.float32)
            shapes[feature] = [columns[feature].shape[1]]
    columns |= {
        "timestamp": (np.arange(count) / mapping["fps"]).astype(np.float32),
        "frame_index": np.arange(count),
        "episode_index": np.full(count, number),
        "index": np.arange(before, before + count),
        "task_index": np.zeros(count, np.int64),
    }
    for feature, values in columns.items():
        if not isinstance(values, list):
            stats[feature] = described(values if values.ndim == 2 else values[:, None])
    data = opt.out / f"data/chunk-000/file-{number:03}.parquet"
    data.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({feature: column(values) for feature, values in columns.items()}), data)
    row = {"episode_index": number, "tasks": [topics[mapping["task"]][0][1]], "length": count}
    row |= {f"stats/{feature}/{name}": value for feature, about in stats.items() for name, value in about.items()}
    return row, shapes


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("recordings", nargs="+", type=Path)
    p.add_argument("--mapping", type=Path, required=True)
    p.add_argument("--video", choices=["none", *PRESETS], default="none")
    opt = p.parse_args()
    mapping = json.loads(opt.mapping.read_text())
    began, rows, shapes = time.monotonic(), [], {}
    for number, path in enumerate(sorted(opt.recordings)):
        row, shapes = convert(path, number, sum(row["length"] for row in rows), opt, mapping)
        rows.append(row)
    frames = sum(row["length"] for row in rows)
    meta = opt.out / "meta"
    (meta / "episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), meta / "episodes/chunk-000/file-000.parquet")
    tasks = list(dict.fromkeys(row["tasks"][0] for row in rows))
    pq.write_table(pa.table({"task_index": range(len(tasks)), "task": tasks}), meta / "tasks.parquet")
    info = {"codebase_version": "v3.0", "fps": mapping["fps"], "total_episodes": len(rows), "total_frames": frames, "shapes": shapes}
    (meta / "info.json").write_text(json.dumps(info, indent=4))
    print(json.dumps({"frames": frames, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
