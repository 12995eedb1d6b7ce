"""Configurations that lead an engine to a fake recogniser, and audio that cannot be found anywhere by chance."""

import random
from typing import Any

from tests.rig.deepgram import FakeDeepgram
from tests.rig.proxy import FakeProxy
from tests.rig.server import Server

Tables = dict[str, dict[str, Any]]


def noise(seconds: float, seed: int = 1) -> bytes:
    """PCM at 16 kHz in which every stretch is unlike every other."""
    return random.Random(seed).randbytes(int(seconds * 16000) * 2)


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
