"""`mpengine web` as its users start it, and its clients: plain requests, and readers of its events."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.rig.processes import spawn
from tests.rig.server import reserve_port
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

COMMAND = (sys.executable, "-m", "mpengine", "web")
"""How it is started."""


class Web:
    """`mpengine web ARGUMENTS`, for the engines below `runtime`. It keeps its port over a stop and a start."""

    def __init__(self, runtime: Path, *arguments: str, host: str = "127.0.0.1") -> None:
        self.host, self.port = host, reserve_port()
        self.arguments = [*arguments, "--listen", f"{host}:{self.port}"]
        self._runtime = runtime
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            with self._process:
                self._process.kill()

    def start(self) -> Self:
        """Start it; it answers when this returns."""
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(self._runtime), "PYTHONWARNINGS": "error"}
        command = [*COMMAND, *self.arguments]
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
        self._process = spawn(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline().decode()
        assert said.startswith("captions of "), said
        return self

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        """The page."""
        return f"http://{self.host}:{self.port}/"

    def send_signal(self, how: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(how)

    def wait(self) -> int:
        """Its exit code."""
        assert self._process is not None
        return self._process.wait(scaled(PATIENCE_S))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit code."""
        self.send_signal(how)
        return self.wait()

    def kill(self) -> None:
        """End it without a word."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def written(self) -> str:
        """What it has written after its first line, once it has ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.read().decode()

    def get(self, path: str, *, method: str = "GET", **headers: str) -> "Got":
        """The answer to a request; `_` in the names of headers stands for `-`."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=scaled(PATIENCE_S))
        with contextlib.closing(connection):
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return Got(answer.status, fields, answer.read().decode())

    def until(self, path: str, is_there: Callable[["Got"], Any]) -> "Got":
        """Ask until the answer is as wanted."""
        last: list[Got] = []

        def asked() -> bool:
            last[:] = [self.get(path)]
            return bool(is_there(last[0]))

        try:
            wait_until(asked, PATIENCE_S, path, every=0.05)
        except AssertionError:
            raise AssertionError(f"{path}: {last}") from None
        return last[0]

    def events(self, query: str = "", *, last_id: str = "", **headers: str) -> "Events":
        """A new reader."""
        return Events(self.host, self.port, query, {**({"Last-Event-ID": last_id} if last_id else {}), **headers})


class Got(NamedTuple):
    """An answer."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        """Its JSON."""
        return json.loads(self.text)


class Event(NamedTuple):
    """One event. `id` is that of the last one that had an id."""

    id: str
    data: dict[str, Any]


class Events:
    """A reader of /events."""

    def __init__(self, host: str, port: int, query: str, headers: dict[str, str]) -> None:
        self._socket = socket.create_connection((host, port), timeout=scaled(PATIENCE_S))
        lines = [f"GET /events?{query} HTTP/1.0", f"Host: {host}:{port}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.file = self._socket.makefile("rb")
        self.head = list(iter(lambda: self.file.readline().decode().rstrip(), ""))
        self.id = ""
        self.comments = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self._socket.close()

    def __iter__(self) -> Iterator[Event]:
        """The events, until the server ends the answer."""
        # A line without an end is torn: as a browser does, it is left out.
        while (line := self._line()).endswith(b"\n"):
            line = line.rstrip(b"\n")
            if line.startswith(b"id: "):
                self.id = line[4:].decode()
            elif line.startswith(b"data: "):
                yield Event(self.id, json.loads(line[6:]))
            elif line.startswith(b":"):
                self.comments += 1

    def _line(self) -> bytes:
        try:
            return self.file.readline()
        except ConnectionError:  # the server has ended the connection before all was read
            return b""

    def next(self, *kinds: str) -> Event:
        """The next event of these types, or of any."""
        give_up = time.monotonic() + scaled(PATIENCE_S)
        for event in self:
            if not kinds or event.data["type"] in kinds:
                return event
            assert time.monotonic() < give_up, f"no {kinds}"
        raise AssertionError("the answer has ended")

    def finals(self, count: int) -> list[str]:
        """The texts of the next finals."""
        texts: list[str] = []
        while len(texts) < count:
            event = self.next("transcript")
            texts += [event.data["text"]] if event.data["is_final"] else []
        return texts


def seq_of(event_id: str) -> int:
    """The number in an id of one engine."""
    found = re.fullmatch(r"[0-9a-z]+:(\d+)", event_id)
    assert found, event_id
    return int(found[1])
