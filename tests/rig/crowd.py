"""A crowd: a process that connects again and again until it has so many connections, and holds them.

`python -m tests.rig.crowd COUNT ENDPOINT...` says `{"held": N}` once a second on its output, N at each endpoint
together, and ends with its input. It never speaks on them: each takes a descriptor of the engine, and no more.
"""

import json
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from typing import Self

from tests.rig.processes import spawn
from tests.rig.waiting import wait_until

_AT_ONCE = 50


class Crowd:
    """The process. As a context manager it starts at once and ends."""

    def __init__(self, count: int, *endpoints: str) -> None:
        self.held = 0
        command = [sys.executable, "-m", "tests.rig.crowd", str(count), *endpoints]
        self._process = spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._thread = threading.Thread(target=self._read, name="rig-crowd", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: self.held > 0, 30, "a crowd")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.held = json.loads(line)["held"]


def _connect(endpoint: str) -> socket.socket | None:
    scheme, _, address = endpoint.partition("://")
    made = socket.socket(socket.AF_UNIX if scheme == "ipc" else socket.AF_INET)
    made.setblocking(False)
    host, _, port = address.rpartition(":")
    error = made.connect_ex(address if scheme == "ipc" else (host, int(port)))
    if error and error != 115:  # EINPROGRESS
        made.close()
        return None
    return made


def _is_over(made: socket.socket) -> bool:
    try:
        return not made.recv(4096)
    except BlockingIOError:
        return False
    except OSError:
        return True


def main(count: int, endpoints: list[str]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held: dict[str, list[socket.socket]] = {endpoint: [] for endpoint in endpoints}
    told = 0.0
    while not select.select([sys.stdin], [], [], 0.002)[0]:
        for endpoint, mine in held.items():
            for _ in range(min(_AT_ONCE, count - len(mine))):
                made = _connect(endpoint)
                if made is None:
                    break
                mine.append(made)
        if time.monotonic() > told + 1:
            told = time.monotonic()
            for mine in held.values():
                for each in [each for each in mine if _is_over(each)]:
                    mine.remove(each)
                    each.close()
            print(json.dumps({"held": sum(map(len, held.values()))}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
