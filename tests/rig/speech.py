"""The speech of these tests: a text-to-speech voice, and what it says."""

import wave
from pathlib import Path

_DATA = Path(__file__).parents[1] / "data"
PATH = _DATA / "speech.wav"
SENTENCES = (_DATA / "speech.txt").read_text().splitlines()


def pcm() -> bytes:
    """Its samples: mono, 16 kHz."""
    with wave.open(str(PATH)) as file:
        assert file.getparams()[:3] == (1, 2, 16000)
        return file.readframes(file.getnframes())
