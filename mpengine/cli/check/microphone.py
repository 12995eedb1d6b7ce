"""The checks of the source of audio: its trial runs in a process of its own, which is ended where it hangs."""

import contextlib
import os
import select
import time
from collections.abc import Callable, Iterator

import msgspec

from mpengine.capture.trial import TrialSettings, is_microphone
from mpengine.capture.tried import Cards, Event, Level, Listened, Opened, Trouble, decoder
from mpengine.cli.check import verdicts
from mpengine.cli.check.lines import Line, skipped
from mpengine.cli.check.verdicts import MICROPHONE, Engine, Source
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ExitCode
from mpengine.shared.signal_names import signal_name
from mpengine.shared.sources import FIFO, STANDARD_INPUT, path_of
from mpengine.supervisor.children.process import Spawned

# PortAudio opens each device as it is loaded. The trial itself gives up after 15 s, and 5 s for the opening.
_STEP_LIMIT_S = 20.0
_LISTEN_LIMIT_S = 8.0  # and the seconds that are listened to
_END_LIMIT_S = 1.0
_PIECE_BYTES = 65536
_LOST = "a call of the audio system has not come back: a device hangs, or the sound server"


def microphone(
    audio: AudioConfig,
    *,
    seconds: float,
    engine: Engine | None,
    on_level: Callable[[Level, float], None],
    libraries: list[str],
) -> Iterator[Line]:
    """The lines of `verdicts.MICROPHONE`.

    `seconds`: how long to listen; 0: not at all. `on_level` gets each level, and how many seconds are left. The version
    of the audio library is added to `libraries`.
    """
    if audio.source == STANDARD_INPUT and audio.command is None:
        yield from verdicts.unread("standard input is not read: what comes there is for the engine")
        return
    if audio.source.startswith(FIFO) and audio.command is None:
        yield from verdicts.unread(f"{path_of(audio.source)} is not read: what comes there is for the engine")
        return
    with contextlib.closing(_Trial(audio, 0.0 if audio.kind.seekable else seconds)) as trial:
        libraries += [event.library for event in trial.until(Opened, limit_s=_STEP_LIMIT_S) if isinstance(event, Cards)]
        lines = _lines(audio, trial, engine)
        yield from lines
        if lines[-1].check == MICROPHONE[-1]:  # it did not come as far as the level
            return
        if not seconds or audio.kind.seekable:
            yield skipped("level", "the source is a file" if audio.kind.seekable else "nobody listened (--no-level)")
            return
        yield _level(trial, seconds, on_level) or _lines(audio, trial, engine)[-1]


def _lines(audio: AudioConfig, trial: "_Trial", engine: Engine | None) -> list[Line]:
    source = Source(trial.events, trial.end, audio.sample_rate, audio.channels, is_microphone(audio), engine)
    return list(verdicts.microphone(source))


def _level(trial: "_Trial", seconds: float, on_level: Callable[[Level, float], None]) -> Line | None:
    """Listen. None: the device has failed meanwhile."""
    ends_at = time.monotonic() + seconds
    for event in trial.until(Listened, limit_s=seconds + _LISTEN_LIMIT_S):
        if isinstance(event, Level):
            on_level(event, max(0.0, ends_at - time.monotonic()))
        elif isinstance(event, Listened):
            return verdicts.level(event)
    return None


class _Trial:
    """The process of the trial. `events`: what it has told, but for the levels. `end`: how it ended without a word."""

    def __init__(self, audio: AudioConfig, seconds: float) -> None:
        self.events: list[Event] = []
        self.end = ""
        self._data = b""
        self._reader, writer = os.pipe()
        try:
            settings = TrialSettings(parent_pid=os.getpid(), audio=audio, seconds=seconds)
            self._process: Spawned | None = Spawned(
                "trial", settings, inherit_fd=writer, module="mpengine.capture.trial"
            )
        except OSError as error:
            self._process, self.end = None, f"the system starts no process: {error.strerror}"
        finally:
            os.close(writer)

    def until(self, last: type[Event], *, limit_s: float) -> Iterator[Event]:
        """The events up to one of the type `last`. It ends earlier after a trouble, or with a reason in `end`.

        Each event before `last` may take `limit_s`.
        """
        deadline = time.monotonic() + limit_s
        while not self.end:
            line, newline, rest = self._data.partition(b"\n")
            if newline:
                self._data = rest
                event = self._decoded(line)
                if event is None:
                    return
                if not isinstance(event, Level):
                    self.events.append(event)
                    deadline = time.monotonic() + limit_s
                yield event
                if isinstance(event, last | Trouble):
                    return
            elif not select.select([self._reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
                self.end = _LOST
            elif piece := os.read(self._reader, _PIECE_BYTES):
                self._data += piece
            else:
                self.end = self._how_it_ended()

    def close(self) -> None:
        """End the process, if it has not ended by itself."""
        os.close(self._reader)
        process, self._process = self._process, None
        if process is None:
            return
        give_up = time.monotonic() + _END_LIMIT_S
        with contextlib.suppress(ChildProcessError):
            while process.reap() is None:
                if time.monotonic() >= give_up or self.end:
                    process.kill()
                    process.wait(_END_LIMIT_S)
                    return
                time.sleep(0.01)

    def _decoded(self, line: bytes) -> Event | None:
        try:
            return decoder.decode(line)
        except (msgspec.DecodeError, ValueError):
            self.end = "the process that tries the source said what nobody understands"
            return None

    def _how_it_ended(self) -> str:
        """Its pipe was closed before its last word."""
        process, status = self._process, None
        give_up = time.monotonic() + _END_LIMIT_S
        while process is not None and (status := process.reap()) is None and time.monotonic() < give_up:
            time.sleep(0.01)
        self._process = None if status is not None else process
        if status is None or status == ExitCode.DEVICE:
            return _LOST
        if status < 0:
            return f"the process that tries the source was ended by {signal_name(-status)}"
        return f"the process that tries the source has ended with exit code {status}"
