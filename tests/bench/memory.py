"""Memory while streaming: each subject alone, since what several map is split among them.

Even so PSS is less than on a machine of its own: this program and its server map the same interpreter as the engine
and the baseline. "Pages, each counted once" is free of that (it needs root).
"""

import time

from tests.bench import usage
from tests.bench.common import Bench, check_streamed, speak
from tests.bench.server import SinkServer
from tests.bench.subjects import Engine, Subject, wait_for_audio


def measure(bench: Bench) -> None:
    """Add the figures."""
    # Speech, results and pings: what is loaded late shall be loaded.
    streamed_s = max(bench.seconds, 25.0)
    with bench.places("bench") as (place,):
        for turn in range(bench.rounds):
            for kind in bench.order(turn):
                bench.say(f"memory: round {turn + 1} of {bench.rounds}, {kind}, after {streamed_s:g} s")
                speak(place, streamed_s + 20)
                with SinkServer() as server, bench.subject(kind, place, server) as subject:
                    wait_for_audio(subject)
                    time.sleep(streamed_s)
                    check_streamed(subject, streamed_s - 1)
                    _add(bench, subject)


def _add(bench: Bench, subject: Subject) -> None:
    processes, figures, kind = subject.processes(), bench.figures, subject.kind
    whole = usage.memory(processes)
    figures.add("memory", "PSS", "MB", whole.pss, subject=kind)
    figures.add("memory", "USS", "MB", whole.uss, subject=kind)
    if (distinct := usage.distinct_mb(processes)) is not None:
        figures.add("memory", "pages, each counted once", "MB", distinct, subject=kind)
    if isinstance(subject, Engine):
        for pid, process in processes.items():
            figures.add("memory", f"PSS of {process}", "MB", usage.memory([pid]).pss, subject=kind)
        # In memory where the runtime directory is, and in no process's sum.
        window = subject.running.runtime / f"{subject.running.name}.window"
        figures.add("memory", "replay window, a file", "MB", window.stat().st_size / 1e6)
    figures.add("memory", "processes", "", len(processes), subject=kind)
    figures.add("memory", "descriptors", "", usage.descriptors(processes), subject=kind)
