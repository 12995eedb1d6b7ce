"""Processes full of subscribers, as plain pyzmq: how late messages come to each of many.

As a program: `python -m tests.rig.fan_out ENDPOINT NAME SOCKETS PAUSE_S TOPICS` subscribes, prints a line when all is
live, and reads until the engine's last words. Then it prints, a line a socket, JSON of the `seq` of the finals it was
given and the delays of all messages in ms. With PAUSE_S it waits so long after each message.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zmq

from tests.rig.processes import spawn
from tests.rig.waiting import scaled

ROOT = Path(__file__).parents[2]


class Readers:
    """One such process."""

    def __init__(self, endpoint: str, name: str, sockets: int, *, pause_s: float = 0.0, topics: str = "") -> None:
        """`topics`: prefixes behind the name, with commas between them."""
        command = [sys.executable, "-m", "tests.rig.fan_out", endpoint, name, str(sockets), str(pause_s), topics]
        self.process = spawn(command, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
        assert self.process.stdout is not None
        self._output = self.process.stdout

    def wait_until_live(self) -> None:
        """Return when all its subscriptions are proven to be live."""
        assert self._output.readline() == b"live\n"

    def freeze(self) -> None:
        """It reads no more."""
        self.process.send_signal(signal.SIGSTOP)

    def results(self) -> list[dict[str, Any]]:
        """What each socket was given, once the engine has said its last word."""
        output, _ = self.process.communicate(timeout=scaled(60))
        return [json.loads(line) for line in output.splitlines()]

    def close(self) -> None:
        """Be gone."""
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def reading(*readers: Readers) -> Iterator[None]:
    """They are live inside, and gone behind."""
    try:
        for each in readers:
            each.wait_until_live()
        yield
    finally:
        for each in readers:
            each.close()


def main(endpoint: str, name: str, count: str, pause_s: str, topics: str) -> None:
    """See above."""
    with zmq.Context() as context:
        poller, sockets = zmq.Poller(), []
        for number in range(int(count)):
            socket = context.socket(zmq.SUB)
            socket.setsockopt(zmq.LINGER, 0)
            for topic in topics.split(","):
                socket.subscribe(f"{name}.{topic}")
            socket.connect(endpoint)
            token = f"{name}.sync.{os.getpid()}-{number}".encode()
            socket.subscribe(token)
            while socket.recv_multipart()[0] != token:
                pass
            sockets.append(socket)
            poller.register(socket, zmq.POLLIN)
        print("live", flush=True)
        finals: dict[Any, list[int]] = {socket: [] for socket in sockets}
        delays: dict[Any, list[float]] = {socket: [] for socket in sockets}
        reading = set(sockets)
        while reading:
            for socket, _ in poller.poll():
                topic, body = socket.recv_multipart()
                now = time.time_ns()
                if b".sync." in topic:
                    continue
                message = json.loads(body)
                delays[socket].append(round((now - message["time_ns"]) / 1e6, 3))
                if topic.endswith(b".transcript.final"):
                    finals[socket].append(message["seq"])
                elif topic.endswith(b".status") and message["state"] == "stopped":
                    reading.discard(socket)
                time.sleep(float(pause_s))
        for socket in sockets:
            print(json.dumps({"finals": finals[socket], "delays_ms": delays[socket]}), flush=True)
            socket.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
