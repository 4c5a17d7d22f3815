"""A control plane of its own on loopback: etcd, API server, controllers, scheduler. What runs pods is kubelet.py.

It starts the servers that `build` made, waits until they serve, and ends the processes that it started and no others.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from api import Api, Refused, wait_for

ADMIN, EVERYBODY = "system:masters", "plain"


def free_ports(count):
    """Ports that nobody has now."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def quiet(*command):
    subprocess.run(command, check=True, capture_output=True)


class Plane:
    def __init__(self, servers, state):
        self.servers, self.state, self.running = Path(servers), Path(state), []
        (self.state / "pki").mkdir(parents=True)
        (self.state / "log").mkdir()
        self.client, self.peer, self.port, self.controllers, self.scheduler = free_ports(5)
        self.certificate, self.key = self.state / "pki/server.crt", self.state / "pki/server.key"
        self.authority, self.authority_key = self.state / "pki/ca.crt", self.state / "pki/ca.key"
        self.accounts = self.state / "pki/accounts.key"
        token = secrets.token_hex(16)
        self.api = None
        self._write(token)
        self.api = Api(f"https://127.0.0.1:{self.port}", str(self.authority), token)

    def _write(self, token):
        names = "subjectAltName=IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc"
        new = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
        quiet(*new, "-subj", "/CN=authority", "-keyout", str(self.authority_key), "-out", str(self.authority))
        # An authority and a server, as a real cluster has them: the workers' TLS takes no authority for a server.
        quiet(*new, "-subj", "/CN=loopback", "-addext", names, "-addext", "basicConstraints=critical,CA:FALSE", "-CA", str(self.authority),
              "-CAkey", str(self.authority_key), "-keyout", str(self.key), "-out", str(self.certificate))
        quiet("openssl", "genrsa", "-out", str(self.accounts), "2048")
        quiet("openssl", "rsa", "-in", str(self.accounts), "-pubout", "-out", f"{self.accounts}.pub")
        (self.state / "pki/tokens.csv").write_text(f'{token},admin,admin,"{ADMIN}"\n')
        self.config = self.state / "kubeconfig"
        self.config.write_text(f"""apiVersion: v1
kind: Config
clusters: [{{name: here, cluster: {{server: "https://127.0.0.1:{self.port}", certificate-authority: "{self.authority}"}}}}]
users: [{{name: admin, user: {{token: "{token}"}}}}]
contexts: [{{name: here, context: {{cluster: here, user: admin}}}}]
current-context: here
""")

    def _start(self, name, *arguments):
        with open(self.state / "log" / name, "wb") as log:
            process = subprocess.Popen([str(self.servers / name), *map(str, arguments)], stdout=log, stderr=log,
                                       stdin=subprocess.DEVNULL, start_new_session=True)
        self.running.append((name, process))

    def _serves(self):
        for name, process in self.running:
            if process.poll() is not None:
                log = (self.state / "log" / name).read_text(errors="replace")
                raise RuntimeError(f"{name} has ended with {process.returncode}:\n{log[-2000:]}")
        try:
            return self.api.find("/api/v1/namespaces/default/serviceaccounts/default")
        except (OSError, Refused):
            return None

    def start(self):
        # Being asked to end is no reason to leave servers behind: whoever started this stops it in a `finally`.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        etcd, begun = f"http://127.0.0.1:{self.client}", time.monotonic()
        peers = f"http://127.0.0.1:{self.peer}"
        self._start("etcd", "--data-dir", self.state / "etcd", "--unsafe-no-fsync", "--log-level", "warn",
                    "--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peers,
                    "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}")
        self._start("kube-apiserver", "--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1",
                    "--secure-port", self.port, "--tls-cert-file", self.certificate, "--tls-private-key-file", self.key,
                    "--cert-dir", self.state / "pki", "--token-auth-file", self.state / "pki/tokens.csv",
                    "--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.96.0.0/16",
                    "--endpoint-reconciler-type", "none", "--api-audiences", "api",
                    "--service-account-issuer", "https://kubernetes.default.svc",
                    "--service-account-key-file", f"{self.accounts}.pub", "--service-account-signing-key-file", self.accounts)
        wait_for(120, "the API server is ready", self._ready)
        near = ["--kubeconfig", self.config, "--authentication-kubeconfig", self.config, "--authorization-kubeconfig", self.config,
                "--leader-elect=false", "--bind-address", "127.0.0.1"]
        # The node here is a process under test beside others: that it is slow must not cost it its pods.
        self._start("kube-controller-manager", *near, "--secure-port", self.controllers, "--cert-dir", self.state / "pki/controllers",
                    "--service-account-private-key-file", self.accounts, "--root-ca-file", self.authority,
                    "--horizontal-pod-autoscaler-sync-period", "3s", "--horizontal-pod-autoscaler-initial-readiness-delay", "1s",
                    "--horizontal-pod-autoscaler-cpu-initialization-period", "1s", "--node-monitor-grace-period", "24h")
        self._start("kube-scheduler", *near, "--secure-port", self.scheduler, "--cert-dir", self.state / "pki/scheduler")
        # The controllers make it; without it no pod is accepted.
        wait_for(120, "the controllers work", self._serves)
        print(f"control plane ready in {time.monotonic() - begun:.0f} s")

    def _ready(self):
        for name, process in self.running:
            if process.poll() is not None:
                raise RuntimeError(f"{name} has ended: see {self.state}/log/{name}")
        try:
            return self.api.find("/apis/apps/v1/deployments") is not None
        except (OSError, Refused):
            return None

    def kubectl(self, *arguments, check=True, stdin=None):
        """What it printed; its error with what it said."""
        done = subprocess.run([str(self.servers / "kubectl"), "--kubeconfig", str(self.config), *map(str, arguments)],
                              input=stdin, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise RuntimeError(f"kubectl {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")
        return done.stdout + ("" if check else done.stderr)

    def stop(self):
        for _, process in reversed(self.running):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


if __name__ == "__main__":
    # By hand: plane.py SERVERS STATE, until it is interrupted.
    plane = Plane(sys.argv[1], sys.argv[2])
    try:
        plane.start()
        print(f"export KUBECONFIG={plane.config}", flush=True)
        os.read(0, 1)
    finally:
        plane.stop()
