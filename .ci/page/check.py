"""The page /machine in a real browser: check.py SERVER CHROMIUM [PICTURES].

SERVER is the example `page`: a worker that goes from one state to the next when it is told so. In each of them the page, which was opened
once, must light what /machine.json says, by itself; it must ask for nothing from elsewhere and complain of nothing, be readable in light
and dark and on a phone, and be used by keyboard. With PICTURES, a folder, each of it is also taken as a picture.
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from browser import Browser

CONTRAST_MIN = 4.5  # WCAG 2.1, AA, for text
LOOKS = [("desktop", 1280, 900, 1), ("phone", 390, 844, 2)]
failed = []

LIT = "[...document.querySelectorAll('svg.machine .leaf.lit')].map(leaf => leaf.dataset.leaf).join()"
DIM = "[...document.querySelectorAll('svg.machine .leaf.dim')].map(leaf => leaf.dataset.leaf).join()"
COUNTS = "[...document.querySelectorAll('svg.machine .edge.taken text')].reduce((sum, text) => sum + Number(text.textContent), 0)"
# Of each text that is shown: how far its colour stands off what is behind it.
CONTRAST = """(() => {
  const numbers = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = (text) => {
    const [r, g, b] = numbers(text).map((part) => { const c = part / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const opaque = (text) => numbers(text).length === 3 || numbers(text)[3] > 0;
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const box = at instanceof SVGElement && at.querySelector(":scope > rect");
      const colour = box ? getComputedStyle(box).fill : getComputedStyle(at).backgroundColor;
      if (!(at instanceof SVGElement && !box) && opaque(colour)) return colour;
    }
    return "rgb(255,255,255)";
  };
  const worst = [];
  for (const element of document.querySelectorAll("main *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const shown = element.getClientRects().length && !element.closest(".dim, style, title, noscript");
    if (!own || !shown) continue;
    const ink = getComputedStyle(element);
    const colours = [light(element instanceof SVGElement ? ink.fill : ink.color), light(behind(element))].sort((one, other) => other - one);
    worst.push([(colours[0] + 0.05) / (colours[1] + 0.05), element.textContent.trim().slice(0, 40)]);
  }
  return worst.sort((one, other) => one[0] - other[0]).slice(0, 3);
})()"""


def check(name, good, said=""):
    print(("ok    " if good else "FAIL  ") + name, flush=True)
    if not good:
        failed.append(name)
        print("\n".join("      " + line for line in str(said).splitlines()[:20]), flush=True)


class Server:
    """The worker that is told when to go on."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.at = f"http://{self.process.stdout.readline().strip()}"

    def goes_on(self):
        """To its next state, whose leaf it gives."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def json(self, path):
        with urllib.request.urlopen(f"{self.at}/{path}", timeout=10) as answer:
            return json.load(answer)

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def shows(page, server, leaf):
    """That the page has come to this leaf without being asked to, and shows what the JSON says."""
    page.until(f"{leaf} to be lit", f"({LIT}) === '{leaf}'")
    told = server.json("machine.json")
    machine = told["machines"][0]
    check(f"{leaf} is lit, alone, as machine.json has it", machine["leaf"] == leaf, told)
    standing = page.until("the standing", "document.getElementById('standing').textContent.trim()")
    check(f"the page says {told['status']}", standing == told["status"], standing)
    counted = sum(edge[3] for edge in machine["edges"])
    page.until("the edges' counts", f"({COUNTS}) === {counted}")
    check(f"the edges bear {counted} transitions in all", True)
    last = machine["transitions"][-1]
    row = page.value("document.querySelector('#transitions tr').innerText")
    check("the newest transition stands first, with its cause", all(str(last[what]) in row for what in ("number", "from", "cause", "to")), row)
    dim = page.value(DIM).split(",")
    check("what cannot come any more is dimmed", ("Idle" in dim) == (machine["stopping"] is not None), dim)


def fits(page, name):
    """That it can be read here."""
    wide = page.value("[document.documentElement.scrollWidth, innerWidth]")
    check(f"{name}: the page is not wider than the window", wide[0] <= wide[1], wide)
    worst = page.value(CONTRAST)
    check(f"{name}: the least contrast of a text is {worst[0][0]:.1f}", worst[0][0] >= CONTRAST_MIN, worst)


def by_keyboard(page):
    """The second machine is chosen, and the picture scrolled to, without a pointer."""
    pressed = "[...document.querySelectorAll('#machines button')].map(button => button.getAttribute('aria-pressed')).join()"
    page.until("both machines", f"({pressed}) === 'true,false'")
    for _ in range(2):
        page.key("Tab", 9)
    focused = page.value("document.activeElement.dataset.machine")
    outlined = page.value("getComputedStyle(document.activeElement).outlineStyle")
    check("two tabs lead to the second machine, and it shows", (focused, outlined) == ("1", "solid"), (focused, outlined))
    page.key("Enter", 13, "\r")
    page.until("the second machine", f"({pressed}) === 'false,true'")
    page.key("Tab", 9)
    check("then to the picture", page.value("document.activeElement.id") == "picture")
    page.key("Tab", 9)
    said = page.value("document.activeElement.getAttribute('aria-label')")
    check("then to its leaves, which say their names", bool(said), said)
    page.value("document.activeElement.blur(); document.querySelector('#machines button').click()")
    page.until("the first machine again", f"({pressed}) === 'true,false'")


def walk(page, server, pictures):
    page.looks(1280, 900, "light")
    page.goes_to(f"{server.at}/machine")
    page.until("the page to be live", "document.getElementById('link')?.textContent === 'live'")
    for step, leaf in enumerate(iter(server.goes_on, "")):
        shows(page, server, leaf)
        if step == 0:
            by_keyboard(page)
        for name, width, height, scale in LOOKS:
            for scheme in ("light", "dark"):
                page.looks(width, height, scheme, scale)
                fits(page, f"{leaf}, {name}, {scheme}")
                if pictures:
                    page.goes_to(f"{server.at}/machine")  # as whoever opens it here sees it
                    page.until(f"{leaf} to be lit again", f"({LIT}) === '{leaf}'")
                    time.sleep(0.4)  # colours fade
                    page.shot(pictures / f"{leaf.lower()}-{name}-{scheme}.png")
    page.hears()
    check("nothing was complained of", not page.complaints, page.complaints)
    outside = [url for url in page.requests if not url.startswith(f"{server.at}/")]
    check(f"{len(page.requests)} requests, none of them elsewhere", page.requests and not outside, outside)
    server.stop()
    page.until("the lost server to be told", "document.getElementById('link').className === 'lost'")
    check("a server that is gone is told", True)


def main():
    program, chromium = sys.argv[1:3]
    pictures = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server, browser = Server(program), Browser(chromium, Path(folder))
        try:
            walk(browser.page(), server, pictures)
        except (TimeoutError, RuntimeError, OSError) as error:
            log = (Path(folder) / "chromium.log").read_text(errors="replace")
            check(f"{type(error).__name__}: {error}", False, log[-1500:])
        finally:
            browser.stop()
            server.stop()
    print(f"{len(failed)} failed, {time.monotonic() - begun:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
