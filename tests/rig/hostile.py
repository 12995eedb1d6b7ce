"""Programs that do to an engine's sockets what they must not: `python -m tests.rig.hostile DIRECTORY COUNT SEED`.

COUNT of them run as threads of one process until its input ends; each does one thing after another, by chance. None
sends a command that an engine obeys, for they are the engine's own user: `stop` would stop it.
"""

import contextlib
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import zmq

from tests.rig.processes import spawn

_PUBLIC = ("results", "query", "command")
_ALL = (*_PUBLIC, "control", "frames")
_GREETING = b"\xff\0\0\0\0\0\0\0\1\x7f\3"
_SNAPSHOT = b'{"type":"snapshot","since":0}'
_ODD = (
    b"",
    b"\xff\xfe{",
    b"[" * 2000,
    b'{"type":"snapshot","since":-1}',
    b'{"type":"snapshot","since":1e400}',
    b'{"type":"set_user_name","user_name":7}',
    b'{"type":["stop"]}',
    b'{"type":"\\ud800"}',
    b"null",
)


class HostileClients:
    """The process. As a context manager it starts at once and ends."""

    def __init__(self, directory: Path, count: int, seed: int = 1) -> None:
        self._command = [sys.executable, "-m", "tests.rig.hostile", str(directory), str(count), str(seed)]

    def __enter__(self) -> Self:
        self._process = spawn(self._command, stdin=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    @property
    def is_running(self) -> bool:
        """False where it has failed."""
        return self._process.poll() is None


class _Client:
    """One of them."""

    def __init__(self, directory: Path, context: "zmq.Context[Any]", chance: random.Random) -> None:
        self._directory, self._context, self._chance = directory, context, chance
        self._kinds: list[Callable[[], None]] = [
            self._holds,
            self._garbage,
            self._half_a_greeting,
            self._comes_and_goes,
            self._deaf,
            self._subscribes_without_end,
            self._long_topics,
            self._no_subscription,
            self._asks_and_does_not_read,
            self._odd_questions,
            self._long_questions,
            self._a_second_reader,
            self._a_false_child,
        ]

    def one(self) -> None:
        """Do one of these things, and then wait for a moment."""
        with contextlib.suppress(OSError, zmq.ZMQError):  # the engine's end of it, or there is no such socket now
            self._chance.choice(self._kinds)()
        time.sleep(self._chance.uniform(0.2, 2.0))

    # Bare connections

    @contextlib.contextmanager
    def _connected(self, *names: str) -> Any:
        with socket.socket(socket.AF_UNIX) as made:
            made.settimeout(2.0)
            made.connect(str(self._directory / self._chance.choice(names or _ALL)))
            yield made

    def _holds(self) -> None:
        with self._connected():
            time.sleep(self._chance.uniform(1.0, 10.0))

    def _garbage(self) -> None:
        with self._connected() as made:
            made.sendall(self._chance.randbytes(self._chance.randrange(1, 5000)))
            made.recv(4096)

    def _half_a_greeting(self) -> None:
        with self._connected() as made:
            made.sendall(_GREETING[: self._chance.randrange(1, len(_GREETING))])
            time.sleep(self._chance.uniform(1.0, 5.0))

    def _comes_and_goes(self) -> None:
        for _ in range(20):
            with self._connected():
                pass

    # With libzmq

    @contextlib.contextmanager
    def _socket(self, kind: int, name: str, **options: Any) -> Any:
        with self._context.socket(kind) as made:
            made.setsockopt(zmq.LINGER, 0)
            made.setsockopt(zmq.SNDTIMEO, 2000)  # who was refused has nobody left to send to
            for option, value in options.items():
                made.setsockopt(getattr(zmq, option), value)
            made.connect(f"ipc://{self._directory}/{name}")
            yield made

    def _deaf(self) -> None:
        with self._socket(zmq.SUB, "results", RCVHWM=1) as made:
            made.subscribe(b"")
            time.sleep(self._chance.uniform(2.0, 15.0))

    def _subscribes_without_end(self) -> None:
        with self._socket(zmq.SUB, "results", SNDHWM=0) as made:
            for number in range(300):
                made.subscribe(f"rig.{number:0200}".encode())
            time.sleep(1.0)

    def _long_topics(self) -> None:
        with self._socket(zmq.SUB, "results") as made:
            made.subscribe(b"rig." + b"x" * self._chance.choice((300, 5000)))
            time.sleep(1.0)

    def _no_subscription(self) -> None:
        with self._socket(zmq.XSUB, "results") as made:
            made.send(b"\7" + self._chance.randbytes(20))
            time.sleep(1.0)

    def _asks_and_does_not_read(self) -> None:
        with self._socket(zmq.DEALER, "query", RCVHWM=1, SNDHWM=0) as made:
            for _ in range(100):
                made.send_multipart([b"", _SNAPSHOT], zmq.NOBLOCK)
            time.sleep(self._chance.uniform(1.0, 5.0))

    def _odd_questions(self) -> None:
        with self._socket(zmq.DEALER, self._chance.choice(("query", "command"))) as made:
            for each in _ODD:
                made.send_multipart([b"", each] if self._chance.random() < 0.8 else [each] * 6)
            made.poll(1000)

    def _long_questions(self) -> None:
        with self._socket(zmq.DEALER, self._chance.choice(("query", "command"))) as made:
            made.send_multipart([b"", b" " * (1 << 20)])
            made.send_multipart([b"", *[b"x" * 4000] * 50, _SNAPSHOT])
            time.sleep(0.5)

    def _a_second_reader(self) -> None:
        with self._socket(zmq.PULL, "frames") as made:
            made.poll(1000)

    def _a_false_child(self) -> None:
        with self._socket(zmq.DEALER, "control", IDENTITY=b"capture") as made:
            made.send(json.dumps({"type": "beat"}).encode())
            made.poll(1000)


def main(directory: Path, count: int, seed: int) -> None:
    is_over = threading.Event()
    with zmq.Context() as context:

        def work(number: int) -> None:
            client = _Client(directory, context, random.Random(seed * 1000 + number))
            while not is_over.is_set():
                client.one()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
        for each in threads:
            each.start()
        sys.stdin.read()
        is_over.set()
        for each in threads:
            each.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
