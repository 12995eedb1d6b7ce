"""Configurations that lead an engine to a fake recogniser, and audio that cannot be found anywhere by chance."""

import random
import wave
from pathlib import Path
from typing import Any

from tests.rig.deepgram import FakeDeepgram
from tests.rig.proxy import FakeProxy
from tests.rig.server import Server

Tables = dict[str, dict[str, Any]]


def noise(seconds: float, seed: int = 1) -> bytes:
    """PCM at 16 kHz in which every stretch is unlike every other."""
    return random.Random(seed).randbytes(int(seconds * 16000) * 2)


def write_wav(path: Path, pcm: bytes) -> Path:
    """A WAV file of PCM at 16 kHz, mono, 16 bit; returns its path."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(pcm)
    return path


def silent_file(path: Path, seconds: int) -> Tables:
    """So many seconds of silence from a file (which is written here) in place of the microphone."""
    return {"audio": {"source": str(write_wav(path, bytes(2 * 16000 * seconds)))}}


def byok(server: FakeDeepgram, **remote: Any) -> Tables:
    """The service, spoken to with a key of one's own."""
    return {
        "remote": {"mode": "byok", "byok_url": server.url, "byok_api_key": "a-key", **_authority(server), **remote},
    }


def managed(server: FakeProxy, **remote: Any) -> Tables:
    """The proxy."""
    proxy = {"mode": "managed", "server_url": server.server_url, "auth_token": "a-token"}
    return {"remote": {**proxy, **_authority(server), **remote}}


def _authority(server: Server) -> dict[str, str]:
    return {"ca_file": str(server.ca_file)} if server.address.startswith("wss://") else {}
