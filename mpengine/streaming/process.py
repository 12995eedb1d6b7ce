"""The streaming process's work loop: PULL -> session -> WebSocket, and back to the supervisor.

The main thread owns all ZeroMQ sockets and the session, and alone sends on the WebSocket. Each connection has a thread
that connects and then reads. Its events wait for the main thread, which the connection's descriptor wakes.
"""

import contextlib
import logging
import os
import random
import ssl
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import zmq

from mpengine import dialects
from mpengine.dialects.base import Dialect
from mpengine.processes.beginning import StreamingSettings
from mpengine.processes.loop import ChildLoop
from mpengine.shared import control, frames, logs, sockets
from mpengine.shared.config_tables import Secret, decode_secret
from mpengine.shared.errors import ConnectionLost, ExitCode
from mpengine.shared.logs import Event
from mpengine.shared.secret import read_secret
from mpengine.streaming.actions import (
    Action,
    Connect,
    Drop,
    Leave,
    Mention,
    Note,
    SendClose,
    SendPing,
    SendPong,
    SendText,
    Tell,
)
from mpengine.streaming.placing import Placing
from mpengine.streaming.session import CONNECT_LIMIT_S, Session
from mpengine.streaming.websocket.connection import Connection
from mpengine.streaming.websocket.events import Failed
from mpengine.streaming.websocket.opening import NotOpenedError, prepared, proxy_of

log = logging.getLogger(__name__)

# High-water mark of PULL, in frames. A frame has at most a tenth of a second, or one block. The window is the buffer.
_QUEUED_FRAMES = 10
_SEND_LIMIT_S = 10.0
_LAST_WORDS_S = 0.1
_LONGEST_WAIT_S = 1.0
_NO_ROOM_WAIT_S = 0.05


class Streaming:
    """One life of the streaming process. `connect` makes its connections."""

    def __init__(
        self, settings: StreamingSettings, loop: ChildLoop, *, connect: Callable[..., Connection] = Connection
    ) -> None:
        self._loop = loop
        self._make_connection = connect
        self._control = loop.control
        self._run = bytes.fromhex(settings.run)
        remote = self._remote = dialects.unpacked(settings.remote)
        self._audio, self._secret_path = settings.audio, settings.secret_path
        self._ca_file = remote.ca_file
        self._dialect = remote.dialect(settings.audio)
        logs.strike_out(self._dialect.secret)
        self._session = Session(
            dialect=self._dialect,
            placing=Placing(
                sample_rate=settings.audio.sample_rate,
                sample_bytes=2 * settings.audio.channels,
                hold_s=remote.hold_s,
                sent_before=settings.sent_before,
            ),
            pace=settings.pace,
            first_connection=settings.first_connection,
            expects_audio=settings.expects_audio,
            chance=random.random,
            now=time.monotonic(),
            refusals_end=settings.refusals_end,
        )
        self._connection: Connection | None = None
        self._tls: ssl.SSLContext | None = None  # for the first connection; later ones read the authorities anew
        self._deadline = 0.0  # of the next `_tick`
        self._proxy_is_told = False
        self._tracing = _tracing() if log.isEnabledFor(logging.DEBUG) else None
        self._attempt_at = 0.0
        self._loss: str | None = None  # why a send on this connection failed; it gets no other
        self._exit_code = ExitCode.OK
        self._frames = sockets.make(loop.context, zmq.PULL, receive_hwm=_QUEUED_FRAMES)
        self._frames.connect(settings.frames)

    def run(self) -> ExitCode:
        """Work until the stream has ended or the loop says to leave."""
        self._loop.watch(self._control.socket, self._on_commands)
        self._loop.on_terminate = self._interrupt
        self._tick(time.monotonic())
        if self._connection is None:  # there is no audio yet
            self._tls = prepared(self._dialect.url, self._ca_file)
        while not self._loop.leaving:
            now = time.monotonic()
            if now < self._deadline:
                self._loop.wait(self._deadline - now)
            else:
                self._tick(now)
        return self._exit_code

    def _tick(self, now: float) -> None:
        """Do everything that is due, and find the next deadline. Audio that goes out as it comes needs no call."""
        if self._secret_path is not None and self._session.is_about_to_connect:
            self._renew_secret(self._secret_path, now)
        self._perform(self._session.tick(now))
        self._settle_loss()
        # PULL is read only while the recogniser takes audio, and no faster than audio may be sent.
        if self._session.takes_audio(now):
            self._loop.watch(self._frames, self._on_frames)
        else:
            self._loop.unwatch(self._frames)
        has_room = self._control.flush()
        self._loop.watch(self._control.socket, self._on_commands, zmq.POLLIN if has_room else zmq.POLLIN | zmq.POLLOUT)
        self._heed_connection()
        longest_wait_s = _LONGEST_WAIT_S if has_room else _NO_ROOM_WAIT_S
        deadline = min(now + longest_wait_s, self._session.deadline(now))
        self._deadline = deadline if self._loss is None else 0.0

    def _renew_secret(self, path: str, now: float) -> None:
        """Read the secret again before each connection, and once a second while one is waited for.

        This process does it, and not the supervisor: a disk that hangs must not keep the supervisor. A file that has
        no secret changes nothing.
        """
        try:
            secret = decode_secret(Secret, read_secret(path))
        except (OSError, ValueError):
            return
        if not secret or secret == dialects.secret_of(self._remote):
            return
        self._remote = dialects.with_secret(self._remote, secret)
        self._dialect = self._remote.dialect(self._audio)
        logs.strike_out(self._dialect.secret)
        log.info(Event("secret_changed", path=path))
        self._session.renew(self._dialect, now)

    def close(self) -> None:
        """Drop the connection and the sockets."""
        self._drop()
        self._frames.close(linger=0)

    def _on_frames(self) -> None:
        """Receive one frame and send its audio to the recogniser."""
        session, connection = self._session, self._connection
        if connection is None or self._loss is not None:
            return
        try:
            frame = frames.unpack(self._frames.recv(zmq.NOBLOCK))
        except zmq.Again:  # rare after a poll, so that the exception costs little
            return
        if frame.run != self._run:
            return
        now = time.monotonic()
        if not session.follows(frame):
            self._perform(session.missed_frames())
        elif frame.is_last:
            self._perform(session.end(frame, now))
        elif frame.is_quiet:
            self._perform(session.quiet(frame, now))
            self._deadline = 0.0
        elif pcm := session.audio(frame, now):
            try:
                connection.send_audio(pcm)
            except ConnectionLost as error:
                self._loss = str(error)
        if self._loss is not None or not session.takes_audio(now):
            self._deadline = 0.0

    def _heed_connection(self) -> None:
        """Take messages only while the supervisor keeps up: otherwise TCP makes the recogniser wait."""
        if self._connection is not None:
            if self._control.has_many:
                self._loop.unwatch(self._connection.fileno())
            else:
                self._loop.watch(self._connection.fileno(), self._on_connection)

    def _on_connection(self) -> None:
        connection = self._connection
        if connection is None:
            return
        self._deadline = 0.0
        for event in connection.events():
            if connection is not self._connection:
                return  # dropped by one of its events: the others are void
            if self._tracing is not None:
                self._trace(self._tracing.happened, event)
            self._perform(self._session.event(event, time.monotonic()))

    def _on_commands(self) -> None:
        self._deadline = 0.0
        for command in self._control.receive():
            match command:
                case control.Expect(audio=audio):
                    self._session.expect(audio=audio)
                case control.Finish():
                    self._drain()  # frames that capture had sent before it ended
                    self._perform(self._session.finish(time.monotonic()))

    def _drain(self) -> None:
        """Send the waiting frames, as long as the session takes audio."""
        while self._loss is None and self._session.takes_audio(time.monotonic()) and sockets.is_readable(self._frames):
            self._on_frames()

    def _trace(self, told: Callable[[int, Any, float], Event | None], about: Any) -> None:
        """Log at the level debug what `told` says about an event or an action of the connection."""
        if self._connection is not None:
            event = told(self._connection.number, about, time.monotonic() - self._attempt_at)
            if event is not None:
                log.debug(event)

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            if self._tracing is not None:
                self._trace(self._tracing.performed, action)
            match action:
                case Tell(message=message):
                    self._control.tell(message)
                case Mention(message=message):
                    self._control.mention(message)
                case Connect(number=number):
                    self._connect(number)
                case Drop():
                    self._drop()
                case Note(kind=kind):
                    log.warning(Event("unknown_message", kind=kind))
                case Leave(exit_code=exit_code):
                    self._exit_code = exit_code
                    self._loop.leaving = True
                case _ if self._connection is not None and self._loss is None:
                    self._loss = send(self._connection, action)

    def _settle_loss(self) -> None:
        """After a failed send: handle the peer's last events first, for its close frame may give the cause."""
        connection, reason = self._connection, self._loss
        if connection is None or reason is None:
            return
        connection.join(_LAST_WORDS_S)
        self._on_connection()
        if connection is self._connection:
            self._perform(self._session.event(Failed(reason), time.monotonic()))

    def _connect(self, number: int) -> None:
        self._drop()
        self._tell_proxy()
        self._attempt_at = time.monotonic()
        if self._tracing is not None:
            dialect = self._dialect
            log.debug(self._tracing.attempt(number, dialect.endpoint, dialect.url, dialect.headers))
        tls, self._tls = self._tls, None
        self._connection = connection_to(
            self._dialect, number, ca_file=self._ca_file, tls=tls, make=self._make_connection
        )
        self._loop.watch(self._connection.fileno(), self._on_connection)
        self._connection.start()

    def _tell_proxy(self) -> None:
        """Log the proxy that the environment names for the recogniser, once: it stays the same."""
        if self._proxy_is_told:
            return
        self._proxy_is_told = True
        with contextlib.suppress(NotOpenedError):  # told by the connection
            if (proxy := proxy_of(self._dialect.url)) is not None:
                log.info(Event("proxy_used", proxy=proxy))

    def _drop(self) -> None:
        connection, self._connection, self._loss = self._connection, None, None
        if connection is not None:
            self._loop.unwatch(connection.fileno())
            connection.abandon()

    def _interrupt(self) -> None:
        """In the handler of SIGTERM: end a send that waits for the peer."""
        if self._connection is not None:
            self._connection.interrupt()


def _tracing() -> ModuleType:
    from mpengine.streaming import tracing  # noqa: PLC0415  for developers alone

    return tracing


def connection_to(
    dialect: Dialect,
    number: int,
    *,
    ca_file: str | None,
    tls: ssl.SSLContext | None = None,
    make: Callable[..., Connection],
) -> Connection:
    """The connection `number` to the recogniser of `dialect`, not started. `tls`: see `opening.prepared`."""
    return make(
        number=number,
        url=dialect.url,
        headers=dialect.headers,
        answer_headers=dialect.answer_headers,
        ca_file=ca_file,
        tls=tls,
        connect_timeout_s=CONNECT_LIMIT_S,
        send_timeout_s=_SEND_LIMIT_S,
    )


def send(connection: Connection, action: Action) -> str | None:
    """Perform a sending action. Returns why it failed, None if it did not."""
    try:
        match action:
            case SendText(text=text):
                connection.send_text(text)
            case SendPing(payload=payload):
                connection.send_ping(payload)
            case SendPong(payload=payload):
                connection.send_pong(payload)
            case SendClose(code=code):
                connection.send_close(code)
    except ConnectionLost as error:
        return str(error)
    return None


def run(settings: StreamingSettings) -> ExitCode:
    """Be the streaming process. The exit code says how it ended."""
    loop = ChildLoop(settings)
    streaming = Streaming(settings, loop)
    try:
        loop.control.tell(control.Hello(pid=os.getpid()))
        return streaming.run()
    finally:
        streaming.close()
        loop.close()
