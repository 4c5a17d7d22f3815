#!/usr/bin/env python3
"""Writes recordings of a made-up six-joint arm with cameras, and beside each the truth of every message in it.

    make_recordings.py OUT --episodes 2 --seconds 4 --seed 1 --format cdr --jitter --gaps --out-of-order

The writers (`mcap`, `rosbags`, `protobuf`, `sqlite3`, `json`, `pillow`) share nothing with the program under test. The same options
give the same bytes. It converts nothing, and knows no mapping.

--format: cdr, ros1, json, protobuf (MCAP of these encodings, the last two with Foxglove's pictures), bag (ROS 1), folder (rosbag2: several
MCAP files), folder-db3 (rosbag2: several SQLite files), db3 (one SQLite file), db3-old (one of before 2023, without definitions).

Topics: /joint_states (JointState, 100 Hz), /joint_command (Float64MultiArray or JointState, 50 Hz), /gripper (Float64,
20 Hz), /camera_N/image/compressed (CompressedImage, 30 Hz, every picture different), /task (String, once, or as often as --tasks
says); with --poses /pose (PoseStamped, 40 Hz), with --markers /episode (String: "start", "stop" and others). With `--image raw-…`
the cameras say Image or RawImage, with `depth-png` CompressedImage of compressed depth (a 16-bit PNG in Protobuf); jpeg_crc32 then is
that of the pixels that a loader must see (red, green, blue, or 16-bit), and meta.pictures is "pixels". With --types the second half of
the messages on /joint_states and /gripper has another type or definition, with --parts a message on /joint_states has some joints.

NAME.truth.npz, or .json with the same keys: `meta`, and for topic number k of meta.topics, one row a message in the order
of their log times: `k/log_time_ns`, `k/publish_time_ns`, `k/header_stamp_ns` (-1: the type has none), `k/write_order`
(place in the file, over all topics), `k/present` (1 in a whole chunk, 2 in the chunk that was cut, 0 lost), and `k/values`,
`k/velocity` (columns in the order of meta.joints, whatever the order in the message; with --parts `k/carried`: which of them the
message has) or `k/jpeg_crc32`, `k/jpeg_size`.
"""
import argparse, base64, csv, io, json, shutil, sqlite3, zlib
from pathlib import Path

import numpy as np
from mcap.records import Chunk
from mcap.stream_reader import StreamReader, breakup_chunk
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from mcap.writer import CompressionType, IndexType, Writer
from PIL import Image
from rosbags.rosbag1 import Writer as BagWriter
from rosbags.rosbag2 import StoragePlugin, Writer as FolderWriter
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

NS = 1_000_000_000
PAUSE = 1_200_000_000
JOINTS = ["base", "shoulder", "elbow", "forearm", "wrist", "flange"]
TASKS = ["put the cup on the shelf", "öffne die Schublade", "hand over the screwdriver"]
FIRST_DAY = 1_790_000_000 * NS
ROS_TYPES = {
    "joints": "sensor_msgs/msg/JointState",
    "multiarray": "std_msgs/msg/Float64MultiArray",
    "scalar": "std_msgs/msg/Float64",
    "image": "sensor_msgs/msg/CompressedImage",
    "raw": "sensor_msgs/msg/Image",
    "text": "std_msgs/msg/String",
    "pose": "geometry_msgs/msg/PoseStamped",
    "joints2": "arm_msgs/msg/JointStateV2",
    "scalar2": "arm_msgs/msg/GripperV2",
}
# What a new driver says: more fields, in other places.
SECOND_TYPES = {
    "arm_msgs/msg/JointStateV2": "std_msgs/Header header\nstring driver\nfloat64[] velocity\nstring[] name\nuint8 mode\nfloat64[] position\n",
    "arm_msgs/msg/GripperV2": "uint8 mode\nfloat64 data\n",
}
DRIVER = "v2"
# Which joints the messages of --parts have, by turns.
PARTS = [[0, 1, 2], [3, 4], [5, 0]]


def kind_of(t, i):
    """The kind of a message: that of its topic, or what comes after it."""
    return t["kind"] + "2" if i >= t.get("second", i + 1) else t["kind"]


def kinds_of(t):
    return [t["kind"], t["kind"] + "2"] if "second" in t else [t["kind"]]


def instants(rng, opt, begin, end, rate):
    """Capture times in ns, strictly rising: a grid, with jitter of up to a third of a period if asked for."""
    period = NS // rate
    grid = np.arange(begin, end, period, dtype=np.int64)
    if opt.jitter:
        grid = grid + rng.integers(0, period // 3, len(grid))
    return grid


def motion(rng):
    """A smooth path for every joint: position and velocity at given seconds."""
    amplitude, omega, phase = rng.uniform(0.2, 1.5, 6), rng.uniform(0.5, 4.0, 6), rng.uniform(0, 6.28, 6)
    position = lambda s: amplitude * np.sin(np.outer(s, omega) + phase)
    velocity = lambda s: amplitude * omega * np.cos(np.outer(s, omega) + phase)
    return position, velocity


def plan(opt, number):
    """The topics of one recording: when each message was captured, logged and written, and what it says."""
    rng = np.random.default_rng([opt.seed, number])
    begin = FIRST_DAY + number * 600 * NS + (0 if opt.exact else int(rng.integers(0, NS)))
    end = begin + round(opt.seconds * NS)
    position, velocity = motion(rng)
    pauses = [begin + (end - begin) * k // (opt.pauses + 1) for k in range(1, opt.pauses + 1)]
    topics = []

    def add(topic, kind, rate, delay_ms, has_header, **more):
        first = 0 if opt.exact else int(rng.integers(0, 300_000_000))
        header = instants(rng, opt, begin + first, end - (0 if opt.exact else int(rng.integers(0, 200_000_000))), rate)
        for pause in pauses:  # nobody says anything
            header = header[(header < pause) | (header > pause + PAUSE)]
        if opt.gaps and topic in ("/joint_states", f"/camera_{opt.cameras - 1}/image/compressed"):
            middle = begin + (end - begin) * (2 if kind == "image" else 3) // 5
            header = header[(header < middle) | (header > middle + 400_000_000)]
        delay = np.zeros(len(header), np.int64) if opt.exact else rng.integers(*(int(d * 1e6) for d in delay_ms), len(header))
        if opt.ties:  # a message shares its stamps with the one before
            same = np.flatnonzero(rng.random(len(header)) < 0.2)
            same = same[same > 0]
            header[same], delay[same] = header[same - 1], delay[same - 1]
        log = np.maximum.accumulate(header + delay)
        seconds = (header - begin) / NS
        topics.append(dict(topic=topic, kind=kind, log=log, publish=header + delay // 2, seconds=seconds,
                           header=header if has_header else np.full(len(header), -1), **more))
        return topics[-1]

    t = add("/joint_states", "joints", 100, (1, 8), True)
    t["values"], t["velocity"] = position(t["seconds"]), velocity(t["seconds"])
    t["order"] = np.tile(np.arange(6), (len(t["log"]), 1))
    if opt.shuffle_joints:
        t["order"] = rng.permuted(t["order"], axis=1)
    if opt.parts:
        t["carried"] = np.array([[j in PARTS[i % len(PARTS)] for j in range(6)] for i in range(len(t["log"]))])
    t = add("/joint_command", opt.command, 50, (0.2, 3), opt.command == "joints")
    t["values"] = position(t["seconds"] + 0.05)
    t["velocity"], t["order"] = np.zeros((len(t["log"]), 0)), np.tile(np.arange(6), (len(t["log"]), 1))
    t = add("/gripper", "scalar", 20, (0.2, 2), False)
    t["values"] = np.cos(t["seconds"])[:, None]
    if opt.types:
        for t in topics:
            if t["topic"] in ("/joint_states", "/gripper"):
                t["second"] = len(t["log"]) // 2
    for camera in range(opt.cameras):
        t = add(f"/camera_{camera}/image/compressed", "image", 30, (12, 60), True, camera=camera)
        t["jpeg_crc32"], t["jpeg_size"] = np.zeros(len(t["log"]), np.int64), np.zeros(len(t["log"]), np.int64)
    if opt.poses:
        t = add("/pose", "pose", 40, (0.5, 6), True)
        t["values"] = poses(rng, t["seconds"])

    def texts(topic, stamps, words):
        log = np.sort(np.array(stamps, np.int64))
        topics.append(dict(topic=topic, kind="text", log=log, publish=log, header=np.full(len(log), -1), texts=words))

    many = range(max(opt.tasks, 1))
    texts("/task", [begin, *rng.integers(begin, end, len(many) - 1)], [TASKS[(number + k) % len(TASKS)] for k in many])
    if opt.markers:
        words = [str(word) for word in rng.choice(["start", "start", "stop", "stop", "note"], opt.markers)]
        texts("/episode", rng.integers(begin, end, opt.markers), words)
    return topics, rng


def poses(rng, seconds):
    """Positions, and rotations that are far apart, of either sign and never quite of length 1: x, y, z, x, y, z, w."""
    omega, phase = rng.uniform(1, 9, 7), rng.uniform(0, 6.28, 7)
    rows = np.sin(np.outer(seconds, omega) + phase)
    length = np.linalg.norm(rows[:, 3:], axis=1, keepdims=True) * rng.uniform(0.9, 1.1, (len(rows), 1))
    rows[:, 3:] *= rng.choice([-1, 1], (len(rows), 1)) / length
    return rows


def ranges(opt, number, topics):
    """Episodes as a person would write them down: in seconds from the first message of a robot's topic, or in stamps."""
    rng = np.random.default_rng([opt.seed, number, 77])
    logs = [t["log"] for t in topics if t["kind"] != "text"]
    first, last = min(l[0] for l in logs), max(l[-1] for l in logs)
    entries = []
    for k in range(opt.ranges):
        a, b = sorted(int(n) for n in rng.integers(first, last + NS // 2, 2))
        if k % 2:
            entry = {"start_ns": a, "end_ns": b}
        else:
            entry = {"start_s": round((a - int(first)) / NS, 3), "end_s": round((b - int(first)) / NS, 6)}
        entries.append(entry | ({"task": f'{TASKS[k % 3]}, "twice"'} if k % 3 else {}))
    return entries


def write_ranges(opt, stem, entries):
    """Beside the recording, in the notation asked for."""
    if opt.ranges_in == "json":
        Path(f"{stem}.episodes.json").write_text(json.dumps(entries))
    elif opt.ranges_in == "toml":
        lines = [f"{k} = {json.dumps(v, ensure_ascii=False)}" if k else "[[episodes]]" for e in entries for k, v in [("", 0), *e.items()]]
        Path(f"{stem}.episodes.toml").write_text("\n".join(lines) + "\n")
    elif opt.ranges_in == "csv":
        with open(f"{stem}.episodes.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, ["task", "start_s", "end_s", "start_ns", "end_ns"])
            writer.writeheader()
            writer.writerows(entries)


def file_order(opt, topics, rng):
    """(topic, message) in the order of the file: by log time, but for those that reach it late."""
    keys = []
    for k, t in enumerate(topics):
        late = np.zeros(len(t["log"]), np.int64)
        if opt.out_of_order and t["kind"] != "text":
            late = np.where(rng.random(len(late)) < 0.08, rng.integers(1_000_000, 150_000_000, len(late)), 0)
        keys += [(int(t["log"][i] + late[i]), k, i) for i in range(len(late))]
    order = [(k, i) for _, k, i in sorted(keys)]
    for t in topics:
        t["write_order"] = np.zeros(len(t["log"]), np.int64)
    for place, (k, i) in enumerate(order):
        topics[k]["write_order"][i] = place
    return order


PADDING = 5  # bytes behind each row of raw pixels
ENCODINGS = ["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "16UC1", "mono16"]


def raw_pixels(encoding, base):
    """The rows of a raw picture, padded, as bytes; and the pixels that must come out of them."""
    if encoding in ("16UC1", "mono16"):
        wanted = base[..., 0].astype("<u2") * 200 + base[..., 1]
        stored = wanted[..., None].view(np.uint8)
    elif encoding == "mono8":
        stored, wanted = base[..., :1], base[..., :1].repeat(3, axis=2)
    else:
        full = np.concatenate([base, 255 - base[..., :1]], axis=2)
        stored, wanted = full[..., ["rgba".index(letter) for letter in encoding.rstrip("8")]], base
    rows = np.ascontiguousarray(stored).reshape(base.shape[0], -1)
    return np.pad(rows, ((0, 0), (0, PADDING)), constant_values=170).tobytes(), np.ascontiguousarray(wanted)


def pixels(opt, number, camera, i):
    """A picture that no other message has: moving colour ramps, and its own noise."""
    w, h = opt.width, opt.height
    y, x = np.mgrid[0:h, 0:w]
    base = np.stack([(x + 3 * i) % 256, (y * 2 + 5 * i + 40 * camera) % 256, (x + y + 11 * number) % 256], axis=2)
    noise = np.random.default_rng([opt.seed, number, camera, i]).integers(0, 12, (h // 8 + 1, w // 8 + 1, 3))
    return np.clip(base // 2 + 60 + noise.repeat(8, 0).repeat(8, 1)[:h, :w] * 4, 0, 255).astype(np.uint8)


def picture(opt, number, camera, i):
    """The data of a message, and the bytes whose CRC tells it."""
    base = pixels(opt, number, camera, i)
    if opt.raw:
        data, wanted = raw_pixels(opt.raw, base)
        return data, wanted.tobytes()
    out = io.BytesIO()
    if opt.image == "depth-png":
        _, depth = raw_pixels("16UC1", base)
        Image.fromarray(depth).save(out, "png", compress_level=1)
        return bytes(0 if opt.format == "protobuf" else 12) + out.getvalue(), depth.tobytes()
    Image.fromarray(base).save(out, opt.image, **({"quality": opt.quality} if opt.image == "jpeg" else {"compress_level": 1}))
    return out.getvalue(), out.getvalue()


def order_of(t, i):
    """The joints of a message, as they stand in it."""
    order = t["order"][i]
    return order[t["carried"][i][order]] if "carried" in t else order


class RosCodec:
    """CDR or ROS 1 bytes by `rosbags`, and the schema that goes with them."""

    def __init__(self, version, opt):
        self.version = version
        self.store = get_typestore(Stores.ROS2_JAZZY if version == 2 else Stores.ROS1_NOETIC)
        for name, text in SECOND_TYPES.items():
            self.store.register(get_types_from_msg(text, name))
        self.raw = opt.raw
        self.profile, self.encoding, self.schema_encoding = (("ros1", "ros1", "ros1msg"), ("ros2", "cdr", "ros2msg"))[version - 1]

    def type_of(self, kind):
        return ROS_TYPES["raw" if kind == "image" and self.raw else kind]

    def schema(self, kind):
        name = self.type_of(kind)
        text = self.store.generate_msgdef(name, ros_version=self.version)[0]
        return name if self.version == 2 else name.replace("/msg/", "/"), text.encode()

    def header(self, stamp, i, frame):
        types = self.store.types
        stamp = types["builtin_interfaces/msg/Time"](sec=stamp // NS, nanosec=stamp % NS)
        seq = {} if self.version == 2 else {"seq": i}
        return types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame, **seq)

    def encode(self, t, i, image, format_name, size):
        types, kind, stamp = self.store.types, kind_of(t, i), int(t["header"][i])
        make = types[self.type_of(kind)]
        if kind == "joints2":
            order = order_of(t, i)
            message = make(header=self.header(stamp, i, "arm"), driver=DRIVER, velocity=t["velocity"][i][order],
                           name=[JOINTS[j] for j in order], mode=3, position=t["values"][i][order])
        elif kind == "scalar2":
            message = make(mode=3, data=float(t["values"][i][0]))
        elif kind == "joints":
            order = order_of(t, i)
            velocity = t["velocity"][i][order] if t["velocity"].shape[1] else np.zeros(0)
            message = make(header=self.header(stamp, i, "arm"), name=[JOINTS[j] for j in order],
                           position=t["values"][i][order], velocity=velocity, effort=np.zeros(0))
        elif kind == "multiarray":
            layout = types["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
            message = make(layout=layout, data=t["values"][i])
        elif kind == "scalar":
            message = make(data=float(t["values"][i][0]))
        elif kind == "image" and self.raw:
            data, (width, height) = np.frombuffer(image, np.uint8), size
            message = make(header=self.header(stamp, i, f"camera_{t['camera']}"), height=height, width=width, encoding=self.raw,
                           is_bigendian=0, step=len(data) // height, data=data)
        elif kind == "pose":
            x, y, z, *turn = map(float, t["values"][i])
            pose = types["geometry_msgs/msg/Pose"](position=types["geometry_msgs/msg/Point"](x=x, y=y, z=z),
                                                   orientation=types["geometry_msgs/msg/Quaternion"](*turn))
            message = make(header=self.header(stamp, i, "world"), pose=pose)
        elif kind == "image":
            data = np.frombuffer(image, np.uint8)
            message = make(header=self.header(stamp, i, f"camera_{t['camera']}"), format=format_name, data=data)
        else:
            message = make(data=t["texts"][i])
        write = self.store.serialize_cdr if self.version == 2 else self.store.serialize_ros1
        return bytes(write(message, self.type_of(kind)))


class JsonCodec:
    """JSON with a JSON schema; pictures as base64."""

    profile, encoding, schema_encoding = "", "json", "jsonschema"

    def __init__(self, opt):
        self.raw = opt.raw

    def schema(self, kind):
        number, text = {"type": "number"}, {"type": "string"}
        stamp = {"type": "object", "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}}}
        numbers = {"type": "array", "items": number}
        name, fields = {
            "joints2": ("arm.JointsV2", {"driver": text, "position": numbers, "velocity": numbers, "timestamp": stamp,
                                         "name": {"type": "array", "items": text}}),
            "scalar2": ("arm.GripperV2", {"mode": {"type": "integer"}, "data": number}),
            "joints": ("arm.Joints", {"timestamp": stamp, "name": {"type": "array", "items": text}, "position": numbers, "velocity": numbers}),
            "multiarray": ("arm.Command", {"data": numbers}),
            "scalar": ("arm.Gripper", {"data": number}),
            "image": ("foxglove.CompressedImage", {"timestamp": stamp, "frame_id": text, "format": text,
                                                   "data": {"type": "string", "contentEncoding": "base64"}}),
            "raw": ("foxglove.RawImage", {"timestamp": stamp, "frame_id": text, "width": {"type": "integer"}, "height": {"type": "integer"},
                                          "encoding": text, "step": {"type": "integer"},
                                          "data": {"type": "string", "contentEncoding": "base64"}}),
            "text": ("arm.Text", {"data": text}),
            "pose": ("foxglove.PoseInFrame", {"timestamp": stamp, "frame_id": text, "pose": {
                "title": "foxglove.Pose", "type": "object", "properties": {
                    "position": {"title": "foxglove.Vector3", "type": "object", "properties": dict.fromkeys("xyz", number)},
                    "orientation": {"title": "foxglove.Quaternion", "type": "object", "properties": dict.fromkeys("xyzw", number)}}}}),
        }["raw" if kind == "image" and self.raw else kind]
        return name, json.dumps({"title": name, "type": "object", "properties": fields}).encode()

    def encode(self, t, i, image, format_name, size):
        kind, stamp = kind_of(t, i), int(t["header"][i])
        timestamp = {"timestamp": {"sec": stamp // NS, "nsec": stamp % NS}}
        if kind in ("joints", "joints2"):
            order = order_of(t, i)
            velocity = t["velocity"][i][order].tolist() if t["velocity"].shape[1] else []
            message = timestamp | {"name": [JOINTS[j] for j in order], "position": t["values"][i][order].tolist(), "velocity": velocity}
            message = {"driver": DRIVER} | dict(reversed(message.items())) if kind == "joints2" else message
        elif kind == "scalar2":
            message = {"mode": 3, "data": float(t["values"][i][0])}
        elif kind == "image" and self.raw:
            message = timestamp | {"frame_id": f"camera_{t['camera']}", "width": size[0], "height": size[1], "encoding": self.raw,
                                   "step": len(image) // size[1], "data": base64.b64encode(image).decode()}
        elif kind == "image":
            message = timestamp | {"frame_id": f"camera_{t['camera']}", "format": format_name, "data": base64.b64encode(image).decode()}
        elif kind == "pose":
            values = t["values"][i].tolist()
            message = timestamp | {"frame_id": "world", "pose": {"position": dict(zip("xyz", values)),
                                                                 "orientation": dict(zip("xyzw", values[3:]))}}
        elif kind == "multiarray":
            message = {"data": t["values"][i].tolist()}
        elif kind == "scalar":
            message = {"data": float(t["values"][i][0])}
        else:
            message = {"data": t["texts"][i]}
        return json.dumps(message).encode()


class ProtobufCodec:
    """Protobuf by descriptors made here; pictures as foxglove.CompressedImage."""

    profile, encoding, schema_encoding = "", "protobuf", "protobuf"
    KINDS = {"joints": "arm.Joints", "multiarray": "arm.Command", "scalar": "arm.Gripper", "image": "foxglove.CompressedImage",
             "text": "arm.Text", "raw": "foxglove.RawImage", "joints2": "arm.JointsV2", "scalar2": "arm.GripperV2"}

    def __init__(self, opt):
        self.raw = opt.raw
        field = descriptor_pb2.FieldDescriptorProto
        times = descriptor_pb2.FileDescriptorProto()
        timestamp_pb2.DESCRIPTOR.CopyToProto(times)
        arm = descriptor_pb2.FileDescriptorProto(name="arm.proto", package="arm", syntax="proto3", dependency=[times.name])
        foxglove = descriptor_pb2.FileDescriptorProto(name="foxglove/CompressedImage.proto", package="foxglove", syntax="proto3",
                                                      dependency=[times.name])
        types = {"double": field.TYPE_DOUBLE, "string": field.TYPE_STRING, "bytes": field.TYPE_BYTES, "time": field.TYPE_MESSAGE,
                 "fixed32": field.TYPE_FIXED32, "int32": field.TYPE_INT32}

        def add(file, name, fields):
            message = file.message_type.add(name=name)
            for number, (key, kind, many) in fields.items():
                made = message.field.add(name=key, number=number, type=types[kind],
                                         label=field.LABEL_REPEATED if many else field.LABEL_OPTIONAL)
                if kind == "time":
                    made.type_name = ".google.protobuf.Timestamp"

        add(arm, "Joints", {3: ("timestamp", "time", False), 1: ("name", "string", True), 7: ("position", "double", True),
                            5: ("velocity", "double", True)})
        add(arm, "Command", {1: ("data", "double", True)})
        add(arm, "Gripper", {2: ("data", "double", False)})
        add(arm, "Text", {1: ("data", "string", False)})
        add(foxglove, "CompressedImage", {1: ("timestamp", "time", False), 4: ("frame_id", "string", False),
                                          2: ("data", "bytes", False), 3: ("format", "string", False)})
        add(foxglove, "RawImage", {1: ("timestamp", "time", False), 7: ("frame_id", "string", False), 2: ("width", "fixed32", False),
                                   3: ("height", "fixed32", False), 4: ("encoding", "string", False), 5: ("step", "fixed32", False),
                                   6: ("data", "bytes", False)})
        add(arm, "JointsV2", {1: ("timestamp", "time", False), 9: ("name", "string", True), 2: ("position", "double", True),
                              4: ("velocity", "double", True), 3: ("driver", "string", False)})
        add(arm, "GripperV2", {1: ("mode", "int32", False), 4: ("data", "double", False)})
        self.set = descriptor_pb2.FileDescriptorSet(file=[times, arm, foxglove])
        pool = descriptor_pool.DescriptorPool()
        for file in self.set.file:
            pool.Add(file)
        self.types = {kind: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for kind, name in self.KINDS.items()}

    def schema(self, kind):
        return self.KINDS["raw" if kind == "image" and self.raw else kind], self.set.SerializeToString(deterministic=True)

    def encode(self, t, i, image, format_name, size):
        kind, stamp = kind_of(t, i), int(t["header"][i])
        message = self.types["raw" if kind == "image" and self.raw else kind]()
        if stamp >= 0:
            message.timestamp.seconds, message.timestamp.nanos = stamp // NS, stamp % NS
        if kind in ("joints", "joints2"):
            order = order_of(t, i)
            message.name.extend(JOINTS[j] for j in order)
            message.position.extend(t["values"][i][order])
            message.velocity.extend(t["velocity"][i][order] if t["velocity"].shape[1] else [])
        elif kind == "image" and self.raw:
            message.frame_id, message.encoding, message.data = f"camera_{t['camera']}", self.raw, image
            message.width, message.height, message.step = size[0], size[1], len(image) // size[1]
        elif kind == "image":
            message.frame_id, message.format, message.data = f"camera_{t['camera']}", format_name, image
        elif kind == "multiarray":
            message.data.extend(t["values"][i])
        elif kind in ("scalar", "scalar2"):
            message.data = float(t["values"][i][0])
        else:
            message.data = t["texts"][i]
        return message.SerializeToString(deterministic=True)


CODECS = {"cdr": lambda opt: RosCodec(2, opt), "ros1": lambda opt: RosCodec(1, opt), "bag": lambda opt: RosCodec(1, opt), "json": JsonCodec,
          "protobuf": ProtobufCodec, "folder": lambda opt: RosCodec(2, opt), "folder-db3": lambda opt: RosCodec(2, opt),
          "db3": lambda opt: RosCodec(2, opt), "db3-old": lambda opt: RosCodec(2, opt)}
ENDINGS = {"bag": ".bag", "folder": "", "folder-db3": "", "db3": ".db3", "db3-old": ".db3"}
FILES_OF_A_FOLDER = 3


def encoded(opt, number, topics, order, codec):
    """(topic number, message number, bytes) of each message, in the order of the file."""
    for k, i in order:
        t = topics[k]
        image = None
        if t["kind"] == "image":
            image, known_by = picture(opt, number, t["camera"], i)
            t["jpeg_crc32"][i], t["jpeg_size"][i] = zlib.crc32(known_by), len(image)
        yield k, i, codec.encode(t, i, image, opt.format_name, (opt.width, opt.height))


def write_bag(opt, path, number, topics, order):
    """A ROS 1 bag, by `rosbags`. It knows one time of a message: when it was received."""
    path.unlink(missing_ok=True)
    codec = CODECS["bag"](opt)
    writer = BagWriter(path)
    if opt.compression != "none":
        writer.set_compression(BagWriter.CompressionFormat[opt.compression.upper()])
    writer.chunk_threshold = opt.chunk_kib * 1024
    with writer:
        connections = [{kind: writer.add_connection(t["topic"], codec.type_of(kind), typestore=codec.store) for kind in kinds_of(t)}
                       for t in topics]
        for k, i, data in encoded(opt, number, topics, order, codec):
            writer.write(connections[k][kind_of(topics[k], i)], int(topics[k]["log"][i]), data)
    for t in topics:
        t["publish"] = t["log"]
    if opt.no_summary:
        cut_index(path)


def write_folder(opt, path, number, topics, order):
    """A rosbag2 folder of several files. `rosbags` writes folders of one: each file is one of those, and metadata.yaml names all."""
    codec = CODECS[opt.format](opt)
    plugin, ending = (StoragePlugin.SQLITE3, "db3") if opt.format == "folder-db3" else (StoragePlugin.MCAP, "mcap")
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    size, names, messages = -(-len(order) // FILES_OF_A_FOLDER), [], list(encoded(opt, number, topics, order, codec))
    for part in range(FILES_OF_A_FOLDER):
        inner = path / f"part_{part}"
        with FolderWriter(inner, version=9, storage_plugin=plugin) as writer:
            connections = [{kind: writer.add_connection(t["topic"], ROS_TYPES[kind], typestore=codec.store) for kind in kinds_of(t)}
                           for t in topics]
            for k, i, data in messages[part * size:(part + 1) * size]:
                writer.write(connections[k][kind_of(topics[k], i)], int(topics[k]["log"][i]), data)
        names.append(f"{path.name}_{part}.{ending}")
        (inner / f"part_{part}.{ending}").rename(path / names[-1])
        text = (inner / "metadata.yaml").read_text()
        shutil.rmtree(inner)
    listed = "".join(f"  - {name}\n" for name in names)
    text = text.replace(f"  relative_file_paths:\n  - part_{part}.{ending}\n", f"  relative_file_paths:\n{listed}")
    assert names[0] in text, "the metadata is written otherwise than this was made for"
    (path / "metadata.yaml").write_text(text)
    for t in topics:
        t["publish"] = t["log"]


def write_db3(opt, path, number, topics, order):
    """One SQLite file as rosbag2 lays it out: schema version 4 by `rosbags`; an old one by hand, without definitions."""
    path.unlink(missing_ok=True)
    codec = CODECS[opt.format](opt)
    messages = encoded(opt, number, topics, order, codec)
    if opt.format == "db3":
        folder = path.with_suffix("")
        shutil.rmtree(folder, ignore_errors=True)
        with FolderWriter(folder, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
            connections = [{kind: writer.add_connection(t["topic"], ROS_TYPES[kind], typestore=codec.store) for kind in kinds_of(t)}
                           for t in topics]
            for k, i, data in messages:
                writer.write(connections[k][kind_of(topics[k], i)], int(topics[k]["log"][i]), data)
        (folder / f"{folder.name}.db3").rename(path)
        shutil.rmtree(folder)
    else:
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY,name TEXT NOT NULL,type TEXT NOT NULL,"
                       "serialization_format TEXT NOT NULL,offered_qos_profiles TEXT NOT NULL)")
            db.execute("CREATE TABLE messages(id INTEGER PRIMARY KEY,topic_id INTEGER NOT NULL,timestamp INTEGER NOT NULL, data BLOB NOT NULL)")
            db.execute("CREATE INDEX timestamp_idx ON messages (timestamp ASC)")
            db.executemany("INSERT INTO topics VALUES (?, ?, ?, 'cdr', '')",
                           [(k + 1, t["topic"], ROS_TYPES[t["kind"]]) for k, t in enumerate(topics)])
            db.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)",
                           ((k + 1, int(topics[k]["log"][i]), data) for k, i, data in messages))
        db.close()
    for t in topics:
        t["publish"] = t["log"]


def bag_records(data):
    """(begin, end, fields of the header, where its data begins) of each record."""
    at = 13
    while at < len(data):
        length = lambda place: int.from_bytes(data[place:place + 4], "little")
        head, begin = data[at + 4:at + 4 + length(at)], at
        place, fields = 0, {}
        while place < len(head):
            size = int.from_bytes(head[place:place + 4], "little")
            name, value = head[place + 4:place + 4 + size].split(b"=", 1)
            fields[name.decode()] = value
            place += 4 + size
        at += 8 + len(head) + length(at + 4 + len(head))
        yield begin, at, fields, begin + 8 + len(head)


def cut_index(path):
    """What a recorder leaves that was killed: no index at the end, and none pointed to."""
    data = bytearray(path.read_bytes())
    at = data.index(b"index_pos=") + 10
    end = int.from_bytes(data[at:at + 8], "little")
    data[at:at + 8] = bytes(8)
    path.write_bytes(data[:end])


def bag_chunks(path):
    """(begin, end, messages) of each chunk, by the indexes behind it."""
    chunks = []
    for begin, end, fields, _ in bag_records(path.read_bytes()):
        if fields["op"] == b"\x05":
            chunks.append([begin, end, 0])
        elif fields["op"] == b"\x04":
            chunks[-1][2] += int.from_bytes(fields["count"], "little")
    return chunks


def write(opt, path, number, topics, order):
    codec = CODECS[opt.format](opt)
    indexes = dict(index_types=IndexType.NONE, use_statistics=False, use_summary_offsets=False,
                   repeat_channels=False, repeat_schemas=False) if opt.no_summary else {}
    writer = Writer(str(path), chunk_size=opt.chunk_kib * 1024, compression=CompressionType[opt.compression.upper()], **indexes)
    writer.start(profile=codec.profile, library="made for tests")
    channels = []
    schemas = {}
    for t in topics:
        channels.append({})
        for kind in kinds_of(t):
            name, text = codec.schema(kind)
            if name not in schemas:
                schemas[name] = writer.register_schema(name=name, encoding=codec.schema_encoding, data=text)
            channels[-1][kind] = writer.register_channel(topic=t["topic"], message_encoding=codec.encoding, schema_id=schemas[name])
    for k, i, data in encoded(opt, number, topics, order, codec):
        t = topics[k]
        writer.add_message(channels[k][kind_of(t, i)], log_time=int(t["log"][i]), publish_time=int(t["publish"][i]), sequence=i, data=data)
    if opt.ranges_in == "metadata":
        for entry in ranges(opt, number, topics):
            writer.add_metadata("episodes", {key: str(value) for key, value in entry.items()})
    elif opt.ranges_in == "metadata-list":
        writer.add_metadata("episodes", {"episodes": json.dumps(ranges(opt, number, topics))})
    writer.finish()


def mcap_chunks(path):
    """(begin, end, messages) of each chunk."""
    chunks = []
    with open(path, "rb") as file:
        for record in StreamReader(file, emit_chunks=True).records:
            if isinstance(record, Chunk):
                inside = sum(type(r).__name__ == "Message" for r in breakup_chunk(record))
                chunks.append((file.tell() - len(record.data), file.tell(), inside))
    return chunks


def cut(path):
    """Cuts the file in the middle of a chunk, at about 70 %. Returns how many messages are whole, and how many were in that chunk."""
    chunks = bag_chunks(path) if path.suffix == ".bag" else mcap_chunks(path)
    size = path.stat().st_size
    at = next((n for n, (_, end, _) in enumerate(chunks) if end > size * 0.7), len(chunks) - 1)
    if at < 1:
        raise SystemExit("too few chunks to cut: smaller --chunk-kib, or more --seconds")
    start, end, inside = chunks[at]
    with open(path, "r+b") as file:
        file.truncate((start + end) // 2)
    return sum(c[2] for c in chunks[:at]), inside


def save_truth(opt, path, number, topics, whole, in_cut_chunk):
    meta = dict(recording=path.name, number=number, format=opt.format, width=opt.width, height=opt.height, joints=JOINTS,
                task=TASKS[number % len(TASKS)], truncated=opt.cut,
                pictures="files" if opt.image in ("jpeg", "png") else "pixels",
                topics=[{key: t[key] for key in ("topic", "kind", "camera", "texts") if key in t} for t in topics])
    if opt.ranges:
        meta["ranges"] = ranges(opt, number, topics)
    arrays = {}
    for k, t in enumerate(topics):
        place = t["write_order"]
        present = np.where(place < whole, 1, np.where(place < whole + in_cut_chunk, 2, 0)).astype(np.uint8)
        arrays |= {f"{k}/log_time_ns": t["log"], f"{k}/publish_time_ns": t["publish"], f"{k}/header_stamp_ns": t["header"],
                   f"{k}/write_order": place, f"{k}/present": present}
        for key in ("values", "velocity", "carried", "jpeg_crc32", "jpeg_size"):
            if key in t:
                arrays[f"{k}/{key}"] = t[key]
    stem = path.with_suffix("")
    if opt.truth == "json":
        rows = {name: a.tolist() for name, a in arrays.items()}
        Path(f"{stem}.truth.json").write_text(json.dumps({"meta": meta} | rows, ensure_ascii=False) + "\n")
    else:
        np.savez_compressed(f"{stem}.truth.npz", meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("--episodes", type=int, default=1)
    p.add_argument("--seconds", type=float, default=4)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--cameras", type=int, default=2)
    p.add_argument("--size", default="160x120")
    p.add_argument("--image", choices=["jpeg", "png", "depth-png", *(f"raw-{e}" for e in ENCODINGS)], default="jpeg")
    p.add_argument("--quality", type=int, default=75, help="of JPEG pictures")
    p.add_argument("--format", choices=sorted(CODECS), default="cdr")
    p.add_argument("--compression", choices=["zstd", "bz2", "lz4", "none"], default="zstd", help="bz2: of bags; zstd: of MCAP")
    p.add_argument("--chunk-kib", type=int, default=128)
    p.add_argument("--command", choices=["multiarray", "joints"], default="multiarray", help="the type of /joint_command")
    p.add_argument("--jitter", action="store_true", help="messages leave their nominal times by up to a third of a period")
    p.add_argument("--exact", action="store_true", help="no latency, and every topic starts at the same instant")
    p.add_argument("--ties", action="store_true", help="a fifth of the messages have the stamps of the one before")
    p.add_argument("--gaps", action="store_true", help="the joints and the last camera are silent for 0.4 s")
    p.add_argument("--out-of-order", action="store_true", help="8 %% of the messages reach the file up to 0.15 s late")
    p.add_argument("--shuffle-joints", action="store_true", help="the joints stand in another order in each message")
    p.add_argument("--types", action="store_true", help="from the middle on, the joints and the gripper have another type")
    p.add_argument("--parts", action="store_true", help="each message of the joints has some of them")
    p.add_argument("--no-summary", action="store_true", help="no index and no summary at the end")
    p.add_argument("--cut", action="store_true", help="cut short in the middle of a chunk")
    p.add_argument("--pauses", type=int, default=0, help="silences of all topics, 1.2 s each")
    p.add_argument("--poses", action="store_true", help="a topic with positions and rotations")
    p.add_argument("--tasks", type=int, default=1, help="messages on /task")
    p.add_argument("--markers", type=int, default=0, help="messages on /episode")
    p.add_argument("--ranges", type=int, default=0, help="episodes that are written down")
    p.add_argument("--ranges-in", choices=["json", "toml", "csv", "metadata", "metadata-list"], default="json")
    p.add_argument("--truth", choices=["npz", "json"], default="npz")
    p.add_argument("--name", default="recording")
    p.add_argument("--quiet", action="store_true")
    opt = p.parse_args(argv)
    opt.width, opt.height = map(int, opt.size.split("x"))
    opt.raw = opt.image.removeprefix("raw-") if opt.image.startswith("raw-") else None
    opt.format_name = opt.image
    if opt.image == "depth-png":
        opt.format_name = "png" if opt.format == "protobuf" else "16UC1; compressedDepth png"
    if (opt.cut or opt.no_summary) and ("db3" in opt.format or opt.format == "folder"):
        p.error(f"--format {opt.format} has no chunks to cut and no summary to leave out")
    if opt.format == "db3-old" and opt.types:
        p.error("--format db3-old has no definitions, and --types needs them")
    if opt.format == "protobuf" and opt.poses:
        p.error("--format protobuf has no poses")
    opt.out.mkdir(parents=True, exist_ok=True)
    for number in range(opt.episodes):
        path = opt.out / f"{opt.name}_{number:03d}{ENDINGS.get(opt.format, '.mcap')}"
        topics, rng = plan(opt, number)
        order = file_order(opt, topics, rng)
        {"bag": write_bag, "folder": write_folder, "folder-db3": write_folder, "db3": write_db3, "db3-old": write_db3}.get(
            opt.format, write)(opt, path, number, topics, order)
        whole, in_cut_chunk = cut(path) if opt.cut else (len(order), 0)
        save_truth(opt, path, number, topics, whole, in_cut_chunk)
        if opt.ranges:
            write_ranges(opt, path.with_suffix(""), ranges(opt, number, topics))
        if not opt.quiet:
            files = path.iterdir() if path.is_dir() else [path]
            print(f"{path.name}: {len(order)} messages, {sum(file.stat().st_size for file in files)} bytes" + (f", cut after {whole}" if opt.cut else ""))


if __name__ == "__main__":
    main()
