"""What all parts of a benchmark are handed: options, figures, microphones, and whom to tell how far it is."""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench import usage
from tests.bench.figures import BASELINE, ENGINE, FLOOR, Figures
from tests.bench.server import ROOT, SinkServer
from tests.bench.subjects import Baseline, Engine, Floor, Place, Subject
from tests.rig.microphone import VirtualMicrophone

SPEECH = ROOT / "tests" / "data" / "speech.wav"
SUBJECTS: dict[str, Any] = {ENGINE: Engine, BASELINE: Baseline, FLOOR: Floor}
MACHINE = "machine"


@dataclass
class Bench:
    """One run of the benchmark."""

    rounds: int = 3
    seconds: float = 30.0
    settle_s: float = 5.0
    tries: int = 12
    minutes: float = 60.0
    boxes: int = 10_000
    device: str | None = None
    kinds: Sequence[str] = (ENGINE, BASELINE, FLOOR)
    figures: Figures = field(default_factory=Figures)
    samples: dict[str, Any] = field(default_factory=dict)
    """what plots need beyond the figures"""
    notes: list[str] = field(default_factory=list)
    """what a reader of the table must know"""

    def say(self, text: str) -> None:
        """How far it is, on standard error."""
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Tell it now and below the table, once."""
        if text not in self.notes:
            self.notes.append(text)
            self.say(text)

    def order(self, turn: int, kinds: Sequence[str] | None = None) -> list[str]:
        """The kinds of subjects, or others, each turn another one first."""
        kinds = kinds or self.kinds
        turn %= len(kinds)
        return [*kinds[turn:], *kinds[:turn]]

    @contextlib.contextmanager
    def places(self, *names: str) -> Iterator[list[Place]]:
        """Where subjects can record, one place for each name: microphones of their own where speech is played on
        request, or each time the device that was asked for.
        """
        if self.device is not None:
            yield [Place(self.device, {})] * len(names)
            return
        with VirtualMicrophone(names[0]) as microphone:
            for name in names[1:]:
                microphone.add_sink(name)
            yield [Place(name, microphone.environment, microphone) for name in names]
            microphone.check()

    def subject(self, kind: str, place: Place, server: SinkServer, **options: Any) -> Subject:
        """One that is not started yet."""
        made: Subject = SUBJECTS[kind](place, server, **options)
        return made


def speak(place: Place, seconds: float) -> None:
    """Have speech played into a virtual microphone for so long; before a real one somebody may speak."""
    if place.microphone is not None:
        wav = SPEECH.read_bytes()
        pcm = wav[wav.index(b"data") + 8 :]
        place.microphone.play((pcm * (int(seconds * 32000) // len(pcm) + 1))[: int(seconds * 32000)], place.device)


def use_of(subjects: Sequence[Subject], seconds: float) -> tuple[list[usage.Used], float]:
    """What each uses in the same stretch of time, and how many cores the whole machine keeps busy in it."""
    processes = [subject.processes() for subject in subjects]
    ticks, before = usage.machine_ticks(), [usage.snapshot(each) for each in processes]
    time.sleep(seconds)
    after = [usage.snapshot(each) for each in processes]
    busy = usage.busy_cores(ticks, usage.machine_ticks())
    for subject, earlier, later in zip(subjects, processes, after, strict=True):
        assert subject.processes() == earlier, f"{subject.kind}: other processes than before: {later.threads}"
    return [usage.used(a, b) for a, b in zip(before, after, strict=True)], busy


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Processes that are started inside leave a Ctrl-C to this one, which ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def check_streamed(subject: Subject, seconds: float) -> None:
    """Fail unless what came to the server in all is what a microphone gives in that time, within a second."""
    latest = subject.server.connections(subject.port)[-1]
    came_s, took_s = latest.audio_bytes / 32000, (latest.last_ns - latest.first_ns) / 1e9
    assert latest.mask_errors == 0, f"{subject.kind}: {latest.mask_errors} frames without a mask"
    assert not latest.ended_ns, f"{subject.kind}: its connection has ended"
    assert took_s > seconds, f"{subject.kind}: no audio any more"
    assert abs(came_s - took_s) < 1, f"{subject.kind}: {came_s:.1f} s of audio in {took_s:.1f} s"
