"""A headless Chromium, told what to do through a pipe: no driver, no port, no package.

It is the DevTools protocol, a message of JSON ended by a zero byte. A limit stands on every wait.
"""

import base64
import json
import os
import queue
import subprocess
import threading
import time

LIMIT_SECONDS = 60
FLAGS = [
    "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--mute-audio",
]


class Browser:
    def __init__(self, program, folder):
        told_read, self.tell = os.pipe()
        self.hear, said_write = os.pipe()

        def as_it_expects():
            os.dup2(told_read, 103)
            os.dup2(said_write, 104)
            os.dup2(103, 3)
            os.dup2(104, 4)

        log = open(folder / "chromium.log", "wb")  # noqa: SIM115, it is the process's
        self.process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={folder / 'chromium'}", "about:blank"], preexec_fn=as_it_expects, pass_fds=(3, 4),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )
        os.close(told_read)
        os.close(said_write)
        self.answers, self.events, self.last = {}, queue.Queue(), 0
        self.came = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        with os.fdopen(self.hear, "rb") as stream:
            rest = b""
            while chunk := stream.read1(65536):
                *whole, rest = (rest + chunk).split(b"\0")
                for message in map(json.loads, whole):
                    if "id" in message:
                        with self.came:
                            self.answers[message["id"]] = message
                            self.came.notify_all()
                    else:
                        self.events.put(message)

    def ask(self, method, session=None, **parameters):
        self.last += 1
        number = self.last
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self.tell, json.dumps(message).encode() + b"\0")
        with self.came:
            if not self.came.wait_for(lambda: number in self.answers, LIMIT_SECONDS):
                raise TimeoutError(f"the browser does not answer {method}")
            answer = self.answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def page(self):
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        return Page(self, self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Page:
    """One tab, and what it asked for and complained of."""

    def __init__(self, browser, session):
        self.browser, self.session = browser, session
        self.requests, self.complaints = [], []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **parameters):
        return self.browser.ask(method, self.session, **parameters)

    def looks(self, width, height, scheme, scale=1):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=width < 600)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def goes_to(self, url):
        self.ask("Page.navigate", url=url)

    def hears(self):
        """Takes in what happened so far."""
        while not self.browser.events.empty():
            event = self.browser.events.get()
            method, told = event["method"], event.get("params", {})
            if event.get("sessionId") != self.session:
                continue
            if method == "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])
            elif method == "Runtime.exceptionThrown":
                self.complaints.append(told["exceptionDetails"].get("exception", {}).get("description", "an exception"))
            elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
                self.complaints.append(str(told["args"]))
            elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")

    def value(self, script):
        answer = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, what, script):
        """What the script gives once that is true."""
        end = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < end:
            got = self.value(script)
            if got:
                return got
            time.sleep(0.05)
        raise TimeoutError(f"waited in vain for {what}")

    def key(self, name, code, text=""):
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, text=text if kind == "keyDown" else "")

    def shot(self, path):
        taken = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))
