"""Whether anything grows: memory and descriptors after the first minute of streaming, each minute, and at the end."""

import time

from tests.bench import usage
from tests.bench.common import Bench, check_streamed, speak
from tests.bench.figures import slope
from tests.bench.server import SinkServer
from tests.bench.subjects import Engine, Subject, wait_for_audio

LEAST_FOR_SLOPE = 15  # minutes; over a few the noise is all there is


def measure(bench: Bench) -> None:
    """Add the figures."""
    with bench.places("bench") as (place,), SinkServer() as server, Engine(place, server) as engine:
        wait_for_audio(engine)
        began, samples = time.monotonic(), []
        for minute in range(1, int(bench.minutes) + 1):
            speak(place, 60)
            time.sleep(max(0.0, began + 60 * minute - time.monotonic()))
            samples.append(_sample(engine))
            bench.say(f"hour: {minute} of {bench.minutes:g} minutes, {samples[-1]}")
        check_streamed(engine, 60 * int(bench.minutes) - 5)
        assert len(server.connections(engine.port)) == 1, "the connection was made anew"
    for name, unit in (("PSS", "MB"), ("RSS", "MB"), ("descriptors", "")):
        values = [(minute, sample[name]) for minute, sample in enumerate(samples, start=1)]
        bench.figures.add("hour", f"{name} after the first minute", unit, values[0][1])
        bench.figures.add("hour", f"{name} after {len(samples)} minutes", unit, values[-1][1])
        if len(values) >= LEAST_FOR_SLOPE:  # the first minute still loads what is needed first
            bench.figures.add("hour", f"{name}, growth", f"{unit or 1}/h", 60 * slope(values[1:]))
    bench.samples["hour"] = samples


def _sample(engine: Subject) -> dict[str, float]:
    processes = engine.processes()
    memory = usage.memory(processes)
    return {"PSS": memory.pss, "RSS": memory.rss, "descriptors": usage.descriptors(processes)}
