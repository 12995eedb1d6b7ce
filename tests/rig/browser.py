"""A real Chromium without a window, driven by its DevTools protocol: pages, what stands in them, pictures of them."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import pytest
from websockets.sync.client import connect

from tests.rig.processes import spawn
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # containers allow no namespaces; all pages are ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


def program() -> str:
    """The browser's command; skips the test where there is none."""
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium here: scripts/install --browser")
    return found


class Browser:
    """The browser, until `close`."""

    def __init__(self) -> None:
        command = program()
        self._profile = Path(tempfile.mkdtemp(prefix="chromium-"))
        environment = {**os.environ, "HOME": str(self._profile)}
        self._log = (self._profile / "log").open("wb")
        self._process = spawn(
            [command, *_OPTIONS, f"--user-data-dir={self._profile}", "about:blank"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        try:
            port, path = wait_until(self._place, PATIENCE_S, "Chromium's DevTools")
            self._opened = contextlib.ExitStack()
            opening = connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None)
            self._socket = self._opened.enter_context(opening)
        except BaseException:
            self._end()
            raise
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser, and forget what it has stored."""
        self._opened.close()
        self._end()

    def page(self, url: str, *, width: int = 900, height: int = 600, script: str = "", is_dark: bool = True) -> "Page":
        """A new tab at `url`. `script` runs in it before the page's own."""
        target = self.call("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, target)
        page.call("Page.enable")
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        if script:
            page.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        page.call("Page.navigate", url=url)
        return page

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """The answer to a command of the protocol."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        self._socket.send(json.dumps(message))
        give_up = time.monotonic() + scaled(PATIENCE_S)
        while True:
            answer = json.loads(self._socket.recv(max(0.0, give_up - time.monotonic())))
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])

    def _place(self) -> list[str] | None:
        assert self._process.poll() is None, (self._profile / "log").read_text(errors="replace")
        try:
            lines = (self._profile / "DevToolsActivePort").read_text().split()
        except FileNotFoundError:
            return None
        return lines if len(lines) == 2 else None

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(scaled(10))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        shutil.rmtree(self._profile, ignore_errors=True)


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command of the protocol."""
        return self._browser.call(method, self._session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements that match."""
        return list(
            self.evaluate(f"[...document.querySelectorAll({json.dumps(selector)})].map(each => each.textContent)")
        )

    def wait_for(self, selector: str, texts: list[str], timeout: float = PATIENCE_S) -> None:
        """Wait until exactly these texts stand in the elements that match."""
        last: list[str] = []

        def are_there() -> bool:
            last[:] = self.texts(selector)
            return last == texts

        try:
            wait_until(are_there, timeout, "", every=0.05)
        except AssertionError:
            raise AssertionError(f"{selector}: {last}, not {texts}") from None

    def reload(self) -> None:
        """Load it again, as a person does."""
        self.call("Page.reload")

    def picture(self) -> bytes:
        """What it shows, as PNG, with what is transparent."""
        self.call("Emulation.setDefaultBackgroundColorOverride", color={"r": 0, "g": 0, "b": 0, "a": 0})
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", optimizeForSpeed=False)["data"])

    def close(self) -> None:
        """Close the tab."""
        self._browser.call("Target.closeTarget", targetId=self._target)
