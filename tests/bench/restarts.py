"""How long a killed process is missed.

capture    SIGKILL -> the first frame of its successor at the recogniser
streaming  SIGKILL -> the first audio on the next connection

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

# Every life counts as a good one, so that each restart is at once, as that of a first crash.
SUPERVISOR = {"stable_after_s": 0.01}


def audio_times(connection: Connection) -> list[float]:
    """When each frame of audio came."""
    with connection.server.changed:
        return [frame.at for frame in connection.frames if frame.kind == "audio"]


def capture_missed_s(running: EngineProcess, server: FakeDeepgram) -> float:
    """Kill capture once; the time until there was audio again."""
    connection = server.current
    before = len(audio_times(connection))
    running.signal_child("capture", signal.SIGKILL)
    killed_at = time.monotonic()
    # What was on its way still comes; the successor's first frame is the one behind the pause.
    server.wait_for(lambda: len(audio_times(connection)) > before + 20, 20, "audio after a kill of capture")
    times = [at for at in audio_times(connection) if at > killed_at - 0.1]
    _, first = max(itertools.pairwise(times), key=lambda pair: pair[1] - pair[0])
    return first - killed_at


def streaming_missed_s(running: EngineProcess, server: FakeDeepgram) -> float:
    """Kill streaming once; the time until there was audio on another connection."""
    number = len(server.connections) + 1
    running.signal_child("streaming", signal.SIGKILL)
    killed_at = time.monotonic()
    connection = server.wait_for_connection(number, 20)
    server.wait_for(lambda: connection.audio_bytes, 20, "audio after a kill of streaming")
    return audio_times(connection)[0] - killed_at


def measure(bench: Bench) -> None:
    """Add the figures."""
    with bench.places("bench") as (place,), FakeDeepgram(echoing=True) as server:
        config = byok(server) | {"supervisor": SUPERVISOR, "audio": {"device": place.device or None}}
        with in_memory(EngineProcess(config, environment=place.environment)) as running:
            running.wait_for_state("running")
            for name, missed_s in (("capture", capture_missed_s), ("streaming", streaming_missed_s)):
                bench.say(f"restarts: {bench.tries} kills of {name}")
                missed_ms = []
                for _ in range(bench.tries):
                    time.sleep(random.uniform(0.3, 0.6))  # the phase of the blocks is chance, and shall be
                    running.wait_for_state("running")
                    missed_ms.append(missed_s(running, server) * 1000)
                bench.figures.add("restarts", f"{name} killed", "ms", *missed_ms)
                bench.figures.add("restarts", f"{name} killed, p95", "ms", percentile(missed_ms, 95))
