"""The benchmark's end of `tests.bench.sink`: started, asked, ended."""

import functools
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

import trustme

from tests.rig.processes import spawn
from tests.rig.waiting import scaled, wait_until

ROOT = Path(__file__).parents[2]
SYSTEM_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


class Connection(NamedTuple):
    """What the server knows of one connection; times are monotonic ns, 0 when there was none."""

    port: int
    number: int
    opened_ns: int
    first_ns: int
    last_ns: int
    ended_ns: int
    frames: int
    audio_bytes: int
    mask_errors: int
    texts: list[str]


class SinkServer:
    """Context manager. `interim_s`, `final_s`: how much audio there is to an interim and to a final result."""

    def __init__(self, *, interim_s: float = 1.0, final_s: float = 3.0) -> None:
        self._arguments = (str(interim_s), str(final_s))
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="mpbench-")
        chain = Path(self._directory.name, "server.pem")
        server = _authority().issue_cert("127.0.0.1", "localhost")
        server.private_key_and_cert_chain_pem.write_to_path(str(chain))
        # As on any machine: the trusted authorities are the system's, some 140, and ours among them.
        known = SYSTEM_AUTHORITIES.read_bytes() if SYSTEM_AUTHORITIES.exists() else b""
        Path(self.ca_file).write_bytes(known + _authority().cert_pem.bytes())
        # A session of its own: a Ctrl-C is for whoever measures, and ends this one by the end of its input.
        self._process = spawn(
            [sys.executable, "-m", "tests.bench.sink", chain, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        if self._directory is not None:
            self._directory.cleanup()

    @property
    def ca_file(self) -> str:
        """The authorities that clients shall trust."""
        assert self._directory is not None
        return str(Path(self._directory.name, "authorities.pem"))

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        return self._process.pid

    def listen(self, *, tls: bool) -> int:
        """One more port; whoever connects to it is known by it."""
        return int(self._ask({"do": "listen", "tls": tls})["port"])

    def keep_audio(self, keep: bool) -> None:
        """From now on, for `save`."""
        self._ask({"do": "keep", "audio": keep})

    def save(self, directory: str) -> None:
        """Write audio and times of each connection to DIRECTORY/NUMBER.pcm and .times."""
        self._ask({"do": "save", "directory": directory})

    def connections(self, port: int) -> list[Connection]:
        """All that came to `port`, in order."""
        told = [Connection(**each) for each in self._ask({"do": "report"})["connections"]]
        return [each for each in told if each.port == port]

    def wait_for_audio(
        self, port: int, trouble: Callable[[], str] = str, *, count: int = 1, timeout: float = 30
    ) -> Connection:
        """The latest connection to `port`, once it has brought `count` bytes; `trouble` says why it never will."""

        def found() -> Connection | None:
            assert not (why := trouble()), why
            latest = self.connections(port)[-1:]
            return latest[0] if latest and latest[0].audio_bytes >= count else None

        found_one = wait_until(found, timeout, f"{count} bytes of audio on port {port}", every=0.02)
        assert found_one is not None
        return found_one

    def _ask(self, request: dict[str, Any], timeout: float = 20) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        line, deadline = b"", time.monotonic() + scaled(timeout)
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"the server did not answer {request} within {scaled(timeout):g} s"
            part = os.read(process.stdout.fileno(), 1 << 20)
            assert part, f"the server has ended with {process.wait(5)}"
            line += part
        answer: dict[str, Any] = json.loads(line)
        return answer


@functools.cache
def _authority() -> trustme.CA:
    return trustme.CA()
