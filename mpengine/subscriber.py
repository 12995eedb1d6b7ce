"""Results from an engine, as typed messages, in any other process. Imports neither numpy nor audio nor TLS."""

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import msgspec
import zmq

from mpengine.shared import messages, runtime, sockets
from mpengine.shared.errors import EngineUnreachable
from mpengine.shared.messages import Published

_decoder: msgspec.json.Decoder[Published] = msgspec.json.Decoder(Published)


class Subscriber:
    """Iterates over what an engine publishes, from now on; it may be started before the engine.

    Messages of types that this version does not know are skipped. Not to be shared between threads.
    """

    def __init__(self, name: str = "default", *, publish: str | None = None, topics: tuple[str, ...] = ("",)) -> None:
        """`topics` are prefixes behind the name, as in ``("transcript.final", "gap")``; all by default."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = sockets.make(self._context, zmq.SUB, receive_hwm=10_000)
        for topic in topics:
            self._socket.setsockopt(zmq.SUBSCRIBE, f"{name}.{topic}".encode())
        self._socket.connect(publish or runtime.endpoint(runtime.runtime_path(name), "results"))

    def receive(self, timeout_s: float | None = None) -> Published | None:
        """The next message; None when none came within `timeout_s`."""
        give_up = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            rest_ms = None if give_up is None else max(0, int((give_up - time.monotonic()) * 1000))
            if not self._socket.poll(rest_ms):
                return None
            parts = self._socket.recv_multipart()
            try:
                return _decoder.decode(parts[-1])
            except msgspec.DecodeError:
                continue

    def __iter__(self) -> Iterator[Published]:
        while True:
            message = self.receive()
            if message is not None:
                yield message

    def close(self) -> None:
        """Let go of the socket."""
        self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def ask(
    question: messages.Command, *, name: str = "default", query: str | None = None, timeout_s: float = 3.0
) -> bytes:
    """The engine's answer to `question`, as JSON. Raises EngineUnreachable when none comes."""
    endpoint = query or runtime.endpoint(runtime.runtime_path(name), "query")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        socket = sockets.make(context, zmq.REQ)
        socket.connect(endpoint)
        socket.send(messages.encode(question))
        if not socket.poll(int(timeout_s * 1000)):
            raise EngineUnreachable(f'no engine called "{name}" answers at {endpoint}; start one with: mpengine run')
        return socket.recv()
    finally:
        context.destroy(linger=0)
