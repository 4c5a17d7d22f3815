#!/usr/bin/env python3
"""Writes src/convert/decode/ros2_definitions.txt: the message types that every release of ROS 2 defines alike.

    write_definitions.py            writes the file
    write_definitions.py --check    ends with 1 if the file is not what would be written

A bag in SQLite of before 2023 carries no definitions. The fields come from the type stores of `rosbags`, which took them from
the packages of ROS 2; a type whose fields changed between releases, or that holds such a type, is left out. Constants and
comments are too: they are not in the bytes.
"""
import sys
from pathlib import Path

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_typestore

FILE = Path(__file__).resolve().parents[2] / "src/convert/decode/ros2_definitions.txt"
HEAD = """\
# Fields of the standard messages of ROS 2, as every release from Dashing to Lyrical has them: written by
# .ci/readers/write_definitions.py from the type stores of the Python package rosbags (Apache-2.0).
# Source: ros2/common_interfaces, ros2/rcl_interfaces, ros2/geometry2, ros2/unique_identifier_msgs and
# ros2/rosbag2, Apache-2.0 and BSD-3-Clause. Only names and types of fields are taken.
"""


def inner(field):
    """The name of the message that a field holds, if it does."""
    kind, what = field
    if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        return inner(what[0])
    return what if kind == Nodetype.NAME else None


def text(field):
    """A field's type as definitions write it."""
    kind, what = field
    if kind == Nodetype.ARRAY:
        return f"{text(what[0])}[{what[1]}]"
    if kind == Nodetype.SEQUENCE:
        return f"{text(what[0])}[{'<=' + str(what[1]) if what[1] else ''}]"
    if kind == Nodetype.BASE:
        name, bound = what
        name = {"octet": "byte"}.get(name, name)
        return f"{name}<={bound}" if bound else name
    return what.replace("/msg/", "/")


def definitions():
    stores = [get_typestore(store) for store in Stores if store.name.startswith("ROS2")]
    fields = {name: fields for store in stores for name, (_, fields) in store.fielddefs.items()}
    alike = {name for name in fields if all(store.fielddefs.get(name, (0, fields[name]))[1] == fields[name] for store in stores)}
    while True:
        whole = {name for name in alike if all(inner(field) in alike | {None} for _, field in fields[name])}
        if whole == alike:
            break
        alike = whole
    blocks = [HEAD]
    for name in sorted(name for name in alike if "/msg/" in name):
        lines = [f"{text(field)} {field_name}" for field_name, field in fields[name] if field_name != "structure_needs_at_least_one_member"]
        blocks.append("\n".join([f"MSG: {name.replace('/msg/', '/')}", *lines]) + "\n")
    return "".join(blocks)


def main():
    written = definitions()
    if "--check" in sys.argv:
        if FILE.read_text() != written:
            sys.exit(f"{FILE} is not what write_definitions.py writes")
    else:
        FILE.write_text(written)
    print(f"{written.count('MSG: ')} definitions")


if __name__ == "__main__":
    main()
