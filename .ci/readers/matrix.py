#!/usr/bin/env python3
"""Converts generated recordings of many kinds, and lets independent readers judge every dataset that comes out.

    matrix.py ROBOFLOW [CASE...]     ROBOFLOW is the program; without names, every case that needs no other program runs

For each case: recordings with a known truth, or real ones; `roboflow run`, `roboflow validate`, then `check_structure.py` and
`check_values.py`. The cases cover encodings, compressions, alignments, clocks, policies, and recordings that are damaged. It
ends with a line of counts, and exit code 1 if a case failed. --keep FOLDER keeps the files of all cases.
"""
import argparse, json, shutil, subprocess, sys, tempfile, time
from dataclasses import dataclass, field
from pathlib import Path

import make_recordings
from make_recordings import TASKS
from mappings import mapping

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parents[1] / "proptests" / "data"
LONGEST_S = 300
# Cases that a checker of the format from elsewhere sees too, beside those of v2.1.
DOCTORED = {"cdr", "png", "appended", "appended-video"}


@dataclass
class Case:
    """Recordings and a mapping: the generator's options and those of `mappings.mapping`, or real files and a mapping's text.
    A mapping that is None is left to the program, and the one it saves is what the dataset is held against. `append`: the
    generator's options for recordings that are added afterwards. `v21`: the dataset is one of LeRobot v2.1. With `input_folder` the
    program is given the folder that all recordings lie in, not each of them."""

    name: str
    make: str | list
    mapping: dict | str | None = field(default_factory=dict)
    run: list = field(default_factory=list)
    exit_code: int = 0
    append: str | None = None
    v21: bool = False
    task_files: bool = False
    input_folder: bool = False
    needs: str | None = None  # a program that must be there: such cases only run when they are asked for


TURTLE = """
fps = 30
[task]
text = "follow the other turtle"
[[feature]]
name = "observation.state"
align = "latest"
source = [
    { topic = "/turtle2/pose", field = "x" },
    { topic = "/turtle2/pose", field = "y" },
    { topic = "/turtle2/pose", field = "theta" },
]
[[feature]]
name = "action"
align = "latest"
source = [{ topic = "/turtle2/cmd_vel", field = "linear.x" }, { topic = "/turtle2/cmd_vel", field = "angular.z" }]
"""

CASES = [
    Case("cdr", "--episodes 2 --jitter", {"select": []}),
    Case("cdr-lz4-late", "--episodes 2 --jitter --out-of-order --compression lz4 --chunk-kib 32"),
    Case("cdr-shuffled-gaps", "--jitter --shuffle-joints --gaps", {"select": ["wrist", "base", "elbow"], "tolerance_ms": 60}),
    Case("cdr-plain-chunks", "--compression none --jitter --command joints", {"command": "position"}),
    Case("cdr-no-summary", "--no-summary --jitter --out-of-order --episodes 2"),
    Case("cdr-cut", "--cut --jitter --chunk-kib 48 --seconds 6"),
    Case("cdr-cut-late", "--cut --out-of-order --gaps --chunk-kib 48 --seconds 6", {"tolerance_ms": 50}),
    Case("ros1", "--format ros1 --jitter --episodes 2 --shuffle-joints"),
    Case("ros1-lz4-cut", "--format ros1 --compression lz4 --cut --chunk-kib 64"),
    Case("json", "--format json --jitter --episodes 2"),
    Case("json-late-shuffled", "--format json --compression lz4 --out-of-order --shuffle-joints", {"select": ["flange", "base"]}),
    Case("json-cut", "--format json --cut --compression none --chunk-kib 64 --jitter"),
    Case("bag", "--format bag --compression none --jitter --episodes 2 --shuffle-joints"),
    Case("bag-lz4-late", "--format bag --compression lz4 --jitter --out-of-order --chunk-kib 32", {"time": "header"}),
    Case("bag-bz2-cut", "--format bag --compression bz2 --cut --jitter --chunk-kib 48 --seconds 6"),
    Case("protobuf", "--format protobuf --jitter --episodes 2 --shuffle-joints"),
    Case("protobuf-late-cut", "--format protobuf --compression lz4 --out-of-order --cut --chunk-kib 48 --seconds 6", {"tolerance_ms": 60}),
    Case("protobuf-header-time", "--format protobuf --compression none --jitter --ties --gaps", {"time": "header", "align": "nearest"}),
    Case("folder", "--format folder --jitter --episodes 2 --shuffle-joints --out-of-order"),
    Case("folder-header-time", "--format folder --jitter --command joints", {"time": "header", "command": "position"}),
    Case("folder-db3", "--format folder-db3 --jitter --episodes 2 --out-of-order", {"align": "linear", "tolerance_ms": 100}),
    Case("db3", "--format db3 --jitter --episodes 2 --shuffle-joints --out-of-order"),
    Case("db3-old", "--format db3-old --jitter --gaps --size 640x480 --seconds 2", {"time": "header", "align": "nearest"}),
    Case("bag-no-index", "--format bag --compression lz4 --no-summary --jitter --gaps", {"align": "linear", "tolerance_ms": 100}),
    Case("nearest", "--jitter --gaps", {"align": "nearest", "tolerance_ms": 20, "fps": 20}),
    Case("nearest-ties", "--exact --ties", {"align": "nearest", "fps": 20}),
    Case("latest-ties", "--jitter --ties --out-of-order", {"fps": 50}),
    Case("linear", "--jitter --gaps --ties", {"align": "linear", "tolerance_ms": 100}),
    Case("linear-exact", "--exact", {"align": "linear", "fps": 25}),
    Case("header-time", "--jitter --ties --command joints", {"time": "header", "command": "position"}),
    Case("header-time-json", "--jitter --format json", {"time": "header", "fps": 10}),
    Case("publish-time", "--jitter --out-of-order --format ros1", {"time": "publish"}),
    Case("hold", "--gaps --jitter", {"tolerance_ms": 40, "on_missing": "hold"}),
    Case("hold-nearest", "--gaps --jitter", {"tolerance_ms": 15, "on_missing": "hold", "align": "nearest"}),
    Case("fail", "--gaps --jitter", {"tolerance_ms": 40, "on_missing": "fail"}, exit_code=65),
    Case("shift", "--jitter --gaps --shuffle-joints", {"shift": 1, "tolerance_ms": 60}),
    Case("shift-held", "--jitter --gaps", {"shift": 3, "tolerance_ms": 60, "on_missing": "hold"}),
    Case("shift-more", "--exact --episodes 2", {"shift": 7, "fps": 15}),
    Case("concatenated", "--jitter --shuffle-joints", {"velocity": True, "gripper": True}),
    Case("scalar", "--jitter", {"scalar": True}),
    Case("png", "--jitter --image png --cameras 1", {"task": "sort the bolts"}),
    Case("raw-rgb8", "--jitter --image raw-rgb8", {"tolerance_ms": 100}),
    Case("raw-bgr8-ros1", "--format ros1 --jitter --image raw-bgr8 --cameras 1"),
    Case("raw-rgba8-bag", "--format bag --compression lz4 --jitter --image raw-rgba8 --cameras 1"),
    Case("raw-bgra8-json", "--format json --jitter --image raw-bgra8 --cameras 1"),
    Case("raw-mono8", "--jitter --image raw-mono8 --cameras 1 --size 322x242 --seconds 2"),
    Case("raw-16UC1", "--jitter --image raw-16UC1 --cameras 1"),
    Case("raw-mono16-json", "--format json --jitter --image raw-mono16 --cameras 1"),
    Case("compressed-depth", "--jitter --image depth-png --cameras 1 --size 322x242 --seconds 2"),
    Case("inferred-raw", "--jitter --image raw-rgb8 --cameras 1", None),
    Case("inferred-depth", "--jitter --image raw-16UC1 --cameras 1", None),
    Case("raw-rgb8-protobuf", "--format protobuf --jitter --image raw-rgb8 --cameras 1"),
    Case("raw-mono8-protobuf", "--format protobuf --compression lz4 --jitter --image raw-mono8", {"tolerance_ms": 100}),
    Case("raw-16UC1-protobuf", "--format protobuf --jitter --image raw-16UC1 --cameras 1"),
    Case("raw-bgra8-protobuf", "--format protobuf --jitter --image raw-bgra8 --cameras 1", {"pictures": "image", "transform": {"rotate": 90}}),
    Case("depth-protobuf", "--format protobuf --jitter --image depth-png --cameras 1 --size 322x242 --seconds 2"),
    Case("inferred-raw-protobuf", "--format protobuf --jitter --image raw-rgb8 --cameras 1", None),
    Case("crop-png", "--jitter --image png --cameras 1", {"transform": {"crop": [17, 3, 101, 90]}}),
    Case("rotate-png", "--jitter --image png --cameras 1", {"transform": {"rotate": 270}}),
    Case("rotate-half-jpeg", "--jitter --cameras 1", {"transform": {"rotate": 180}}),
    Case("resize-png", "--jitter --image png --cameras 1", {"transform": {"resize": [64, 64]}}),
    Case("resize-up-raw", "--jitter --image raw-rgb8 --cameras 1", {"transform": {"resize": [331, 200]}}),
    Case("all-three-png", "--jitter --image png --cameras 2 --gaps",
         {"tolerance_ms": 60, "transform": {"crop": [20, 0, 120, 120], "rotate": 90, "resize": [56, 48]}}),
    Case("all-three-jpeg-json", "--format json --jitter --cameras 1", {"transform": {"crop": [8, 8, 100, 80], "rotate": 270, "resize": [50, 70]}}),
    Case("all-three-depth", "--jitter --image raw-16UC1 --cameras 1", {"transform": {"crop": [9, 7, 99, 77], "rotate": 90, "resize": [40, 61]}}),
    Case("all-three-compressed-depth", "--format bag --compression lz4 --jitter --image depth-png --cameras 1",
         {"transform": {"crop": [9, 7, 99, 77], "rotate": 180, "resize": [140, 61]}}),
    Case("types", "--types --jitter --shuffle-joints --episodes 2", {"gripper": True, "velocity": True}),
    Case("types-ros1", "--types --format ros1 --compression lz4 --jitter", {"scalar": True, "align": "linear", "tolerance_ms": 100}),
    Case("types-json", "--types --format json --jitter --no-summary", {"gripper": True, "time": "header"}),
    Case("types-protobuf", "--types --format protobuf --jitter --out-of-order --shuffle-joints", {"gripper": True, "velocity": True}),
    Case("types-bag", "--types --format bag --compression bz2 --jitter --out-of-order", {"gripper": True, "time": "header"}),
    Case("types-bag-no-index", "--types --format bag --compression none --no-summary --jitter", {"gripper": True, "velocity": True}),
    Case("types-db3", "--types --format db3 --jitter --out-of-order", {"gripper": True, "velocity": True}),
    Case("types-folder", "--types --format folder --jitter", {"gripper": True, "velocity": True}),
    Case("types-folder-db3", "--types --format folder-db3 --jitter", {"gripper": True, "time": "header"}),
    Case("types-inferred", "--types --jitter", None),
    Case("parts", "--parts --jitter --episodes 2", {"velocity": True}),
    Case("parts-shuffled", "--parts --jitter --shuffle-joints --gaps --out-of-order",
         {"select": ["wrist", "base", "flange", "elbow", "forearm"], "tolerance_ms": 70}),
    Case("parts-linear", "--parts --jitter --gaps", {"align": "linear", "tolerance_ms": 120, "shift": 2}),
    Case("parts-nearest-bag", "--parts --format bag --compression lz4 --jitter --ties", {"align": "nearest", "time": "header"}),
    Case("parts-held-json", "--parts --format json --jitter --gaps", {"tolerance_ms": 50, "on_missing": "hold", "partial": True}),
    Case("parts-types-protobuf", "--parts --types --format protobuf --jitter", {"gripper": True}),
    Case("parts-split", "--parts --pauses 2 --seconds 8 --jitter", {"episodes": {"split": "gap", "gap_ms": 800}}),
    Case("parts-refused", "--parts --jitter", {"partial": False}, exit_code=65),
    Case("whole-as-parts", "--jitter --shuffle-joints --gaps", {"tolerance_ms": 60, "partial": True}),
    Case("split-gap-fail", "--jitter --gaps --pauses 2 --seconds 9 --episodes 2",
         {"tolerance_ms": 150, "on_missing": "fail", "episodes": {"split": "gap", "gap_ms": 800}}),
    Case("large-pictures", "--jitter --size 640x480 --seconds 2"),
    Case("task-files", "--episodes 2 --jitter --seconds 3", {"task_file": "{recording}.task.txt"}, task_files=True),
    Case("slerp", "--jitter --poses", {"align": "linear", "pose": {"field": "pose"}}),
    Case("slerp-json", "--jitter --poses --format json", {"align": "linear", "pose": {"field": "pose.orientation"}}),
    Case("slerp-bag", "--jitter --poses --gaps --format bag --compression none",
         {"align": "linear", "tolerance_ms": 90, "pose": {"field": "pose"}, "time": "header"}),
    Case("slerp-said", "--poses", {"align": "linear", "pose": {"field": "pose.orientation", "interpolate": "slerp"}}),
    Case("slerp-not", "--poses", {"align": "linear", "pose": {"field": "pose", "interpolate": "linear"}}),
    Case("split-gap", "--jitter --pauses 2 --tasks 5 --seconds 8 --episodes 2", {"episodes": {"split": "gap", "gap_ms": 800}}),
    Case("split-gap-topic", "--jitter --gaps --seconds 6",
         {"episodes": {"split": "gap", "gap_ms": 300, "topic": "/joint_states", "min_frames": 20}}),
    Case("split-gap-linear", "--pauses 3 --seconds 9 --poses --out-of-order",
         {"align": "linear", "pose": {"field": "pose"}, "shift": 2, "episodes": {"split": "gap", "gap_ms": 700, "trim_end_ms": 120.5}}),
    Case("split-marker", "--jitter --markers 30 --tasks 9 --seconds 8",
         {"tolerance_ms": 60, "episodes": {"split": "marker", "topic": "/episode", "start": "start", "stop": "stop", "min_frames": 4}}),
    Case("split-marker-each", "--jitter --markers 12 --seconds 8 --format json --episodes 2",
         {"task": "t", "episodes": {"split": "marker", "topic": "/episode", "trim_start_ms": 40}}),
    Case("split-marker-start", "--markers 25 --seconds 8 --format bag --compression lz4",
         {"align": "nearest", "episodes": {"split": "marker", "topic": "/episode", "start": "start"}}),
    Case("split-marker-change", "--markers 25 --seconds 8 --no-summary",
         {"episodes": {"split": "marker", "topic": "/episode", "field": "data", "trim_end_ms": 70, "min_frames": 10}}),
    Case("split-marker-toggle", "--markers 11 --seconds 8", {"shift": 1, "episodes": {"split": "marker", "topic": "/episode", "toggle": True}}),
    Case("split-ranges-json", "--ranges 9 --seconds 6 --episodes 2",
         {"episodes": {"split": "ranges", "file": "{recording}.episodes.json", "min_frames": 3}}),
    Case("split-ranges-toml", "--ranges 6 --ranges-in toml --jitter",
         {"task": "t", "episodes": {"split": "ranges", "file": "{recording}.episodes.toml"}}),
    Case("split-ranges-csv", "--ranges 6 --ranges-in csv --format bag --compression bz2",
         {"task": "t", "time": "header", "episodes": {"split": "ranges", "file": "{recording}.episodes.csv"}}),
    Case("split-ranges-metadata", "--ranges 7 --ranges-in metadata", {"episodes": {"split": "ranges", "metadata": "episodes"}}),
    Case("split-ranges-metadata-list", "--ranges 7 --ranges-in metadata-list --no-summary",
         {"task": "t", "episodes": {"split": "ranges", "metadata": "episodes"}}),
    Case("trimmed", "--jitter --episodes 2", {"episodes": {"split": "file", "trim_start_ms": 333.3, "trim_end_ms": 1000, "min_frames": 5}}),
    Case("inferred", "--episodes 2 --jitter --shuffle-joints", None),
    Case("inferred-json", "--format json --jitter", None),
    Case("inferred-protobuf", "--format protobuf --jitter", None),
    Case("inferred-folder", "--format folder --jitter --episodes 2", None),
    Case("inferred-db3", "--format db3-old --jitter", None),
    Case("folders-found", "--format folder --jitter --episodes 2 --seconds 3", run=["--workers", "2"], input_folder=True),
    Case("video", "--episodes 2 --jitter --gaps", {"pictures": "video"}),
    Case("video-held", "--gaps --jitter", {"pictures": "video", "tolerance_ms": 40, "on_missing": "hold", "fps": 50}),
    Case("video-nearest-png", "--jitter --image png --size 97x63", {"pictures": "video", "align": "nearest", "video": {"quality": 18}}),
    Case("video-large", "--jitter --size 640x480 --seconds 2 --cameras 1", {"pictures": "video", "video": {"preset": "medium"}}),
    Case("video-inferred", "--episodes 3 --jitter --seconds 3", None, run=["--video-encoder", "openh264", "--segment-frames", "37"]),
    Case("video-edited", "--jitter --image png --cameras 1 --size 200x150",
         {"pictures": "video", "video": {"quality": 18}, "transform": {"crop": [10, 20, 150, 120], "rotate": 90, "resize": [96, 128]}}),
    Case("video-x264", "--episodes 2 --jitter", {"pictures": "video"}, run=["--video-encoder", "ffmpeg:libx264"], needs="ffmpeg"),
    Case("video-svtav1", "--episodes 2 --jitter", {"pictures": "video", "video": {"encoder": "ffmpeg:libsvtav1"}}, needs="ffmpeg"),
    Case("video-aom", "--jitter --cameras 1 --seconds 3", {"pictures": "video", "video": {"encoder": "ffmpeg:libaom-av1"}}, needs="ffmpeg"),
    Case("real-ros2", ["turtlesim/turtlesim_ros2.mcap"], TURTLE),
    Case("real-ros1", ["turtlesim/turtlesim_ros1.mcap"], TURTLE.replace("latest", "linear")),
    Case("real-both", ["turtlesim/turtlesim_ros2.mcap", "turtlesim/turtlesim_ros1.mcap"], None),
    Case("real-bag", ["rosbagjs/example-lz4.bag"], TURTLE),
    Case("real-bag-bz2", ["rosbagjs/example-bz2.bag"], TURTLE.replace("latest", "nearest")),
    Case("appended", "--episodes 2 --jitter --seconds 3", append="--episodes 2 --jitter --seconds 2 --name second"),
    Case("appended-video", "--episodes 2 --jitter --seconds 3", {"pictures": "video"}, append="--episodes 2 --jitter --seconds 2 --name second"),
    Case("appended-svtav1", "--jitter --seconds 3 --cameras 1", {"pictures": "video", "video": {"encoder": "ffmpeg:libsvtav1"}},
         append="--jitter --seconds 2 --cameras 1 --name second", needs="ffmpeg"),
    Case("v2.1", "--episodes 3 --jitter --seconds 3", run=["--format", "v2.1"], v21=True),
    Case("v2.1-video", "--episodes 3 --jitter --seconds 3 --size 97x63", {"pictures": "video"}, run=["--format", "v2.1"], v21=True),
    Case("two-workers", "--episodes 5 --jitter --seconds 3", run=["--workers", "2"]),
    Case("long", "--seconds 30 --jitter --cameras 1 --out-of-order --size 96x64", {"fps": 60}),
]


class Failed(Exception):
    pass


def call(what, *command):
    """Runs a command to its end; its output is only shown when it fails."""
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST_S)
    done.what, done.tail = what, (done.stdout[-3000:] + done.stderr[-3000:]).strip()
    return done


def expect(done, code=0):
    if done.returncode != code:
        raise Failed(f"{done.what}: exit code {done.returncode}, not {code}\n{done.tail}")
    return done


def prepare(case, seed, folder):
    """The recordings of a case, what tells the truth about each, and the mapping's file if it has one."""
    if isinstance(case.make, list):
        recordings = truths = [SAMPLES / name for name in case.make]
        cameras = 0
    else:
        options = case.make.split()
        make_recordings.main([str(folder / "in"), "--seed", str(seed), *options, "--quiet"])
        recordings = sorted(path for path in (folder / "in").iterdir() if path.suffix in (".mcap", ".bag", ".db3", ""))
        truths = sorted((folder / "in").glob("*.truth.npz"))
        cameras = int(options[options.index("--cameras") + 1]) if "--cameras" in options else 2
    if case.task_files:
        for number, recording in enumerate(recordings):
            recording.with_suffix(".task.txt").write_text(TASKS[number % len(TASKS)] + "\n")
    if case.mapping is None:
        return recordings, truths, None
    path = folder / "mapping.toml"
    path.write_text(case.mapping if isinstance(case.mapping, str) else mapping(cameras, **case.mapping))
    return recordings, truths, path


def previewed(program, recordings, mapped, out):
    """`inspect --mapping` must say beforehand what the conversion then does."""
    info = json.loads((out / "meta/info.json").read_text())
    sync = json.loads((out / "meta/roboflow/sync.json").read_text())
    said = [json.loads(expect(call("inspect", program, "inspect", r, "--mapping", mapped, "--json")).stdout) for r in recordings]
    episodes = [e for one in said for e in one["episodes"]]
    if [(e["frames"], e["sync"]) for e in episodes] != [(e["frames"], e["sync"]) for e in sync]:
        raise Failed("inspect --mapping shows other episodes than were converted")
    for one in said:
        for f in one["features"]:
            of = info["features"][f["name"]]
            if (f["dtype"], f["shape"], f["names"]) != (of["dtype"], of["shape"], of["names"]):
                raise Failed(f"inspect --mapping shows {f}, and the dataset has {of}")


def convert(program, case, seed, folder):
    """One case to its dataset. Returns what the checkers say."""
    recordings, truths, mapped = prepare(case, seed, folder)
    out = folder / "out"
    given = [folder / "in"] if case.input_folder else recordings
    ran = call("run", program, "run", *given, "--out", out, *(["--mapping", mapped] if mapped else []), *case.run)
    if case.exit_code:
        if ran.returncode != case.exit_code or (out / "meta/info.json").exists():
            raise Failed(f"run: must fail with {case.exit_code} and publish nothing; it ended with {ran.returncode}\n{ran.tail}")
        return "refused as it must be"
    expect(ran)
    if mapped and not case.v21:
        previewed(program, recordings, mapped, out)
    doctor = Path(sys.executable).with_name("lerobot-doctor")
    if case.v21:
        expect(call("lerobot-doctor", doctor, "check", out))
        refused = expect(call("validate", program, "validate", out), 65)
        if "v2.1" not in refused.stdout:
            raise Failed(f"validate does not name the version\n{refused.stdout}")
        return expect(call("check_v21", sys.executable, HERE / "check_v21.py", out)).stdout.strip()
    if case.append is not None:
        make_recordings.main([str(folder / "more"), "--seed", str(seed + 500), *case.append.split(), "--quiet"])
        more = sorted((folder / "more").glob("*.mcap"))
        truths = truths + sorted((folder / "more").glob("*.truth.npz"))
        expect(call("append", program, "run", *more, "--out", out, "--append", *(["--mapping", mapped] if mapped else [])))
    expect(call("validate", program, "validate", out))
    if case.name in DOCTORED:
        expect(call("lerobot-doctor", doctor, "check", out))
    expect(call("check_structure", sys.executable, HERE / "check_structure.py", out))
    mapped = mapped or out / "meta/roboflow/mapping.toml"
    return expect(call("check_values", sys.executable, HERE / "check_values.py", out, "--mapping", mapped, *truths)).stdout.strip()


KINDS = {"cdr": "MCAP, CDR", "ros1": "MCAP, ROS 1", "json": "MCAP, JSON", "protobuf": "MCAP, Protobuf", "bag": "ROS 1 bag",
         "folder": "rosbag2 folder, MCAP", "folder-db3": "rosbag2 folder, SQLite", "db3": "SQLite (.db3)", "db3-old": "SQLite (.db3) of before 2023"}
PACKED = {"folder": "none", "folder-db3": "none", "db3": "none", "db3-old": "none"}


def properties(case):
    """Input, compression and pictures of a case."""
    if isinstance(case.make, list):
        return f"real: {case.make[0].split('/')[0]}", Path(case.make[0]).suffix[1:], "none"
    options = case.make.split()
    option = lambda name, usual: options[options.index(name) + 1] if name in options else usual
    kind = option("--format", "cdr")
    pictures = "none" if option("--cameras", "2") == "0" else option("--image", "jpeg")
    filmed = "--video-encoder" in case.run or isinstance(case.mapping, dict) and case.mapping.get("pictures") == "video"
    return KINDS[kind], PACKED.get(kind, option("--compression", "zstd")), f"{'video' if filmed else 'image'}, {pictures}"


def show_table(results):
    """What was converted, validated and compared with the truth: a row for each kind of input, how it is packed, and its pictures."""
    rows = {}
    for case, said in results:
        done = rows.setdefault(properties(case), [0, 0, 0])
        words = said.split()
        done[0] += 1
        done[1] += not said.startswith("FAILED")
        compared = words[words.index("values") - 1] if "values" in words else ""
        done[2] += int(compared) if compared.isdigit() else 0
    lines = [("input", "compression", "features", "cases", "passed", "values compared")]
    lines += [(*row, *map(str, rows[row])) for row in sorted(rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program", type=Path)
    p.add_argument("case", nargs="*")
    p.add_argument("--seed", type=int, default=11, help="of the first case; each next one adds 1")
    p.add_argument("--needs", help="run the cases that need this program, which must be in PATH, and no others")
    p.add_argument("--keep", type=Path, help="a folder in which the cases' files stay")
    opt = p.parse_intermixed_args()
    unknown = set(opt.case) - {c.name for c in CASES}
    if unknown:
        p.error(f"no case {', '.join(unknown)}; there are {', '.join(c.name for c in CASES)}")
    if opt.needs and not shutil.which(opt.needs):
        sys.exit(f"there is no {opt.needs} in PATH")
    chosen = opt.case or [c.name for c in CASES if c.needs == opt.needs]
    failed, results = 0, []
    with tempfile.TemporaryDirectory() as temporary:
        for n, case in enumerate(CASES):
            if case.name not in chosen:
                continue
            folder = (opt.keep or Path(temporary)) / case.name
            folder.mkdir(parents=True)
            begun = time.monotonic()
            try:
                said = convert(opt.program.resolve(), case, opt.seed + n, folder)
            except (Failed, subprocess.TimeoutExpired) as error:
                failed += 1
                said = f"FAILED {error}\n  recordings: {case.make} --seed {opt.seed + n}\n  mapping: {case.mapping}"
            results.append((case, said))
            print(f"{case.name:20} {time.monotonic() - begun:5.1f} s  {said}", flush=True)
    show_table(results)
    print(f"{len(chosen) - failed} of {len(chosen)} cases passed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
