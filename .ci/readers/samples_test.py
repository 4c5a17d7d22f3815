#!/usr/bin/env python3
"""Every real recording in proptests/data, decoded by the program and by ordinary readers: the same messages, times and values.

    samples_test.py DECODED      DECODED is the example `decoded` of the tests' crate, built

Compared are, of each topic, the number of messages, both times of each, and every field that a mapping could name, bit by bit.
What the program refuses must be on the list below, with a word of the reason; what a reader here cannot read is said.
"""
import json, re, struct, subprocess, sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from google.protobuf.message import Message as ProtobufMessage

from recording import decoded

DATA = Path(__file__).resolve().parents[2] / "proptests" / "data"
# Topics that the program does not decode, by file, and why; files that it does not open.
REFUSED = {
    ("rosbag2/wrong_rmw_test_0.mcap", None): "not supported",
}
CUT_HEAD = {"mcap_crate/chunk_not_closed.mcap", "rosbagjs/no-messages.bag"}


def bits(value):
    return struct.pack(">d", float(value)).hex()


def element(message, path):
    """The value at a path with names and [0]; raises where there is none."""
    for part in re.findall(r"[^.\[\]]+|\[\d+\]", path):
        if part.startswith("["):
            message = message[int(part[1:-1])]
        elif isinstance(message, dict):
            message = message[part]
        else:
            message = getattr(message, alias(message, part))
    return message


def alias(message, name):
    """What a reader calls the parts of ROS 1's time, and of names that Python keeps for itself."""
    for other in (name, {"secs": "sec", "nsecs": "nanosec"}.get(name), f"{name}_"):
        if other and hasattr(message, other):
            return other
    return name


def theirs(message, path):
    """As the program prints it."""
    try:
        value = element(message, path)
    except (IndexError, KeyError):
        return None
    if isinstance(value, (bytes, bytearray)):
        return [len(value), sum(value)]
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        return [len(value), int(value.sum(dtype=np.uint64))]
    if isinstance(value, str):
        return [value]
    if isinstance(value, (list, tuple, np.ndarray)) or type(value).__name__.startswith("Repeated"):
        return [item if isinstance(item, str) else bits(item) for item in value]
    return [bits(value)]


def same(ours, value):
    """A list of bytes that a reader gives as numbers is bytes to the program."""
    if ours == value:
        return True
    if ours and value and isinstance(ours[0], int) and isinstance(value[0], str) and len(value) == ours[0]:
        return sum(struct.unpack(">d", bytes.fromhex(n))[0] for n in value) == ours[1]
    return not ours and not value and ours is not None and value is not None or (ours == [0, 0] and value == [])


def compare(path, name, program):
    ran = subprocess.run([program, str(path)], capture_output=True, text=True, timeout=300)
    if ran.returncode:
        raise SystemExit(f"{name}: {ran.stderr.strip()}")
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    refused = {line["topic"]: line for line in lines if "refused" in line}
    for topic, line in refused.items():
        word = REFUSED.get((name, topic)) or REFUSED.get((name, None))
        assert word and word in line["refused"], f"{name}: {topic} is refused, and is not on the list: {line['refused']}"
    ours = defaultdict(list)
    for line in lines:
        if "refused" not in line:
            ours[line["topic"]].append(line)
    them = defaultdict(list)
    for topic, log, publish, message in decoded(path, set(ours)):
        them[topic].append((log, publish, message))
    values = 0
    for topic in ours:
        # Ours come in the order of their times, and of equal ones in the file's.
        them[topic].sort(key=lambda row: row[0])
        assert len(ours[topic]) == len(them[topic]), f"{name}: {topic}: {len(ours[topic])} messages, {len(them[topic])} by others"
        for line, (log, publish, message) in zip(ours[topic], them[topic]):
            assert (line["log"], line["publish"]) == (log, publish), f"{name}: {topic}: other times"
            for field, value in line["values"].items():
                want = theirs(message, field)
                assert same(value, want), f"{name}: {topic}: {field} is {str(value)[:200]}, others read {str(want)[:200]}"
                values += 1
    messages = sum(len(rows) for rows in ours.values())
    assert messages or name in CUT_HEAD or refused, f"{name}: no messages"
    said = f", {len(refused)} topics refused by name" if refused else ""
    print(f"  {name}: {len(ours)} topics, {messages} messages, {values} values as others read them{said}", flush=True)
    return Counter(files=1, topics=len(ours), messages=messages, values=values, refused=len(refused))


def main():
    total = Counter()
    for path in sorted(DATA.rglob("*")):
        name = path.relative_to(DATA).as_posix()
        if path.suffix in (".mcap", ".bag", ".db3") and not name.startswith("generated/"):
            total += compare(path, name, sys.argv[1])
    print(f"{total['files']} samples: {total['messages']} messages of {total['topics']} topics, {total['values']} values the same, "
          f"{total['refused']} topics refused by name")


if __name__ == "__main__":
    main()
