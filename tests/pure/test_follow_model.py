"""Following an engine against a model: whatever happens, each message comes once and in order, or is reported."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpengine.shared.messages import FINALS, KEPT
from tests.pure.published_history import Engine, Wire

PUBLISHED = ["final", "final", "final", "gap", "status", "level", "metrics"]
OPERATIONS = [*PUBLISHED, "arrive", "arrive", "arrive", *["answer"] * 4]
FAULTS = ["lose", "lose all", "lose an answer", "break", "kill", "six seconds"]
ENDS = ["stop", "crash"]


def play(wire, operations):
    engine = wire.engine
    for operation in operations:
        match operation:
            case "final":
                wire.send(engine.publish(FINALS))
            case "gap" | "status" | "level" | "metrics":
                wire.send(engine.publish(operation))
            case "arrive":
                wire.arrive()
            case "answer":
                wire.answer()
            case "lose":
                wire.way[:1] = [each for each in wire.way[:1] if each[0] == "sync"]
            case "lose all":
                wire.way[:] = [each for each in wire.way if each[0] == "sync"]
            case "lose an answer":
                del wire.answers[:1]
            case "break":
                wire.disconnect()
                wire.connect()
            case "kill":
                repeated = engine.kill()
                wire.disconnect()
                wire.answers.clear()
                wire.connect()
                wire.send(repeated)
            case "six seconds":
                wire.now += 6.0
                wire.perform(wire.follower.tick(wire.now))
            case "stop" | "crash":
                if operation == "stop":
                    wire.send(engine.stop())
                wire.arrive(len(wire.way) // 2)
                engine.start_run()
                wire.disconnect()
                wire.answers.clear()
                wire.connect()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*OPERATIONS, *(fault for fault in FAULTS if fault != "six seconds")]), max_size=60))
def test_of_a_run_that_goes_on_with_all_its_history_nothing_is_missing(operations):
    wire = Wire(Engine())
    play(wire, operations)
    wire.settle()
    kept = [each for each in wire.engine.published if each[1] in KEPT]
    assert [each for each in wire.got if each[1] in KEPT] == kept
    assert wire.holes == []


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([*OPERATIONS, *FAULTS, *ENDS]), max_size=80), st.sampled_from([1, 3, None]), st.booleans()
)
def test_whatever_happens_each_comes_once_and_in_order_or_is_told(operations, most, can_ask):
    wire = Wire(Engine(most), can_ask=can_ask, since="start" if can_ask else None)
    if can_ask:
        wire.settle()
    else:
        wire.connect()
        wire.send(wire.engine.publish(FINALS) + wire.engine.publish("gap") + wire.engine.publish("error"))
        wire.run_dry()
    play(wire, operations)
    if can_ask:
        wire.settle()
    else:
        wire.connect()
        wire.send([each for topic in KEPT for each in wire.engine.publish(topic)])
        wire.run_dry()
    check(wire, [each for each in wire.engine.published if can_ask or was_to_be_heard_of(wire, each)])


def was_to_be_heard_of(wire, each):
    """Who does not ask cannot know that a run which is new to him had a supervisor before."""
    return wire.engine.boot_of[each] >= wire.first_boots.get(each[0], math.inf)


def check(wire, published):
    for topic in (*KEPT, "status"):
        got = [(int(run[1:]), seq) for run, each, seq in wire.got if each == topic]
        assert got == sorted(set(got)), "twice, or out of order"
        for run, each, seq in published:
            if each == topic != "status" and (int(run[1:]), seq) not in got:
                assert any(_covers(hole, run, topic, seq) for hole in wire.holes), (run, topic, seq, wire.holes)


def _covers(hole, run, topic, seq):
    return (hole.run, hole.topic) == (run, topic) and hole.first_seq <= seq <= (hole.last_seq or seq)
