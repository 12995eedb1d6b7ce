"""How long a killed or a stopped process is missed.

capture    SIGKILL or SIGSTOP -> the first frame of its successor at the recogniser
streaming  SIGKILL or SIGSTOP -> the first audio on the next connection

With a recogniser on this machine and without TLS.
"""

import itertools
import random
import signal
import time

from tests.bench.common import Bench
from tests.bench.figures import percentile
from tests.bench.subjects import in_memory
from tests.rig.configs import byok
from tests.rig.connection import Connection
from tests.rig.deepgram import FakeDeepgram
from tests.rig.engine import EngineProcess

# Every life counts as a good one, and no wait is long, so that each restart is at once, as that of a first crash.
SUPERVISOR = {"stable_after_s": 0.01, "backoff_ceiling_s": 0.001}
STOPS = 4
_LIMIT_S = 30.0


def audio_times(connection: Connection) -> list[float]:
    """When each frame of audio came."""
    with connection.server.changed:
        return [frame.at for frame in connection.frames if frame.kind == "audio"]


def capture_missed_s(running: EngineProcess, server: FakeDeepgram, how: signal.Signals = signal.SIGKILL) -> float:
    """Kill or stop capture once; the time until there was audio again."""
    connection = server.current
    before = len(audio_times(connection))
    running.signal_child("capture", how)
    killed_at = time.monotonic()
    # What was on its way still comes; the successor's first frame is the one behind the pause.
    server.wait_for(lambda: len(audio_times(connection)) > before + 20, _LIMIT_S, f"audio after {how.name} to capture")
    times = [at for at in audio_times(connection) if at > killed_at - 0.1]
    _, first = max(itertools.pairwise(times), key=lambda pair: pair[1] - pair[0])
    return first - killed_at


def streaming_missed_s(running: EngineProcess, server: FakeDeepgram, how: signal.Signals = signal.SIGKILL) -> float:
    """Kill or stop streaming once; the time until there was audio on another connection."""
    number = len(server.connections) + 1
    running.signal_child("streaming", how)
    killed_at = time.monotonic()
    connection = server.wait_for_connection(number, _LIMIT_S)
    server.wait_for(lambda: connection.audio_bytes, _LIMIT_S, f"audio after {how.name} to streaming")
    return audio_times(connection)[0] - killed_at


MISSED_S = {"capture": capture_missed_s, "streaming": streaming_missed_s}


def measure(bench: Bench) -> None:
    """Add the figures."""
    with bench.places("bench") as (place,), FakeDeepgram(echoing=True) as server:
        config = byok(server) | {"supervisor": SUPERVISOR, "audio": {"device": place.device or None}}
        with in_memory(EngineProcess(config, environment=place.environment)) as running:
            running.wait_for_state("running")
            for (name, missed_s), (how, word, tries) in itertools.product(
                MISSED_S.items(), ((signal.SIGKILL, "killed", bench.tries), (signal.SIGSTOP, "stopped", STOPS))
            ):
                bench.say(f"restarts: {name} is {word} {tries} times")
                missed_ms = []
                for _ in range(tries):
                    time.sleep(random.uniform(0.3, 0.6))  # the phase of the blocks is chance, and shall be
                    running.wait_for_state("running")
                    missed_ms.append(missed_s(running, server, how) * 1000)
                bench.figures.add("restarts", f"{name} {word}", "ms", *missed_ms)
                bench.figures.add("restarts", f"{name} {word}, p95", "ms", percentile(missed_ms, 95))
