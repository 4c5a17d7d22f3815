#!/usr/bin/env python3
"""How much faster the program is than a plain Python script, on the same recordings, in one run.

    compare_speed.py target/release/roboflow [--kinds none,libx264] [--rounds 3] [--plain SCRIPT] [--prefix 'nice -n -5']

It makes recordings (make_recordings.py: the arm, cameras with a different picture each frame), then lets the plain script
(plain_convert.py, or another that takes the same words) and the program convert them by turns, and shows of each the run with the
least time: of the whole process from its start to its end, loading of packages and all, with the processor time of it and its
children and its peak memory. Videos of both come from the same encoder with the same settings; the program's from the ffmpeg in
PATH. It fails when the two do not make the same number of frames. On a machine that does other things as well, processor time is
the fairer number. Nothing is kept.
"""
import argparse, json, os, shutil, subprocess, sys, tempfile, time
from pathlib import Path

from mappings import mapping

HERE = Path(__file__).parent
PRESETS = {"libx264": "veryfast", "libsvtav1": "12"}
MIB = 1024


def measured(command):
    """Wall and processor time in seconds, and peak memory in MiB, of a command and its children."""
    os.sync()
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = child.stdout.read(), child.stderr.read()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - began
    if child.returncode != 0:
        sys.exit(f"{command} ended with {child.returncode}:\n{out.decode()}{err.decode()}")
    return {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "mib": used.ru_maxrss / MIB}


def frames(dataset):
    return json.loads((dataset / "meta/info.json").read_text())["total_frames"]


def compare(opt, folder, recordings, kind):
    """One line of the table."""
    features = {"observation.state": "/joint_states", "action": "/joint_command"}
    features |= {f"observation.images.camera_{camera}": f"/camera_{camera}/image/compressed" for camera in range(opt.cameras)}
    if opt.plain_features:
        features = {feature: {"topic": topic} for feature, topic in features.items()}
    task = {"topic": "/task"} if opt.plain_features else "/task"
    (folder / "mapping.json").write_text(json.dumps({"fps": 30, "features": features, "task": task}))
    pictures, video = ("image", None)
    if kind != "none":
        pictures, video = ("video", {"encoder": f"ffmpeg:{kind}", "quality": 30, "preset": PRESETS[kind]})
    (folder / "mapping.toml").write_text(mapping(opt.cameras, select=[], pictures=pictures, video=video))
    theirs, ours = folder / "theirs", folder / "ours"
    words = opt.prefix.split()
    plain = [*words, sys.executable, str(opt.plain), str(theirs), *recordings, "--mapping", str(folder / "mapping.json"), "--video", kind]
    program = [*words, str(opt.program), "run", *recordings, "--out", str(ours), "--mapping", str(folder / "mapping.toml")]
    of_plain, of_program = [], []
    for _ in range(opt.rounds):
        for command, out, of in ((plain, theirs, of_plain), (program, ours, of_program), (program, ours, of_program)):
            shutil.rmtree(out, ignore_errors=True)
            of.append(measured(command))
        if frames(theirs) != frames(ours):
            sys.exit(f"{frames(theirs)} frames by the plain script, {frames(ours)} by the program: these are not the same work")
    count = frames(ours)
    shutil.rmtree(theirs), shutil.rmtree(ours)
    slow, fast = (min(of, key=lambda one: one["wall"]) for of in (of_plain, of_program))
    least = [min(one["cpu"] for one in of) for of in (of_plain, of_program)]
    for name, one, cpu in (("plain script", slow, least[0]), ("roboflow", fast, least[1])):
        print(f"{kind:10} {name:13} {one['wall']:8.2f} {cpu:8.2f} {one['mib']:9.0f} {count / one['wall']:10.0f}")
    print(f"{'':10} {'times faster':13} {slow['wall'] / fast['wall']:8.1f} {least[0] / least[1]:8.1f}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program", type=Path)
    p.add_argument("--kinds", default="none", help="of none (pictures as they come), libx264, libsvtav1; by commas")
    p.add_argument("--rounds", type=int, default=3, help="of the script; the program runs twice in each")
    p.add_argument("--recordings", type=int, default=2)
    p.add_argument("--seconds", type=float, default=30)
    p.add_argument("--cameras", type=int, default=2)
    p.add_argument("--size", default="640x480")
    p.add_argument("--quality", type=int, default=75, help="of the cameras' JPEG files")
    p.add_argument("--plain", type=Path, default=HERE / "plain_convert.py", help="another script with the same words")
    p.add_argument("--plain-features", action="store_true", help="that script wants features and task as tables with a topic")
    p.add_argument("--prefix", default="", help="words before each command")
    p.add_argument("--folder", type=Path, help="where to work [default: that of temporary files]")
    opt = p.parse_args()
    with tempfile.TemporaryDirectory(dir=opt.folder) as made:
        folder = Path(made)
        make = [sys.executable, HERE / "make_recordings.py", folder / "in", "--episodes", opt.recordings, "--seconds", opt.seconds,
                "--cameras", opt.cameras, "--size", opt.size, "--quality", opt.quality, "--chunk-kib", 1024, "--jitter", "--quiet"]
        subprocess.run([str(word) for word in make], check=True)
        recordings = [str(path) for path in sorted((folder / "in").glob("*.mcap"))]
        size = sum(Path(path).stat().st_size for path in recordings)
        print(f"{len(recordings)} recordings of {opt.seconds:g} s, {opt.cameras} cameras of {opt.size}: {size / 1e6:.1f} MB; "
              f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
        print(f"{'videos by':10} {'':13} {'wall s':>8} {'cpu s':>8} {'peak MiB':>9} {'frames/s':>10}")
        for kind in opt.kinds.split(","):
            compare(opt, folder, recordings, kind)


if __name__ == "__main__":
    main()
