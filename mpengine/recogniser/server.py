"""The recogniser's WebSocket server: connections, threads and limits around `SpeechRecogniser`.

Threads: the caller of `serve_forever` waits for the end, and one thread accepts. Each connection has a thread that
decodes, a thread that reads ahead (`Inbox`), and one of websockets. Only the thread that decodes uses the connection's
recogniser. The threads share the idle decoder and the number of connections, under `_lock`.

Silence has no time limit: the listener is on loopback, where a dead peer's socket closes.
"""

import logging
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.sync.server import Server, ServerConnection, serve

from mpengine.recogniser import protocol
from mpengine.recogniser.protocol import RefusedError
from mpengine.recogniser.speech import SpeechRecogniser
from mpengine.recogniser.words import SAMPLE_RATE, WordDecoder
from mpengine.shared.wake import Wake

PATH = "/ws/transcribe"
MAX_MESSAGE = 2**20  # bytes; about 32 s of audio
MAX_CONNECTIONS = 4  # authorised ones; each one needs a model of 100 MB while it is open
INBOX_BYTES = 32 * 2**20  # 17 minutes of audio; then TCP makes the client wait
SLICE = 3200  # bytes; a long message is decoded in steps of 0.1 s, for the client may go away

log = logging.getLogger(__name__)
# websockets would log a traceback for every client that breaks off.
_quiet = logging.getLogger(f"{__name__}.websockets")
_quiet.setLevel(logging.CRITICAL)


class Inbox:
    """Reads ahead of the decoder. Iterating gives the messages of `connection`, until it is closed.

    A ping or a close of the client must not wait until all audio before it is decoded: the sockets' buffers alone held
    80 s of audio, which takes 11 s to decode, longer than the client waits for its pong. The engine never sends more
    than its replay window holds; `INBOX_BYTES` limits other clients.

    A thread of the inbox reads. `_changed` guards the fields that it shares with the iterating thread.
    """

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._messages: deque[str | bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="inbox", daemon=True)

    def start(self) -> None:
        """Begin to read, after the client was authorised: no other may fill the memory."""
        self._thread.start()

    def close(self) -> None:
        """Close the connection, if it is open, and wait for the thread."""
        self._end()
        self._connection.close()
        if self._thread.ident is not None:
            self._thread.join()

    def __iter__(self) -> Iterator[str | bytes]:
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> str | bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self._ended)
            if not self._messages:
                return None
            message = self._messages.popleft()
            self._bytes -= len(message)
            self._changed.notify()
            return message

    def _read(self) -> None:
        try:
            for message in self._connection:
                with self._changed:
                    self._changed.wait_for(lambda: self._bytes < INBOX_BYTES or self._ended)
                    self._messages.append(message)
                    self._bytes += len(message)
                    self._changed.notify()
        except ConnectionClosed:
            pass
        finally:
            self._end()

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()


class RecogniserServer:
    """Serves the managed protocol on `listener`, a listening TCP socket, to clients who know `token`."""

    def __init__(self, listener: socket.socket, token: str, *, auth_timeout_s: float = 15.0) -> None:
        self._listener = listener
        self._token = token
        self._auth_timeout_s = auth_timeout_s
        self._lock = threading.Lock()
        self._connections = 0
        self._idle: WordDecoder | None = None
        self.received_bytes = self.decoded_bytes = 0  # of audio, on all connections
        # Not an Event, whose lock the signal handler may find held by the wait that it interrupts.
        self._stop = Wake()

    def serve_forever(self, on_ready: Callable[[], None] | None = None) -> None:
        """Load the model, call `on_ready`, serve until `shutdown`, close all connections. Call it only once.

        Clients that connect before wait in the listener's backlog.
        """
        try:
            self._idle = WordDecoder()
            with self._server() as server:
                accepting = threading.Thread(target=server.serve_forever, name="accept")
                accepting.start()
                if on_ready is not None:
                    on_ready()
                select.select([self._stop], [], [])
            accepting.join()
        finally:
            self._listener.close()

    def shutdown(self) -> None:
        """Make `serve_forever` return, from any thread or signal handler. Does not wait for it."""
        self._stop.set()

    def _server(self) -> Server:
        return serve(
            self._handle,
            sock=self._listener,
            process_request=_check_path,
            compression=None,
            max_size=MAX_MESSAGE,
            open_timeout=5,
            close_timeout=2,
            ping_interval=None,
            server_header=None,
            logger=_quiet,
        )

    def _handle(self, connection: ServerConnection) -> None:
        """Serve one connection from its first message on."""
        inbox = Inbox(connection)
        try:
            config = self._authorise(connection)
            with self._borrowed_decoder() as decoder:
                inbox.start()
                recogniser = SpeechRecogniser(decoder=decoder)
                connection.send(protocol.encode(protocol.Ready()))
                self._transcribe(connection, inbox, recogniser, config.interim_results)
        except RefusedError as refused:
            _refuse(connection, refused)
        except ConnectionClosed:
            pass  # the client has gone
        except Exception:
            log.exception("connection_failed")
            _refuse(connection, RefusedError("internal", "the recogniser failed", close_code=1011))
        finally:
            inbox.close()
            self.decoded_bytes = self.received_bytes  # the rest will not be decoded

    def _authorise(self, connection: ServerConnection) -> protocol.AudioConfig:
        try:
            message = connection.recv(timeout=self._auth_timeout_s)
        except TimeoutError as error:
            problem = f"no auth message within {self._auth_timeout_s:g} s"
            raise RefusedError("unauthorized", problem) from error
        return protocol.authorise(message, self._token)

    def _transcribe(
        self, connection: ServerConnection, inbox: Inbox, recogniser: SpeechRecogniser, interims: bool
    ) -> None:
        """Answer audio with transcripts until the client sends `finalize` or goes away."""
        seconds = 0.0
        for message in inbox:
            if isinstance(message, str):
                if not protocol.is_finalize(message):
                    continue
                for heard in recogniser.finish():
                    connection.send(protocol.transcript(heard))
                connection.send(protocol.encode(protocol.SessionEnd(round(seconds, 3))))
                return
            if len(message) % 2:
                raise RefusedError("bad_audio", "audio must be whole 16-bit samples", close_code=1007)
            seconds += len(message) / 2 / SAMPLE_RATE
            self.received_bytes += len(message)
            for first in range(0, len(message), SLICE):
                if connection.protocol.state is not State.OPEN:
                    self.decoded_bytes = self.received_bytes  # the client has gone
                    return
                piece = message[first : first + SLICE]
                for heard in recogniser.feed(piece):
                    if heard.is_final or interims:
                        connection.send(protocol.transcript(heard))
                self.decoded_bytes += len(piece)

    @contextmanager
    def _borrowed_decoder(self) -> Iterator[WordDecoder]:
        """Lend the idle decoder, which has learned from earlier speech, or a new one. Keeps one idle afterwards."""
        with self._lock:
            if self._connections == MAX_CONNECTIONS:
                raise RefusedError("busy", f"{MAX_CONNECTIONS} connections are open", close_code=1013)
            self._connections += 1
            decoder, self._idle = self._idle, None
        try:
            decoder = decoder or WordDecoder()
            try:
                yield decoder
            finally:
                decoder.new_stream()  # raises if the decoder is broken, which is then not kept
                with self._lock:
                    self._idle = decoder
        finally:
            with self._lock:
                self._connections -= 1


def _check_path(connection: ServerConnection, request: Request) -> Response | None:
    if request.path.partition("?")[0] == PATH:
        return None
    return connection.respond(HTTPStatus.NOT_FOUND, f"the recogniser is at {PATH}\n")


def _refuse(connection: ServerConnection, refused: RefusedError) -> None:
    with suppress(ConnectionClosed):
        connection.send(protocol.encode(protocol.Error(refused.code, refused.message)))
        connection.close(refused.close_code, refused.code)
