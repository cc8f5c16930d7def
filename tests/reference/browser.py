"""A headless Chromium, driven as by a user: mouse events through the DevTools protocol, over pipes."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless=new --no-sandbox --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-gl=angle --use-angle=swiftshader "
    "--enable-unsafe-swiftshader --window-size=1280,900"
).split()


class Tab:
    """One open page. to, back: file numbers of the pipes that the browser listens and answers on."""

    def __init__(self, to: int, back: int, wait: float) -> None:
        self.to, self.back, self.wait = to, back, wait
        self.numbers, self.buffer, self.session = itertools.count(1), b"", None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one DevTools command; events that come in between are dropped."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self.to, rest) :]
        end = time.monotonic() + self.wait
        while True:
            while b"\0" in self.buffer:
                raw, _, self.buffer = self.buffer.partition(b"\0")
                answer = json.loads(raw)
                if answer.get("id") == number:
                    assert "error" not in answer, (method, answer["error"])
                    return answer["result"]
            ready, _, _ = select.select([self.back], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"the browser did not answer {method} within {self.wait} s"
            found = os.read(self.back, 1 << 16)
            assert found, f"the browser ended before it answered {method}"
            self.buffer += found

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is in the page; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, (expression, answer["exceptionDetails"])
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Waits for a JavaScript expression to become true."""
        end = time.monotonic() + self.wait
        while not self.value(f"!!({expression})"):
            assert time.monotonic() < end, f"still false after {self.wait} s: {expression}"
            time.sleep(0.05)

    def open(self, address: str) -> None:
        """Loads a page."""
        self.call("Page.navigate", url=address)
        self.until(f"location.href === {json.dumps(address)} && document.readyState === 'complete'")

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """One mouse event at a place of the window, in CSS pixels."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def centre(self, selector: str) -> tuple[float, float]:
        """Where the middle of an element is in the window, after scrolling to it."""
        return tuple(
            self.value(
                f"(() => {{ const node = document.querySelector({json.dumps(selector)});"
                "node.scrollIntoView({block: 'nearest', behavior: 'instant'});"
                "const box = node.getBoundingClientRect();"
                "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
            )
        )

    def click(self, selector: str) -> None:
        """Clicks the middle of an element."""
        place = self.centre(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, *place, button="left", clickCount=1)

    def drag(self, selector: str, right: float, down: float, button: str = "left", steps: int = 4) -> None:
        """Presses a mouse button in the middle of an element, moves the mouse by pixels, lets go."""
        x, y = self.centre(selector)
        held = {"button": button, "buttons": {"left": 1, "right": 2}[button]}
        self.mouse("mousePressed", x, y, clickCount=1, **held)
        for k in range(1, steps + 1):
            self.mouse("mouseMoved", x + right * k / steps, y + down * k / steps, **held)
        self.mouse("mouseReleased", x + right, y + down, button=button, clickCount=1)

    def picture(self, path: Path) -> None:
        """A PNG of the window."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextlib.contextmanager
def browser_tab(profile: Path, wait: float = 120.0) -> Iterator[Tab]:
    """An empty page in a browser of its own. wait: seconds for each step; software rendering is slow."""
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()
    # The browser reads from its file 3 and writes to its file 4.
    program = 'exec "$@" 3<&"$FROM" 4>&"$TO"'
    command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
    process = subprocess.Popen(
        ["bash", "-c", program, "browser", *command],
        env={**os.environ, "FROM": str(theirs_in), "TO": str(theirs_out)},
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        tab = Tab(ours_out, ours_in, wait)
        yield tab
        tab.session = None
        tab.call("Browser.close")
        process.wait(30)
    finally:
        process.kill()
        process.wait()
        os.close(ours_out)
        os.close(ours_in)
