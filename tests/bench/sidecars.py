"""What `mpengine web`, `relay` and `record` cost an engine: none, idle, stopped, killed again and again, flooded.

One engine streams sound that carries its positions, through all rounds. Figures are of its own processes alone, and of
a plain subscriber, which is a process of its own. Sidecars with much to do take processors from the engine as any other
program does: for comparison there is a phase with busy programs that know nothing of the engine.

`python -m tests.bench.sidecars ENDPOINT NAME` is that subscriber.
"""

import array
import bisect
import contextlib
import http.client
import itertools
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
import pytest
import zmq

from tests.bench import usage
from tests.bench.common import Bench, interrupts_held
from tests.bench.figures import ENGINE, percentile
from tests.bench.server import ROOT, SinkServer
from tests.bench.subjects import Engine, memory_files, wait_for_audio
from tests.bench.web import Crowd
from tests.rig.brokers import NatsServer
from tests.rig.position_code import coded, losses
from tests.rig.processes import busy_processes, spawned
from tests.rig.recordings import Recording
from tests.rig.relaying import Relay
from tests.rig.small_disk import SmallDisk
from tests.rig.web import Web

PART = "sidecars"
FINAL_S = 0.5
AGAIN_S = 2.0
BUSY = 3
ASKED = ("/metrics", "/status", "/transcript.srt", "/transcript.jsonl")


class Sidecars:
    """All three, beside one engine. `tapes` is where the recorder writes."""

    def __init__(self, engine: Engine, directory: Path, tapes: Path) -> None:
        runtime, names = engine.running.directory, ("--name", engine.running.name)
        self.broker = NatsServer(directory / "nats")
        self.web = Web(runtime, *names)
        self.relay = Relay(runtime, self.broker.url, *names, "--create-stream")
        self.record = Recording(tapes, dict(engine.running.environment), *names)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for each in (self.broker, self.web, self.relay, self.record):
                stack.enter_context(each)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def stop(self) -> None:
        """Have them stand still until they are killed."""
        self.web.send_signal(signal.SIGSTOP)
        self.relay.send_signal(signal.SIGSTOP)
        self.record.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End them without a word, and start them again."""
        self.web.kill()
        self.relay.end()
        self.record.kill()
        self.web.start()
        self.relay.start()
        self.record.start()


@contextlib.contextmanager
def alone(_: Engine, __: Path) -> Iterator[Callable[[], None]]:
    """No sidecar."""
    yield wait


@contextlib.contextmanager
def busy(_: Engine, __: Path) -> Iterator[Callable[[], None]]:
    """No sidecar, and other programs that use the processors as a flood does."""
    with busy_processes(BUSY):
        yield wait


@contextlib.contextmanager
def idle(engine: Engine, directory: Path) -> Iterator[Callable[[], None]]:
    """They do what they are for; nobody asks `web`."""
    with Sidecars(engine, directory, directory / "tapes"):
        yield wait


@contextlib.contextmanager
def stopped(engine: Engine, directory: Path) -> Iterator[Callable[[], None]]:
    """By SIGSTOP: their connections stay, and nobody reads from them."""
    with Sidecars(engine, directory, directory / "tapes") as sidecars:
        time.sleep(1.0)
        sidecars.stop()
        yield wait


@contextlib.contextmanager
def killed(engine: Engine, directory: Path) -> Iterator[Callable[[], None]]:
    """Again every two seconds, or as soon as they are all back."""
    with Sidecars(engine, directory, directory / "tapes") as sidecars:
        next_at = time.monotonic()

        def again() -> None:
            nonlocal next_at
            next_at = max(time.monotonic(), next_at + AGAIN_S)
            sidecars.kill()
            time.sleep(max(0.0, next_at - time.monotonic()))

        yield again


@contextlib.contextmanager
def flooded(engine: Engine, directory: Path) -> Iterator[Callable[[], None]]:
    """`web` has many readers, some of which stand still, and requests without a pause. The broker is dead. The disk of
    the recorder is full.
    """
    done, asked = threading.Event(), itertools.count()
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(SmallDisk(_made(directory / "small"))) if SmallDisk.is_possible() else directory
        sidecars = stack.enter_context(Sidecars(engine, directory, disk / "tapes"))
        crowd = Crowd(sidecars.web)
        stack.callback(crowd.close)
        sidecars.broker.end()

        def ask() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):  # a Ctrl-C has ended the server
                for path in itertools.takewhile(lambda _: not done.is_set(), itertools.cycle(ASKED)):
                    sidecars.web.get(path)
                    next(asked)

        def read() -> None:
            with contextlib.suppress(OSError):
                crowd.read_until(done)

        threads = [threading.Thread(target=target) for target in (ask, read)]
        for thread in threads:
            thread.start()
        try:
            yield wait
        finally:
            done.set()
            for thread in threads:
                thread.join()
            print(f"{next(asked)} requests, {crowd.events} events read", file=sys.stderr)


class Window(NamedTuple):
    """When a phase was measured, of CLOCK_MONOTONIC."""

    phase: str
    began_ns: int
    ended_ns: int


PHASES = {ENGINE: alone, "other programs": busy, "idle": idle, "stopped": stopped, "killed": killed, "flooded": flooded}


def wait() -> None:
    """A moment in which nothing is to be done."""
    time.sleep(0.1)


def measure(bench: Bench) -> None:
    """Add the figures. The names of phases stand in the place of subjects."""
    with contextlib.ExitStack() as stack:
        (place,) = stack.enter_context(bench.places("bench"))
        if place.microphone is None:
            bench.note("sidecars: skipped, it needs the virtual microphone")
            return
        # Its sound begins once and goes on, so that what is missing is known to the sample.
        seconds = bench.rounds * len(PHASES) * (bench.seconds + bench.settle_s + 20)
        place.microphone.play(coded(0, int(seconds * 16000), 16000), place.device)
        server = stack.enter_context(SinkServer(interim_s=FINAL_S, final_s=FINAL_S))
        server.keep_audio(True)
        engine = stack.enter_context(Engine(place, server))
        wait_for_audio(engine, bench.settle_s)
        heard = Path(tempfile.mkdtemp(dir=memory_files()), "finals")
        command = [sys.executable, "-m", __name__, f"ipc://{engine.running.runtime}/results", engine.running.name]
        with heard.open("wb") as file, interrupts_held():
            stack.enter_context(spawned(command, stdout=file, cwd=ROOT))
        windows: list[Window] = []
        for turn in range(bench.rounds):
            for phase in bench.order(turn, list(PHASES)):
                bench.say(f"sidecars: round {turn + 1} of {bench.rounds}, {phase}, {bench.seconds:g} s")
                try:
                    windows.append(_measure(bench, engine, phase))
                except pytest.skip.Exception as problem:
                    bench.note(f"sidecars: {phase} is left out: {problem}")
        _add_delays(bench, engine, server, windows, finals_in(heard))


def _measure(bench: Bench, engine: Engine, phase: str) -> Window:
    figures = bench.figures
    with tempfile.TemporaryDirectory(prefix="s-") as directory, PHASES[phase](engine, Path(directory)) as work:
        time.sleep(bench.settle_s)
        processes, ticks = engine.processes(), usage.machine_ticks()
        before, times = usage.snapshot(processes), 0
        while time.monotonic_ns() - before.at_ns < bench.seconds * 1e9:
            work()
            times += 1
        after = usage.snapshot(processes)
        cores = usage.busy_cores(ticks, usage.machine_ticks())
        assert engine.processes() == processes, f"{phase}: other processes than before"
        whole, distinct = usage.memory(processes), usage.distinct_mb(processes)
        descriptors = usage.descriptors(processes)
    used = usage.used(before, after)
    figures.add(PART, "CPU of the engine", "% of a core", used.cpu, subject=phase)
    for process, percent in used.cpu_by_process.items():
        figures.add(PART, f"CPU of {process}", "% of a core", percent, subject=phase)
    figures.add(PART, "switches", "a second", used.switches_per_s, subject=phase)
    figures.add(PART, "USS", "MB", whole.uss, subject=phase)
    if distinct is not None:
        figures.add(PART, "pages, each counted once", "MB", distinct, subject=phase)
    figures.add(PART, "descriptors", "", descriptors, subject=phase)
    figures.add(PART, "busy cores of the machine", "", cores, subject=phase)
    if phase == "killed":
        figures.add(PART, "all of them killed", "times", times, subject=phase)
    return Window(phase, before.at_ns, after.at_ns)


def _add_delays(
    bench: Bench, engine: Engine, server: SinkServer, windows: list[Window], finals: list[tuple[int, float, float]]
) -> None:
    """How late audio was at the server, beside the earliest of the whole run; how late finals were after it; and what
    is missing.
    """
    connections = server.connections(engine.port)
    bench.figures.add(PART, "connections", "", len(connections))
    with tempfile.TemporaryDirectory(dir=memory_files()) as directory:
        server.save(directory)
        stem = Path(directory, str(connections[0].number))
        times = array.array("q", stem.with_suffix(".times").read_bytes())
        pcm = stem.with_suffix(".pcm").read_bytes()
    arrived_ns, ends = times[::2], times[1::2]
    begun_ns = [at_ns - end * 62_500 for at_ns, end in zip(arrived_ns, ends, strict=True)]  # 16,000 samples a second
    late_ms = [(at_ns - min(begun_ns)) / 1e6 for at_ns in begun_ns]
    for phase, began_ns, ended_ns in windows:
        first, last = bisect.bisect(arrived_ns, began_ns), bisect.bisect(arrived_ns, ended_ns)
        # The server answers as soon as a frame has brought the last sample of a final.
        said = [
            (got_ns - arrived_ns[bisect.bisect_left(ends, round(end_s * 16000))]) / 1e6
            for got_ns, _, end_s in finals
            if began_ns < got_ns <= ended_ns
        ]
        # It comes in lumps, so that its median jumps.
        bench.figures.add(PART, "audio at the server, mean", "ms", statistics.fmean(late_ms[first:last]), subject=phase)
        bench.figures.add(PART, "audio at the server, p95", "ms", percentile(late_ms[first:last], 95), subject=phase)
        for percent in (50, 95):
            bench.figures.add(PART, f"finals after it, p{percent}", "ms", percentile(said, percent), subject=phase)
    holes = sum(abs(start_s - end_s) > 0.01 for (*_, end_s), (_, start_s, _) in itertools.pairwise(finals))
    bench.figures.add(PART, "holes between finals", "", holes)
    bench.figures.add(PART, "sound at the server", "s", len(pcm) / 32000)
    lost = losses(pcm, 16000)
    bench.figures.add(PART, "samples missing there", "", sum(abs(loss.samples) for loss in lost))
    for loss in lost:
        bench.note(f"sidecars: {loss.samples:g} samples are missing at {loss.latest / 16000:.1f} s")


def finals_in(heard: Path) -> list[tuple[int, float, float]]:
    """Each: when it was received, of CLOCK_MONOTONIC, and what it covers, in seconds."""
    rows = [line.split() for line in heard.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [(int(got_ns), float(start_s), float(end_s)) for got_ns, start_s, end_s in rows]


def _listen(endpoint: str, name: str) -> None:
    """Write a line for each final."""
    socket: Any = zmq.Context().socket(zmq.SUB)
    socket.subscribe(f"{name}.")
    socket.connect(endpoint)
    while True:
        topic, body = socket.recv_multipart()
        got_ns = time.monotonic_ns()
        if topic.endswith(b".final"):
            final = msgspec.json.decode(body)
            print(got_ns, final["start_s"], final["end_s"], flush=True)


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        _listen(*sys.argv[1:])
