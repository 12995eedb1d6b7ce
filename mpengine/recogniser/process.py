"""The recogniser process's work loop: it reports to the supervisor while the server's threads decode.

The main thread owns the control socket. It reads from the server's threads only whether they run, and how far they are.
"""

import logging
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

from mpengine.processes import beginning
from mpengine.processes.beginning import RecogniserSettings
from mpengine.processes.loop import ChildLoop
from mpengine.shared import control
from mpengine.shared.errors import ConfigError, ExitCode, install
from mpengine.shared.messages import ErrorCode
from mpengine.shared.wake import Wake

if TYPE_CHECKING:
    from mpengine.recogniser.server import RecogniserServer

log = logging.getLogger(__name__)

_BEAT_S = 1.0
_END_LIMIT_S = 2.0


class Recogniser:
    """One life of the recogniser process."""

    def __init__(self, settings: RecogniserSettings, loop: ChildLoop, server_class: "type[RecogniserServer]") -> None:
        self._loop = loop
        self._control = loop.control
        listener = socket.socket(fileno=beginning.LISTENER_FD)
        listener.set_inheritable(False)
        self._server = server_class(listener, settings.token)
        self._thread = threading.Thread(target=self._serve, name="server", daemon=True)
        self._is_ready = False  # the server's thread sets it when the model is loaded
        self._has_failed = False  # the server has ended by itself
        self._server_end = Wake()

    def run(self) -> ExitCode:
        """Serve until the loop says to leave. CRASH: the server has ended by itself."""
        self._loop.watch(self._server_end.fileno(), self._server_ended)
        self._thread.start()
        next_beat = 0.0
        while not self._loop.leaving:
            now = time.monotonic()
            self._control.flush()
            if now >= next_beat:
                next_beat = now + _BEAT_S
                self._beat()
            self._loop.wait(next_beat - now)
        self._server.shutdown()
        self._thread.join(_END_LIMIT_S)
        return ExitCode.CRASH if self._has_failed else ExitCode.OK

    def _beat(self) -> None:
        """Report how far the server's threads are, once the model is loaded."""
        if self._is_ready:
            server = self._server
            beat = control.RecogniserBeat(received=server.received_bytes, decoded=server.decoded_bytes)
            self._control.mention(beat)

    def _ready(self) -> None:
        self._is_ready = True

    def _serve(self) -> None:
        try:
            self._server.serve_forever(self._ready)
        except Exception:
            log.exception("recogniser_failed")
        finally:
            self._server_end.set()

    def _server_ended(self) -> None:
        self._has_failed = self._loop.leaving = True


def try_model() -> None:
    """Load the model, and have it hear a second of silence: for `mpengine check`. Raises ConfigError."""
    try:
        from mpengine.recogniser import server, speech  # noqa: F401, PLC0415  the extra may be missing
        from mpengine.recogniser.words import SAMPLE_RATE  # noqa: PLC0415
    except ImportError as error:
        raise _missing(error) from None
    try:
        recogniser = speech.SpeechRecogniser()
    except (RuntimeError, OSError) as error:
        raise ConfigError("remote.mode", f"pocketsphinx cannot load its English model: {error}") from None
    recogniser.feed(bytes(2 * SAMPLE_RATE))  # a second
    recogniser.finish()


def run(settings: RecogniserSettings) -> ExitCode:
    """Be the recogniser process."""
    loop = ChildLoop(settings)
    try:
        loop.control.tell(control.Hello(pid=os.getpid()))
        try:
            from mpengine.recogniser.server import RecogniserServer  # noqa: PLC0415  the extra may be missing
        except ImportError as error:
            code = int(ExitCode.CONFIG)
            loop.control.tell(control.Fault(code=ErrorCode.CONFIG, message=str(_missing(error)), exit_code=code))
            return ExitCode.CONFIG
        return Recogniser(settings, loop, RecogniserServer).run()
    finally:
        loop.close()


def _missing(error: ImportError) -> ConfigError:
    """What to do where `error` came while the recogniser was loaded."""
    return ConfigError("remote.mode", f"local mode needs two more packages ({error}): {install('local')}")
