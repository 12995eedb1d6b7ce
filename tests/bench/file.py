"""A recording sent as fast as it is recognised, and whether the memory it takes grows with its length.

Speed is the length of the audio over the time from the first to the last of it at the server; "with start and end" is
over the whole life of the program. Final results come every 10 s of audio: at a thousand times real time that is
already a hundred a second. The history that the engine keeps fills in the first half of the long recording; what
grows behind that would grow for ever.
"""

import tempfile
import time
import wave
from pathlib import Path

from tests.bench import usage
from tests.bench.common import Bench
from tests.bench.figures import percentile
from tests.bench.server import SinkServer
from tests.bench.subjects import Engine, Place

HOURS, LONG_HOURS = 1, 6  # the history, 1000 finals, is full before half of it
FINAL_S = 10.0
LIMIT_S = 600.0


def measure(bench: Bench) -> None:
    """Add the figures."""
    with tempfile.TemporaryDirectory(prefix="mpbench-") as directory:
        for turn in range(bench.rounds):
            bench.say(f"file: round {turn + 1} of {bench.rounds}, {HOURS} h")
            for tls in (False, True):
                _send(bench, silence(Path(directory, "recording.wav"), HOURS * 3600), HOURS * 3600, tls=tls)
        bench.say(f"file: {LONG_HOURS} h")
        _watch_memory(bench, silence(Path(directory, "long.wav"), LONG_HOURS * 3600), LONG_HOURS * 3600)


def silence(path: Path, seconds: int) -> Path:
    """A recording without any place on the disk: its zeros are a hole."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(b"")
    size = seconds * 32000
    with path.open("r+b") as raw:
        raw.seek(4)
        raw.write((36 + size).to_bytes(4, "little"))
        raw.seek(40)
        raw.write(size.to_bytes(4, "little"))
        raw.truncate(44 + size)
    return path


def _send(bench: Bench, recording: Path, seconds: int, *, tls: bool) -> None:
    name = "TLS" if tls else "plain TCP"
    with SinkServer(interim_s=FINAL_S, final_s=FINAL_S) as server:
        engine = _engine(server, recording, tls=tls)
        began = time.monotonic()
        with engine:
            code = engine.running.wait(LIMIT_S)
            took_s = time.monotonic() - began
            _check(engine, code, seconds)
            (connection,) = server.connections(engine.port)
    sent_s = (connection.last_ns - connection.first_ns) / 1e9
    bench.figures.add("file", name, "x real time", seconds / sent_s)
    bench.figures.add("file", f"{name}, with start and end", "x real time", seconds / took_s)


def _watch_memory(bench: Bench, recording: Path, seconds: int) -> None:
    pss: list[float] = []
    with SinkServer(interim_s=FINAL_S, final_s=FINAL_S) as server, _engine(server, recording, tls=True) as engine:
        deadline = time.monotonic() + LIMIT_S
        while engine.running.process is not None and engine.running.process.poll() is None:
            assert time.monotonic() < deadline, f"{LONG_HOURS} h of audio are not sent after {LIMIT_S:g} s"
            latest = server.connections(engine.port)
            if latest and latest[-1].audio_bytes and not latest[-1].texts:  # from the first audio to the last
                try:
                    pss.append(usage.memory(engine.processes()).pss)
                except OSError:  # a process ended while it was looked at
                    continue
            time.sleep(0.1)
        _check(engine, engine.running.wait(LIMIT_S), seconds)
    quarter = len(pss) // 4
    assert quarter, f"too short for a look at its memory: {len(pss)} values"
    for number in range(4):
        median = percentile(pss[number * quarter : (number + 1) * quarter], 50)
        bench.figures.add("file", f"PSS in quarter {number + 1} of {LONG_HOURS} h", "MB", median)


def _engine(server: SinkServer, recording: Path, *, tls: bool) -> Engine:
    return Engine(Place("", {}), server, tls=tls, changes={"audio": {"source": str(recording), "paced": False}})


def _check(engine: Engine, code: int, seconds: int) -> None:
    connections = engine.server.connections(engine.port)
    came = [each.audio_bytes for each in connections]
    assert code == 0, f"exit code {code}: {engine.running.log_tail(5)}"
    assert came == [seconds * 32000], f"{came} bytes of audio came, {seconds * 32000} were sent"
