"""What several of these tests need: a limit on time, audio, and what is in a list of actions."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from struct import pack

import mpengine
from tests.rig.waiting import scaled

RUN = bytes(range(8))
# For interpreters that load nothing of site-packages, wherever the tests are started.
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(mpengine.__file__))}


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What runs inside must end by itself in that time: a loop that never ends fails, and does not hang the suite."""

    def fail(*_: object) -> None:
        raise AssertionError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, scaled(seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def pcm(first: int, end: int) -> bytes:
    """Mono audio in which every sample says where it belongs: sample n has the value n, modulo 32749."""
    return pack(f"<{end - first}h", *(index % 32749 for index in range(first, end)))


def in_fresh_interpreter(code: str, *arguments: str, timeout_s: float = 20.0) -> str:
    """The standard output of `code`, run by an interpreter that has loaded nothing else."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=scaled(timeout_s),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def of_kind(actions: list, *kinds: type) -> list:
    """The actions of these kinds, in order."""
    return [action for action in actions if isinstance(action, kinds)]
