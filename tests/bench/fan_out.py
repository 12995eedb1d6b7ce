"""What many subscribers cost each other.

The delay from publishing to receiving of one subscriber alone, of 44, and of the same among 50 of which 5 are stopped
(SIGSTOP) and one reads a message a second. About 35 messages a second, each to all of them; the 44 are in 4 processes.
"""

import tempfile
from pathlib import Path

from tests.bench.common import Bench, interrupts_held
from tests.bench.figures import percentile
from tests.bench.file import silence
from tests.bench.subjects import in_memory
from tests.rig.configs import byok
from tests.rig.deepgram import FakeDeepgram
from tests.rig.echo import Echo
from tests.rig.engine import EngineProcess
from tests.rig.fan_out import Readers, reading

PROCESSES, EACH = 4, 11
ROWS = (("one alone", 1, 1, False), ("44, all healthy", PROCESSES, EACH, False), ("44 of 50", PROCESSES, EACH, True))


def delays_ms(audio: Path, processes: int, each: int, *, others: bool) -> list[float]:
    """Those of the healthy ones."""
    with (
        FakeDeepgram(responder=Echo(0.033, 0.5)) as server,
        in_memory(EngineProcess(byok(server) | {"audio": {"source": str(audio)}}, name="fan-out")) as running,
    ):
        where = f"ipc://{running.runtime}/results", running.name
        with interrupts_held():
            healthy = [Readers(*where, each) for _ in range(processes)]
            frozen = [Readers(*where, 1) for _ in range(5 * others)]
            slow = [Readers(*where, 1, pause_s=1.0) for _ in range(others)]
        with reading(*healthy, *frozen, *slow):
            for reader in frozen:
                reader.freeze()
            assert running.wait(600) == 0
            results = [result for reader in healthy for result in reader.results()]
    return [delay for result in results for delay in result["delays_ms"]]


def measure(bench: Bench) -> None:
    """Add the figures."""
    with tempfile.TemporaryDirectory(prefix="mpbench-") as directory:
        audio = silence(Path(directory, "silence.wav"), int(bench.seconds))
        for name, processes, each, others in ROWS:
            bench.say(f"fan_out: {name}, {bench.seconds:g} s")
            delays = delays_ms(audio, processes, each, others=others)
            for percent in (50, 99, 100):
                bench.figures.add("fan_out", f"{name}: p{percent}", "ms", percentile(delays, percent))
