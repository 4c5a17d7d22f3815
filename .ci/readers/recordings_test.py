"""Is the truth true? Reads generated recordings back with ordinary readers and compares every message with its truth file.

It uses no code of the generator beside its command line.
"""
import base64, json, tempfile, zlib
from pathlib import Path

import numpy as np
from mcap.exceptions import McapError
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from mcap_ros2.decoder import DecoderFactory
from rosbags.typesys import Stores, get_typestore

import make_recordings
from grid import NS, Truth

OPTIONS = [
    ["--format", "cdr", "--jitter", "--gaps", "--out-of-order", "--shuffle-joints", "--ties"],
    ["--format", "cdr", "--cut", "--chunk-kib", "48", "--command", "joints"],
    ["--format", "ros1", "--compression", "lz4", "--jitter", "--shuffle-joints", "--no-summary"],
    ["--format", "json", "--compression", "none", "--cut", "--out-of-order", "--image", "png"],
]


def decoded(path):
    """(topic, log time, publish time, message) of every message that a reader gets out of the file, in its order."""
    channels, schemas, decoders = {}, {}, DecoderFactory()
    ros1 = get_typestore(Stores.ROS1_NOETIC)
    with open(path, "rb") as file:
        try:
            for r in StreamReader(file).records:
                if isinstance(r, Schema):
                    schemas[r.id] = r
                elif isinstance(r, Channel):
                    channels[r.id] = r
                elif isinstance(r, Message):
                    channel = channels[r.channel_id]
                    schema = schemas[channel.schema_id]
                    if channel.message_encoding == "cdr":
                        message = decoders.decoder_for("cdr", schema)(r.data)
                    elif channel.message_encoding == "ros1":
                        message = ros1.deserialize_ros1(r.data, schema.name.replace("/", "/msg/"))
                    else:
                        message = json.loads(r.data)
                    yield channel.topic, r.log_time, r.publish_time, message
        except (McapError, EOFError):
            return  # a cut file ends so; what must have been read by then is counted by the caller


def get(message, name):
    return message.get(name) if isinstance(message, dict) else getattr(message, name, None)


def stamp(message):
    if isinstance(message, dict):
        at = message.get("timestamp")
        return -1 if at is None else at["sec"] * NS + at["nsec"]
    header = getattr(message, "header", None)
    return -1 if header is None else header.stamp.sec * NS + header.stamp.nanosec


def compare(path, truth):
    """Every message of the file against its row. Returns how many there were."""
    seen = dict.fromkeys(truth.number, 0)
    in_file_order = {t: np.argsort(truth.rows[f"{k}/write_order"], kind="stable") for t, k in truth.number.items()}
    for topic, log, publish, message in decoded(path):
        k, i = truth.number[topic], in_file_order[topic][seen[topic]]
        seen[topic] += 1
        row = lambda name: truth.rows[f"{k}/{name}"][i]
        assert (log, publish, stamp(message)) == (row("log_time_ns"), row("publish_time_ns"), row("header_stamp_ns")), (topic, i)
        kind, data = truth.kind(topic), get(message, "data")
        if kind == "joints":
            at = [list(get(message, "name")).index(j) for j in truth.meta["joints"]]
            assert np.array_equal(np.array(get(message, "position"))[at], row("values")), (topic, i)
            velocity = np.array(get(message, "velocity"))
            assert np.array_equal(velocity[at] if len(velocity) else velocity, row("velocity")), (topic, i)
        elif kind == "image":
            data = base64.b64decode(data) if isinstance(data, str) else bytes(data)
            assert zlib.crc32(data) == row("jpeg_crc32") and len(data) == row("jpeg_size"), (topic, i)
        elif kind == "text":
            assert data == truth.meta["task"]
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
            path = next(out.glob("*.mcap"))
            print(f"  {' '.join(options)}: {compare(path, Truth(path.with_suffix('.truth.npz')))} messages as the truth has them")
            first = path.read_bytes()
            make_recordings.main([str(out), "--seed", str(n), "--seconds", "3", "--quiet", *options])
            assert path.read_bytes() == first, "the same options gave other bytes"


if __name__ == "__main__":
    main()
