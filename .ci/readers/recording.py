"""Recordings as ordinary readers see them: `mcap`, `mcap-ros2-support`, `mcap-protobuf-support`, `rosbags`, `sqlite3` and `json`.

[`Recording`] stands in for a truth file where a recording has none: real ones. It shares nothing with the program under test.
"""
import base64, io, json, sqlite3, zlib
from pathlib import Path

import numpy as np
from google.protobuf.message import Message as ProtobufMessage
from mcap.exceptions import McapError
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from mcap_protobuf.decoder import DecoderFactory as ProtobufFactory
from mcap_ros2.decoder import DecoderFactory
from PIL import Image
from rosbags.rosbag1 import Reader as BagReader
from rosbags.rosbag2 import Reader as FolderReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

NS = 1_000_000_000


class Ros1:
    """Decodes ROS 1 bytes by the definitions that stand in the file."""

    def __init__(self):
        self.store, self.known = get_typestore(Stores.EMPTY), set()

    def decode(self, schema, data):
        name = schema.name.replace("/", "/msg/") if "/msg/" not in schema.name else schema.name
        if name not in self.known:
            types = get_types_from_msg(schema.data.decode(), name)
            self.store.register({k: v for k, v in types.items() if k not in self.store.fielddefs})
            self.known.add(name)
        return self.store.deserialize_ros1(data, name)


def decoded_bag(path, wanted=None):
    """As [`decoded`], of a ROS 1 bag."""
    ros1 = Ros1()
    with BagReader(path) as bag:
        connections = [c for c in bag.connections if wanted is None or c.topic in wanted]
        for connection, received, data in bag.messages(connections=connections):
            schema = Schema(id=connection.id, name=connection.msgtype, encoding="ros1msg", data=connection.msgdef.data.encode())
            yield connection.topic, received, received, ros1.decode(schema, data)


def decoded_database(path, wanted=None):
    """As [`decoded`], of a bag in SQLite, with the definitions that ROS 2 has for its types."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    topics = {key: (name, kind) for key, name, kind in db.execute("SELECT id, name, type FROM topics")}
    for key, received, data in db.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id"):
        topic, kind = topics[key]
        if wanted is None or topic in wanted:
            yield topic, received, received, store.deserialize_cdr(data, kind)
    db.close()


def folder_files(path):
    """The files of a rosbag2 folder, in their order, as `rosbags` finds them."""
    with FolderReader(path) as folder:
        return [Path(storage.path) for storage in folder.storage.storages]


def decoded(path, wanted=None):
    """(topic, log time, publish time, message) of every message that a reader gets out of the file, in its order.
    `wanted`: topics; all of them without it."""
    if Path(path).is_dir():
        for file in folder_files(Path(path)):
            yield from decoded(file, wanted)
        return
    if Path(path).suffix in READERS:
        yield from READERS[Path(path).suffix](Path(path), wanted)
        return
    channels, schemas, cdr, ros1 = {}, {}, {}, Ros1()
    with open(path, "rb") as file:
        try:
            for r in StreamReader(file).records:
                if isinstance(r, Schema):
                    schemas[r.id] = r
                elif isinstance(r, Channel):
                    channels[r.id] = r
                elif isinstance(r, Message) and (wanted is None or channels[r.channel_id].topic in wanted):
                    channel = channels[r.channel_id]
                    schema = schemas.get(channel.schema_id)
                    if channel.message_encoding == "cdr":
                        if channel.id not in cdr:
                            cdr[channel.id] = DecoderFactory().decoder_for("cdr", schema)
                        message = cdr[channel.id](r.data)
                    elif channel.message_encoding == "protobuf":
                        if channel.id not in cdr:
                            cdr[channel.id] = ProtobufFactory().decoder_for("protobuf", schema)
                        message = cdr[channel.id](r.data)
                    elif channel.message_encoding == "ros1":
                        message = ros1.decode(schema, r.data)
                    else:
                        message = json.loads(r.data)
                    yield channel.topic, r.log_time, r.publish_time, message
        except (McapError, EOFError):
            return  # a cut file ends so; what must have been read by then is counted by the caller


READERS = {".bag": decoded_bag, ".db3": decoded_database}


def field(message, path):
    """The value at a path such as `pose.position.x`; None where there is none."""
    for name in path.split("."):
        message = message.get(name) if isinstance(message, dict) else getattr(message, name, None)
    return message


def numbers(value):
    """All numbers of a value, in the order of its fields: of a vector x, y, z."""
    if isinstance(value, ProtobufMessage):
        return [n for known in value.DESCRIPTOR.fields for n in numbers(getattr(value, known.name))]
    if isinstance(value, dict):
        return [n for inner in value.values() for n in numbers(inner)]
    fields = getattr(value, "__slots__", None) or getattr(value, "__dataclass_fields__", None)
    if fields and not isinstance(value, np.ndarray):
        return [n for name in fields if not name.startswith("_") and name != "header" for n in numbers(getattr(value, name))]
    if isinstance(value, (list, tuple, np.ndarray)) or type(value).__name__.startswith("Repeated"):
        return [n for inner in value for n in numbers(inner)]
    return [float(value)]


def stamp(message):
    """The header's stamp in ns, or Foxglove's timestamp, or -1."""
    at = field(message, "timestamp") if isinstance(message, dict) else getattr(getattr(message, "header", None), "stamp", None)
    at = getattr(message, "timestamp", None) if at is None and not isinstance(message, dict) else at
    if at is None:
        return -1
    if isinstance(at, ProtobufMessage):
        return at.seconds * NS + at.nanos
    if isinstance(at, dict):
        return at["sec"] * NS + at["nsec"]
    return at.sec * NS + at.nanosec


def picture(message):
    data = field(message, "data")
    return base64.b64decode(data) if isinstance(data, str) else bytes(data)


def pixels(message):
    """A picture message as a loader must see it, before anything is done to it: red, green and blue, or 16-bit distances."""
    encoding = field(message, "encoding")
    if encoding is None:
        data = picture(message)
        return np.asarray(Image.open(io.BytesIO(data[data.find(b"\x89PNG") :] if "PNG" in repr(data[:20]) else data)))
    width, height, step = (int(field(message, name)) for name in ("width", "height", "step"))
    rows = np.frombuffer(picture(message), np.uint8).reshape(height, step)
    if encoding in ("16UC1", "mono16"):
        return np.ascontiguousarray(rows[:, : 2 * width]).view("<u2")
    channels = "l" if encoding == "mono8" else encoding.rstrip("8")
    shown = rows[:, : len(channels) * width].reshape(height, width, len(channels))
    return np.ascontiguousarray(shown[..., [channels.find(letter) if "l" not in channels else 0 for letter in "rgb"]])


class Recording:
    """The topics of a mapping as a recording has them, with the methods of a truth file that [`grid`] asks for."""

    def __init__(self, path, mapping):
        self.meta = {"recording": Path(path).name, "task": None}
        images = {s["topic"] for f in mapping["feature"] if f.get("kind") in ("image", "video") for s in f["source"]}
        wanted = {s["topic"] for f in mapping["feature"] for s in f.get("source", [])}
        self.between = {s["topic"] for f in mapping["feature"] if f.get("align") == "linear" for s in f.get("source", [])}
        task = mapping["task"].get("topic")
        self.images, self.topics = images, {topic: [] for topic in wanted}
        for place, (topic, log, publish, message) in enumerate(decoded(path, wanted | {task})):
            if topic == task and self.meta["task"] is None:
                self.meta["task"] = field(message, mapping["task"].get("field", "data"))
            if topic in wanted:
                kept = zlib.crc32(picture(message)) if topic in images else message
                self.topics[topic].append((log, publish, stamp(message), place, kept))

    def kind(self, topic):
        return "image" if topic in self.images else "values"

    def quaternions(self, topic, spec):
        """None: no trial aligns rotations of a recording without a truth file. One that did would have to say where they stand."""
        held = self.topics[topic][0][4]
        if topic in self.between and "Quaternion" in repr(field(held, spec["field"])):
            raise NotImplementedError(f"{topic} has rotations, and nobody says where")
        return []

    def stamps(self, topic, clock):
        rows = self.topics[topic]
        log = [r[0] for r in rows]
        if clock == "header":
            return np.array([r[2] if r[2] >= 0 else r[0] for r in rows], np.int64)
        return np.array([r[1] for r in rows] if clock == "publish" else log, np.int64)

    def file_order(self, topic):
        return np.array([r[3] for r in self.topics[topic]])

    def values(self, topic, spec):
        if topic in self.images:
            return np.array([r[4] for r in self.topics[topic]], np.int64)
        rows = []
        for *_, message in self.topics[topic]:
            row = np.array(numbers(field(message, spec["field"])), dtype=np.float64)
            if "select" in spec:
                names = list(field(message, "name"))
                row = row[[names.index(joint) for joint in spec["select"]]]
            rows.append(row)
        return np.array(rows)
