"""What waits, and for how long, when the recogniser is gone for a while: the backlog over an outage."""

import time

from tests.bench.common import Bench, speak
from tests.bench.subjects import in_memory
from tests.rig.configs import byok
from tests.rig.deepgram import FakeDeepgram
from tests.rig.engine import EngineProcess

BEFORE_S, OUTAGE_S, MOST_S = 5.0, 20.0, 180.0
WORKED_OFF_S = 0.5


def measure(bench: Bench) -> None:
    """Add the figures: the metrics that the engine publishes each second."""
    with bench.places("bench") as (place,), FakeDeepgram(echoing=True) as server:
        config = byok(server) | {"audio": {"device": place.device or None}}
        with in_memory(EngineProcess(config, environment=place.environment)) as running:
            running.wait_for_state("running")
            bench.say(f"outage: {OUTAGE_S:g} s without a recogniser, then until nothing waits any more")
            speak(place, BEFORE_S + OUTAGE_S + MOST_S)
            time.sleep(BEFORE_S)
            began = time.monotonic()
            server.stop()
            points = _follow(running, began, OUTAGE_S)
            server.start()
            points += _follow(running, began, MOST_S, until_below_s=WORKED_OFF_S)
            caught_up_s = time.monotonic() - began - OUTAGE_S
    bench.figures.add(
        "outage", f"most that waited, outage of {OUTAGE_S:g} s", "s", max(backlog for _, backlog in points)
    )
    bench.figures.add("outage", "worked off behind it", "s", caught_up_s)
    bench.samples["outage"] = {"points": points, "outage_s": OUTAGE_S}


def _follow(
    running: EngineProcess, began: float, limit_s: float, until_below_s: float | None = None
) -> list[tuple[float, float]]:
    """Seconds since the outage began, and the backlog then; until the limit, or until so little waits."""
    points: list[tuple[float, float]] = []
    seen = len(running.bus.messages)
    ends = time.monotonic() + limit_s
    if until_below_s is None:
        ends = began + limit_s
    while time.monotonic() < ends:
        time.sleep(0.1)
        messages = running.bus.messages
        now_s = time.monotonic() - began
        points += [(now_s, message["backlog_s"]) for message in messages[seen:] if message["type"] == "metrics"]
        seen = len(messages)
        if until_below_s is not None and points and points[-1][1] < until_below_s:
            return points
    assert until_below_s is None, f"{points[-1:]} still waits after {limit_s:g} s"
    return points
