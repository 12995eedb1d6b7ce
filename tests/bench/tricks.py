"""What each trick of starting brings: the engine as it is, without each trick, and without all of them.

Every round measures each of these once, another one first, so that a ratio compares neighbours in time. The recogniser
is on this machine, with TLS. See `mpengine.processes` for the tricks.

Other programs on the machine, this one above all, map the same interpreter and libraries, so that PSS is less than on
a machine of its own. "Pages, each counted once" is free of that (it needs root).
"""

import random
import statistics
import tempfile
import time
from pathlib import Path

from mpengine.processes import tricks
from mpengine.processes.tricks import Trick
from tests.bench import usage
from tests.bench.common import Bench
from tests.bench.figures import ENGINE
from tests.bench.restarts import SUPERVISOR, audio_times, capture_missed_s, streaming_missed_s
from tests.bench.server import SYSTEM_AUTHORITIES
from tests.bench.subjects import Place, in_memory
from tests.rig.configs import byok
from tests.rig.deepgram import FakeDeepgram
from tests.rig.engine import EngineProcess

KILLS = 3  # of each process, in each round
VARIANTS = {ENGINE: ""} | {f"without {trick}": trick for trick in Trick} | {"without all": ",".join(Trick)}


def measure(bench: Bench) -> None:
    """Add the figures."""
    bench.note("tricks: other programs that run meanwhile share pages with the engine: compare, do not add up")
    with (
        tempfile.TemporaryDirectory(prefix="mpbench-") as directory,
        bench.places("bench") as (place,),
        FakeDeepgram(tls=True, echoing=True) as server,
    ):
        # As on any machine: the trusted authorities are the system's, some 140, and the server's among them.
        authorities = Path(directory, "authorities.pem")
        known = SYSTEM_AUTHORITIES.read_bytes() if SYSTEM_AUTHORITIES.exists() else b""
        authorities.write_bytes(known + Path(server.ca_file).read_bytes())
        for turn in range(bench.rounds):
            for variant in bench.order(turn, tuple(VARIANTS)):
                bench.say(f"tricks: round {turn + 1} of {bench.rounds}, {variant}")
                _measure_one(bench, variant, place, server, authorities)


def _measure_one(bench: Bench, variant: str, place: Place, server: FakeDeepgram, authorities: Path) -> None:
    config = byok(server, ca_file=str(authorities)) | {
        "supervisor": SUPERVISOR,
        "audio": {"device": place.device or None},
    }
    environment = dict(place.environment) | {tricks.VARIABLE: VARIANTS[variant]}
    engine = in_memory(EngineProcess(config, environment=environment))
    # The rig turns warnings into errors, which loads a module more.
    del engine.environment["PYTHONWARNINGS"]
    number = len(server.connections) + 1
    began = time.monotonic()
    with engine as running:
        connection = server.wait_for_connection(number, 20)
        server.wait_for(lambda: connection.audio_bytes, 20, "the first audio")
        _add(bench, variant, "start to the first audio", "ms", (audio_times(connection)[0] - began) * 1000)
        time.sleep(bench.settle_s)  # until what only the start needed has been given back
        processes = usage.tree(running.pid)
        memory = usage.memory(processes)
        _add(bench, variant, "PSS", "MB", memory.pss)
        _add(bench, variant, "PSS without files", "MB", memory.anonymous)
        if (distinct := usage.distinct_mb(processes)) is not None:
            _add(bench, variant, "pages, each counted once", "MB", distinct)
        for name, missed_s in (("capture", capture_missed_s), ("streaming", streaming_missed_s)):
            missed_ms = []
            for _ in range(KILLS):
                time.sleep(random.uniform(0.3, 0.6))  # the phase of the blocks is chance, and shall be
                running.wait_for_state("running")
                missed_ms.append(missed_s(running, server) * 1000)
            _add(bench, variant, f"{name} killed", "ms", statistics.median(missed_ms))


def _add(bench: Bench, variant: str, name: str, unit: str, value: float) -> None:
    bench.figures.add("tricks", name, unit, value, subject=variant)
