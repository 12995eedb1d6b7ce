"""How long a killed process is missed: `scripts/bench restarts [TRIES]`.

capture    SIGKILL -> the first frame of its successor at the recogniser
streaming  SIGKILL -> the first audio on the next connection

On the virtual microphone, with a recogniser on this machine (no TLS), 20 ms blocks.
"""

import itertools
import random
import signal
import statistics
import sys
import time

from tests.rig.configs import byok
from tests.rig.connection import Connection
from tests.rig.deepgram import FakeDeepgram
from tests.rig.engine import EngineProcess
from tests.rig.microphone import VirtualMicrophone

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


def main() -> None:
    """Measure and print."""
    tries = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    with VirtualMicrophone() as microphone, FakeDeepgram(echoing=True) as server:
        config = byok(server) | {"supervisor": SUPERVISOR}
        with EngineProcess(config, environment=microphone.environment) as running:
            running.wait_for_state("running")
            print(f"{'killed':10} {'tries':>5} {'p50 ms':>7} {'p95 ms':>7} {'max ms':>7}")
            for name, missed_s in (("capture", capture_missed_s), ("streaming", streaming_missed_s)):
                figures = []
                for _ in range(tries):
                    time.sleep(random.uniform(0.3, 0.6))  # the phase of the blocks is chance, and shall be
                    running.wait_for_state("running")
                    figures.append(missed_s(running, server) * 1000)
                p95 = statistics.quantiles(figures, n=20)[18]
                print(f"{name:10} {tries:5} {statistics.median(figures):7.0f} {p95:7.0f} {max(figures):7.0f}")


if __name__ == "__main__":
    main()
