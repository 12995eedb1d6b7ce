"""The server of a benchmark: a process of its own, so cheap that it disturbs nobody.

It takes WebSockets on as many ports as asked for, notes when each frame came, and speaks enough Deepgram for an
engine to be well: interims, finals, the answer to CloseStream. `tests.bench.server` starts it and asks it; requests
come as lines of JSON on standard input, each is answered by a line on standard output:

    {"do": "listen", "tls": true}      -> {"port": 12345}
    {"do": "report"}                   -> {"connections": [...]}
    {"do": "save", "directory": D}     -> {"saved": [...]}, D/NUMBER.pcm and D/NUMBER.times (see `Heard.save`)
    {"do": "keep", "audio": true}      -> {}, audio is kept from now on, for `save`

Frames are taken apart by hand: a parser that unmasks what nobody reads would be the slowest part of a file's way.
"""

import array
import asyncio
import base64
import hashlib
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any

from websockets.speedups import apply_mask

RATE = 16000
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
ALL_WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "while", "nobody", "looks"]


class Settings:
    """How the recogniser answers; shared by all connections of the process."""

    interim_s = 1.0
    final_s = 3.0
    keeps_audio = False


class Heard(asyncio.Protocol):
    """One connection: what came, and what is answered."""

    def __init__(self, port: int, number: int) -> None:
        self.port, self.number = port, number
        self.opened_ns = self.first_ns = self.last_ns = self.ended_ns = 0
        self.frames = self.audio_bytes = self.mask_errors = 0
        self.texts: list[str] = []
        self.audio = bytearray()
        self.times = array.array("q")
        self._waiting = bytearray()
        self._transport: Any = None
        self._answered = self._final = 0  # samples

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: BaseException | None) -> None:
        self.ended_ns = time.monotonic_ns()

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        self._waiting += data
        if not self.opened_ns and not self._upgraded(now_ns):
            return
        taken = 0
        while (end := self._frame(taken, now_ns)) > taken:
            taken = end
        del self._waiting[:taken]
        self._answer()

    def report(self) -> dict[str, Any]:
        """Everything but the audio."""
        names = ("port", "number", "opened_ns", "first_ns", "last_ns", "ended_ns")
        return {name: getattr(self, name) for name in (*names, "frames", "audio_bytes", "mask_errors", "texts")}

    def save(self, directory: str) -> str:
        """Write the audio, and for each frame: when it came (monotonic ns) and the samples there were then."""
        stem = Path(directory, str(self.number))
        stem.with_suffix(".pcm").write_bytes(self.audio)
        stem.with_suffix(".times").write_bytes(self.times.tobytes())
        return str(stem)

    def _upgraded(self, now_ns: int) -> bool:
        head, end, rest = bytes(self._waiting).partition(b"\r\n\r\n")
        if not end:
            return False
        lines = (line.partition(b":") for line in head.split(b"\r\n"))
        fields = {name.strip().lower(): value.strip() for name, _, value in lines}
        accept = base64.b64encode(hashlib.sha1(fields[b"sec-websocket-key"] + GUID, usedforsecurity=False).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"dg-request-id: 00000000-0000-0000-0000-000000000000\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.opened_ns = now_ns
        self._waiting[:] = rest
        return True

    def _frame(self, at: int, now_ns: int) -> int:
        """Take the frame that begins at `at`; returns where it ends, `at` when it is not whole."""
        waiting = self._waiting
        if len(waiting) < at + 6:
            return at
        opcode, length, start = waiting[at] & 15, waiting[at + 1] & 127, at + 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length = int.from_bytes(waiting[start : start + size])
            start += size
        end = start + 4 + length
        if len(waiting) < end:
            return at
        self.mask_errors += not waiting[at + 1] & 128
        if opcode == BINARY:
            self.first_ns = self.first_ns or now_ns
            self.last_ns = now_ns
            self.frames += 1
            self.audio_bytes += length
            if Settings.keeps_audio:
                self.audio += _unmasked(waiting, start, end)
                self.times.extend((now_ns, self.audio_bytes // 2))
        else:
            self._control(opcode, _unmasked(waiting, start, end))
        return end

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._send(PONG, payload)
        elif opcode == CLOSE:
            self._send(CLOSE, payload[:2])
            self._transport.close()
        elif opcode == TEXT:
            self.texts.append(payload.decode()[:80])
            kind = json.loads(payload).get("type")
            if kind == "CloseStream" and self._samples > self._final:
                self._result(self._samples, final=True)
            if kind == "CloseStream":
                self._say({"type": "Metadata", "duration": self._samples / RATE, "channels": 1, "request_id": "0"})
                self._send(CLOSE, (1000).to_bytes(2))

    @property
    def _samples(self) -> int:
        return self.audio_bytes // 2

    def _answer(self) -> None:
        """An interim each `interim_s`, a final each `final_s`, as audio comes."""
        step = int(Settings.interim_s * RATE)
        while self._answered + step <= self._samples:
            self._answered += step
            self._result(self._answered, final=self._answered - self._final >= Settings.final_s * RATE)

    def _result(self, until: int, *, final: bool) -> None:
        """Two and a half words a second, as people speak."""
        start, length = self._final / RATE, (until - self._final) / RATE
        count = max(1, int(2.5 * length))
        words = [
            {
                "word": (word := ALL_WORDS[number % len(ALL_WORDS)]),
                "start": round(start + length * number / count, 3),
                "end": round(start + length * (number + 1) / count, 3),
                "confidence": 0.97,
                "punctuated_word": word,
            }
            for number in range(count)
        ]
        text = " ".join(str(word["word"]) for word in words)
        alternative = {"transcript": text, "confidence": 0.97, "words": words}
        self._say(
            {
                "type": "Results",
                "channel_index": [0, 1],
                "start": start,
                "duration": length,
                "is_final": final,
                "speech_final": final,
                "channel": {"alternatives": [alternative]},
                "from_finalize": False,
            }
        )
        if final:
            self._final = self._answered = until

    def _say(self, message: dict[str, Any]) -> None:
        self._send(TEXT, json.dumps(message).encode())

    def _send(self, opcode: int, payload: bytes) -> None:
        length = len(payload)
        size = bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2)
        self._transport.write(bytes([128 | opcode]) + size + payload)


def _unmasked(data: bytearray, start: int, end: int) -> bytes:
    """The payload of the frame whose mask stands at `start`."""
    return apply_mask(bytes(data[start + 4 : end]), bytes(data[start : start + 4]))


async def serve(certificate: str) -> None:
    """Do what standard input says, until it ends."""
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    heard: list[Heard] = []

    async def listen(*, tls: bool) -> dict[str, Any]:
        port = 0  # known once it is bound

        def connection() -> Heard:
            heard.append(Heard(port, len(heard)))
            return heard[-1]

        server = await loop.create_server(connection, "127.0.0.1", 0, ssl=context if tls else None)
        port = server.sockets[0].getsockname()[1]
        return {"port": port}

    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        request = json.loads(line)
        match request["do"]:
            case "listen":
                answer = await listen(tls=request["tls"])
            case "report":
                answer = {"connections": [each.report() for each in heard]}
            case "save":
                answer = {"saved": [each.save(request["directory"]) for each in heard]}
            case "keep":
                Settings.keeps_audio = request["audio"]
                answer = {}
            case unknown:
                answer = {"error": f"{unknown}?"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    Settings.interim_s, Settings.final_s = float(sys.argv[2]), float(sys.argv[3])
    asyncio.run(serve(sys.argv[1]))
