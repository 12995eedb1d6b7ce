"""One recording of an Engine: its child process, and the thread that follows it from its start to its end.

Other threads ask and wait; each wait has a limit. The thread turns messages into calls and only hands them over: a
callback may take its time, and may start and stop recordings.

Who owns what:

* the thread alone: the Subscriber, `_was_killed`, `_began_at`, `_heard_at`, and `_state`, which others only read;
* any thread: `_process` (see there), `_wanted_name`, and the two events, which are set once. `kill` touches the process
  alone: it may interrupt a thread that sets an event, and then that thread holds the event's lock.
"""

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable

from mpengine.client.subscriber import Subscriber, ask
from mpengine.embedded import files, gui_config
from mpengine.embedded.callbacks import Call, RecordingState, Trouble
from mpengine.embedded.process import Process
from mpengine.shared import messages
from mpengine.shared.config import Config
from mpengine.shared.errors import EngineUnreachable, MpengineError
from mpengine.shared.runtime import RuntimeDir

log = logging.getLogger("mpengine.engine")

_LOOK_S, _LOOK_AT_END_S = 0.5, 0.02
# The last messages may still be on their way when the process has ended. Without a first message there may be none.
_LAST_WORD_S, _FIRST_WORD_S = 5.0, 1.0
_ANSWER_LIMIT_S = 1.0
# In addition to `supervisor.stop_limit_s`.
_STOP_GRACE_S = 1.0
_KILLED_LIMIT_S = 2.0
_TIMED_OUT = "Timed out connecting to Deepgram"
# We subscribe to all topics. A live engine then publishes its metrics every second.
_SILENCE_LIMIT_S = 20.0
# A process that is killed sooner than this is not replaced: the next one would be killed too.
_SHORTEST_LIFE_S = 1.0
_CANCELLED = "Recording was stopped before it began"

_living: "weakref.WeakSet[Recording]" = weakref.WeakSet()


class Recording:
    """Starts at once, in a thread of its own. `deliver` gets every call and must not block."""

    def __init__(self, config: Config, deliver: Callable[[Call], None], *, after: "Recording | None" = None) -> None:
        """`after`: a recording of the same name that has to end first. Raises RuntimeError if no thread can start."""
        self._config = config
        self._deliver = deliver
        self._state = RecordingState()
        self._wanted_name = config.engine.user_name
        self._process = Process()
        self._was_killed = False
        self._began_at = self._heard_at = time.monotonic()
        self._is_decided = threading.Event()  # set when the recording has started, or will not
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(after,), name="mpengine-engine", daemon=True)
        self._thread.start()
        _living.add(self)

    # For any thread

    @property
    def is_active(self) -> bool:
        """Whether the recording starts or runs in this process, and nobody has stopped it."""
        is_over = self._process.is_ending or self._has_ended.is_set() or self._state.is_over
        return self._process.is_ours and not is_over

    @property
    def is_of_this_process(self) -> bool:
        """False in a process that the program has forked."""
        return self._process.is_ours

    @property
    def unacknowledged_s(self) -> float:
        """Seconds of audio without a result, from the last status."""
        return self._state.unacknowledged_s

    def wait_started(self, limit_s: float) -> str | None:
        """Wait until the recording has started. Returns None, or the reason why it has not."""
        in_time = self._is_decided.wait(limit_s)
        if self._state.failure:
            return self._state.failure
        if self._process.is_ending:
            return _CANCELLED
        if in_time:
            return None
        if self._state.trouble:  # the error callback has it already
            return f"{_TIMED_OUT}: {self._state.trouble}"
        self._deliver(Trouble(_TIMED_OUT))
        return _TIMED_OUT

    def ask_to_end(self) -> bool:
        """Ask for a clean end after the last results, within `supervisor.stop_limit_s`. False if already asked."""
        is_first = self._process.ask_to_end(self._stop_limit_s)
        if is_first:
            self._decide()
        return is_first

    def kill(self) -> None:
        """End it now. This never waits."""
        self._process.kill()

    def wait_ended(self, limit_s: float | None = None) -> bool:
        """Wait for the end of process and thread; by default as long as a clean end may take. False after that time.

        Returns False at once on the recording's own thread, where a GUI's `__del__` may run.
        """
        if threading.current_thread() is self._thread:
            return False
        return self._has_ended.wait(self._stop_limit_s + _KILLED_LIMIT_S if limit_s is None else limit_s)

    def rename(self, user_name: str) -> None:
        """Set the speaker's name in published results."""
        self._wanted_name = user_name

    @property
    def _stop_limit_s(self) -> float:
        return self._config.supervisor.stop_limit_s + _STOP_GRACE_S

    def _decide(self) -> None:
        # Set once only: a GUI's `__del__` may come here while this thread is in `set`, which holds the event's lock.
        if not self._is_decided.is_set():
            self._is_decided.set()

    # The thread

    def _run(self, after: "Recording | None") -> None:
        try:
            how = self._work(after)
            if not self._process.is_ending and not self._state.is_over:
                self._call(self._state.ended(how))
        except Exception:  # no thread may wait in vain, whatever happened here
            log.exception("reporting the end of the engine failed")
        finally:
            self._has_ended.set()
            self._decide()

    def _work(self, after: "Recording | None") -> str:
        """Run one process after another until none may follow; returns how the last one ended."""
        name = self._config.engine.name
        try:
            if after is not None:
                after.wait_ended()
                after = None
            RuntimeDir(name)  # raises here, with the reason, where the child would fail
            with Subscriber(name) as subscriber:
                how = self._follow(subscriber)
                while self._may_go_on():
                    self._call([Trouble(f"The engine was {how}; restarting")])
                    how = self._follow(subscriber)
        except (OSError, MpengineError) as error:
            return str(error)
        except Exception as error:
            log.exception("following the engine failed")
            return repr(error)
        else:
            return how
        finally:
            self._process.close(_KILLED_LIMIT_S)
            files.remove(name, self._config.buffer.directory)

    def _may_go_on(self) -> bool:
        """Whether the process was killed while it recorded: then another one continues with its files."""
        lived_s = time.monotonic() - self._began_at
        return self._was_killed and self._state.has_started and self.is_active and lived_s > _SHORTEST_LIFE_S

    def _follow(self, subscriber: Subscriber) -> str:
        """Start a process and deliver its messages until it has ended; returns how it ended."""
        known_name = self._config.engine.user_name
        if not self._process.start(gui_config.settings_of(self._config)):
            return _CANCELLED
        self._began_at = self._heard_at = time.monotonic()
        while (status := self._process.reap()) is None:
            self._take(subscriber, _LOOK_AT_END_S if self._process.is_ending else _LOOK_S)
            if self._process.is_overdue:
                self._process.kill()
            elif self._state.has_started and time.monotonic() > self._heard_at + _SILENCE_LIMIT_S:
                log.error("the engine hangs: no message for %.0f s", _SILENCE_LIMIT_S)
                self._heard_at = time.monotonic()
                self._process.replace()
            if self._state.has_started and known_name != self._wanted_name:
                known_name = self._send_name(self._wanted_name)
        give_up = time.monotonic() + (_LAST_WORD_S if self._heard_at > self._began_at else _FIRST_WORD_S)
        while not self._state.is_over and status >= 0 and time.monotonic() < give_up:
            self._take(subscriber, _LOOK_AT_END_S)
        self._was_killed = status < 0
        return f"killed by signal {-status}" if self._was_killed else f"exit code {status}"

    def _take(self, subscriber: Subscriber, limit_s: float) -> None:
        message = subscriber.receive(limit_s)
        if message is not None:
            self._heard_at = time.monotonic()
            self._call(self._state.read(message))
        if self._state.has_started or self._state.failure:
            self._decide()

    def _call(self, calls: list[Call]) -> None:
        for call in calls:
            self._deliver(call)

    def _send_name(self, user_name: str) -> str:
        try:
            question = messages.SetUserName(user_name=gui_config.published_name(user_name))
            ask(question, name=self._config.engine.name, timeout_s=_ANSWER_LIMIT_S)
        except EngineUnreachable as error:
            log.warning("%s", error)
        return user_name


@atexit.register
def _end_all() -> None:
    """End all recordings of this process before the interpreter ends, while their threads can still work."""
    ours = [recording for recording in _living if recording.is_of_this_process]
    for recording in ours:
        recording.kill()
    for recording in ours:
        recording.wait_ended(_KILLED_LIMIT_S)
