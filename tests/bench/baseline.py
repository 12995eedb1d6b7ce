"""The origin engine's design in one process, to be measured beside this engine: `python -m tests.bench.baseline URL
DEVICE`.

Its data path, step by step, in words of our own: PortAudio hands float32 blocks of 64 ms to a callback, which turns
them into 16-bit PCM with numpy and puts them into an unbounded queue. An asyncio loop in a second thread takes each
out by way of the default executor, waiting half a second at most, and sends it; beside that it awaits what the server
says, a second at most, and gives results to callbacks. The device is opened once the connection stands, with
PortAudio's own latency. The key, the parameters and the pings (every 20 s) are the origin engine's, too.
"""

import asyncio
import json
import logging
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

RATE = 16000
BLOCK_SAMPLES = 1024
CONNECT_LIMIT_S = 15


@dataclass
class Transcript:
    """What the callbacks are given."""

    text: str
    is_final: bool
    time: datetime
    user_name: str


class Baseline:
    """One recording."""

    def __init__(self, url: str, device: str | int | None, on_result: Callable[[Transcript], None]) -> None:
        self._url, self._device, self._on_result = url, device, on_result
        self._blocks: queue.Queue[bytes] = queue.Queue()
        self._connected = threading.Event()
        self._stopped = threading.Event()
        self._socket: Any = None

    def run(self) -> None:
        """Record until the connection ends."""
        import sounddevice  # noqa: PLC0415 - the origin engine does it here, after it has connected

        connection = threading.Thread(target=lambda: asyncio.run(self._converse()), daemon=True)
        connection.start()
        if not self._connected.wait(CONNECT_LIMIT_S):
            sys.exit("baseline: no connection")
        with sounddevice.InputStream(
            samplerate=RATE,
            blocksize=BLOCK_SAMPLES,
            channels=1,
            dtype="float32",
            device=self._device,
            callback=self._captured,
        ):
            connection.join()

    def _captured(self, block: Any, _frames: int, _times: Any, status: Any) -> None:
        if status:
            logger.warning("audio: %s", status)
        self._blocks.put(to_pcm(block))

    async def _converse(self) -> None:
        import websockets  # noqa: PLC0415 - as above

        headers = {"Authorization": "Token a-key"}
        self._socket = await websockets.connect(
            self._url, additional_headers=headers, ping_interval=20, ping_timeout=10
        )
        self._connected.set()
        await asyncio.gather(self._send(), self._receive())

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopped.is_set():
            try:
                taken = loop.run_in_executor(None, lambda: self._blocks.get(timeout=0.5))
                block = await asyncio.wait_for(taken, timeout=1.0)
            except (queue.Empty, TimeoutError):
                continue
            await self._socket.send(block)

    async def _receive(self) -> None:
        import websockets  # noqa: PLC0415

        while not self._stopped.is_set():
            try:
                text = await asyncio.wait_for(self._socket.recv(), timeout=1.0)
            except TimeoutError:
                continue
            except websockets.ConnectionClosed:
                self._stopped.set()
                return
            self._heard(json.loads(text))

    def _heard(self, message: dict[str, Any]) -> None:
        if message.get("type") != "Results":
            return
        alternatives = message.get("channel", {}).get("alternatives", [])
        text = alternatives[0].get("transcript", "") if alternatives else ""
        if text.strip():
            self._on_result(Transcript(text, message.get("is_final", False), datetime.now(), "User"))  # noqa: DTZ005


def to_pcm(block: Any) -> bytes:
    """16-bit PCM of float32 samples, as the origin engine has it (full scale is 32767, so not bit-exact)."""
    pcm: bytes = (block * 32767).astype(np.int16).tobytes()
    return pcm


def address(server: str) -> str:
    """The origin engine's URL, on another host."""
    return (
        f"{server}/v1/listen?model=nova-2&language=en-US&interim_results=true&punctuate=true&smart_format=true"
        f"&encoding=linear16&sample_rate={RATE}&channels=1"
    )


def main(server: str, device: str) -> None:
    """Record from `device` (empty: the default one) for `server`."""
    latest: dict[bool, Transcript] = {}

    def keep(result: Transcript) -> None:
        latest[result.is_final] = result

    Baseline(address(server), int(device) if device.isdigit() else device or None, keep).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
