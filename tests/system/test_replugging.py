"""A device that goes and comes back again and again while audio is sent: each gap, each time, and nothing else.

MPENGINE_LOSSES is how often that happens, and MPENGINE_ABSENT_SECONDS how long it is away at most. The defaults are
small; the whole proof is 30 and 15.
"""

import os
import random
import time
from itertools import pairwise

import pytest

from tests.rig.configs import byok
from tests.rig.deepgram import FakeDeepgram
from tests.rig.position_code import coded, heard
from tests.rig.waiting import promised

LOSSES = int(os.environ.get("MPENGINE_LOSSES", "3"))
ABSENT_S = float(os.environ.get("MPENGINE_ABSENT_SECONDS", "2"))
BACK_S = 3.0
RATE, BLOCK = 16000, 320
QUICK = {"buffer": {"catch_up": 20.0}}


def placed(running, server):
    """What the recogniser heard, each sample at its index: gaps are zeros."""
    pcm, whole = bytes(server.connections[0].audio), bytearray()
    for gap in running.bus.of_type("gap"):
        before = round(gap["start_s"] * RATE) * 2 - len(whole)
        assert 0 <= before <= len(pcm)
        whole += pcm[:before] + bytes(2 * gap["samples"])
        pcm = pcm[before:]
    return bytes(whole) + pcm


def uptime_s(running, later_s):
    """Wait by the engine's own clock."""
    metrics = running.bus.of_type("metrics")
    begun = metrics[-1]["uptime_s"] if metrics else 0.0
    return running.bus.wait_for(lambda m: m["type"] == "metrics" and m["uptime_s"] >= begun + later_s, later_s + 30)


def captured_s(running, seconds):
    """Wait until so many more seconds have been captured."""
    metrics = running.bus.of_type("metrics")
    begun = metrics[-1]["captured_s"] if metrics else 0.0
    running.bus.wait_for(lambda m: m["type"] == "metrics" and m["captured_s"] >= begun + seconds, seconds + 30)


def lose_again_and_again(running, unplug, plug):
    """Returns what the test saw of capture's processor time, as a share of the time without a device."""
    chance, shares = random.Random(15), []
    for number in range(1, LOSSES + 1):
        captured_s(running, 1.0 + chance.random())
        unplug()
        running.bus.wait_for(lambda m: m["type"] == "status" and m["device"] is None, what="the loss")
        before = running.bus.wait_for(lambda m: m["type"] == "metrics", 30)
        after = uptime_s(running, chance.uniform(0.3, ABSENT_S))
        used_s = after["children"]["capture"]["cpu_s"] - before["children"]["capture"]["cpu_s"]
        shares.append(used_s / max(1.0, after["uptime_s"] - before["uptime_s"]))
        plug()
        count = number
        running.bus.wait_until(lambda all_, n=count: len([m for m in all_ if m["type"] == "gap"]) >= n, 60, "the gap")
        running.wait_for_state("running")
    captured_s(running, 2.0)
    return shares


def judge(running, server, pid, shares):
    assert running.stop() == 0
    gaps = running.bus.of_type("gap")
    assert [gap["reason"] for gap in gaps] == ["device"] * LOSSES
    assert len([m for m in running.bus.of_type("error") if m["code"] == "device"]) == LOSSES
    assert len(server.connections) == 1
    assert not server.violations
    assert {m["children"]["capture"]["pid"] for m in running.bus.of_type("status")} <= {pid, None}
    assert max(shares) < 0.05
    running.assert_nothing_left()


def judge_gaps(running, server):
    """On a card whose code goes on while it is away."""
    first, *others = heard(placed(running, server), RATE)
    print("errors in samples:", [round(stretch.offset - first.offset) for stretch in others])
    # Errors of one gap after another may add up, and each is less than a block.
    offsets = [first.offset, *(stretch.offset for stretch in others)]
    assert all(abs(after - before) <= BLOCK for before, after in pairwise(offsets))
    assert sum(stretch.last - stretch.first for stretch in (first, *others)) > RATE * (LOSSES + 1)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["gone", "frozen"])
def test_a_card_that_is_replugged_costs_the_time_it_was_away(cards, engine, how):
    mic = cards.add("mic", period_steps=True)
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server) | QUICK | {"audio": {"device": "mic"}}, cards)
        running.wait_for_state("running")
        pid = running.child_pid("capture")
        limit_s, plugged_ns = promised(BACK_S), []

        def plug():
            cards.plug("mic")
            plugged_ns.append(time.monotonic_ns())

        shares = lose_again_and_again(running, lambda: cards.unplug("mic", how), plug)
        judge(running, server, pid, shares)
        judge_gaps(running, server)
    starts = [event.at_ns for event in mic.events("start")][1:]
    back_s = [(start - plugged) / 1e9 for plugged, start in zip(plugged_ns, starts, strict=True)]
    print("back after, in seconds:", [round(each, 2) for each in back_s])
    assert max(back_s) <= limit_s


@pytest.mark.slow
def test_a_source_of_the_sound_server_that_is_replugged_costs_the_time_it_was_away(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server) | QUICK, microphone)
        running.wait_for_state("running")
        pid = running.child_pid("capture")
        position = 0

        def plug():
            nonlocal position
            microphone.plug()
            microphone.play(coded(position, 60 * RATE, RATE))
            position += 60 * RATE

        microphone.play(coded(position, 60 * RATE, RATE))
        position += 60 * RATE
        shares = lose_again_and_again(running, microphone.unplug, plug)
        judge(running, server, pid, shares)
        assert len(heard(placed(running, server), RATE)) >= LOSSES
