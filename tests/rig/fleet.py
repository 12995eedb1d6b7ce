"""Boxes without engines: so many connections to NATS servers, each of which hands over recorded finals as a relay does.

As a program, `python -m tests.rig.fleet BOXES PORT...`, it reads a line of JSON for each command, and answers with one:
how many results a second the boxes have together, or null for a look. The finals of all boxes are said at random, each
box in its turn. All that a server reads is as from `mpengine relay`, in the same order: the subjects, ids, headers and
bodies, the questions for the last messages, the pings, the window, the limits and the waits.
"""

import asyncio
import base64
import collections
import contextlib
import gc
import json
import random
import re
import resource
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from nats.js.api import Header

from mpengine.client.position import HOLE
from mpengine.relay.broker import CONNECT_S
from mpengine.relay.naming import Names
from mpengine.relay.position import TOPICS, Entry, message_entry
from mpengine.relay.process import ACKNOWLEDGE_S
from mpengine.shared.messages import FINALS
from tests.rig.processes import spawn
from tests.rig.waiting import scaled

RECORDED = Path(__file__).parents[1] / "data" / "finals.jsonl"
"""What the local recogniser has understood of speech.wav, as an engine has written it to its `bus.transcript`."""
ENGINE = "default"
# As in `mpengine.cli` (--window), `mpengine.relay.process` and `mpengine.relay.jetstream`.
_WINDOW = 32
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_PING_S = 10.0
_AT_ONCE = 100
"""So many boxes make their first connection at the same time."""
_TURN_S = 0.001
_CONNECT = {"verbose": False, "pedantic": False, "lang": "python3", "version": "2", "protocol": 1, "headers": True}
_NOT_FOUND = 404
_HEADERS = f"NATS/1.0\r\n{Header.MSG_ID.value}: %b\r\n{Header.EXPECTED_STREAM.value}: %b\r\n\r\n".encode()
_NUMBERS = re.compile(rb'(.*"run":")[0-9a-f]+(".*"seq":)\d+(,"prev".*)')


class Fleet:
    """The program. As a context manager it starts at once and is gone behind."""

    def __init__(self, boxes: int, ports: Sequence[int]) -> None:
        command = [sys.executable, "-m", "tests.rig.fleet", str(boxes), *map(str, ports)]
        self.process = spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self.process as process:
            process.kill()

    def say(self, rate: float) -> dict[str, Any]:
        """So many results a second from now on. Returns what `look` does."""
        return self._ask(rate)

    def look(self) -> dict[str, Any]:
        """What has happened in all, and the times since the look before."""
        return self._ask(None)

    def _ask(self, command: float | None) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], scaled(120))[0], "the fleet does not answer"
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


class _Generator:
    """The boxes, and what has happened to them."""

    def __init__(self, boxes: int, ports: Sequence[int]) -> None:
        self.rate = 0.0
        self.recorded = [_parts(line) for line in RECORDED.read_bytes().splitlines()]
        self.first: contextlib.AbstractAsyncContextManager[None] = asyncio.Semaphore(_AT_ONCE)
        self.counts = dict.fromkeys(("said", "sent", "acknowledged", "duplicates", "refused", "lost", "stored"), 0)
        self.late_ms: list[float] = []
        self.acknowledged_ms: list[float] = []
        self.boxes = [Box(self, number, ports[number % len(ports)]) for number in range(boxes)]

    async def run(self) -> None:
        """Until the input ends."""
        loop = asyncio.get_running_loop()
        commands = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        tasks = [loop.create_task(work) for work in (self._say(), *(box.live() for box in self.boxes))]
        while line := await commands.readline():
            rate = json.loads(line)
            if rate is not None:
                self.rate = rate
                gc.freeze()  # to look through ten thousand boxes again and again would delay messages
            print(json.dumps(self._look()), flush=True)
        for task in tasks:
            task.cancel()

    def _look(self) -> dict[str, Any]:
        found = {
            **self.counts,
            "at_s": asyncio.get_running_loop().time(),
            "connected": sum(box.is_open for box in self.boxes),
            "behind": sum(len(box.waiting) + len(box.flight) for box in self.boxes),
            "late_ms": self.late_ms,
            "acknowledged_ms": self.acknowledged_ms,
        }
        self.late_ms, self.acknowledged_ms = [], []
        return found

    async def _say(self) -> None:
        loop = asyncio.get_running_loop()
        turn, due = 0, loop.time()
        while True:
            now = loop.time()
            if not self.rate:
                due = now
            while due < now:
                self.boxes[turn].say(due, now)
                turn = (turn + 1) % len(self.boxes)
                due += random.expovariate(self.rate)
            await asyncio.sleep(_TURN_S if self.rate else 0.1)


def _parts(line: bytes) -> tuple[bytes, bytes, bytes]:
    """A final around its run and its `seq`."""
    found = _NUMBERS.fullmatch(line)
    assert found is not None
    return found[1], found[2], found[3]


class Box(asyncio.Protocol):
    """One box. A result is said, waits, is in flight, and then done."""

    def __init__(self, generator: _Generator, number: int, port: int) -> None:
        self._generator, self._port = generator, port
        self._names = Names(f"box{number:05}")
        self._subject = self._names.subject(ENGINE, FINALS).encode()
        self._run = f"{random.getrandbits(64):016x}"
        self._inbox = f"_INBOX.{random.getrandbits(88):022x}".encode()
        self._said = self._number = 0
        self.waiting: collections.deque[tuple[int, float]] = collections.deque()
        self.flight: dict[int, tuple[int, float, float]] = {}
        """The number of a message, and its `seq`, when it was said, when it was sent."""
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._rest = self._stream = b""
        self._pinged = 0.0
        self._transport: Any = None
        self.is_open = self._has_sent = False

    def say(self, due: float, now: float) -> None:
        """Have one more result; keep the connection alive, or give it up."""
        self._said += 1
        self._generator.counts["said"] += 1
        self.waiting.append((self._said, due))
        if not self.is_open:
            return
        if self.flight and next(iter(self.flight.values()))[2] < now - ACKNOWLEDGE_S:
            self._transport.abort()
        elif now > self._pinged + _PING_S:
            self._pinged = now
            self._transport.write(b"PING\r\n")
        self._send(now)

    async def live(self) -> None:
        """Connect again and again."""
        wait_s, gate = _FIRST_WAIT_S, self._generator.first
        while True:
            with contextlib.suppress(OSError, TimeoutError, ValueError, LookupError):
                async with gate:
                    await self._open()
                gate = contextlib.nullcontext()
                await self._lost
            if self._has_sent:  # as a relay does: the next attempt comes soon
                wait_s, self._has_sent = _FIRST_WAIT_S, False
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        self._lost = loop.create_future()
        try:
            stored = await self._connect()
        except BaseException:
            if self._transport is not None:
                self._transport.abort()
            raise
        while self.waiting and self.waiting[0][0] <= stored:
            self.waiting.popleft()
            self._generator.counts["stored"] += 1
        self.is_open = True
        self._send(loop.time())

    async def _connect(self) -> int:
        """Returns the `seq` of the last result that the stream has."""
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._port)
            about = json.dumps({**_CONNECT, "name": f"mpengine relay of {ENGINE}"}).encode()
            self._transport.write(b"CONNECT %b\r\nPING\r\nSUB %b.*  1\r\n" % (about, self._inbox))
        found = await self._ask("STREAM.NAMES", {"subject": self._subject.decode()})
        self._stream = found["streams"][0].encode()
        stored = 0
        for topic in (*TOPICS, HOLE):
            question = {"last_by_subj": self._names.subject(ENGINE, topic)}
            answer = await self._ask(f"STREAM.MSG.GET.{self._stream.decode()}", question)
            if "message" in answer:
                entry = message_entry(topic, base64.b64decode(answer["message"]["data"]))
                stored = max(stored, entry.seq if entry else 0)
            elif answer["error"]["code"] != _NOT_FOUND:
                raise ValueError(answer)
        return stored

    async def _ask(self, what: str, question: dict[str, str]) -> Any:
        self._number += 1
        self._asked[self._number] = told = asyncio.get_running_loop().create_future()
        body = json.dumps(question).encode()
        to = b"%b %b.%d" % (what.encode(), self._inbox, self._number)
        self._transport.write(b"PUB $JS.API.%b %d\r\n%b\r\n" % (to, len(body), body))
        async with asyncio.timeout(CONNECT_S):
            return json.loads(await told)

    def _send(self, now: float) -> None:
        while self.waiting and len(self.flight) < _WINDOW and not self._transport.is_closing():
            seq, said_at = self.waiting.popleft()
            self._number += 1
            before, between, behind = self._generator.recorded[seq % len(self._generator.recorded)]
            body = b"%b%b%b%d%b" % (before, self._run.encode(), between, seq, behind)
            headers = _HEADERS % (Entry(FINALS, self._run, body, seq=seq).key.encode(), self._stream)
            to = b"%b %b.%d" % (self._subject, self._inbox, self._number)
            size = len(headers)
            self._transport.write(b"HPUB %b %d %d\r\n%b%b\r\n" % (to, size, size + len(body), headers, body))
            self.flight[self._number] = seq, said_at, now
            self._generator.counts["sent"] += 1
            self._generator.late_ms.append((now - said_at) * 1000)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        data, at = self._rest + data, 0
        while (end := data.find(b"\r\n", at)) >= 0:
            if data.startswith((b"MSG ", b"HMSG "), at):
                fields = data[at:end].split()
                first, end = end + 2, end + 2 + int(fields[-1])
                if len(data) < end + 2:
                    break
                self._note_answer(int(fields[1].rpartition(b".")[2]), data[first:end])
            elif data.startswith(b"PING", at):
                self._transport.write(b"PONG\r\n")
            elif data.startswith(b"-ERR", at):
                self._transport.abort()
            at = end + 2
        self._rest = data[at:]

    def _note_answer(self, number: int, body: bytes) -> None:
        if number in self._asked:
            self._asked.pop(number).set_result(body)
            return
        counts, now = self._generator.counts, asyncio.get_running_loop().time()
        if not body.startswith(b"{") or b'"error"' in body:
            counts["refused"] += 1
            self._transport.abort()
            return
        if number in self.flight:
            self._has_sent = True
            counts["acknowledged"] += 1
            counts["duplicates"] += b'"duplicate"' in body
            self._generator.acknowledged_ms.append((now - self.flight.pop(number)[2]) * 1000)
            self._send(now)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._generator.counts["lost"] += self.is_open
        self.is_open, self._rest = False, b""
        self.waiting.extendleft((seq, said_at) for seq, said_at, _ in reversed(self.flight.values()))
        self.flight.clear()
        for told in self._asked.values():
            if not told.done():
                told.set_exception(exc or ConnectionResetError())
        self._asked.clear()
        self._lost.set_result(None)


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_Generator(int(sys.argv[1]), [int(port) for port in sys.argv[2:]]).run())
