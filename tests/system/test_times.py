"""The time of day that is published, beside the truth: a card that moves by periods, and whose crystal is off.

MPENGINE_TIMES_MINUTES is how long; the whole proof is 10. -s shows the figures.
"""

import os
import statistics
import time

import pytest

from tests.rig.configs import byok
from tests.rig.deepgram import FakeDeepgram

MINUTES = float(os.environ.get("MPENGINE_TIMES_MINUTES", "1"))
RATE = 16000
# What a crystal has that is off is known only after a while.
KNOWN_S = 30.0
MOST_MS = 1.0


@pytest.mark.long
@pytest.mark.parametrize("drift_ppm", [-100, 0, 100])
def test_the_time_of_day_stays_true(cards, engine, drift_ppm):
    mic = cards.add("mic", period_steps=True, drift_ppm=drift_ppm)
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server) | {"audio": {"device": "mic"}}, cards)
        seconds = MINUTES * 60
        running.bus.wait_for(lambda m: m["type"] == "metrics" and m["captured_s"] >= seconds, seconds + 60)
        assert running.stop() == 0
    first = mic.events("start")[-1].position
    clock_ns = statistics.median(time.time_ns() - time.monotonic_ns() for _ in range(100))
    finals = [final for final in running.bus.finals() if final["start_time_ns"] and final["start_s"] > KNOWN_S]
    late_ms = [
        (final["start_time_ns"] - clock_ns - mic.moment_ns(first + final["start_s"] * RATE)) / 1e6 for final in finals
    ]
    ranked = sorted(late_ms)
    print(f"{drift_ppm:+} ppm, {len(ranked)} finals: median {statistics.median(ranked):+.3f} ms, {ranked[0]:+.3f} to")
    print(f"{ranked[-1]:+.3f} ms; the last ten:", [round(late, 3) for late in late_ms[-10:]])
    assert running.bus.of_type("gap") == []
    # A machine that is busy at one moment is busy at that moment alone.
    assert sum(abs(late) < MOST_MS for late in late_ms) >= 0.99 * len(late_ms)
    assert all(abs(late) < MOST_MS for late in late_ms[-10:])
    assert len(finals) > (seconds - KNOWN_S) / 10
