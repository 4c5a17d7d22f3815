#!/usr/bin/env python3
"""Compares every frame of a dataset with what the truth of its recordings and the mapping say it must be.

    check_values.py DATASET --mapping MAPPING.toml TRUTH...

TRUTH is a truth file, or a recording that has none: then readers that are not ours say what is in it.

Vectors must be equal as float32, bit for bit (between two messages: within one step of float32), pictures by the CRC of
their bytes, or of their pixels where the recording has no files, frames of videos by being near that picture and nearer than to
those of the frames around, the task by its text, timestamps exactly frame_index / fps, and the counts of kept and dropped frames. The
statistics of each episode are computed again by numpy. Ends with a line that begins with OK, or with the first differences and
exit code 1. It does not check the layout: `check_structure.py` does.
"""
import argparse, hashlib, io, json, sys, tomllib, zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

import videos
from grid import Truth
from recording import Recording, decoded, folder_files, picture, pixels
from splits import episodes as episodes_of

SHOWN = 12
# What an encoder leaves of a picture, at the least; and how much farther the pictures of the frames around must be.
NEAR_DB, APART_DB = 28.0, 1.0


class Differences(Exception):
    pass


class Report:
    def __init__(self):
        self.lines, self.compared = [], 0

    def same(self, what, got, want):
        self.compared += 1
        if got != want:
            self.lines.append(f"{what}: is {got!r}, must be {want!r}")

    def vectors(self, what, got, want, steps):
        """Two [n, d] arrays as float32, within so many steps of float32."""
        got, want = np.asarray(got), np.asarray(want).astype(np.float32)
        self.compared += want.size
        if got.dtype != np.float32 or got.shape != want.shape:
            self.lines.append(f"{what}: is {got.dtype} {got.shape}, must be float32 {want.shape}")
            return
        off = distance(got, want) > steps
        for frame in np.flatnonzero(off.any(axis=1))[:3]:
            self.lines.append(f"{what}, frame {frame}: is {got[frame].tolist()}, must be {want[frame].tolist()}")
        if off.any():
            self.lines.append(f"{what}: {int(off.any(axis=1).sum())} of {len(want)} frames differ")


def distance(a, b):
    """How many float32 lie between two of them."""
    def place(x):
        bits = np.ascontiguousarray(x).view(np.int32).astype(np.int64)
        return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    return np.abs(place(a) - place(b))


def episode_rows(root, info, row):
    """The rows of one episode, from the file its entry names."""
    path = root / info["data_path"].format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
    table = pq.read_table(path)
    mine = np.flatnonzero(table["episode_index"].to_numpy() == row["episode_index"])
    return table.take(mine)


def matrix(column):
    rows = column.to_pylist()
    return np.array([r if isinstance(r, list) else [r] for r in rows], dtype=column.combine_chunks().flatten().to_numpy().dtype
                    if rows and isinstance(rows[0], list) else column.to_numpy().dtype)


def transformed(pixels, feature):
    """What a mapping does to a picture, by Pillow: cut out, then turned clockwise, then resized."""
    shown = Image.fromarray(pixels)
    if "crop" in feature:
        x, y, w, h = feature["crop"]
        shown = shown.crop((x, y, x + w, y + h))
    if "rotate" in feature:
        turns = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
        shown = shown.transpose(turns[feature["rotate"]])
    if "resize" in feature:
        shown = shown.resize(feature["resize"], Image.Resampling.NEAREST if pixels.ndim == 2 else Image.Resampling.BILINEAR)
    return np.asarray(shown)


class Pictures:
    """A topic's pictures by the CRC that tells them, as the mapping wants them; read when they are asked for."""

    def __init__(self, recording, feature, by):
        self.by_crc = {}
        for _, _, _, message in decoded(recording, {feature["source"][0]["topic"]}):
            shown = pixels(message)
            crc = zlib.crc32(shown.tobytes() if by == "pixels" else picture(message))
            self.by_crc[crc] = transformed(shown, feature)
        self.lossy = by != "pixels" and picture(message).startswith(b"\xff\xd8")


# Two JPEG decoders spread colours over pixels in their own ways; of other pictures every pixel must be the same.
DECODERS_DIFFER = {False: (0, 0.0), True: (16, 0.8)}


def compare_transformed(report, what, cells, rows, pictures):
    most, mean = DECODERS_DIFFER[pictures.lossy]
    for k, (cell, crc) in enumerate(zip(cells, rows)):
        report.compared += 1
        got, want = opened(cell["bytes"]), pictures.by_crc[crc]
        if got.shape != want.shape or got.dtype != want.dtype:
            report.lines.append(f"{what}, frame {k}: is {got.dtype} {got.shape}, must be {want.dtype} {want.shape}")
            return
        off = np.abs(got.astype(np.int64) - want.astype(np.int64))
        if off.max() > most or off.mean() > mean:
            report.lines.append(f"{what}, frame {k}: differs from Pillow's by {off.max()} at most, {off.mean():.3f} in the mean")
            return


def opened(file):
    """The pixels as a loader sees them: red, green and blue, or 16-bit distances."""
    return np.asarray(Image.open(io.BytesIO(file)))


class Film:
    """An episode's frames of a video, and the recording's pictures of its topic by their CRC."""

    def __init__(self, root, info, row, feature, pictures):
        place = {"chunk_index": row[f"videos/{feature}/chunk_index"], "file_index": row[f"videos/{feature}/file_index"]}
        path = root / info["video_path"].format(video_key=feature, **place)
        if path not in Film.read:
            Film.read = {path: videos.frames(path)[0]}
        begin = round(row[f"videos/{feature}/from_timestamp"] * info["fps"])
        self.frames = [luma for _, luma, _ in Film.read[path][begin : begin + row["length"]]]
        self.pictures = pictures.by_crc

    read = {}  # the file at hand


def compare_film(report, what, film, rows):
    n = len(rows)
    report.same(f"{what}: frames", len(film.frames), n)
    known = {}
    def near(k, crc):
        if crc not in known:
            known[crc] = videos.luma(film.pictures[crc])
        return videos.psnr(film.frames[k], known[crc])
    for k in range(min(n, len(film.frames))):
        report.compared += 1
        got = near(k, rows[k])
        others = [near(k, rows[j]) for j in (k - 1, k + 1) if 0 <= j < n and rows[j] != rows[k]]
        if got < NEAR_DB or got < max(others, default=0) + APART_DB:
            report.lines.append(f"{what}, frame {k}: {got:.1f} dB from its picture, {max(others, default=0):.1f} dB from one beside")
            return


def compare(report, name, table, want, fps, tasks, films, edited):
    n = want.length
    report.same(f"{name}: frames", table.num_rows, n)
    if table.num_rows != n:
        return
    for feature, rows in want.columns.items():
        if feature in films:
            compare_film(report, f"{name}: {feature}", films[feature], rows)
        elif feature not in table.column_names:
            report.lines.append(f"{name}: no column {feature}")
        elif feature in edited:
            compare_transformed(report, f"{name}: {feature}", table[feature].to_pylist(), rows, edited[feature])
        elif feature in want.images:
            told_by = {"files": lambda cell: cell["bytes"], "pixels": lambda cell: opened(cell["bytes"]).tobytes()}[want.pictures]
            got = [zlib.crc32(told_by(cell)) for cell in table[feature].to_pylist()]
            report.compared += n
            wrong = [k for k in range(n) if got[k] != rows[k]]
            if wrong:
                report.lines.append(f"{name}: {feature}: {len(wrong)} of {n} pictures are not the right ones, first in frame {wrong[0]}")
        else:
            report.vectors(f"{name}: {feature}", matrix(table[feature]), np.array(rows), int(feature in want.linear))
    counted = np.arange(n)
    report.same(f"{name}: frame_index", table["frame_index"].to_pylist(), counted.tolist())
    exact = (counted / fps).astype(np.float32)
    report.same(f"{name}: timestamp", table["timestamp"].to_numpy().tobytes(), exact.tobytes())
    if want.task is not None:
        report.same(f"{name}: task", {tasks[i] for i in table["task_index"].to_pylist()}, {want.task})


QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
# Two JPEG decoders spread colours over pixels in their own ways: single pixels, and so extremes, differ by a dozen levels of 255,
# means and quantiles by far less.
IMAGE_TOLERANCE = {"mean": 0.005, "std": 0.005, "min": 16 / 255, "max": 16 / 255} | dict.fromkeys(QUANTILES, 0.01)


def statistics(x):
    """Of [n, d] numbers, in double precision; the standard deviation is the population's."""
    exact = {"min": x.min(0), "max": x.max(0), "mean": x.mean(0), "std": x.std(0)}
    return exact | {name: np.quantile(x, q, axis=0) for name, q in QUANTILES.items()}


def thinned(pixels):
    """The pixels that count: of pictures of 300 pixels and more every nth in both directions, as LeRobot takes them."""
    longest = max(pixels.shape[:2])
    stride = longest // 150 if longest >= 300 else 1
    return pixels[::stride, ::stride].reshape(-1, 3 if pixels.ndim == 3 else 1)


def compare_statistics(report, name, table, row, want, films):
    """The episode's statistics against its own frames, which have been found right before."""
    n = want.length
    for feature in want.columns:
        got = lambda s: np.array(row[f"stats/{feature}/{s}"], dtype=float).reshape(-1)
        if feature in want.images:
            sampled = max(min(100, n), min(int(n**0.75), 10000))
            film = films.get(feature)
            see = (lambda k: film.pictures[want.columns[feature][k]]) if film else (lambda k: opened(table[feature][k].as_py()["bytes"]))
            x = np.concatenate([thinned(see(k)) for k in np.round(np.linspace(0, n - 1, sampled)).astype(int)])
            if x.shape[1] == 1:  # distances: exact, and in their own unit
                x = x.astype(np.float64)
                near = lambda s, v: np.allclose(got(s), v, rtol=1e-9, atol=1e-12)
            else:
                x = x / 255.0
                near = lambda s, v: np.abs(got(s) - v).max() <= IMAGE_TOLERANCE[s]
        else:
            sampled, x = n, matrix(table[feature]).astype(np.float64)
            near = lambda s, v: np.allclose(got(s), v, rtol=1e-9, atol=1e-12)
        report.same(f"{name}: stats/{feature}/count", row[f"stats/{feature}/count"], [sampled])
        for s, v in statistics(x).items():
            report.compared += len(v)
            if len(got(s)) != len(v) or not near(s, v):
                report.lines.append(f"{name}: stats/{feature}/{s}: is {got(s).tolist()}, must be {v.tolist()}")


def digest(path):
    """What the card has of a recording beside its size: of each of its files the size, and a MiB of both ends."""
    made = hashlib.sha256()
    for file in folder_files(path) if path.is_dir() else [path]:
        data = file.read_bytes()
        made.update(f"{len(data)}\n".encode() + data[: 1 << 20] + data[-(1 << 20) :])
    return made.hexdigest()


def compare_sync(report, name, entry, want, recording, source):
    """An entry of sync.json: whose it is, where it stands, what was dropped, and how far frames and messages lay apart."""
    report.same(f"{name}: source in sync.json", Path(entry["source"]).name, recording)
    report.same(f"{name}: digest in sync.json", entry["source_digest"], digest(source))
    sync = entry["sync"]
    report.same(f"{name}: first and last grid frame in sync.json", [sync["start_ns"], sync["end_ns"]], [want.times[0], want.times[-1]])
    report.same(f"{name}: grid frames in sync.json", sync["grid_frames"], want.grid)
    report.same(f"{name}: dropped frames in sync.json", sync["dropped_frames"], want.dropped)
    own = [s for s in sync["sources"] if s["feature"] in {w["feature"] for w in want.sync}]
    report.same(f"{name}: sources in sync.json", len(own), len(want.sync))
    for got, must in zip(own, want.sync):
        for key, value in must.items():
            near = abs(got[key] - value) <= 1e-9 * max(1.0, value) if isinstance(value, float) else got[key] == value
            report.same(f"{name}: {must['feature']} from {must['topic']}: {key}", got[key] if not near else value, value)


def check(root, mapping, truths, sources):
    """`sources`: the recordings' files by their names."""
    info = json.loads((root / "meta" / "info.json").read_text())
    files = sorted((root / "meta" / "episodes").rglob("*.parquet"))
    episodes = [row for f in files for row in pq.read_table(f).to_pylist()]
    tasks = pd.read_parquet(root / "meta" / "tasks.parquet").sort_values("task_index").index.tolist()
    wanted, left_out = [], {}
    for truth in sorted(truths, key=lambda t: t.meta["recording"]):
        kept, left_out[truth.meta["recording"]] = episodes_of(truth, mapping)
        wanted += [(truth.meta["recording"], number, e) for number, e in enumerate(kept)]
    report = Report()
    report.same("episodes", len(episodes), len(wanted))
    if len(episodes) != len(wanted):
        raise Differences(report.lines)
    report.same("fps", info["fps"], mapping["fps"])
    report.same("total_frames", info["total_frames"], sum(e.length for *_, e in wanted))
    # Each batch that was added has a folder of its own.
    reports = sorted((root / "meta" / "roboflow").rglob("sync.json"), key=lambda path: (path.parent.name != "roboflow", path))
    sync = [entry for path in reports for entry in json.loads(path.read_text())]
    report.same("entries of sync.json", len(sync), len(wanted))
    listed = [entry for path in (root / "meta" / "roboflow").rglob("skipped.json") for entry in json.loads(path.read_text())]
    of_recordings = {name: sum(entry["source"].endswith(name) and "episode" in entry for entry in listed) for name in left_out}
    report.same("episodes left out, in skipped.json", of_recordings, left_out)
    for row, entry, (recording, number, want) in zip(episodes, sync, wanted):
        name = f"{recording}, episode {number}" if "episodes" in mapping else recording
        if number == 0:
            said = sum("is left out" in warning for warning in entry["warnings"])
            report.same(f"{name}: episodes left out, in sync.json", said, min(left_out[recording], 20))
        report.same(f"{name}: length", row["length"], want.length)
        table = episode_rows(root, info, row)
        seen = lambda f: Pictures(sources[recording], f, want.pictures)
        films = {f["name"]: Film(root, info, row, f["name"], seen(f)) for f in mapping["feature"] if f.get("kind") == "video"}
        edited = {f["name"]: seen(f) for f in mapping["feature"] if f.get("kind") == "image" and {"crop", "rotate", "resize"} & f.keys()}
        compare(report, name, table, want, info["fps"], tasks, films, edited)
        if not report.lines:
            compare_statistics(report, name, table, row, want, films)
        compare_sync(report, name, entry, want, recording, sources[recording])
    if report.lines:
        raise Differences(report.lines)
    dropped = sum(e.dropped for *_, e in wanted)
    return f"OK {len(wanted)} episodes, {info['total_frames']} frames, {dropped} dropped, {report.compared} values compared"


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("dataset", type=Path)
    p.add_argument("truth", type=Path, nargs="+", help="of every recording that was converted")
    p.add_argument("--mapping", type=Path, required=True)
    opt = p.parse_args(argv)
    mapping = tomllib.loads(opt.mapping.read_text())
    try:
        truths = [Truth(t) if ".truth" in t.suffixes else Recording(t, mapping) for t in opt.truth]
        sources = {t.meta["recording"]: given.with_name(t.meta["recording"]) for t, given in zip(truths, opt.truth)}
        print(check(opt.dataset, mapping, truths, sources))
    except Differences as found:
        lines = found.args[0]
        print(f"{len(lines)} differences in {opt.dataset}", *lines[:SHOWN], sep="\n  ")
        sys.exit(1)


if __name__ == "__main__":
    main()
