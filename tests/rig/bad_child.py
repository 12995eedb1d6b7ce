"""A child of the engine that misbehaves: `tests.rig.bad_engine` starts it in the place of a real one.

It begins as a real child does. How it goes on says $RIG_BAD_KIND: the name of one of the functions below. What it does
to itself it notes on standard error, with the time, so that a test knows it to the nanosecond.
"""

import os
import resource
import signal
import sys
import time
from typing import NoReturn

import zmq

from mpengine.processes import beginning
from mpengine.processes.beginning import ChildSettings
from mpengine.processes.loop import ChildLoop
from mpengine.shared import control, sockets

KIND = "RIG_BAD_KIND"
EXIT_CODE = 7
LIFE_S = 0.3
_BEAT_S = 0.1
_SAMPLES_A_BEAT = 1600


class BadBoot(ChildSettings, frozen=True, kw_only=True):
    """What is needed of the settings of capture and of streaming."""

    first_connection: int = 1
    frames: str = ""
    window_path: str = ""


class BadChild:
    """Its loop, and what a good child would say."""

    def __init__(self, settings: BadBoot) -> None:
        self.loop = ChildLoop(settings)
        self._settings = settings
        self.name = settings.identity.partition(".")[0]
        self._connection = settings.first_connection
        self._samples = 0

    def hello(self) -> None:
        """Say that the work loop runs."""
        self.loop.control.tell(control.Hello(pid=os.getpid()))

    def ready(self) -> None:
        """Say that there is a device, or a connection."""
        self.hello()
        if self.name == "capture":
            self._make_names()
            opened = control.DeviceOpened(name="bad", sample_rate=16000, channels=1, latency_s=0.0)
            self.loop.control.tell(opened)
        else:
            endpoint = "ws://bad.example"
            self.loop.control.tell(control.Connecting(connection=self._connection, endpoint=endpoint))
            self.loop.control.tell(control.ConnectionReady(connection=self._connection, endpoint=endpoint))

    def _make_names(self) -> None:
        """Make the socket and the window, as a good capture does: the supervisor looks after them."""
        self._frames = sockets.make(self.loop.context, zmq.PUSH)
        sockets.bind(self._frames, self._settings.frames)
        os.close(os.open(self._settings.window_path, os.O_CREAT | os.O_RDWR, 0o600))

    def beat(self, *, working: bool = True) -> None:
        """Say how far the work is."""
        self._samples += _SAMPLES_A_BEAT if working else 0
        if self.name == "capture":
            self.loop.control.mention(control.CaptureBeat(captured=self._samples))
        else:
            self.loop.control.mention(control.StreamBeat(sent=self._samples, highest_sent=self._samples, replayed=0))

    def live(self, limit_s: float = float("inf"), *, working: bool = True) -> None:
        """Beat, and get on with the work, until told to leave or for so long."""
        end = time.monotonic() + limit_s
        while not self.loop.leaving and time.monotonic() < end:
            self.beat(working=working)
            self.loop.wait(_BEAT_S)


def note(what: str) -> None:
    """Write down when it happens."""
    print(f"rig: {what} {os.getpid()} {time.time_ns()}", file=sys.stderr, flush=True)


def hang() -> NoReturn:
    """As in a library's call that does not come back: no signal handler of Python's helps."""
    while True:
        time.sleep(3600)


# The kinds


def exits_at_once(_child: BadChild) -> NoReturn:
    """Say nothing, and end with an exit code that means nothing to anybody."""
    note("bad")
    os._exit(EXIT_CODE)


def never_ready(child: BadChild) -> None:
    """Live, and say nothing."""
    while not child.loop.leaving:
        child.loop.wait(1.0)


def hangs_at_start(child: BadChild) -> None:
    """Say hello and hang, so deep that SIGABRT does not get through."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGABRT})
    note("bad")
    child.hello()
    hang()


def hangs_later(child: BadChild) -> None:
    """Work, then hang."""
    child.ready()
    child.live(LIFE_S)
    note("bad")
    child.beat()
    hang()


def stands_still(child: BadChild) -> None:
    """Say that it is well, and do nothing."""
    child.ready()
    note("bad")
    if child.name == "capture":
        child.beat()
    child.live(working=False)


def dies(child: BadChild) -> None:
    """Work, then crash."""
    child.ready()
    child.live(LIFE_S)
    if not child.loop.leaving:
        note("bad")
        os.kill(os.getpid(), signal.SIGSEGV)


def ignores_term(child: BadChild) -> None:
    """Work, and do not leave."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child.ready()
    child.live()


KINDS = {kind.__name__: kind for kind in (never_ready, hangs_at_start, hangs_later, stands_still)}
KINDS |= {kind.__name__: kind for kind in (exits_at_once, dies, ignores_term)}


def main() -> None:
    """Begin as a child, then be a bad one."""
    settings = beginning.receive(BadBoot, "bad")
    note("born")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # its crashes are of no interest
    child = BadChild(settings)
    KINDS[os.environ[KIND]](child)
    child.loop.close()


if __name__ == "__main__":
    main()
