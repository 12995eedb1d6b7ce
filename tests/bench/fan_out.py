"""What many subscribers cost each other: `scripts/bench fan_out [SECONDS]`.

The delay from publishing to receiving of one subscriber alone, of 44, and of the same among 50 of which 5 are stopped
(SIGSTOP) and one reads a message a second. About 35 messages a second, each to all of them; the 44 are in 4 processes.
"""

import statistics
import sys
import tempfile
import wave
from pathlib import Path

from tests.rig.configs import byok
from tests.rig.deepgram import FakeDeepgram
from tests.rig.echo import Echo
from tests.rig.engine import EngineProcess
from tests.rig.fan_out import Readers, reading

PROCESSES, EACH = 4, 11


def measure(audio: Path, processes: int, each: int, *, others: bool) -> list[float]:
    """The delays of the healthy ones in ms."""
    with (
        FakeDeepgram(responder=Echo(0.033, 0.5)) as server,
        EngineProcess(byok(server) | {"audio": {"source": str(audio)}}, name="fan-out") as running,
    ):
        where = f"ipc://{running.runtime}/results", running.name
        healthy = [Readers(*where, each) for _ in range(processes)]
        frozen = [Readers(*where, 1) for _ in range(5 * others)]
        slow = [Readers(*where, 1, pause_s=1.0) for _ in range(others)]
        with reading(*healthy, *frozen, *slow):
            for reader in frozen:
                reader.freeze()
            assert running.wait(600) == 0
            results = [result for reader in healthy for result in reader.results()]
    return [delay for result in results for delay in result["delays_ms"]]


def main() -> None:
    """Measure and print."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    with tempfile.TemporaryDirectory() as directory:
        audio = Path(directory, "silence.wav")
        with wave.open(str(audio), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(bytes(2 * 16000 * seconds))
        print(f"{'subscribers':24} {'messages':>9} {'p50 ms':>7} {'p99 ms':>7} {'max ms':>7}")
        rows = (
            ("one alone", 1, 1, False),
            ("44, all healthy", PROCESSES, EACH, False),
            ("44 healthy of 50", PROCESSES, EACH, True),
        )
        for name, processes, each, others in rows:
            delays = measure(audio, processes, each, others=others)
            p99 = statistics.quantiles(delays, n=100)[98]
            print(f"{name:24} {len(delays):9} {statistics.median(delays):7.2f} {p99:7.2f} {max(delays):7.2f}")


if __name__ == "__main__":
    main()
