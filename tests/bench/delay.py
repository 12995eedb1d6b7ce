"""How much later audio is at the server than the floor's: clicks on one microphone that all record at once.

Where a block begins is chance at each start and stays as it is, for the floor too: so one start says little, and all
are started anew many times. On the shared microphone the floor's small block serves the others as well; that favours
the baseline, whose block is long.
"""

import contextlib
import tempfile
from pathlib import Path

from tests.bench import clicks
from tests.bench.common import Bench
from tests.bench.figures import FLOOR, percentile
from tests.bench.server import SinkServer
from tests.bench.subjects import Place, wait_for_audio

CLICKS = 40
AGAINST_FLOOR = "against the floor"


def measure(bench: Bench) -> None:
    """Add the figures."""
    if FLOOR not in bench.kinds or bench.device is not None:
        bench.note("delay: skipped, it needs the floor and a virtual microphone")
        return
    pooled: dict[str, list[float]] = {kind: [] for kind in bench.kinds if kind != FLOOR}
    starts = max(6, bench.tries)
    with bench.places("bench") as (place,):
        for turn in range(starts):
            bench.say(f"delay: start {turn + 1} of {starts}")
            for kind, found in _one_start(bench, place, turn).items():
                pooled[kind] += found
                bench.figures.add("delay", "p50 of each start", "ms", percentile(found, 50), subject=kind)
    for kind, found in pooled.items():
        if not found:
            continue
        for percent in (50, 95, 99):
            bench.figures.add("delay", f"p{percent} {AGAINST_FLOOR}", "ms", percentile(found, percent), subject=kind)
    bench.samples["delay_ms"] = pooled


def _one_start(bench: Bench, place: Place, turn: int) -> dict[str, list[float]]:
    """The differences of one start; of what lost audio, nothing."""
    with SinkServer() as server, contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as directory:
        server.keep_audio(True)
        subjects = [stack.enter_context(bench.subject(kind, place, server)) for kind in bench.order(turn)]
        for subject in subjects:
            wait_for_audio(subject)
        assert place.microphone is not None
        place.microphone.play_and_wait(clicks.train(CLICKS, turn), timeout=CLICKS)
        server.save(directory)
        found = {
            subject.kind: clicks.arrivals(Path(directory, str(server.connections(subject.port)[-1].number)))
            for subject in subjects
        }
    against = {}
    for kind in found.keys() - {FLOOR}:
        try:
            against[kind] = clicks.differences_ms(found[kind], found[FLOOR])
        except ValueError as problem:
            bench.note(f"delay: start {turn + 1} of {kind} is left out: {problem}")
    return against
