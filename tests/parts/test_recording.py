"""A recording whose engine is played: ended at any point, by any thread, and with nothing left of it."""

import os
import signal
import tempfile
import threading
import time

import pytest

from mpengine import Engine
from mpengine.embedded import process as process_module
from mpengine.embedded import recording as recording_module
from mpengine.embedded.process import Process
from mpengine.embedded.recording import Recording
from mpengine.processes.beginning import Parent
from mpengine.shared.messages import Status, Transcript
from mpengine.supervisor.children.process import Spawned
from tests.rig.processes import descriptors_here
from tests.rig.waiting import scaled, wait_until

OURS = ("/embedded/", "/threading.py", "/weakref.py")
CONFIG = {"remote.mode": "local"}


class Flag:
    """As threading.Event, but without a line of Python of that module: what interrupts all does not interrupt this."""

    def __init__(self):
        self._lock = threading.Lock()
        self._lock.acquire()

    def is_set(self):
        return not self._lock.locked()

    def set(self):
        if self._lock.locked():
            self._lock.release()

    def wait(self, limit_s):
        has_come = self._lock.acquire(timeout=limit_s)
        if has_come:
            self._lock.release()
        return has_come


class PlayedProcess:
    """In place of a supervisor's process: ends when it is told to."""

    def __init__(self, *_arguments, **_options):
        self.has_ended = Flag()
        self.signals = []
        STARTED.append(self)

    def terminate(self):
        self.signals.append(signal.SIGTERM)
        self.has_ended.set()

    def kill(self):
        self.signals.append(signal.SIGKILL)
        self.has_ended.set()

    def reap(self):
        if not self.has_ended.is_set():
            return None
        return 0 if self.signals[0] == signal.SIGTERM else -signal.SIGKILL

    def wait(self, _limit_s):
        assert self.has_ended.is_set()


class PlayedSubscriber:
    """Tells that it runs, two results, and a clean end."""

    def __init__(self, _name):
        self._messages = [
            Status(state="running", children={}),
            Transcript(text="one", is_final=True),
            Transcript(text="two", is_final=True),
        ]

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        pass

    def receive(self, limit_s):
        if self._messages:
            return self._messages.pop(0)
        process = STARTED[-1]
        if process.has_ended.wait(min(limit_s, 0.001)) and process.signals == [signal.SIGTERM]:
            return Status(state="stopped", children={})
        return None


STARTED = []


@pytest.fixture(autouse=True)
def played(monkeypatch):
    STARTED.clear()
    monkeypatch.setattr(process_module, "Spawned", PlayedProcess)
    monkeypatch.setattr(recording_module, "Subscriber", PlayedSubscriber)
    # Short: pytest's own directories are too long for a socket.
    with tempfile.TemporaryDirectory() as directory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield
        wait_until(lambda: not ours(), 30, "the end of the engine's threads")


def ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("mpengine-")]


def recording_engine():
    engine = Engine(CONFIG)
    assert engine.initialize()
    return engine


class Interruption:
    """Calls `deed` before one of the lines that the engine's threads run: `at` of them were before it."""

    def __init__(self, at, deed):
        self.lines = 0
        self._at, self._deed = at, deed

    def __enter__(self):
        threading.settrace(self._trace)
        return self

    def __exit__(self, *_exc):
        threading.settrace(None)

    def _trace(self, frame, event, _argument):
        if not any(part in frame.f_code.co_filename for part in OURS):
            return None
        if event == "line":
            self.lines += 1
            if self.lines - 1 == self._at:
                self._deed()
        return self._trace


def dropped_at(line):
    """Let go of the last reference to an engine in the middle of its threads' work; returns how many lines that has."""
    engines = [recording_engine()]
    with Interruption(line, engines.clear) as interruption:
        engines[0]._begin()
        recording = engines[0]._recording if engines else None
        wait_until(lambda: not engines or STARTED, 30, "the process")
        if line is None:
            assert engines[0].start_recording()
            assert engines[0]._callbacks.wait(scaled(30))
            lines = interruption.lines
            engines.clear()
        wait_until(lambda: not ours(), 30, f"the end of an engine that was dropped at line {line}")
    assert all(process.has_ended.is_set() for process in STARTED)
    assert recording is None or recording.wait_ended(0)
    return lines if line is None else None


@pytest.mark.slow
def test_an_engine_may_be_collected_at_any_point_of_its_own_threads():
    lines = dropped_at(None)
    assert lines > 200
    for line in range(lines):
        dropped_at(line)


def test_nobody_is_waited_for_to_kill_it():
    process = Process()
    holds, let_go = threading.Event(), threading.Event()

    def hold():
        with process._lock:
            holds.set()
            let_go.wait(scaled(30))

    assert process.start(None)
    holder = threading.Thread(target=hold)
    holder.start()
    assert holds.wait(scaled(30))
    killer = threading.Thread(target=process.kill)
    killer.start()
    killer.join(scaled(30))
    has_returned = not killer.is_alive()
    let_go.set()
    for each in (holder, killer):
        each.join(scaled(30))
    assert has_returned
    assert process.is_overdue
    assert STARTED[0].signals == []  # whoever follows it does that now
    process.kill()
    assert STARTED[0].signals == [signal.SIGKILL]


def test_none_is_started_once_it_is_to_end():
    for end in (Process.kill, lambda process: process.ask_to_end(5)):
        process = Process()
        end(process)
        assert not process.start(None)
        assert not process.ask_to_end(5)
    assert STARTED == []


def test_one_that_is_collected_elsewhere_has_ended(monkeypatch):
    def collected(*_arguments):
        raise ChildProcessError(10, "No child processes")

    monkeypatch.setattr(PlayedProcess, "reap", collected)
    monkeypatch.setattr(PlayedProcess, "wait", collected)
    process = Process()
    assert process.start(None)
    assert process.reap() == 0
    process = Process()
    assert process.start(None)
    process.close(1)


def test_whoever_stops_it_has_waited_for_its_last_words(monkeypatch):
    engine, order = recording_engine(), []
    free, waits = threading.Event(), []
    really = engine._callbacks.wait

    def wait(limit_s):
        waits.append(limit_s)
        return really(scaled(30))

    def stop():
        engine.stop_recording()
        order.append("stopped")

    def last_words(result):
        free.wait(scaled(30))
        order.append(result.text)

    monkeypatch.setattr(engine._callbacks, "wait", wait)
    engine.set_callbacks(final_callback=last_words)
    assert engine.start_recording()
    stoppers = [threading.Thread(target=stop) for _ in range(2)]
    try:
        for number, stopper in enumerate(stoppers, 1):
            stopper.start()
            wait_until(lambda number=number: len(waits) == number, 30, f"stopper {number} at the callbacks")
    finally:
        free.set()
        for stopper in stoppers:
            stopper.join(scaled(30))
    assert order == ["one", "two", "stopped", "stopped"]
    engine.stop()


def test_the_last_words_of_a_busy_engine_come_late_but_come(monkeypatch):
    engine, said = recording_engine(), []
    really, rest = PlayedSubscriber.receive, [Transcript(text="three", is_final=True)]
    late_at = []

    def receive(self, limit_s):
        if self._messages:
            return really(self, limit_s)
        if not STARTED[-1].has_ended.wait(0.01):
            return None
        late_at.append(time.monotonic())
        if time.monotonic() < late_at[0] + 1:
            time.sleep(0.01)
            return None
        return rest.pop() if rest else really(self, limit_s)

    monkeypatch.setattr(PlayedSubscriber, "receive", receive)
    engine.set_callbacks(final_callback=lambda result: said.append(result.text))
    assert engine.start_recording()
    engine.stop_recording()
    assert said == ["one", "two", "three"]
    engine.stop()


def test_a_stop_on_its_own_thread_waits_for_nobody(monkeypatch):
    """A GUI's `__del__` that stops its engine runs wherever the last reference is let go of."""
    engine, seen, has_begun = recording_engine(), [], threading.Event()
    really = PlayedSubscriber.receive

    def receive(self, limit_s):
        if has_begun.is_set() and not self._messages and not seen:
            seen.append(engine._recording.wait_ended())
            engine.stop_recording()
        return really(self, limit_s)

    monkeypatch.setattr(PlayedSubscriber, "receive", receive)
    assert engine.start_recording()
    has_begun.set()
    wait_until(lambda: not engine.is_recording_active(), 30, "the end")
    assert engine._recording.wait_ended(scaled(30))
    assert seen == [False]
    engine.stop()


def test_without_room_for_its_thread_it_is_not_started(monkeypatch):
    engine, really = recording_engine(), threading.Thread.start

    def start(thread):
        if thread.name == "mpengine-engine":
            raise RuntimeError("can't start new thread")
        really(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    assert not engine.start_recording()
    assert engine.last_error == "can't start new thread"
    assert not engine.is_recording_active()
    monkeypatch.undo()


def test_it_has_ended_even_if_nobody_can_be_told(caplog):
    def deliver(_call):
        raise RuntimeError("nobody is there")

    recording = Recording(recording_engine()._config(), deliver)
    assert recording.wait_ended(scaled(30))
    assert not recording.is_active
    assert recording.wait_started(0) == "The engine has ended: RuntimeError('nobody is there')"
    assert "reporting the end of the engine failed" in caplog.text


def test_a_name_that_was_changed_is_told_to_the_engine_that_replaces_a_killed_one(monkeypatch):
    told = []
    monkeypatch.setattr(recording_module, "_SHORTEST_LIFE_S", 0.0)
    monkeypatch.setattr(recording_module, "ask", lambda question, **_: told.append((len(STARTED), question.user_name)))
    engine = recording_engine()
    assert engine.start_recording()
    engine.set_user_name("Bob")
    wait_until(lambda: told, 30, "the new name")
    STARTED[0].kill()
    wait_until(lambda: len(told) == 2, 30, "the new name, once more")
    assert told == [(1, "Bob"), (2, "Bob")]
    engine.stop()


def test_with_sigchld_ignored_no_descriptor_stays_open():
    """The kernel collects the children then, and nobody is told how they ended."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    count = descriptors_here()
    try:
        spawned = Spawned("engine", Parent(parent_pid=os.getpid()), module="keyword")
        assert descriptors_here() > count
        for _ in range(2):
            with pytest.raises(ChildProcessError):
                spawned.wait(scaled(30))
        assert descriptors_here() == count
    finally:
        signal.signal(signal.SIGCHLD, before)
