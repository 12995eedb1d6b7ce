"""What more of everything costs: engines, subscribers, longer blocks, longer windows.

Each step is streamed and measured like `cpu` and `memory`; a line that is called "each further ..." is the slope
through all steps. Several engines share the interpreter's and the libraries' pages, so their PSS is less than each
one's alone.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from tests.bench import usage
from tests.bench.common import Bench, check_streamed, interrupts_held, speak, use_of
from tests.bench.figures import slope
from tests.bench.server import SinkServer
from tests.bench.subjects import Engine, Place, wait_for_audio
from tests.rig.fan_out import Readers, reading

ENGINES = (1, 2, 4, 8)
SUBSCRIBERS = (1, 10, 30, 100)
BLOCKS_MS = (10, 20, 40, 60, 100)
WINDOWS_S = (60, 300, 900, 3600)
CPU, PSS = "% of a core", "MB"


def measure(bench: Bench) -> None:
    """Add the figures."""
    names = [f"bench_{letter}" for letter in "abcdefgh"[: max(ENGINES)]]
    with bench.places(*(names if bench.device is None else names[:1])) as places:
        for turn in range(bench.rounds):
            bench.say(f"growth: round {turn + 1} of {bench.rounds}")
            if len(places) > 1:
                _engines(bench, places)
            _subscribers(bench, places[0])
            for block_ms in BLOCKS_MS:
                _one(bench, places[0], f"blocks of {block_ms} ms", {"audio": {"block_ms": block_ms}})
            for seconds in WINDOWS_S:
                _one(bench, places[0], f"window of {seconds // 60} min", {"buffer": {"seconds": seconds}})


def _engines(bench: Bench, places: list[Place]) -> None:
    points = []
    for count in ENGINES:
        cpu, pss = _together(bench, places[:count], f"engines: {count}")
        points.append((count, cpu, pss))
    _add_slopes(bench, "each further engine", points)


def _subscribers(bench: Bench, place: Place) -> None:
    points = []
    for count in SUBSCRIBERS:
        cpu, pss = _one(bench, place, f"subscribers: {count}", {}, subscribers=count)
        points.append((count, cpu, pss))
    _add_slopes(bench, "each further subscriber", points)


def _one(
    bench: Bench, place: Place, what: str, changes: Mapping[str, Mapping[str, Any]], subscribers: int = 1
) -> tuple[float, float]:
    return _together(bench, [place], what, changes, subscribers)


def _together(
    bench: Bench,
    places: list[Place],
    what: str,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
    subscribers: int = 1,
) -> tuple[float, float]:
    """Processor time and PSS of all of them. One subscriber is the benchmark itself."""
    bench.say(f"growth: {what}, {bench.seconds:g} s")
    with SinkServer() as server, contextlib.ExitStack() as stack:
        engines = []
        for place in places:
            speak(place, bench.seconds + bench.settle_s + 20)
            engines.append(stack.enter_context(Engine(place, server, changes=changes)))
        for engine in engines:
            wait_for_audio(engine, bench.settle_s)
        if subscribers > 1:
            running = engines[0].running
            with interrupts_held():
                readers = Readers(f"ipc://{running.runtime}/results", running.name, subscribers - 1)
            stack.enter_context(reading(readers))
        used, _ = use_of(engines, bench.seconds)
        for engine in engines:
            check_streamed(engine, bench.seconds)
        pss = usage.memory([pid for engine in engines for pid in engine.processes()]).pss
    cpu = sum(each.cpu for each in used)
    _add(bench, what, cpu, pss)
    return cpu, pss


def _add(bench: Bench, name: str, cpu: float, pss: float) -> None:
    bench.figures.add("growth", name, CPU, cpu)
    bench.figures.add("growth", f"{name}: PSS", PSS, pss)


def _add_slopes(bench: Bench, name: str, points: list[tuple[int, float, float]]) -> None:
    _add(
        bench,
        name,
        slope([(count, cpu) for count, cpu, _ in points]),
        slope([(count, pss) for count, _, pss in points]),
    )
