"""Processor time and context switches while streaming.

All subjects at the same time, in the same window, each on a microphone of its own (on a shared one the smallest block
dictates when everybody is woken); each round another one is started first. A real device is for one at a time.
"""

import contextlib

from tests.bench.common import MACHINE, Bench, check_streamed, speak, use_of
from tests.bench.figures import ENGINE
from tests.bench.server import SinkServer
from tests.bench.subjects import Subject, wait_for_audio
from tests.bench.usage import Used

WHOLE, PULSE, SWITCHES = "whole tree", "of that PulseAudio's client thread", "context switches"


def measure(bench: Bench) -> None:
    """Add the figures."""
    names = [f"bench_{letter}" for letter in "abc"[: len(bench.kinds)]]
    with bench.places(*names) as places:
        for turn in range(bench.rounds):
            bench.say(f"cpu: round {turn + 1} of {bench.rounds}, {bench.seconds:g} s")
            order = bench.order(turn)
            together = [order] if bench.device is None else [[kind] for kind in order]
            for kinds in together:
                with SinkServer() as server, contextlib.ExitStack() as stack:
                    subjects: list[Subject] = []
                    for kind, place in zip(kinds, places, strict=False):
                        speak(place, bench.seconds + bench.settle_s + 20)
                        subjects.append(stack.enter_context(bench.subject(kind, place, server)))
                    _window(bench, subjects)


def _window(bench: Bench, subjects: list[Subject]) -> None:
    for subject in subjects:
        wait_for_audio(subject, bench.settle_s)
    figures, busy = use_of(subjects, bench.seconds)
    for subject, used in zip(subjects, figures, strict=True):
        check_streamed(subject, bench.seconds)
        add(bench, subject.kind, used)
    bench.figures.add("cpu", "all that runs on this machine", "cores", busy, subject=MACHINE)


def add(bench: Bench, kind: str, used: Used) -> None:
    """The figures of one subject in one window."""
    if used.lost_threads:
        bench.note(f"cpu: {used.lost_threads} threads of {kind} ended in a window; their last part is not counted")
    bench.figures.add("cpu", WHOLE, "% of a core", used.cpu, subject=kind)
    if kind == ENGINE:
        for process, percent in used.cpu_by_process.items():
            bench.figures.add("cpu", process, "% of a core", percent, subject=kind)
    bench.figures.add("cpu", PULSE, "% of a core", used.pulse_cpu, subject=kind)
    bench.figures.add("cpu", SWITCHES, "1/s", used.switches_per_s, subject=kind)
