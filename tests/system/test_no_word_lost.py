"""Audio that carries its own position, faults every few seconds: every position is published once, in order.

MPENGINE_ORACLE_SECONDS makes it longer (the default is short), MPENGINE_ORACLE_SEED repeats a run. A long one also has
faults that take half a minute to be noticed: a half-open connection, and a recogniser that falls silent.
"""

import contextlib
import os
import random
import signal

import pytest

from tests.rig.configs import byok, managed, write_wav
from tests.rig.deepgram import FakeDeepgram
from tests.rig.oracle import SAMPLES, Oracle, speech, spoken_positions
from tests.rig.proxy import FakeProxy

SECONDS = int(os.environ.get("MPENGINE_ORACLE_SECONDS", "15"))
SEED = int(os.environ.get("MPENGINE_ORACLE_SEED", "0")) or random.randrange(1, 10_000)
POSITIONS = SECONDS * 10
MORE = 20  # played behind them, so that one is heard for certain when all of them are through
BLOCK_S = 0.02
IS_LONG = SECONDS >= 120
# At 1.25 times real time, what waited for g seconds takes 4 g to send.
CATCH_UP_LIMIT_S = 300 if IS_LONG else 60
KILLS = 20 if IS_LONG else 3
# Faster than by default, so that a short test sees what a long one would.
SUPERVISOR = {"hang_limit_s": 3.0, "backoff_s": 0.1, "backoff_ceiling_s": 0.5}

pytestmark = pytest.mark.slow


class Faults:
    """One fault after the other, by chance."""

    def __init__(self, running, server, chance, *, with_capture):
        self.running, self.server, self.chance = running, server, chance
        self.kinds = [
            lambda: self.connection(lambda each: each.reset()),
            lambda: self.connection(lambda each: each.drop()),
            lambda: self.connection(lambda each: each.close(1011, "NET-0000")),
            lambda: self.connection(lambda each: each.close(1000)),
            lambda: self.connection(lambda each: each.close(1012)),
            lambda: self.refused(429),
            lambda: self.refused(503),
            lambda: self.running.signal_child("streaming"),
            lambda: self.running.signal_child("streaming", signal.SIGSTOP),
        ]
        if with_capture:
            self.kinds.append(lambda: self.running.signal_child("capture"))
        self.slow_kinds = [lambda: self.connection(lambda each: each.half_open()), self.silence] if IS_LONG else []

    def one(self):
        if self.slow_kinds and self.chance.random() < 0.1:
            self.slow_kinds.pop(self.chance.randrange(len(self.slow_kinds)))()
        else:
            self.chance.choice(self.kinds)()

    def silence(self):
        """The recogniser says nothing any more until it is given up."""
        connections = len(self.server.connections)
        self.server.muted = True
        self.server.wait_for_connection(connections + 1, 90)
        self.server.muted = False

    def connection(self, action):
        with contextlib.suppress(AssertionError):  # there is none at the moment: that is fault enough
            action(self.server.current)

    def refused(self, status):
        self.server.refuse(status, {"dg-error": "try later"}, times=1)
        self.connection(lambda each: each.reset())


def gaps(running):
    return [(gap["start_s"], gap["end_s"]) for gap in running.told("gap")]


def around(running, at_s):
    """The transcripts about a time, as they came: what was heard there, on which connection."""
    keys = ("seq", "connection", "is_final", "replayed", "start_s", "end_s", "text")
    return [
        [each[key] for key in keys]
        for each in running.bus.of_type("transcript")
        if each["start_s"] - 0.3 < at_s < each["end_s"] + 0.3
    ]


def check(running, first_at_s, positions=POSITIONS, reason="capture_restart"):
    """Every position once, in order, at its time, but for those in a gap."""
    spoken = spoken_positions(running.bus.finals())
    numbers = [position for position, _ in spoken]
    assert numbers == sorted(set(numbers)), f"seed {SEED}: out of order or twice"
    missing = set(range(positions)) - set(numbers)
    lost = gaps(running)

    def is_in_gap(position):
        at = first_at_s + position * 0.1
        return any(start - BLOCK_S <= at <= end + BLOCK_S for start, end in lost)

    for position in missing:
        near = [(number, round(when, 4)) for number, when in spoken if abs(number - position) < 4]
        at = first_at_s + position * 0.1
        told = f"near it: {near}; finals: {around(running, at)}; gaps: {lost}"
        assert is_in_gap(position), f"seed {SEED}: position {position} (at {at:.2f} s) is lost; {told}"
    # Where a gap has swallowed the step in the middle of a position, the seam sounds like the step.
    errors_ms = [
        (position, round((at - first_at_s - position * 0.1) * 1000, 1))
        for position, at in spoken
        if not is_in_gap(position)
    ]
    worst_ms = max(abs(error_ms) for _, error_ms in errors_ms)
    before = [(0, 0.0), *errors_ms]
    moves = [now for was, now in zip(before, errors_ms, strict=False) if abs(now[1] - was[1]) > 1]
    print(f"{len(spoken)} spoken, {len(missing)} in {len(lost)} gaps, worst time {worst_ms} ms, moved at {moves}")
    # No other process's fault, and nothing on the way to the recogniser, may cost audio.
    assert {gap["reason"] for gap in running.told("gap")} <= {reason}, f"seed {SEED}"
    assert worst_ms <= BLOCK_S * 1000, f"seed {SEED}: times are off, they moved at {moves}; gaps: {lost}"
    return missing


def wait_for_the_last(running):
    """Until something behind the last position was spoken: then all of them are, or never will be."""
    running.bus.wait_until(
        lambda _: any(position >= POSITIONS for position, _ in spoken_positions(running.bus.finals())),
        CATCH_UP_LIMIT_S,
        "the last position",
    )


def inject_until_spoken(running, server, playing, chance, *, with_capture=True):
    faults = Faults(running, server, chance, with_capture=with_capture)
    while playing.playing:
        seen = running.bus.of_type("metrics")[-1:]
        captured = seen[0]["captured_s"] if seen else 0
        pause = chance.uniform(1.5, 3.0)
        running.bus.wait_for(lambda m: m["type"] == "metrics" and m["captured_s"] > captured + pause, 30)  # noqa: B023
        if playing.playing:
            faults.one()


@pytest.mark.parametrize("mode", ["byok", "managed"])
def test_on_the_microphone_with_faults(microphone, engine, mode):
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    kind, config_of = (FakeDeepgram, byok) if mode == "byok" else (FakeProxy, managed)
    options = {"times": True, "finalize_extension": True} if mode == "managed" else {}
    with kind(responder=Oracle(SEED), **options) as server:
        running = engine(config_of(server) | {"supervisor": SUPERVISOR}, microphone)
        running.wait_for_state("running")
        playing = microphone.play(speech(POSITIONS + MORE))
        inject_until_spoken(running, server, playing, chance)
        playing.wait(SECONDS + 60)
        wait_for_the_last(running)
        first, at = spoken_positions(running.bus.finals())[0]
        missing = check(running, at - first * 0.1)
        assert len(missing) <= POSITIONS // 3
        assert running.stop() == 0
    running.assert_nothing_left()


def test_a_file_with_faults_loses_nothing(engine, tmp_path):
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    path = write_wav(tmp_path / "speech.wav", speech(POSITIONS))
    with FakeDeepgram(responder=Oracle(SEED)) as server:
        running = engine(byok(server) | {"audio": {"source": str(path)}, "supervisor": SUPERVISOR})
        running.wait_for_state("running")
        faults = Faults(running, server, chance, with_capture=True)
        for second in range(2, SECONDS - 2, 2):
            running.bus.wait_for(lambda m: m["type"] == "metrics" and m["captured_s"] > second, 60)  # noqa: B023
            faults.one()
        assert running.wait(CATCH_UP_LIMIT_S + 60) == 0
        assert gaps(running) == []
        assert check(running, 0.05) == set()
        assert server.connections[-1].samples <= len(speech(POSITIONS)) // 2 + SAMPLES


def test_a_supervisor_that_is_killed_and_started_again_goes_on(microphone, engine):
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    with FakeDeepgram(responder=Oracle(SEED)) as server:
        running = engine(byok(server) | {"supervisor": SUPERVISOR}, microphone)
        running.wait_for_state("running")
        run = running.bus.of_type("status")[-1]["run"]
        playing = microphone.play(speech(POSITIONS + MORE))
        for _ in range(KILLS):
            captured = running.bus.of_type("metrics")[-1]["captured_s"] if running.bus.of_type("metrics") else 0
            pause = chance.uniform(1.0, 3.0)
            running.bus.wait_for(lambda m: m["type"] == "metrics" and m["captured_s"] > captured + pause, 30)  # noqa: B023
            running.kill()
            running.start()
            running.wait_for_state("running")
        playing.wait(SECONDS + 60)
        wait_for_the_last(running)
        assert {message["run"] for message in running.bus.messages} == {run}
        assert "run_continued" in running.log_text()
        boots = {message["boot"] for message in running.bus.messages if message["type"] == "metrics"}
        assert len(boots) == KILLS + 1
        # What came twice is the same; otherwise the numbers only rise.
        seen = {}
        highest = 0
        once = []
        for message in running.bus.finals():
            seq = message["seq"]
            if seq in seen:
                assert seen[seq]["text"] == message["text"]
                continue
            assert seq > highest
            highest, seen[seq] = seq, message
            once.append(message)
        running.bus.received[:] = [m for m in running.bus.messages if m["type"] != "transcript"] + once
        first, at = spoken_positions(once)[0]
        check(running, at - first * 0.1, reason="stopped")
        assert running.stop() == 0
        assert not (running.runtime / "journal").exists()
        assert not list(running.runtime.glob("*.window"))
