"""One WebSocket to a recogniser, used once: a thread connects and reads, the owner sends.

Who owns what:

* the owner: the thread that called `start`. It alone sends, also pongs and the answer to a close frame.
* the reader: the thread that `start` starts. It connects, then reads, and never sends a frame.
* the socket: shared by both through `LockedSocket`. The reader closes it as the last thing it does.
* `_changed` (lock and condition): guards the fields below it in `__init__`. No thread waits for the network while it
  holds it. Only a send reads `_open` and `_end` without it: each is set once, and the socket refuses a late send.
* the wake-up: set exactly while events wait. It is closed with the object.

At most 256 events and half a megabyte wait. Then the reader stops reading, so that TCP makes the peer wait. A message
over 128 KiB is refused as soon as its header says so.
"""

import collections
import contextlib
import logging
import os
import ssl
import sys
import threading
from collections.abc import Sequence

import websocket

from mpengine.shared.errors import ConnectionLost
from mpengine.shared.wake import Wake
from mpengine.streaming.websocket.events import NO_CLOSE_CODE, Event, Failed, Opened, Received
from mpengine.streaming.websocket.framing import Incoming, MessageTooBigError, frame
from mpengine.streaming.websocket.locked_socket import LockedSocket
from mpengine.streaming.websocket.opening import Link, NotOpenedError, Target, open_link

logger = logging.getLogger(__name__)

_MAX_WAITING_EVENTS = 256
_MAX_WAITING_BYTES = 512 << 10  # in memory: one wide letter makes a text four times as large
# The longest of a real recogniser have about 60 KiB: five minutes of words with all their fields.
_MAX_MESSAGE_BYTES = 128 << 10
_MAX_CONTROL_BYTES = 125


class _AbandonedError(Exception):
    """The owner has abandoned the connection: the reader ends without another event."""


class Connection:
    """One attempt to connect, and the connection. `headers` are whole lines, which may hold secrets.

    `number` is for the caller and the log. `answer_headers`: the names, in lower case, of the headers of the answer
    that `Opened` and `Refused` have. `tls`: see `opening.prepared`.
    """

    def __init__(
        self,
        *,
        number: int,
        url: str,
        headers: Sequence[str] = (),
        answer_headers: Sequence[str] = (),
        ca_file: str | None = None,
        tls: ssl.SSLContext | None = None,
        connect_timeout_s: float = 15.0,
        send_timeout_s: float = 10.0,
        max_message_bytes: int = _MAX_MESSAGE_BYTES,
    ) -> None:
        if any("\r" in header or "\n" in header for header in headers):
            raise ValueError("a header holds a line break")
        self.number = number
        self._target = Target(
            url=url,
            headers=tuple(headers),
            answer_headers=tuple(answer_headers),
            ca_file=ca_file,
            tls=tls,
            connect_timeout_s=connect_timeout_s,
            send_timeout_s=send_timeout_s,
        )
        self._send_timeout_s = send_timeout_s
        self._max_message_bytes = max_message_bytes
        self._owner: int | None = None
        self._wake = Wake()

        self._changed = threading.Condition()
        self._waiting: collections.deque[Event] = collections.deque()
        self._waiting_bytes = 0
        self._abandoned = False
        self._socket: LockedSocket | None = None  # the latest one: each address of the host gets its own
        self._open: LockedSocket | None = None  # set just before Opened
        self._end: str | None = None  # why the connection has ended: the first cause

        self._thread = threading.Thread(target=self._run, name=f"websocket-{number}", daemon=True)

    def start(self) -> None:
        """Begin to connect. The calling thread becomes the owner."""
        self._owner = threading.get_ident()
        self._thread.start()

    def fileno(self) -> int:
        """A descriptor that is readable while events wait. It lives as long as this object."""
        return self._wake.fileno()

    def events(self) -> list[Event]:
        """Take all waiting events; never blocks."""
        with self._changed:
            waiting = list(self._waiting)
            self._forget_waiting()
        return waiting

    def send_audio(self, pcm: bytes | memoryview) -> None:
        """Send one binary frame.

        Each method that sends raises ConnectionLost, also when the send timeout is over: the rest of a frame cannot be
        sent later.
        """
        if not len(pcm):
            raise ValueError("an empty binary frame ends a stream")
        self._send(pcm, websocket.ABNF.OPCODE_BINARY)

    def send_text(self, text: str) -> None:
        """Send one text frame."""
        self._send(text.encode(), websocket.ABNF.OPCODE_TEXT)

    def send_ping(self, payload: bytes) -> None:
        """Send a ping of at most 125 bytes."""
        self._send(_control(payload), websocket.ABNF.OPCODE_PING)

    def send_pong(self, payload: bytes) -> None:
        """Send a pong of at most 125 bytes."""
        self._send(_control(payload), websocket.ABNF.OPCODE_PONG)

    def send_close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame, or answer one. When both sides have sent one, the peer ends the stream."""
        payload = b"" if code == NO_CLOSE_CODE else code.to_bytes(2, "big") + reason.encode()
        self._send(_control(payload), websocket.ABNF.OPCODE_CLOSE)

    def abandon(self) -> None:
        """End the connection at once, from any thread. No event comes after it. Never blocks."""
        with self._changed:
            self._abandoned = True
            self._end = self._end or "abandoned"
            self._forget_waiting()
            abandoned = self._socket
        if abandoned:
            abandoned.shutdown()

    def interrupt(self) -> None:
        """End every wait for the network, as if the connection had failed.

        A signal handler may call it, even one that interrupts a method of this class; it may not call `abandon`.
        """
        interrupted = self._socket
        if interrupted:
            interrupted.shutdown()

    def join(self, timeout_s: float) -> bool:
        """Wait for the reader to end. False: it has not. After `abandon`, only a name lookup takes longer."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _send(self, payload: bytes | memoryview, opcode: int) -> None:
        if threading.get_ident() != self._owner:
            raise RuntimeError("only the thread that started a connection sends on it")
        opened = self._open
        if opened is None or self._end:
            raise ConnectionLost(self._end or "not open yet")
        try:
            opened.send(frame(opcode, payload, os.urandom(4)))
        except TimeoutError:
            raise ConnectionLost(self._ended(f"frame not sent within {self._send_timeout_s:g} s")) from None
        except OSError as exc:
            raise ConnectionLost(self._ended(_loss(exc))) from exc

    def _run(self) -> None:
        try:
            link = open_link(self._target, self._adopt)
            self._read(link)
        except NotOpenedError as exc:
            with contextlib.suppress(_AbandonedError):
                self._tell(exc.event)
        except _AbandonedError:
            pass
        except Exception:
            logger.exception("connection_reader_failed number=%d", self.number)
            with contextlib.suppress(_AbandonedError):
                self._tell(Failed(self._ended("internal error, see the log")))
        finally:
            if self._socket:
                self._socket.close()

    def _read(self, link: Link) -> None:
        with self._changed:
            self._open = link.socket
        self._tell(Opened(link.headers))
        incoming = Incoming(link.socket.recv, max_message_bytes=self._max_message_bytes)
        try:
            while True:
                self._tell(incoming.next_event())
        except (EOFError, OSError, MessageTooBigError, websocket.WebSocketException) as exc:
            reason = self._ended("connection closed" if incoming.close_received else _loss(exc))
            link.socket.shutdown()  # before the event: an owner that waits in a send takes no events
            self._tell(Failed(reason))

    def _adopt(self, sock: LockedSocket) -> None:
        """Make `sock` the socket that `abandon` ends."""
        with self._changed:
            self._socket = sock
            if self._abandoned:
                raise _AbandonedError

    def _tell(self, event: Event) -> None:
        """Append `event` as soon as there is room."""
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or self._has_room)
            if self._abandoned:
                raise _AbandonedError
            if not self._waiting:
                self._wake.set()
            self._waiting.append(event)
            self._waiting_bytes += sys.getsizeof(event.text) if isinstance(event, Received) else 0

    @property
    def _has_room(self) -> bool:
        return len(self._waiting) < _MAX_WAITING_EVENTS and self._waiting_bytes < _MAX_WAITING_BYTES

    def _forget_waiting(self) -> None:
        if self._waiting:
            self._waiting.clear()
            self._waiting_bytes = 0
            self._wake.drain()
        self._changed.notify_all()

    def _ended(self, reason: str) -> str:
        """Note why the connection has ended. Returns the first reason that was noted."""
        with self._changed:
            self._end = self._end or reason
            return self._end


def _control(payload: bytes) -> bytes:
    if len(payload) > _MAX_CONTROL_BYTES:
        raise ValueError(f"control frames carry {_MAX_CONTROL_BYTES} bytes at most")
    return payload


def _loss(exc: Exception) -> str:
    """How an open connection ended, in one sentence."""
    match exc:
        case MessageTooBigError():
            return str(exc)
        case websocket.WebSocketProtocolException():
            return f"connection lost: protocol broken by the peer: {exc}"
        case EOFError():
            return "connection lost: ended by the peer without a close frame"
        case ConnectionResetError() | BrokenPipeError() | ssl.SSLEOFError():
            return "connection lost: reset by peer"
        case ssl.SSLError():
            return f"connection lost: TLS: {exc.reason}"
        case TimeoutError():
            return "connection lost: timed out"
        case OSError():
            return f"connection lost: {exc.strerror}"
        case _:
            return f"connection lost: {type(exc).__name__}"
