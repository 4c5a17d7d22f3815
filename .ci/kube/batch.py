"""A batch on the fleet: recordings put into the bucket, submitted, and what became of them. It knows no pod."""

import json
import os
import subprocess
import time

import recordings

PREFIX = "kubernetes"  # of the queue's keys, for workers, scanners and whoever asks


class Caller:
    """The program, called as somebody with the store's address calls it."""

    def __init__(self, program, dev):
        self.program, self.place = program, f"s3://{dev['ROBOFLOW_DEV_BUCKET']}"
        self.environment = {**os.environ, **dev, "TIKV_KEY_PREFIX": PREFIX}

    def start(self, *arguments):
        return subprocess.Popen([self.program, *map(str, arguments)], env=self.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __call__(self, *arguments):
        """Its exit code, and what it said."""
        process = self.start(*arguments)
        out, error = process.communicate(timeout=1800)
        return process.returncode, out, error

    def json(self, *arguments):
        code, out, error = self(*arguments, "--json")
        if code:
            raise RuntimeError(f"roboflow {' '.join(map(str, arguments))}: {code}: {error}")
        return json.loads(out)


def frames_a_second(call, folder):
    """What one machine converts here, of one recording: builds and machines differ, and what is measured in seconds must not."""
    folder.mkdir(parents=True)
    (folder / "mapping.toml").write_text(recordings.MAPPING)
    (folder / "one.mcap").write_bytes(recordings.recording(0, 5))
    begun = time.monotonic()
    code, _, error = call("run", folder / "one.mcap", "--mapping", folder / "mapping.toml", "--out", folder / "out")
    if code:
        raise RuntimeError(f"one recording cannot be converted: {error}")
    rate = 5 * recordings.RATE / (time.monotonic() - begun)
    print(f"      one recording is converted at {rate:.0f} frames a second here")
    return rate


class Batch:
    def __init__(self, check, call, bucket, folder, count, frames, segment):
        self.check, self.call, self.bucket, self.folder, self.count = check, call, bucket, folder, count
        self.name, self.inputs, self.mapping = folder.name, folder / "recordings", folder / "mapping.toml"
        self.common = ["--mapping", self.mapping, "--segment-frames", max(1, segment)]
        self.inputs.mkdir(parents=True)
        self.mapping.write_text(recordings.MAPPING)
        for number in range(count):
            name, made = f"{self.name}-{number:02}.mcap", recordings.recording(number, -(-frames // recordings.RATE))
            (self.inputs / name).write_bytes(made)
            bucket.put(f"recordings/{self.name}/{name}", made)

    def submit(self):
        asked = ["submit", f"{self.call.place}/recordings/{self.name}/", "--out", f"{self.call.place}/sets/{self.name}", *self.common]
        self.id = self.call.json(*asked)["batch"]
        # The same again passes over what was submitted, and waits.
        self.waiting = self.call.start(*asked, "--wait")

    def jobs(self):
        return self.call.json("jobs", "list", "--batch", self.id, "--limit", 1000)

    def interruptions(self):
        return sum(job["interruptions"] for job in self.jobs())

    def busy(self):
        """How many of its recordings are not converted yet."""
        return sum(job["status"] != "completed" for job in self.jobs() if job["kind"] == "convert")

    def published(self, crashes=0):
        """It ends well, with so many crashes counted and nothing else."""
        out, error = self.waiting.communicate(timeout=1800)
        self.check(f"{self.name}: the batch of {self.count} is published", self.waiting.returncode == 0, out + error)
        jobs = self.jobs()
        done = [job for job in jobs if job["status"] == "completed"]
        self.check(f"{self.name}: {self.count} recordings and the assembly are completed", len(done) == len(jobs) == self.count + 1,
                   [job["status"] for job in jobs])
        counted = [job for job in jobs if job["failures"] or job["crashes"]]
        self.check(f"{self.name}: no attempt was counted, and {crashes or 'no'} crash",
                   not any(job["failures"] for job in jobs) and sum(job["crashes"] for job in jobs) == crashes, counted)
        print(f"      {sum(job['interruptions'] for job in jobs)} interruptions of {len(jobs)} jobs")

    def same_bytes(self):
        """As one machine makes them, without any of this."""
        out = self.folder / "alone"
        code, _, error = self.call("run", self.inputs, "--out", out, *self.common)
        self.check(f"{self.name}: one machine converts the same recordings", code == 0, error)
        files = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file() and ".roboflow" not in path.parts}
        prefix = f"sets/{self.name}/"
        keys = {key.removeprefix(prefix): key for key in self.bucket.keys(prefix) if "/.roboflow/" not in key}
        other = [name for name in files.keys() & keys.keys() if files[name].read_bytes() != self.bucket.get(keys[name])]
        self.check(f"{self.name}: {len(files)} files of the same bytes", files.keys() == keys.keys() and files and not other,
                   (sorted(files.keys() ^ keys.keys()), other))
