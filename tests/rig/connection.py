"""One client's connection: real WebSocket frames, and the faults that can be made to happen to it."""

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from tests.rig.record import Received, Record

if TYPE_CHECKING:
    from tests.rig.server import Server

CLOSE_ANSWER_S = 5.0


class _Protocol(ServerProtocol):
    """websockets' sans-I/O server, except that a client's close and pings are answered when *we* say so.

    The library answers a close frame the moment it is parsed; a proxy first sends its last transcripts."""

    answer_pings = True

    def recv_frame(self, frame: Frame) -> None:
        held = frame.opcode is Opcode.CLOSE and self.state is State.OPEN
        if held or (frame.opcode is Opcode.PING and not self.answer_pings):
            self.events.append(frame)
        else:
            super().recv_frame(frame)

    def answer_close(self, frame: Frame) -> None:
        super().recv_frame(frame)
        self.events.clear()


class Connection(Record, asyncio.Protocol):
    """All of it happens in the server's thread; the methods without underscore may be called from any."""

    def __init__(self, server: "Server") -> None:
        super().__init__(server)
        self.frozen = False
        self._partial: tuple[Opcode, bytearray] | None = None
        self._close_frame: Frame | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._protocol = _Protocol(max_size=None)
        self._protocol.answer_pings = server.answer_pings
        self._transport: Any = None

    # What a test, or a responder, does to it.

    def send(self, message: Any) -> None:
        """Send a dict (as JSON text), a str (as text) or bytes (as a binary frame)."""
        if not isinstance(message, str | bytes):
            message = json.dumps(message)
        opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
        data = message.encode() if isinstance(message, str) else message
        self.send_raw(Frame(opcode, data).serialize(mask=False))

    def send_raw(self, data: bytes) -> None:
        """Put bytes on the wire as they are: half a frame, a lying length, garbage."""
        self.server.run(self._write, data)

    @property
    def waiting_bytes(self) -> int:
        """How much of what was sent waits in this process, because the client does not read."""
        return int(self._transport.get_write_buffer_size())

    def ping(self, data: bytes = b"rig") -> None:
        """Ping the client; the pong appears in `of_kind("pong")`."""
        self.send_raw(Frame(Opcode.PING, data).serialize(mask=False))

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close from the server's side: close frame, the client's answer awaited, TCP ended."""
        self.server.run(self._close, code, reason)

    def drop(self) -> None:
        """End TCP without a close frame (a FIN: what a crashed proxy's kernel sends)."""
        self.server.run(self._transport.close)

    def reset(self) -> None:
        """End TCP by RST; what was still to be sent is thrown away."""
        self.server.run(self._reset)

    def half_open(self) -> None:
        """Fall silent without ending anything: nothing is read, nothing written, TCP stays."""
        self.frozen = True
        self.stop_reading()

    def stop_reading(self) -> None:
        """Read no more, so that the client's writes fill the kernel's buffers and then block."""
        self.server.run(self._stop_reading)

    def resume_reading(self) -> None:
        """Undo `stop_reading`."""
        self.server.run(self._transport.resume_reading)

    def transcript(self, text: str, start: int, end: int, *, final: bool = True, **fields: Any) -> Any:
        """A result message of this server's protocol for samples [start, end) of this connection."""
        return self.server.transcript(self, text, start, end, final=final, **fields)

    # The server's thread.

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do `action` after `delay_s` seconds, unless the connection has ended by then."""
        if delay_s <= 0:
            action()
        else:
            loop = asyncio.get_running_loop()
            self._timers.append(loop.call_later(delay_s, self._guarded, action))

    def answer_close(self) -> None:
        """Answer the client's close frame, which ends the connection."""
        if self._close_frame is not None and self._protocol.state is State.OPEN:
            self._protocol.answer_close(self._close_frame)
            self.close_sent = self._protocol.close_sent
            self._flush()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.server.transports.add(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        for timer in self._timers:
            timer.cancel()
        with self.server.changed:
            self.server.transports.discard(self._transport)
            self.closed_at, self.lost_by = time.monotonic(), exc
            self.server.changed.notify_all()

    def data_received(self, data: bytes) -> None:
        self._guarded(self._received, data)

    def _guarded(self, action: Callable[..., None], *arguments: Any) -> None:
        with self.server.changed:
            try:
                action(*arguments)
            except Exception as problem:  # noqa: BLE001 - told when the server is closed
                self.server.failures.append(problem)
            self.server.changed.notify_all()

    def _received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._requested(event)
            elif isinstance(event, Frame):
                self._framed(event)
        if self._protocol.parser_exc is not None:
            self.violation(f"broken WebSocket framing: {self._protocol.parser_exc}")
        self._flush()

    def _requested(self, request: Request) -> None:
        parts = urlsplit(request.path)
        self.path, self.query = parts.path, parse_qs(parts.query, keep_blank_values=True)
        self.headers = {name.lower(): value for name, value in request.headers.raw_items()}
        self.server.attempts.append(self)
        if self.server.holds_upgrades:
            self.server.held_upgrades.append(lambda: self._answer_upgrade(request))
        else:
            self.later(self.server.upgrade_delay_s, lambda: self._answer_upgrade(request))

    def _answer_upgrade(self, request: Request) -> None:
        response = self.server.refusal(self) or self._protocol.accept(request)
        for name, value in self.server.response_headers(self).items():
            response.headers[name] = value
        self._protocol.send_response(response)
        self.status = response.status_code
        if self.status == 101:  # first: once the client has the answer, a test may ask for the connection
            self.opened_at = time.monotonic()
            self.server.connections.append(self)
            self.number = len(self.server.connections)
        self._flush()
        if self.status == 101:
            self.server.opened(self)

    def _framed(self, frame: Frame) -> None:
        opcode, data = frame.opcode, bytes(frame.data)
        if opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            first, collected = self._partial or (opcode, bytearray())
            collected += data
            self._partial = None if frame.fin else (first, collected)
            if not frame.fin:
                return
            opcode, data = first, bytes(collected)
        kind = "audio" if opcode is Opcode.BINARY else opcode.name.lower()
        self.frames.append(received := Received(kind, data, len(self._audio), time.monotonic()))
        if kind == "audio":
            if not data or len(data) % (2 * self.channels):
                self.violation(f"a binary frame of {len(data)} bytes")
            self._audio += data
            self.server.audio_received(self)
        elif kind == "text":
            self.server.text_received(self, received)
        elif kind == "close":
            self.close_received = Close.parse(data)
            if self._protocol.state is State.OPEN:
                self._close_frame = frame
                self.server.close_received(self)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._write(data)
            elif not self.frozen:
                self._transport.close()

    def _write(self, data: bytes) -> None:
        if not (self.frozen or self._transport.is_closing()):
            self._transport.write(data)

    def _close(self, code: int | None, reason: str) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self.close_sent = self._protocol.close_sent
            self._flush()
            self.later(CLOSE_ANSWER_S, self._transport.close)

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        with contextlib.suppress(OSError):  # it has just ended by itself
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()

    def _stop_reading(self) -> None:
        if self._transport.get_extra_info("ssl_object") is not None:
            self._transport.set_read_buffer_limits(1, 0)
        self._transport.pause_reading()
