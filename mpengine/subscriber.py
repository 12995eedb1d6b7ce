"""Results from an engine, as typed messages, in any other process. Imports neither numpy nor audio nor TLS."""

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import msgspec
import zmq

from mpengine.shared import messages, runtime, sockets
from mpengine.shared.config_tables import NAME
from mpengine.shared.decoding import UNREADABLE
from mpengine.shared.errors import ConfigError, EngineUnreachable
from mpengine.shared.messages import Published

_QUEUED_MESSAGES = 10_000
_KEY_CHARACTERS = 40

_FINALS = "transcript.final"


class _Stamp(msgspec.Struct):
    """What makes a message known."""

    run: str = ""
    seq: int = 0


_stamp: msgspec.json.Decoder[_Stamp] = msgspec.json.Decoder(_Stamp)
_decoder: msgspec.json.Decoder[Published] = msgspec.json.Decoder(Published)


class Subscriber:
    """Iterates over what an engine publishes, from now on; it may be started before the engine.

    Messages of types that this version does not know are skipped, and so is what is no message at all. Not to be
    shared between threads.
    """

    def __init__(
        self,
        name: str = "default",
        *,
        publish: str | None = None,
        topics: tuple[str, ...] = ("",),
        server_key: str | None = None,
    ) -> None:
        """`topics` are prefixes behind the name, as in ``("transcript.final", "gap")``; all by default.

        `server_key` is the engine's public CURVE key, for an engine that has one. Raises ConfigError when a name, an
        endpoint or a key cannot be one.
        """
        endpoint = _endpoint(publish, name, "results")
        self._last_final = ("", 0)  # its run and seq
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._socket = sockets.make(self._context, zmq.SUB, receive_hwm=_QUEUED_MESSAGES)
            for topic in topics:
                self._socket.setsockopt(zmq.SUBSCRIBE, f"{name}.{topic}".encode())
            _connect(self._socket, endpoint, "bus.publish", server_key)
        except BaseException:
            self.close()
            raise

    def receive(self, timeout_s: float | None = None) -> Published | None:
        """The next message; None when none came within `timeout_s`."""
        give_up = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            received = self.receive_raw(None if give_up is None else give_up - time.monotonic())
            if received is None:
                return None
            message = decode(received[1])
            if message is not None:
                return message

    def receive_raw(self, timeout_s: float | None = None) -> tuple[str, bytes] | None:
        """The next message as it came, of whatever type: its topic without the engine's name, and its JSON.

        A final that is repeated after a kill of the supervisor comes once. None when none came within `timeout_s`.
        """
        give_up = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            rest_ms = None if give_up is None else max(0, int((give_up - time.monotonic()) * 1000))
            if not self._socket.poll(rest_ms):
                return None
            parts = self._socket.recv_multipart()
            topic = parts[0].decode(errors="replace").partition(".")[2]
            # The answers to the sync subscriptions of others pass here too; they are no results.
            if len(parts) != 2 or topic.startswith("sync."):
                continue
            if topic != _FINALS or self._is_news(parts[1]):
                return topic, parts[1]

    def _is_news(self, final: bytes) -> bool:
        """Whether it did not come before: a supervisor that was killed and started again repeats its last ones."""
        try:
            stamp = _stamp.decode(final)
        except UNREADABLE:
            return True
        last_run, last_seq = self._last_final
        if stamp.run == last_run and 0 < stamp.seq <= last_seq:
            return False
        self._last_final = (stamp.run, stamp.seq)
        return True

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


def decode(body: bytes) -> Published | None:
    """The message in `body`; None for one of a type that this version does not know, and for what is none at all."""
    try:
        return _decoder.decode(body)
    except UNREADABLE:
        return None


def ask(
    question: messages.Command,
    *,
    name: str = "default",
    query: str | None = None,
    server_key: str | None = None,
    timeout_s: float = 3.0,
) -> bytes:
    """The engine's answer to `question`, as JSON. Raises EngineUnreachable when none comes.

    `server_key` is the engine's public CURVE key, for an engine that has one. Raises ConfigError when a name, an
    endpoint or a key cannot be one.
    """
    endpoint = _endpoint(query, name, "query")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        socket = sockets.make(context, zmq.REQ)
        _connect(socket, endpoint, "bus.query", server_key)
        socket.send(messages.encode(question))
        if not socket.poll(int(timeout_s * 1000)):
            raise EngineUnreachable(f'no engine called "{name}" answers at {endpoint}; {_hint(endpoint)}')
        return socket.recv()
    finally:
        context.destroy(linger=0)


def _hint(endpoint: str) -> str:
    """What to do when nobody answers. Over tcp, a wrong key and no engine look the same from here."""
    return (
        "start one with: mpengine run" if endpoint.startswith("ipc:") else "is it running, and is the server key right?"
    )


def _endpoint(configured: str | None, name: str, socket: str) -> str:
    """Where to connect. The name is checked in any case, it stands in the topics too."""
    if not NAME.fullmatch(name):
        raise ConfigError("engine.name", "expected 1 to 32 of A-Z a-z 0-9 _ -")
    return configured or runtime.endpoint(runtime.runtime_path(name), socket)


def _connect(socket: "zmq.Socket[bytes]", endpoint: str, path: str, server_key: str | None) -> None:
    """Connect, encrypted if there is a key. Raises ConfigError; `path` names the endpoint in it."""
    if server_key is not None:
        _encrypt(socket, server_key)
    try:
        socket.connect(endpoint)
    except (zmq.ZMQError, ValueError) as error:  # ValueError: text that is no UTF-8
        raise ConfigError(path, f"{error}; expected ipc://PATH or tcp://ADDRESS:PORT") from None


def _encrypt(socket: "zmq.Socket[bytes]", server_key: str) -> None:
    """CURVE, as a client whose own key is made up here: the engine lets in everyone who knows its public key."""
    public, secret = zmq.curve_keypair()
    socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
    try:
        # Filled up, because libzmq takes 32 characters for a key that is not in Z85.
        socket.setsockopt(zmq.CURVE_SERVERKEY, server_key.encode("ascii").ljust(_KEY_CHARACTERS))
    except (zmq.ZMQError, ValueError):
        raise ConfigError("server_key", "expected the engine's public CURVE key, 40 characters (Z85)") from None
