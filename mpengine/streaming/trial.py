"""A trial of the recogniser for `mpengine check`: the way to it, and then a connection with a second of silence.

All of it is the code of the streaming process: the way is that of `opening`, and the decisions are those of `Session`.
The calling thread owns the session and the connection. `try_way` has a thread for each call: no Python code can end a
lookup of a name. It owns its sockets, and nothing else.
"""

import random
import select
import ssl
import threading
import time
from collections.abc import Callable

from mpengine.dialects.base import RemoteConfig
from mpengine.shared import control
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ConnectionLost, ExitCode
from mpengine.shared.frames import Frame
from mpengine.streaming.actions import Action, Connect, Drop, Leave, Tell
from mpengine.streaming.placing import Placing
from mpengine.streaming.process import connection_to, send
from mpengine.streaming.session import CONNECT_LIMIT_S, Session
from mpengine.streaming.tried import Answer, Way
from mpengine.streaming.websocket.connection import Connection
from mpengine.streaming.websocket.events import Failed
from mpengine.streaming.websocket.locked_socket import LockedSocket
from mpengine.streaming.websocket.opening import NotOpenedError, Target, certificate_of, proxy_of, reach
from mpengine.streaming.websocket.way import Certificate, Progress, Stage

TLS_LIBRARY = ssl.OPENSSL_VERSION
"""The name and the version of the TLS library."""

_SILENCE_S = 1.0
_BLOCK_S = 0.1
_LONGEST_WAIT_S = 0.5
_LAST_WORDS_S = 0.1


def try_way(url: str, *, ca_file: str | None, limit_s: float = CONNECT_LIMIT_S) -> Way:
    """Go to the server of `url` and no further: name, TCP, proxy, TLS. It takes `limit_s` at most."""
    try:
        proxy = proxy_of(url)
    except NotOpenedError as error:
        return Way(Stage.CONNECTION, _reason(error))
    attempt = _Attempt(url, ca_file, limit_s)
    attempt.start()
    attempt.join(limit_s)
    attempt.give_up()
    progress = attempt.progress
    trouble = attempt.trouble
    if trouble is None:
        what = "the name was not looked up" if progress.stage is Stage.NAME else "no answer"
        trouble = f"{what} within {limit_s:g} s"
    return Way(
        progress.stage,
        trouble,
        tuple(dict.fromkeys(progress.addresses)),
        progress.address,
        "" if proxy is None else str(proxy),
        attempt.certificate,
    )


def _reason(error: NotOpenedError) -> str:
    return error.event.reason if isinstance(error.event, Failed) else error.event.phrase


class _Attempt(threading.Thread):
    """One attempt to reach a server. `trouble`: why it failed; empty after a success, None before its end."""

    def __init__(self, url: str, ca_file: str | None, limit_s: float) -> None:
        super().__init__(name="trial", daemon=True)
        self.progress = Progress()
        self.trouble: str | None = None
        self.certificate: Certificate | None = None
        self._deadline = time.monotonic() + limit_s
        self._sockets: list[LockedSocket] = []
        self._is_over = False
        self._target = Target(
            url=url,
            headers=(),
            answer_headers=(),
            ca_file=ca_file,
            connect_timeout_s=limit_s,
            send_timeout_s=limit_s,
        )

    def run(self) -> None:
        """Reach the server, and leave."""
        trouble = ""
        try:
            link = reach(self._target, self._adopt, deadline=self._deadline, progress=self.progress)
            self.certificate = certificate_of(link)
        except NotOpenedError as error:
            trouble = _reason(error)
        finally:
            self.trouble = trouble
            for each in self._sockets:
                each.close()

    def give_up(self) -> None:
        """End the attempt, if it has not ended."""
        self._is_over = True
        for each in list(self._sockets):
            each.shutdown()

    def _adopt(self, sock: LockedSocket) -> None:
        self._sockets.append(sock)
        if self._is_over:
            sock.shutdown()


def try_recogniser(
    remote: RemoteConfig,
    audio: AudioConfig,
    *,
    limit_s: float,
    connect: Callable[..., Connection] = Connection,
) -> Answer:
    """Connect as an engine does, send a second of silence, and ask for the last results. It takes `limit_s` at most.

    It asks again after a refusal that may come from somebody on the way, as an engine does before it ends.
    """
    trial = _Trial(remote, audio, connect)
    try:
        return trial.run(time.monotonic() + limit_s) or trial.late(limit_s)
    finally:
        trial.close()


class _Trial:
    """A session, its connection, and the silence in place of capture."""

    def __init__(self, remote: RemoteConfig, audio: AudioConfig, connect: Callable[..., Connection]) -> None:
        self._dialect, self._audio, self._ca_file = remote.dialect(audio), audio, remote.ca_file
        self._make_connection = connect
        self._connection: Connection | None = None
        self._session = Session(
            dialect=self._dialect,
            placing=Placing(
                sample_rate=audio.sample_rate, sample_bytes=2 * audio.channels, hold_s=remote.hold_s, sent_before=0
            ),
            pace=None,
            first_connection=1,
            expects_audio=True,
            chance=random.random,
            now=time.monotonic(),
        )
        self._has_sent_all = False
        self._request_id: str | None = None
        self._fault = ""  # the last error's words
        self._answer: Answer | None = None
        self._loss: str | None = None

    def run(self, deadline: float) -> Answer | None:
        """Work until there is an answer; None when the time is over."""
        session = self._session
        while self._answer is None and (now := time.monotonic()) < deadline:
            self._perform(session.tick(now))
            if not self._has_sent_all and session.takes_audio(now):
                self._send_silence(now)
            if self._connection is not None and self._loss is not None:
                self._settle_loss(self._connection, self._loss)
            elif self._answer is None:
                wait_s = min(session.deadline(now), deadline, now + _LONGEST_WAIT_S) - now
                self._hear(max(0.0, wait_s))
        return self._answer

    def late(self, limit_s: float) -> Answer:
        """The answer where none came in time."""
        if self._has_sent_all:
            return Answer(is_accepted=True, reason=f"the end was not confirmed within {limit_s:g} s")
        return Answer(is_accepted=False, reason=f"no answer within {limit_s:g} s", request_id=self._request_id)

    def close(self) -> None:
        """Drop the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()

    def _settle_loss(self, connection: Connection, reason: str) -> None:
        """After a failed send: hear the peer's last events first, for its close frame may give the cause."""
        connection.join(_LAST_WORDS_S)
        self._hear(0.0)
        if connection is self._connection:
            self._perform(self._session.event(Failed(reason), time.monotonic()))

    def _hear(self, wait_s: float) -> None:
        """Wait at most so long for the connection, and hand its events to the session."""
        connection = self._connection
        if connection is None:
            time.sleep(wait_s)
            return
        select.select([connection.fileno()], [], [], wait_s)
        for event in connection.events():
            if connection is not self._connection:
                return
            self._perform(self._session.event(event, time.monotonic()))

    def _send_silence(self, now: float) -> None:
        """Send the silence, and ask for the last results."""
        session, connection = self._session, self._connection
        if connection is None:
            return
        samples = int(self._audio.sample_rate * _BLOCK_S)
        pcm = bytes(2 * self._audio.channels * samples)
        try:
            for number in range(round(_SILENCE_S / _BLOCK_S)):
                frame = Frame(b"", session.connection, number * samples, pcm, number=number)
                if audio := session.audio(frame, now):
                    connection.send_audio(audio)
        except ConnectionLost as error:
            self._loss = str(error)
            return
        self._has_sent_all = True
        self._perform(session.finish(now))

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Tell(message=message):
                    self._told(message)
                case Connect(number=number):
                    self._connect(number)
                case Drop():
                    self.close()
                case Leave(exit_code=exit_code):
                    if exit_code is not ExitCode.OK:
                        self._answer = Answer(
                            is_accepted=False, reason=self._fault, exit_code=exit_code, request_id=self._request_id
                        )
                case _ if self._connection is not None and self._loss is None:
                    self._loss = send(self._connection, action)

    def _told(self, message: control.Up) -> None:
        """What the supervisor would be told."""
        match message:
            case control.ConnectionReady(request_id=request_id):
                self._request_id = request_id
            case control.Fault(message=words, request_id=request_id):
                self._fault, self._request_id = words, request_id or self._request_id
            case control.StreamEnded():
                self._answer = Answer(is_accepted=True, request_id=self._request_id)
            case control.ConnectionDown(reason=reason, is_refusal=False):
                # The silence was taken. A trouble at the end does not concern the key.
                self._answer = Answer(is_accepted=self._has_sent_all, reason=reason, request_id=self._request_id)

    def _connect(self, number: int) -> None:
        self.close()
        self._loss, self._has_sent_all = None, False
        self._connection = connection_to(self._dialect, number, ca_file=self._ca_file, make=self._make_connection)
        self._connection.start()
