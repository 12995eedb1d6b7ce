"""An engine of one's own for one recording, as a child process: its results come by a file, its state over the bus.

The results do not come over the bus, because an engine that has ended answers no questions: what a subscriber missed of
its last words would be lost. The main thread owns the child, which ends when this process does, however that is.
"""

import os
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from mpengine.cli.recordings.work import Finals, Work
from mpengine.cli.terminal.handlers import held
from mpengine.client.finding import is_running
from mpengine.client.subscriber import Subscriber
from mpengine.embedded import files
from mpengine.embedded.gui_config import EngineSettings
from mpengine.shared import messages, runtime
from mpengine.shared.config import Config
from mpengine.shared.config_tables import BusConfig
from mpengine.shared.errors import ExitCode, MpengineError
from mpengine.shared.messages import FINALS, NO_OBSTACLE, OVER, EngineState, Published
from mpengine.shared.signal_names import signal_name
from mpengine.supervisor.children.process import Spawned

_LOOK_S = 0.2
# The last messages may still be on their way when the process has ended.
_LAST_WORD_S = 2.0
_KILLED_LIMIT_S = 5.0
# The engine of a command that was killed ends by itself.
_BEFORE_LIMIT_S = 10.0
# A longer name would make the paths of sockets longer, which have a limit.
_KEY_DIGITS = 8
# The file of results is never rotated.
_WHOLE_MB = 100_000.0

_STANDS_STILL = {EngineState.CONNECTING, EngineState.DEGRADED}


class Told(NamedTuple):
    """Who is told what, by the main thread: `final` gets lines of JSON, finals and gaps in order."""

    final: Callable[[bytes], None]
    progress: Callable[[float, float], None]
    """Gets the seconds that are transcribed, and those of the whole recording."""
    state: Callable[[str], None]
    """Gets why it does not go on; empty when it does."""
    trouble: Callable[[str], None]
    """Gets what went wrong, though the engine goes on."""


def config_for(config: Config, audio_path: str, work: Work, *, paced: bool) -> Config:
    """The configuration of the engine that reads `audio_path`: nothing of it meets an engine that runs already.

    Several channels become one, as those that ffmpeg decodes do. Of a microphone's only the first would be sent, and in
    films that one has no speech.
    """
    replace = msgspec.structs.replace
    is_mixed = config.audio.channels == 1 and config.audio.channel is None
    return replace(
        config,
        # A name for this try alone: the engine of a try that was killed removes its directory when it notices that.
        engine=replace(config.engine, name=f"{_family(work)}{os.urandom(4).hex()}"),
        audio=replace(
            config.audio,
            source=os.path.abspath(audio_path),
            command=None,
            device=None,
            channel="mix" if is_mixed else config.audio.channel,
            start="immediate",
            paced=paced,
        ),
        buffer=replace(config.buffer, directory=None),
        bus=BusConfig(transcript=work.finals, transcript_mb=_WHOLE_MB, transcript_files=1),
        supervisor=replace(config.supervisor, wait=False),
    )


def recognise(config: Config, work: Work, told: Told) -> None:
    """Run an engine with `config` to its end. `work` has all that the next try needs then.

    Raises EngineFailed, and MpengineError when the engine of an earlier try does not end.
    """
    _make_room(_family(work))
    settings = EngineSettings(
        parent_pid=os.getpid(),
        dies_with_thread=False,  # it removes its runtime directory when this process has ended
        config=config.packed(),
        log_level="critical",  # what it has to say, it says over the bus
        journal_path=work.journal,
    )
    child: Spawned | None = None
    status: int | None = None
    try:
        with held():
            child = Spawned("engine", settings, module="mpengine.embedded.child")
        follower = _Follower(config.engine.name, work, told)
        with Subscriber(config.engine.name, topics=("status", "metrics", "error")) as subscriber:
            while status is None:
                follower.take(subscriber.receive(_LOOK_S))
                status = child.reap()
            give_up = time.monotonic() + _LAST_WORD_S
            while not follower.is_over and (message := subscriber.receive(max(0.0, give_up - time.monotonic()))):
                follower.take(message)
        follower.finish()
    finally:
        if child is not None and status is None:
            child.kill()
            child.wait(_KILLED_LIMIT_S)
        files.remove(config.engine.name, None)  # it may have been killed
    follower.require_success(status)


class EngineFailed(MpengineError):
    """The engine has ended before the end of the recording."""

    def __init__(self, text: str, exit_code: ExitCode) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class _Follower:
    """What is known of the engine by its messages and its results."""

    def __init__(self, name: str, work: Work, told: Told) -> None:
        self._name = name
        self._told = told
        self._finals = Finals(work.finals)
        self._run = ""
        self._last: dict[str, int] = {}  # by the last metrics
        self._status: messages.Status | None = None
        self._fatal = self._trouble = ""

    @property
    def is_over(self) -> bool:
        """Whether the engine has said its last word."""
        return self._status is not None and self._status.state in OVER

    def take(self, message: Published | object | None) -> None:
        """Take in `message`, and hand over the results that have come."""
        match message:
            case messages.Status(run=run, state=state, reason=reason):
                self._run, self._status = run, message
                self._told.state(reason if state in _STANDS_STILL else "")
            case messages.Metrics(last=last, transcribed_s=done_s, source_s=total_s):
                self._last = last
                if total_s:
                    self._told.progress(done_s, total_s)
            case messages.Error(fatal=True, message=text):
                self._fatal = text
            case messages.Error(code=code, message=text) if code not in NO_OBSTACLE:
                self._trouble = text
                self._told.trouble(text)
        self._hand_over()

    def finish(self) -> None:
        """The engine has ended: hand over the rest."""
        self._run = self._run or self._finals.run_of_last()
        self._hand_over()

    def require_success(self, exit_status: int) -> None:
        """Raise EngineFailed unless the whole recording has its results, all of which were handed over."""
        failure = self._failure(exit_status)
        if failure is not None:
            raise EngineFailed(*failure)

    def _failure(self, exit_status: int) -> tuple[str, ExitCode] | None:
        status = self._status
        if exit_status < 0:
            return f"its engine was ended by {signal_name(-exit_status)}", ExitCode.CRASH
        if exit_status:
            why = self._fatal or (status.reason if status is not None else "") or self._trouble
            code = ExitCode(exit_status) if exit_status in set(ExitCode) else ExitCode.CRASH
            return why or f"its engine has ended with {exit_status}", code
        if status is None or not self.is_over:
            return "its engine has ended without a word", ExitCode.CRASH
        if status.unacknowledged_s > 0:
            return f"{status.unacknowledged_s:.1f} s have no result: {self._trouble or status.reason}", ExitCode.CRASH
        if max(self._last.get(f"{self._name}.{topic}", 0) for topic in (FINALS, "gap")) > self._finals.last_seq:
            return "some results could not be kept", ExitCode.CRASH
        return None

    def _hand_over(self) -> None:
        if self._run:
            for line in self._finals.read(self._run):
                self._told.final(line)


def _family(work: Work) -> str:
    """How the names of all engines for this recording begin."""
    return f"file-{work.key[:_KEY_DIGITS]}-"


def _make_room(family: str) -> None:
    """Wait for the engine of a command that was killed: it writes the same journal. And remove what it left.

    Raises MpengineError when it does not end.
    """
    give_up = time.monotonic() + _BEFORE_LIMIT_S
    for name in runtime.names():
        if not name.startswith(family):
            continue
        while is_running(name):
            if time.monotonic() >= give_up:
                text = f"the engine of an earlier try is still there: mpengine stop --name {name}, and try again"
                raise MpengineError(text)
            time.sleep(_LOOK_S)
        files.remove(name, None)  # a file needs no window to go on
