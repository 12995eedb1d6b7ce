"""What several of these tests need: a limit on time, audio, and what is in a list of actions."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from struct import pack
from types import BuiltinFunctionType, FunctionType, ModuleType

from msgspec import structs

import mpengine
from mpengine.dialects.base import Hypothesis
from mpengine.shared import control
from mpengine.shared.messages import Transcript, Word
from mpengine.supervisor.decide.hangs import Look
from tests.rig.waiting import PATIENCE_S, scaled

RUN = bytes(range(8))
# For interpreters that load nothing of site-packages, wherever the tests are started.
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(mpengine.__file__))}


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What runs inside must end by itself in that processor time: a loop that never ends fails.

    A wait that never ends fails as well, in `PATIENCE_S`.
    """

    def fail(*_: object) -> None:
        raise AssertionError(f"not done after {seconds} s")

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, seconds), signal.SIGALRM: (signal.ITIMER_REAL, PATIENCE_S)}
    before = {kind: signal.signal(kind, fail) for kind in timers}
    for timer, limit_s in timers.values():
        signal.setitimer(timer, scaled(limit_s))
    try:
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)
        for kind, handler in before.items():
            signal.signal(kind, handler)


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


def look(at_s: float, states: str = "SS", *, cpu_s: float = 0.0, switches: int = 0, load: float = 0.5) -> Look:
    """What the scheduler shows at a time; by default a process that sleeps, on a machine that has time for it."""
    return Look(at_s, cpu_s, states, switches, load)


# What a recogniser says


def word(text: str, start_s: float, end_s: float, **fields) -> Word:
    """A word between two times."""
    return Word(word=text, start_s=start_s, end_s=end_s, **fields)


def hypothesis(text: str, is_final: bool, start_s=None, duration_s=None, *, channels: int = 1, **fields) -> Hypothesis:
    """What a dialect makes of a message; without both times it has none."""
    has_times = start_s is not None and duration_s is not None
    end_s = (start_s or 0.0) + (duration_s or 0.0)
    transcript = Transcript(text=text, is_final=is_final, start_s=start_s or 0.0, end_s=end_s, **fields)
    return Hypothesis(transcript, has_times, channels)


def result(
    first: int,
    end: int,
    text: str = "words",
    *,
    is_final: bool = True,
    acknowledges: int | None = None,
    is_repeated: bool = False,
    sample_rate: int = 16000,
    **fields,
) -> control.Result:
    """What streaming tells of the samples [first, end)."""
    fields = {"connection": 1, "start_s": first / sample_rate, "end_s": end / sample_rate, **fields}
    transcript = Transcript(text=text, is_final=is_final, **fields)
    told = control.Result(first=first, end=end, transcript=transcript, acknowledges=acknowledges)
    return structs.replace(told, is_repeated=is_repeated)


def weight(thing: object) -> int:
    """The bytes of all that is reached from `thing` alone: not what the program has once, as classes and modules."""
    shared = (type, ModuleType, FunctionType, BuiltinFunctionType, property)
    seen: dict[int, object] = {}
    waiting = [thing]
    while waiting:
        each = waiting.pop()
        if id(each) not in seen and not isinstance(each, shared):
            seen[id(each)] = each
            waiting += gc.get_referents(each)
    return sum(map(sys.getsizeof, seen.values()))
