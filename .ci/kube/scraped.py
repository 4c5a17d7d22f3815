"""What a real Prometheus makes of a real worker and a real scanner: scraped.py PROGRAM CACHE.

promtool takes their /metrics, and refuses a broken copy. Prometheus scrapes both while recordings convert, then answers: the counts are
those of the queue, and each query of the dashboard and of the alerts is one that it can evaluate, and has data where there is a reason
for some. Everything listens on loopback; a limit stands on every wait.
"""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
RECORDING = ROOT / "proptests" / "data" / "generated" / "two_cameras_000.mcap"
RECORDINGS = 6
PROGRAM, CACHE = (Path(argument).resolve() for argument in sys.argv[1:3])
LIMIT_SECONDS = 60
# What the dashboard asks that nothing in this fleet has an answer to: nobody was asked to stop.
QUIET = ("roboflow_shutdown_seconds",)
failed = []


def check(name, good, said=""):
    print(("ok    " if good else "FAIL  ") + name, flush=True)
    if not good:
        failed.append(name)
        print("\n".join("      " + line for line in str(said).splitlines()[-20:]), flush=True)


def tool(name):
    near = CACHE / "bin" / name
    return str(near) if near.exists() else name


def until(what, holds):
    """What it gave once it was true."""
    end = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < end:
        got = holds()
        if got:
            return got
        time.sleep(0.1)
    raise TimeoutError(f"waited in vain for {what}")


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


class Fleet:
    """Processes that end with this one."""

    def __init__(self, folder):
        self.folder, self.running = folder, []

    def start(self, name, *command):
        log = self.folder / f"{name}.log"
        with log.open("wb") as out:
            self.running.append(subprocess.Popen(list(map(str, command)), cwd=self.folder, stdout=out, stderr=out, stdin=subprocess.DEVNULL))
        return log

    def serve(self, name, *command):
        """Where a process of ours serves, by its own word."""
        log = self.start(name, PROGRAM, *command, "--health-port", "0", "--health-address", "127.0.0.1", "--log-format", "json")

        def address():
            lines = [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
            return next((line["address"] for line in lines if line["message"] == "serving health and metrics"), None)

        return until(f"{name} to serve", address)

    def stop(self):
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def promtool(text):
    done = subprocess.run([tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def exposition(targets):
    """What promtool says of /metrics."""
    for name, address in targets.items():
        text = get(f"http://{address}/metrics")
        good, said = promtool(text)
        check(f"promtool takes the metrics of the {name} ({text.count('# TYPE ')} of them), and has nothing to say", good and not said, said)
        for what, broken in [
            ("a kind that is none", text.replace("# TYPE roboflow_frames_total counter", "# TYPE roboflow_frames_total cuonter")),
            ("a counter without _total", text.replace("roboflow_frames_total", "roboflow_frames")),
            ("a metric without help", re.sub(r"# HELP roboflow_frames_total .*\n", "", text)),
        ]:
            check(f"promtool refuses {what}", broken != text and not promtool(broken)[0])


def configuration(folder, targets):
    rules = yaml.safe_load((KUBERNETES / "base" / "alerts.yaml").read_text())["spec"]
    (folder / "alerts.yaml").write_text(yaml.safe_dump(rules))
    scraped = [
        {"targets": [address], "labels": {"namespace": "roboflow", "pod": f"{name}-0", "component": name}} for name, address in targets.items()
    ]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yaml"],
        "scrape_configs": [{"job_name": "roboflow", "static_configs": scraped}],
    }))
    return rules


class Prometheus:
    def __init__(self, fleet):
        self.at = f"http://127.0.0.1:{(port := free_port())}"
        fleet.start(
            "prometheus", tool("prometheus"), "--config.file", "prometheus.yaml", "--storage.tsdb.path", "tsdb",
            "--web.listen-address", f"127.0.0.1:{port}",
        )

    def ask(self, path, **query):
        try:
            return json.loads(get(f"{self.at}/api/v1/{path}?{urllib.parse.urlencode(query)}"))["data"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from error
        except OSError:
            return None

    def vector(self, query):
        answer = self.ask("query", query=query)
        return [] if answer is None else answer["result"]

    def value(self, query):
        found = self.vector(query)
        return float(found[0]["value"][1]) if len(found) == 1 else None


def queries(rules):
    """Each query of the dashboard and of the alerts, as it is asked here."""
    board = json.loads((KUBERNETES / "components" / "dashboard" / "roboflow.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            expr = target["expr"].replace("$namespace", "roboflow").replace("$__rate_interval", "10s")
            yield f"panel {panel['title']}", expr, not any(word in expr for word in QUIET)
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"], False


def answers(prometheus, rules):
    """Counts as the queue has them; queries that can be asked; rules that are evaluated."""
    until("both targets", lambda: prometheus.value("sum(up)") == 2)
    wanted = RECORDINGS + 1
    done = 'sum(roboflow_jobs_total{outcome="completed"})'
    until("every job in Prometheus", lambda: prometheus.value(done) == wanted)
    check(f"{done} = {wanted}: the recordings and the assembly", True)
    for query, value in [
        ('sum by (pod) (roboflow_machine_state{pod="worker-0"})', 2), ("sum(roboflow_ready)", 2), ("sum(roboflow_live)", 2),
        ("roboflow_jobs_claimed_total{pod='worker-0'}", wanted), ("max(roboflow_queue_failed_jobs)", 0),
        ("sum(roboflow_segment_seconds_count) > 0 and sum(roboflow_frames_total) > 0", None), ("sum(roboflow_invariant_violations_total)", 0),
    ]:
        got = prometheus.value(query)
        check(f"{query} = {got}", got is not None and (value is None or got == value))
    for name, expr, has_data in queries(rules):
        try:
            good, said = not has_data or bool(until(expr, lambda expr=expr: prometheus.vector(expr))), expr
            prometheus.vector(expr)
        except (RuntimeError, TimeoutError) as error:
            good, said = False, f"{expr}: {error}"
        check(name, good, said)
    evaluated = until("the rules", lambda: [
        rule for group in (prometheus.ask("rules") or {"groups": []})["groups"] for rule in group["rules"] if rule["health"] != "unknown"
    ])
    names = {rule["name"] for rule in evaluated if rule["health"] == "ok"}
    check(f"{len(names)} alerts are evaluated", names == {rule["alert"] for group in rules["groups"] for rule in group["rules"]}, evaluated)
    firing = prometheus.vector('ALERTS{alertstate="firing"}')
    check("a healthy fleet fires none", not firing, firing)
    targets = prometheus.ask("targets", state="active")["activeTargets"]
    check("no scrape failed", all(target["health"] == "up" and not target["lastError"] for target in targets), targets)


def main():
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        fleet = Fleet(folder)
        store = ("--store", "sqlite:queue.db")
        (folder / "in").mkdir()
        for number in range(RECORDINGS):
            shutil.copy(RECORDING, folder / "in" / f"r{number}.mcap")
        try:
            submit = [PROGRAM, "submit", "in", "--out", "set", *store]
            done = subprocess.run(submit, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            check("submit", done.returncode == 0, done.stderr)
            targets = {
                "scanner": fleet.serve("scanner", "scanner", *store),
                "worker": fleet.serve("worker", "worker", *store, "--workers", "2", "--poll-interval", "200ms"),
            }
            rules = configuration(folder, targets)
            prometheus = Prometheus(fleet)
            exposition(targets)
            answers(prometheus, rules)
        except TimeoutError as error:
            check(str(error), False, "\n".join(f"{log.name}: {log.read_text()[-600:]}" for log in folder.glob("*.log")))
        finally:
            fleet.stop()
    print(f"{len(failed)} failed, {time.monotonic() - begun:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
