"""Is the truth true? Reads generated recordings back with ordinary readers and compares every message with its truth file.

It uses no code of the generator beside its command line.
"""
import tempfile, zlib
from pathlib import Path

import numpy as np

import make_recordings
from grid import Truth
from recording import decoded, field, numbers, picture, pixels, stamp

OPTIONS = [
    ["--format", "cdr", "--jitter", "--gaps", "--out-of-order", "--shuffle-joints", "--ties"],
    ["--format", "cdr", "--cut", "--chunk-kib", "48", "--command", "joints"],
    ["--format", "ros1", "--compression", "lz4", "--jitter", "--shuffle-joints", "--no-summary"],
    ["--format", "json", "--compression", "none", "--cut", "--out-of-order", "--image", "png"],
    ["--format", "protobuf", "--jitter", "--shuffle-joints", "--out-of-order"],
    ["--format", "folder", "--jitter", "--out-of-order", "--command", "joints"],
    ["--format", "folder-db3", "--jitter", "--ties"],
    ["--format", "db3", "--jitter", "--shuffle-joints"],
    ["--format", "db3-old", "--gaps"],
    ["--format", "cdr", "--poses", "--tasks", "4", "--markers", "9", "--pauses", "1", "--jitter"],
    ["--format", "json", "--poses", "--ranges", "3", "--ranges-in", "metadata"],
    *(["--format", f, "--types", "--jitter", "--shuffle-joints"] for f in ("cdr", "ros1", "json", "protobuf")),
    ["--format", "bag", "--types", "--parts", "--compression", "lz4"],
    ["--format", "protobuf", "--parts", "--image", "raw-rgb8"],
    ["--format", "protobuf", "--image", "depth-png", "--shuffle-joints", "--parts"],
]


def compare(path, truth):
    """Every message of the file against its row. Returns how many there were."""
    seen = dict.fromkeys(truth.number, 0)
    in_file_order = {t: np.argsort(truth.rows[f"{k}/write_order"], kind="stable") for t, k in truth.number.items()}
    for topic, log, publish, message in decoded(path):
        k, i = truth.number[topic], in_file_order[topic][seen[topic]]
        seen[topic] += 1
        row = lambda name: truth.rows[f"{k}/{name}"][i]
        assert (log, publish, stamp(message)) == (row("log_time_ns"), row("publish_time_ns"), row("header_stamp_ns")), (topic, i)
        kind, data = truth.kind(topic), field(message, "data")
        if kind == "joints":
            names, joints = list(field(message, "name")), truth.meta["joints"]
            there = row("carried").astype(bool) if truth.has(topic, "carried") else np.ones(len(joints), bool)
            assert set(names) == {j for j, has in zip(joints, there) if has} and len(names) == there.sum(), (topic, i)
            at = [names.index(j) for j, has in zip(joints, there) if has]
            assert np.array_equal(np.array(field(message, "position"))[at], row("values")[there]), (topic, i)
            velocity = np.array(field(message, "velocity"))
            assert np.array_equal(velocity[at] if len(velocity) else velocity, row("velocity")[there[: len(row("velocity"))]]), (topic, i)
        elif kind == "image":
            data = picture(message)
            known_by = pixels(message).tobytes() if truth.meta["pictures"] == "pixels" else data
            assert zlib.crc32(known_by) == row("jpeg_crc32") and len(data) == row("jpeg_size"), (topic, i)
        elif kind == "text":
            assert data == truth.meta["topics"][k]["texts"][i]
        elif kind == "pose":
            assert np.array_equal(numbers(field(message, "pose")), row("values")), (topic, i)
        else:
            assert np.array_equal(np.atleast_1d(data), row("values")), (topic, i)
    whole = {t: int((truth.rows[f"{k}/present"] == 1).sum()) for t, k in truth.number.items()}
    assert seen == whole, f"{path.name}: {seen} messages were read, {whole} must be whole"
    assert not truth.meta["truncated"] or any((truth.rows[f"{k}/present"] != 1).any() for k in truth.number.values())
    return sum(seen.values())


def main():
    with tempfile.TemporaryDirectory() as folder:
        for n, options in enumerate(OPTIONS):
            out = Path(folder) / str(n)
            make_recordings.main([str(out), "--seed", str(n), "--seconds", "3", "--quiet", *options])
            truth = next(out.glob("*.truth.npz"))
            path = next(path for path in out.iterdir() if path.stem == truth.name.removesuffix(".truth.npz") and path != truth)
            print(f"  {' '.join(options)}: {compare(path, Truth(truth))} messages as the truth has them")
            read = lambda: [file.read_bytes() for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
            first = read()
            make_recordings.main([str(out), "--seed", str(n), "--seconds", "3", "--quiet", *options])
            assert read() == first, "the same options gave other bytes"


if __name__ == "__main__":
    main()
