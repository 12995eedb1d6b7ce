"""What the way through two more processes adds: from the block in the hands of who reads the device to the server.

The engine's capture writes each block to its window before it sends it, and the floor, at the same block and the same
PortAudio latency, writes a mark before it sends: the time from that write to the arrival is all that differs. Both
without TLS, in turn, each alone. The time of a write is known from inotify, alike for both.
"""

import bisect
import tempfile
import time
from pathlib import Path

from tests.bench import clicks
from tests.bench.common import Bench, speak
from tests.bench.figures import ENGINE, FLOOR, percentile
from tests.bench.server import SinkServer
from tests.bench.subjects import Engine, Floor, Place, Subject, memory_files, wait_for_audio
from tests.bench.watch import WriteTimes

LATENCY_S = 0.08  # the engine's default
LONGEST_MS = 15.0  # less than a block: what is longer belongs to another write


def measure(bench: Bench) -> None:
    """Add the figures."""
    if FLOOR not in bench.kinds:
        bench.note("hops: skipped, it needs the floor")
        return
    found: dict[str, list[float]] = {ENGINE: [], FLOOR: []}
    with bench.places("bench") as (place,):
        for turn in range(bench.rounds):
            for kind in (ENGINE, FLOOR) if turn % 2 else (FLOOR, ENGINE):
                bench.say(f"hops: round {turn + 1} of {bench.rounds}, {kind}, {bench.seconds:g} s")
                found[kind] += _one_start(kind, place, bench.seconds)
    for percent in (50, 99):
        values = {kind: percentile(each, percent) for kind, each in found.items()}
        for kind, value in values.items():
            bench.figures.add("hops", f"p{percent} from the block to the server", "ms", value, subject=kind)
        bench.figures.add("hops", f"p{percent} added", "ms", values[ENGINE] - values[FLOOR])
    bench.samples["hops_ms"] = found


def _one_start(kind: str, place: Place, seconds: float) -> list[float]:
    speak(place, seconds + 20)
    with SinkServer() as server, tempfile.TemporaryDirectory(dir=memory_files()) as directory:
        server.keep_audio(True)
        mark = Path(directory, "mark")
        subject: Subject
        if kind == FLOOR:
            subject = Floor(place, server, latency_s=LATENCY_S, mark=mark)
        else:
            # As long as the device is open nothing else is written: no backlog, no other connection.
            subject = Engine(place, server, tls=False, changes={"audio": {"latency": LATENCY_S, "block_ms": 20}})
            mark = subject.running.runtime / f"{subject.running.name}.window"
        with subject:
            wait_for_audio(subject, 1.0)
            with WriteTimes(mark) as writes:
                time.sleep(seconds)
            server.save(directory)
        number = server.connections(subject.port)[-1].number
        arrivals = clicks.frame_times_ns(Path(directory, str(number)))
    return delays_ms(writes.times_ns, arrivals)


def delays_ms(writes_ns: list[int], arrivals_ns: list[int]) -> list[float]:
    """From the last write before each arrival to the arrival; arrivals outside of what was watched are left out."""
    inside = [at for at in arrivals_ns if writes_ns and writes_ns[0] <= at <= writes_ns[-1] + 1_000_000]
    delays = [(at - writes_ns[bisect.bisect_right(writes_ns, at) - 1]) / 1e6 for at in inside]
    short = [delay for delay in delays if delay < LONGEST_MS]
    assert len(short) > 0.95 * len(writes_ns), f"{len(short)} arrivals belong to {len(writes_ns)} writes"
    return short
