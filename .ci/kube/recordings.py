"""Recordings of a made-up camera and arm, small to keep and slow to convert: few pixels come, and the mapping makes a video of many.

MCAP by its specification, with nothing but the standard library: messages in JSON, no chunks, no index. Bytes are a function of the number.
By hand: recordings.py FOLDER COUNT SECONDS, with the mapping beside them.
"""

import base64
import json
import math
import struct
import sys
from pathlib import Path

RATE, WIDTH, HEIGHT = 30, 32, 24
EPOCH_NS = 1_768_471_200 * 10**9

MAPPING = """fps = 30
robot_type = "arm"

[task]
text = "wave"

[[feature]]
name = "observation.state"
source = [{ topic = "/state", field = "position" }]

[[feature]]
name = "action"
from = "observation.state"
shift = 1

[[feature]]
name = "observation.images.front"
kind = "video"
source = [{ topic = "/camera" }]
resize = [640, 480]
"""

STATE = {"type": "object", "properties": {"position": {"type": "array", "items": {"type": "number"}}}}
WHOLE, TEXT = {"type": "integer"}, {"type": "string"}
CAMERA = {"type": "object", "title": "foxglove.RawImage",
          "properties": {"timestamp": {"type": "object", "properties": {"sec": WHOLE, "nsec": WHOLE}}, "frame_id": TEXT,
                         "width": WHOLE, "height": WHOLE, "encoding": TEXT, "step": WHOLE,
                         "data": {"type": "string", "contentEncoding": "base64"}}}


def text(value):
    data = value.encode()
    return struct.pack("<I", len(data)) + data


def record(opcode, body):
    return struct.pack("<BQ", opcode, len(body)) + body


def message(channel, at, value):
    data = json.dumps(value, separators=(",", ":")).encode()
    return record(5, struct.pack("<HIQQ", channel, 0, at, at) + data)


def pixels(number, frame):
    """Waves that move: nothing that an encoder is done with at once."""
    def value(x, y, colour):
        return int(127 + 127 * math.sin((x * (1 + number % 5) + y * 3 + frame * (2 + colour)) / 7))
    return bytes(value(x, y, colour) for y in range(HEIGHT) for x in range(WIDTH) for colour in range(3))


def recording(number, seconds):
    """One as bytes."""
    magic = b"\x89MCAP0\r\n"
    parts = [magic, record(1, text("") + text("roboflow"))]
    for key, (topic, name, schema) in enumerate((("/state", "State", STATE), ("/camera", "foxglove.RawImage", CAMERA)), 1):
        schema = json.dumps(schema)
        parts.append(record(3, struct.pack("<H", key) + text(name) + text("jsonschema") + text(schema)))
        parts.append(record(4, struct.pack("<HH", key, key) + text(topic) + text("json") + struct.pack("<I", 0)))
    # They come again: a picture is slow to make here too.
    shown = [base64.b64encode(pixels(number, frame)).decode() for frame in range(10)]
    for frame in range(seconds * RATE):
        at = EPOCH_NS + frame * 10**9 // RATE
        position = [round(math.sin(frame / 30 + number + joint), 6) for joint in range(4)]
        parts.append(message(1, at, {"position": position}))
        stamp = {"sec": at // 10**9, "nsec": at % 10**9}
        parts.append(message(2, at, {"timestamp": stamp, "frame_id": "front", "width": WIDTH, "height": HEIGHT, "encoding": "rgb8",
                                     "step": WIDTH * 3, "data": shown[frame % len(shown)]}))
    parts += [record(15, struct.pack("<I", 0)), record(2, struct.pack("<QQI", 0, 0, 0)), magic]
    return b"".join(parts)


def main():
    folder, count, seconds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    (folder / "recordings").mkdir(parents=True)
    (folder / "mapping.toml").write_text(MAPPING)
    for number in range(count):
        (folder / "recordings" / f"wave-{number:02}.mcap").write_bytes(recording(number, seconds))


if __name__ == "__main__":
    main()
