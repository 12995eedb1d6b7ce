"""Processor time in a quiet room: the engine as it is, the engine with the gate, the baseline, in the same window."""

import contextlib
import random
from array import array

from tests.bench.common import Bench, check_streamed, use_of
from tests.bench.figures import BASELINE, ENGINE
from tests.bench.server import SinkServer
from tests.bench.subjects import Engine, wait_for_audio

PART, WHOLE, GATED = "quiet", "whole tree", "whole tree, with the gate"
ROOM_STEPS = 20.0  # rms of its noise: -64 dBFS
LEARNS_S = 10.0  # the gate listens for so long before it closes


def measure(bench: Bench) -> None:
    """Add the figures."""
    with bench.places("quiet_a", "quiet_b", "quiet_c") as places:
        for turn in range(bench.rounds):
            bench.say(f"quiet: round {turn + 1} of {bench.rounds}, {bench.seconds:g} s")
            with SinkServer() as server, contextlib.ExitStack() as stack:
                for place in places:
                    if place.microphone is not None:
                        place.microphone.play(room(bench.settle_s + LEARNS_S + bench.seconds + 20), place.device)
                plain, gated, baseline = (
                    bench.subject(ENGINE, places[0], server),
                    Engine(places[1], server, changes={"audio": {"gate": "energy"}}),
                    bench.subject(BASELINE, places[2], server),
                )
                subjects = [plain, gated, baseline]
                for subject in (*subjects[turn % 3 :], *subjects[: turn % 3]):
                    stack.enter_context(subject)
                for subject in subjects:
                    wait_for_audio(subject, bench.settle_s)
                use_of(subjects, LEARNS_S)
                used, _ = use_of(subjects, bench.seconds)
                check_streamed(plain, bench.seconds)
                check_streamed(baseline, bench.seconds)
                sent_s = server.connections(gated.port)[-1].audio_bytes / 32000
                assert sent_s < LEARNS_S + bench.seconds / 2, f"the gate has let {sent_s:.1f} s pass"
            for name, one in ((WHOLE, used[0]), (GATED, used[1])):
                bench.figures.add(PART, name, "% of a core", one.cpu)
                bench.figures.add(PART, name, "% of a core", used[2].cpu, subject=BASELINE)


def room(seconds: float) -> bytes:
    """Its noise, at 16 kHz."""
    chance = random.Random(5)
    five_seconds = array("h", (round(chance.gauss(0, ROOM_STEPS)) for _ in range(16000 * 5))).tobytes()
    return five_seconds * int(seconds / 5 + 1)
