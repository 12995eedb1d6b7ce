"""The silence gate over an hour of mixed audio: how much of it is sent, which words are missed, and what it costs.

A fifth of the hour is speech. The rest is a room, another one every three minutes: noise, a fan, a keyboard, music. The
speech is ten decibels louder.

The local recogniser hears the first minutes of each room, with the gate and without. A word is cut where the gate has
kept back some of its audio. In so much noise the recogniser understands little, and its words hang on single frames:
so the two transcripts differ where no audio does. A control tells how much: the same audio, all of it, each sample of
which is a step higher or lower, or as it was.
"""

import contextlib
import time
from typing import Any, NamedTuple

import numpy as np

from mpengine.capture.gate import Detector, Gate
from mpengine.recogniser.speech import HeardWord, SpeechRecogniser
from mpengine.shared.errors import ConfigError
from mpengine.shared.ranges import Range, Ranges, total
from mpengine.streaming.timeline import Timeline
from tests.bench.common import Bench
from tests.rig import speech

RATE, BLOCK = 16000, 320
SNR_DB = 10.0
SHARE = 0.2  # of speech
STRETCH_S = 180.0
STRETCHES = {"noise": 12, "fan": 4, "keyboard": 2, "music": 2}
_NEAR_S = 0.5


class Scene(NamedTuple):
    """`samples`; for each block whether somebody speaks in it; and the stretches of each room."""

    samples: Any
    voice: Any
    rooms: dict[str, list[Range]]


def measure(bench: Bench) -> None:
    """Add the figures."""
    hour = scene()
    _sent(bench, hour, "energy", None)
    with contextlib.suppress(ConfigError):  # an extra
        from mpengine.capture.voice import VoiceDetector  # noqa: PLC0415

        _sent(bench, hour, "vad", VoiceDetector())
    back, _ = gated(hour.samples)
    for room, stretches in hour.rooms.items():
        bench.say(f"gate: words, {room}")
        _words(bench, room, hour.samples[stretches[0].first : stretches[0].end], kept_of(back, stretches[0]))


def _sent(bench: Bench, hour: Scene, kind: str, detector: Detector | None) -> None:
    """How much a kind of gate lets pass."""
    bench.say(f"gate: {kind}, {len(hour.samples) / RATE / 60:.0f} min")
    back, cpu_s = gated(hour.samples, detector)
    for name, stretches in {"the hour": [Range(0, len(hour.samples))], **hour.rooms}.items():
        sent = sum(total(back.cut(*stretch)) for stretch in stretches)
        share = sent / sum(stretch.end - stretch.first for stretch in stretches)
        bench.figures.add("gate", f"{kind}, {name}: sent", "%", 100 * share)
    bench.figures.add("gate", f"{kind}: speech missed", "%", 100 * missed(hour.voice, back))
    bench.figures.add("gate", f"{kind}: CPU of the gate", "% of a core", 100 * cpu_s / (len(hour.samples) / RATE))


def _words(bench: Bench, room: str, samples: Any, back: Ranges) -> None:
    """What the local recogniser understands of a stretch of a room."""
    heard, with_gate = transcript(samples, Ranges()), transcript(samples, back)
    control = transcript(_a_step_off(samples), Ranges())
    cut = [word for word in heard if touches(back, word)]
    bench.figures.add("gate", f"{room}: words", "words", len(heard))
    bench.figures.add("gate", f"{room}: words cut", "words", len(cut))
    bench.figures.add("gate", f"{room}: other words with the gate", "words", others(heard, with_gate))
    bench.figures.add("gate", f"{room}: other words in the control", "words", others(heard, control))


def scene(stretches: dict[str, int] = STRETCHES, stretch_s: float = STRETCH_S) -> Scene:
    """The rooms in any order, and speech in all of them."""
    chance = np.random.default_rng(15)
    voice = np.frombuffer(speech.pcm(), "<i2").astype(np.float32)
    order = chance.permutation([room for room, count in stretches.items() for _ in range(count)])
    length = round(stretch_s * RATE)
    mixed = np.zeros(len(order) * length, np.float32)
    pause = len(voice) * (1 - SHARE) / SHARE
    at = round(pause)
    while at + len(voice) < len(mixed):
        mixed[at : at + len(voice)] = voice
        at += len(voice) + round(chance.uniform(0.5, 1.5) * pause)
    blocks = np.abs(mixed[: len(mixed) // BLOCK * BLOCK].reshape(-1, BLOCK)).max(axis=1)
    level = np.sqrt(np.mean(voice**2)) * 10 ** (-SNR_DB / 20)
    rooms: dict[str, list[Range]] = {}
    for number, room in enumerate(order):
        stretch = Range(number * length, (number + 1) * length)
        background = _ROOMS[room](length, chance)
        mixed[stretch.first : stretch.end] += background * (level / np.sqrt(np.mean(background**2)))
        rooms.setdefault(str(room), []).append(stretch)
    samples = np.clip(mixed / 4, -32768, 32767).astype("<i2")  # speech at -34 dBFS
    return Scene(samples, blocks > 0.05 * np.abs(voice).max(), rooms)


def _a_step_off(samples: Any) -> Any:
    steps = np.random.default_rng(1).integers(-1, 2, len(samples))
    return np.clip(samples + steps, -32768, 32767).astype("<i2")


def kept_of(back: Ranges, stretch: Range) -> Ranges:
    """What is kept back of a stretch, counted from its beginning."""
    sent = back.cut(*stretch)
    kept, at = Ranges(), stretch.first
    for first, end in [*sent, (stretch.end, stretch.end)]:
        if at < first:
            kept.join(at - stretch.first, first - stretch.first)
        at = end
    return kept


def _pink(length: int, chance: Any) -> Any:
    spectrum = np.fft.rfft(chance.standard_normal(length))
    spectrum /= np.sqrt(np.maximum(1, np.arange(len(spectrum)) * RATE / length / 20))
    return np.fft.irfft(spectrum, length)


def _fan(length: int, chance: Any) -> Any:
    seconds = np.arange(length) / RATE
    hum = sum(np.sin(2 * np.pi * 120 * n * seconds) / n for n in range(1, 6))
    noise = _pink(length, chance)
    return noise / noise.std() + 0.5 * hum


def _keyboard(length: int, chance: Any) -> Any:
    keys = np.zeros(length)
    for first in chance.integers(0, length - 800, length // RATE * 4):
        keys[first : first + 800] += chance.standard_normal(800) * np.exp(-np.arange(800) / 120)
    noise = _pink(length, chance)
    return keys + 0.05 * noise / noise.std()


def _music(length: int, chance: Any) -> Any:
    music = np.zeros(length)
    for beat in range(0, length - RATE, RATE // 2):
        seconds = np.arange(RATE) / RATE
        for note in chance.choice([220.0, 261.6, 329.6, 392.0, 440.0, 523.3], 3):
            music[beat : beat + RATE] += np.sin(2 * np.pi * note * seconds) * np.exp(-3 * seconds)
    return music


_ROOMS = {"noise": _pink, "fan": _fan, "keyboard": _keyboard, "music": _music}


def gated(samples: Any, detector: Detector | None = None) -> tuple[Ranges, float]:
    """What the gate keeps back, and the processor time that it takes."""
    gate, back = Gate(sample_rate=RATE, channels=1, hang_over_s=1.0, detector=detector), Ranges()
    data = samples.tobytes()
    began = time.process_time()
    for at in range(0, len(data), 2 * BLOCK):
        gate.add(at // 2, data[at : at + 2 * BLOCK])
    used_s = time.process_time() - began
    for first, end in gate.take_gated():
        back.join(first, end)
    return back, used_s


def missed(voice: Any, back: Ranges) -> float:
    """The share of blocks with speech that are kept back."""
    blocks = np.flatnonzero(voice)
    return float(np.mean([not back.cut(number * BLOCK, (number + 1) * BLOCK) for number in blocks]))


def touches(back: Ranges, word: HeardWord) -> bool:
    """Whether some audio of the word is kept back."""
    first, end = round(word.start * RATE), round(word.end * RATE)
    return total(back.cut(first, end)) < end - first


def others(one: list[HeardWord], other: list[HeardWord]) -> int:
    """How many words of either transcript the other one has not, near their times."""
    return sum(
        not any(word.word == each.word and abs(word.start - each.start) < _NEAR_S for each in theirs)
        for ours, theirs in ((one, other), (other, one))
        for word in ours
    )


def transcript(samples: Any, back: Ranges) -> list[HeardWord]:
    """The words that the local recogniser hears where nothing is kept back, with times of the whole audio."""
    recogniser, sent, heard = SpeechRecogniser(), Timeline(RATE), []
    for first, end in back.cut(0, len(samples)):
        sent.sent_samples(first, end - first)
        heard += recogniser.feed(samples[first:end].tobytes())
    heard += recogniser.finish()
    words = [word for each in heard if each.is_final for word in each.words]
    return [HeardWord(word.word, sent.start(word.start) / RATE, sent.end(word.end) / RATE) for word in words]
