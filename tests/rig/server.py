"""What both fake recognisers share: real connections, a record of all that came, faults on request."""

import asyncio
import http
import json
from collections.abc import Callable, Iterable
from typing import Any

from websockets.datastructures import Headers
from websockets.http11 import Response

from tests.rig.connection import Connection
from tests.rig.echo import Echo
from tests.rig.record import Received
from tests.rig.serving import Serving, reserve_port
from tests.rig.waiting import PATIENCE_S, scaled

__all__ = ["Responder", "Server", "reserve_port"]

Responder = Callable[[Connection, int], Iterable[Any]]
"""Called with a connection and the samples it has received, after every audio frame and once more with
`connection.finishing` set when the client asks for its last results; returns the messages to send
(`connection.transcript(...)` makes them). It may act on the connection too: `connection.reset()`."""


class Server(Serving):
    """A recogniser's side of the wire. Use as a context manager, or `start()` and `close()`.

    Knobs, settable at any time; they hold for what happens next:
    responder          what answers the audio (see Responder); None: nobody does
    echoing            at construction: an interim every 0.5 s of audio, a final every 2 s (see Echo)
    muted              receive as before, but let no responder answer (a recogniser that went silent)
    upgrade_delay_s    wait so long before answering an upgrade
    holds_upgrades     do not answer upgrades before `answer_upgrades()`: so a test can first listen to the engine
    flush_delay_s      what the recogniser needs for its last results
    answer_pings       False: leave the client's pings unanswered on connections made from now on
    receive_buffer     at construction: bytes of kernel buffer per connection; a small one lets a client feel
                       soon that nobody reads
    """

    path = "/"

    def __init__(
        self,
        *,
        tls: bool = False,
        port: int = 0,
        responder: Responder | None = None,
        echoing: bool = False,
        upgrade_delay_s: float = 0.0,
        holds_upgrades: bool = False,
        flush_delay_s: float = 0.0,
        answer_pings: bool = True,
        receive_buffer: int = 0,
    ) -> None:
        super().__init__(tls=tls, port=port, receive_buffer=receive_buffer)
        self.responder: Responder | None = Echo() if echoing else responder
        self.muted = False
        self.upgrade_delay_s, self.flush_delay_s = upgrade_delay_s, flush_delay_s
        self.holds_upgrades = holds_upgrades
        self.held_upgrades: list[Callable[[], None]] = []
        self.answer_pings = answer_pings
        self.attempts: list[Connection] = []
        """every upgrade that was asked for, refused ones too"""
        self.connections: list[Connection] = []
        """those that were granted, in order; they stay here when they have ended"""
        self._refusals: list[Response] = []

    @property
    def url(self) -> str:
        """Where clients find the recogniser."""
        return self.address + self.path

    # Faults.

    def refuse(
        self,
        status: int,
        headers: dict[str, str] | None = None,
        body: str | dict[str, Any] = "",
        times: int = 1,
    ) -> None:
        """Answer the next `times` upgrades with this HTTP status (0: none any more)."""
        text = body if isinstance(body, str) else json.dumps(body)
        kind = "text/plain" if isinstance(body, str) else "application/json"
        with self.changed:
            self._refusals = [_response(status, {"Content-Type": kind} | (headers or {}), text) for _ in range(times)]

    def refuse_in_turn(self, *statuses: int, headers: dict[str, str] | None = None) -> None:
        """Answer the next upgrades with these HTTP statuses, each of them once."""
        with self.changed:
            self._refusals = [_response(status, headers) for status in statuses]

    @property
    def current(self) -> Connection:
        """The newest connection that is still open."""
        with self.changed:
            for connection in reversed(self.connections):
                if connection.open:
                    return connection
        raise AssertionError(f"no open connection; {self.describe()}")

    def push(self, message: Any) -> None:
        """Send a dict (as JSON), str (text frame) or bytes (binary frame) to the current connection."""
        self.current.send(message)

    def answer_upgrades(self) -> None:
        """Answer the upgrades that were held, and from now on each at once."""

        def answer() -> None:
            self.holds_upgrades = False
            while self.held_upgrades:
                self.held_upgrades.pop(0)()

        self.run(answer)

    # Waiting.

    def wait_for(self, predicate: Callable[[], Any], timeout: float = PATIENCE_S, what: str = "") -> Any:
        """Wait until `predicate()` is true, asked again after all that happens here; returns its answer."""
        with self.changed:
            answer = self.changed.wait_for(predicate, scaled(timeout))
        if not answer:
            what = what or "the predicate"
            raise AssertionError(f"waited {scaled(timeout):g} s in vain for {what}; {self.describe()}")
        return answer

    def wait_for_connection(self, number: int = 1, timeout: float = PATIENCE_S) -> Connection:
        """Wait until `number` connections have been made in all; returns the last of these."""
        self.wait_for(lambda: len(self.connections) >= number, timeout, f"connection {number}")
        return self.connections[number - 1]

    def wait_for_audio(self, n_bytes: int, timeout: float = PATIENCE_S, connection: Connection | None = None) -> None:
        """Wait until so many bytes of audio came, over all connections or on the given one."""

        def enough() -> bool:
            counted = self.connections if connection is None else [connection]
            return sum(each.audio_bytes for each in counted) >= n_bytes

        self.wait_for(enough, timeout, f"{n_bytes} bytes of audio")

    def wait_for_text(self, kind: str, timeout: float = PATIENCE_S, count: int = 1) -> Received:
        """Wait for the `count`-th text message with that `type`, over all connections; returns it."""

        def found() -> list[Received]:
            texts = [text for connection in self.connections for text in connection.texts]
            return [text for text in texts if isinstance(text.json, dict) and text.json.get("type") == kind]

        self.wait_for(lambda: len(found()) >= count, timeout, f"{count} x {kind}")
        return found()[count - 1]

    def wait_for_end(self, connection: Connection, timeout: float = PATIENCE_S) -> None:
        """Wait until TCP of that connection has ended."""
        self.wait_for(lambda: connection.closed_at is not None, timeout, f"the end of connection {connection.number}")

    @property
    def audio(self) -> bytes:
        """The audio of all connections, one after the other."""
        with self.changed:
            return b"".join(connection.audio for connection in self.connections)

    @property
    def violations(self) -> list[str]:
        """What clients must never do and did; a test ends with `assert not server.violations`."""
        with self.changed:
            return [violation for attempt in self.attempts for violation in attempt.violations]

    def describe(self) -> str:
        """What has happened so far, for a failure's message."""
        with self.changed:
            lines = [
                f"#{c.number or '-'} {c.status} {'open' if c.open else 'ended'}, {c.audio_bytes} bytes, "
                f"texts {[t.data[:80] for t in c.texts[-3:]]}, closed by the client with {c.close_received}"
                for c in self.attempts
            ]
            return f"{type(self).__name__} at {self.address}: {lines}, {self.network_errors[-3:]}"

    # What the protocols fill in. All of it runs in the server's thread, under `changed`.

    def refusal(self, connection: Connection) -> Response | None:
        """The answer that refuses this upgrade, None to grant it."""
        if self._refusals:
            return self._refusals.pop(0)
        return None if connection.path == self.path else _response(404)

    def response_headers(self, connection: Connection) -> dict[str, str]:
        """Headers added to every answer to an upgrade."""
        return {}

    def opened(self, connection: Connection) -> None:
        """A connection was upgraded."""

    def audio_received(self, connection: Connection) -> None:
        """More audio came."""
        self.respond(connection)

    def text_received(self, connection: Connection, text: Received) -> None:
        """A text message came."""

    def close_received(self, connection: Connection) -> None:
        """The client's close frame came and awaits `connection.answer_close()`."""
        connection.answer_close()

    def transcript(self, connection: Connection, text: str, start: int, end: int, **fields: Any) -> Any:
        """A result message for samples [start, end) of that connection. Fields: `final` (True), `words` as
        (word, start, end) in samples, `speech_final`, `from_finalize`, `confidence`."""
        raise NotImplementedError

    def respond(self, connection: Connection, *, last: bool = False) -> None:
        """Let the responder answer what there is; with `last`, all it still has."""
        if self.responder is None or self.muted:
            return
        connection.finishing = last
        for message in self.responder(connection, connection.samples):
            connection.send(message)
        connection.finishing = False

    def _protocol_factory(self) -> asyncio.Protocol:
        return Connection(self)


def _response(status: int, headers: dict[str, str] | None = None, body: str = "") -> Response:
    fixed = {"Content-Length": str(len(body.encode())), "Connection": "close"}
    return Response(status, http.HTTPStatus(status).phrase, Headers(fixed | (headers or {})), body.encode())
