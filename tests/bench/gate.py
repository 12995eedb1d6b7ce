"""The silence gate over mixed audio: how much of it is sent, which words are missed, and what the gate itself costs.

A fifth of the audio is speech, and the rest is a room: noise, a fan, a keyboard, music, each by itself, and the speech
is ten decibels louder. The local recogniser hears it all with the gate and without. A word is missed where the
transcript without the gate has it, and the gate has kept back some of its audio. A word is heard again where the
transcript with the gate has it as well, within half a second. Of so much noise the recogniser understands little, and
it hears every stretch by what was before it: the two transcripts differ where no audio does.
"""

import time
from typing import Any

import numpy as np

from mpengine.capture.gate import Gate
from mpengine.recogniser.speech import HeardWord, SpeechRecogniser
from mpengine.shared.ranges import Ranges, total
from mpengine.streaming.timeline import Timeline
from tests.bench.common import Bench
from tests.rig import speech

RATE, BLOCK = 16000, 320
SNR_DB = 10.0
SHARE = 0.2  # of speech
SHARES = {"noise": 0.6, "fan": 0.2, "keyboard": 0.1, "music": 0.1}
MINUTES = 15.0
_NEAR_S = 0.5


def measure(bench: Bench) -> None:
    """Add the figures."""
    for room, share in SHARES.items():
        bench.say(f"gate: {room}, {MINUTES * share:.1f} min")
        samples, voice = scene(room, MINUTES * 60 * share)
        back, cpu_s = gated(samples)
        seconds = len(samples) / RATE
        bench.figures.add("gate", f"{room}: sent", "%", 100 - 100 * total(back) / len(samples))
        bench.figures.add("gate", f"{room}: speech missed", "%", 100 * missed(voice, back))
        bench.figures.add("gate", f"{room}: CPU of the gate", "% of a core", 100 * cpu_s / seconds)
        heard, with_gate = transcript(samples, Ranges()), transcript(samples, back)
        lost = [word for word in heard if touches(back, word)]
        again = [word for word in heard if any(is_same(word, other) for other in with_gate)]
        bench.figures.add("gate", f"{room}: words", "words", len(heard))
        bench.figures.add("gate", f"{room}: words missed", "words", len(lost))
        bench.figures.add("gate", f"{room}: words heard again", "words", len(again))


def scene(room: str, seconds: float) -> tuple[Any, Any]:
    """The audio, and for each of its blocks whether somebody speaks in it."""
    chance = np.random.default_rng(sum(room.encode()))
    voice = np.frombuffer(speech.pcm(), "<i2").astype(float)
    length = round(seconds * RATE)
    talk = np.zeros(length)
    at = 60 * RATE  # the room is known by then
    pause = len(voice) * (1 - SHARE) / SHARE
    while at + len(voice) < length:
        talk[at : at + len(voice)] += voice
        at += len(voice) + round(chance.uniform(0.5, 1.5) * pause)
    level = np.sqrt(np.mean(voice**2)) * 10 ** (-SNR_DB / 20)
    background = _ROOMS[room](length, chance)
    background *= level / np.sqrt(np.mean(background**2))
    mixed = np.clip((talk + background) / 4, -32768, 32767).astype("<i2")  # speech at -34 dBFS
    blocks = np.abs(talk[: length // BLOCK * BLOCK].reshape(-1, BLOCK)).max(axis=1)
    return mixed, blocks > 0.05 * np.abs(voice).max()


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


def gated(samples: Any) -> tuple[Ranges, float]:
    """What the gate keeps back, and the processor time that it takes."""
    gate, back, data = Gate(sample_rate=RATE, channels=1, hang_over_s=1.0), Ranges(), samples.tobytes()
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


def is_same(one: HeardWord, other: HeardWord) -> bool:
    """Whether both are one word that was heard twice."""
    return one.word == other.word and abs(one.start - other.start) < _NEAR_S


def transcript(samples: Any, back: Ranges) -> list[HeardWord]:
    """The words that the local recogniser hears where nothing is kept back, with times of the whole audio."""
    recogniser, sent, heard = SpeechRecogniser(), Timeline(RATE), []
    for first, end in back.cut(0, len(samples)):
        sent.sent_samples(first, end - first)
        heard += recogniser.feed(samples[first:end].tobytes())
    heard += recogniser.finish()
    words = [word for each in heard if each.is_final for word in each.words]
    return [HeardWord(word.word, sent.start(word.start) / RATE, sent.end(word.end) / RATE) for word in words]
