"""A client of the API server, as small as the checks need: JSON over HTTPS with a bearer token. It keeps no state and watches nothing."""

import json
import ssl
import time
import urllib.error
import urllib.request

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


class Refused(Exception):
    """The server said no: its code and what it said."""

    def __init__(self, code, body):
        super().__init__(f"{code}: {body.get('message', body)}")
        self.code, self.body = code, body


class Api:
    def __init__(self, url, authority, token):
        self.url, self.authority, self.token = url, authority, token
        self.context = ssl.create_default_context(cafile=authority)

    def as_bearer(self, token):
        """The same server, asked by somebody else."""
        return Api(self.url, self.authority, token)

    def call(self, method, path, body=None, kind="application/json"):
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Authorization", "Bearer " + self.token)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, context=self.context, timeout=20) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            try:
                raise Refused(error.code, json.loads(text)) from None
            except ValueError:
                raise Refused(error.code, {"message": text}) from None

    def get(self, path):
        return self.call("GET", path)

    def find(self, path):
        """What is there, or nothing."""
        try:
            return self.get(path)
        except Refused as refused:
            if refused.code == 404:
                return None
            raise

    def create(self, path, body):
        return self.call("POST", path, body)

    def patch(self, path, body, kind=MERGE):
        return self.call("PATCH", path, body, kind)

    def delete(self, path, body=None):
        return self.call("DELETE", path, body)

    def evict(self, namespace, pod):
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
        return self.create(f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", body)


def wait_for(seconds, what, condition):
    """Until the condition holds, and what it gave; an error that names it when the time is over."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.2)
