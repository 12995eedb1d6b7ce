"""The last finals, gaps and errors of the run, for subscribers that come late or have lost messages. Pure.

They are bounded by number, by bytes and by age; `complete` says what the bounds cost. Each topic has its own place, so
that a flood of gaps does not push out finals. Bodies are compressed to a third, which takes some 50 µs each.
"""

import collections
import heapq
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from mpengine.shared import messages
from mpengine.shared.messages import FINALS, KEPT, NOTHING, SnapshotAnswer

# So many finals stay whatever their age: after a kill of the supervisor, repeated results are compared with them.
LEAST_FINALS = 100
_MOST_FINAL_BYTES = 5 << 19  # 2.6 MB: with them the journal is no larger than it promises
_MOST_OTHERS = 100
_MOST_OTHER_BYTES = 128 << 10
# A longer message is not kept: an answer with it could be longer than a peer takes. Recognisers' messages are bounded
# so that their finals are shorter.
_LONGEST_MESSAGE_BYTES = 320 << 10
_MOST_INTERIM_BYTES = 256 << 10
# A few answers wait in the supervisor's memory for a client that asks and never reads.
_PAGE_BYTES = 128 << 10
# The least effort and the smallest useful state of zlib (16 kB): most repetitions in a message stand in `_COMMON`, too.
_LEVEL, _WINDOW_BITS, _MEMORY_LEVEL = 1, 11, 4
_COMMON = messages.encode(
    messages.Transcript(text="", is_final=True, words=(messages.Word(word="", start_s=0.0, end_s=0.0),) * 2)
)


class Entry(NamedTuple):
    """One message as it was published, at the monotonic time `at_s`."""

    topic: str
    seq: int
    body: bytes
    at_s: float


class _Packed(NamedTuple):
    """An entry as it is kept; `size` is that of its body."""

    seq: int
    at_s: float
    size: int
    data: bytes


class History:
    """The messages of a run that are still kept. Those of a topic are added in order of `seq`."""

    def __init__(self, *, finals: int = 1000, age_s: float = 86400.0) -> None:
        self._age_s = age_s
        others = (_MOST_OTHERS, _MOST_OTHER_BYTES, 0)
        self._shelves = {topic: _Shelf(topic, *others) for topic in KEPT}
        self._shelves[FINALS] = _Shelf(FINALS, max(finals, LEAST_FINALS), _MOST_FINAL_BYTES, LEAST_FINALS)
        self._status = NOTHING
        self._interims: dict[int, msgspec.Raw] = {}  # by channel; the last one is the youngest

    def add(self, topic: str, seq: int, prev: int, body: bytes, at_s: float) -> None:
        """`body` was published under `topic`. Forget what is too much or too old by now."""
        if topic in self._shelves:
            self._shelves[topic].add(Entry(topic, seq, body, at_s), prev)
            self._shelves[topic].forget(at_s - self._age_s)
        if topic == "status":
            self._status = msgspec.Raw(body)

    def interim(self, channel: int, body: bytes | None) -> None:
        """`body` is the open interim of `channel`; with None there is none."""
        self._interims.pop(channel, None)
        if body is not None:
            self._interims[channel] = msgspec.Raw(body)
        while sum(map(len, self._interims.values())) > _MOST_INTERIM_BYTES:
            del self._interims[next(iter(self._interims))]

    @property
    def interims(self) -> list[msgspec.Raw]:
        """The open interims as they were published, the youngest last."""
        return list(self._interims.values())

    def forgot(self, topic: str, seq: int) -> None:
        """The messages of `topic` up to `seq` are gone, as a journal says."""
        if topic in self._shelves:
            self._shelves[topic].forgotten = max(self._shelves[topic].forgotten, seq)

    @property
    def forgotten(self) -> dict[str, int]:
        """For each topic the `seq` of the last message that was forgotten; 0 if none was."""
        return {topic: shelf.forgotten for topic, shelf in self._shelves.items()}

    def entries(self, since: int = 0, topics: tuple[str, ...] = ("",)) -> Iterator[Entry]:
        """The messages after the seq `since`, of topics that begin with one of `topics`, in order."""
        shelves = [shelf for topic, shelf in self._shelves.items() if topic.startswith(topics)]
        return heapq.merge(*(shelf.after(since) for shelf in shelves), key=lambda entry: entry.seq)

    def answer(
        self, since: int, topics: tuple[str, ...] = ("",), *, run: str, boot: str, seq: int, now: float
    ) -> SnapshotAnswer:
        """One page of the `entries`. `seq`: the last one used. `now`: the monotonic time."""
        oldest_s = now - self._age_s
        found: list[msgspec.Raw] = []
        size, is_more = 0, False
        for entry in self.entries(since, topics):
            if entry.at_s < oldest_s:
                continue
            if found and size + len(entry.body) > _PAGE_BYTES:
                is_more = True
                break
            found.append(msgspec.Raw(entry.body))
            size += len(entry.body)
        return SnapshotAnswer(
            run=run,
            boot=boot,
            seq=seq,
            status=self._status,
            interim=next(reversed(self._interims.values()), NOTHING),
            interims=self.interims,
            messages=found,
            complete={topic: shelf.complete(oldest_s) for topic, shelf in self._shelves.items()},
            more=is_more,
        )


class _Shelf:
    """The messages of one topic. At least `least` stay whatever their age."""

    def __init__(self, topic: str, most: int, most_bytes: int, least: int) -> None:
        self._topic = topic
        self._most, self._most_bytes, self._least = most, most_bytes, least
        self._entries: collections.deque[_Packed] = collections.deque()
        self._bytes = 0
        self._last = 0
        self.forgotten = 0

    def add(self, entry: Entry, prev: int) -> None:
        if prev > max(self._last, self.forgotten):  # the one before was never added: the disk was full
            self.forgotten = prev
        self._last = entry.seq
        if len(entry.body) > _LONGEST_MESSAGE_BYTES:
            self.forgotten = entry.seq
            return
        size = len(entry.body)
        self._entries.append(_Packed(entry.seq, entry.at_s, size, _packed(entry.body)))
        self._bytes += size

    def forget(self, oldest_s: float) -> None:
        while self._entries and self._is_too_much(oldest_s):
            gone = self._entries.popleft()
            self._bytes -= gone.size
            self.forgotten = max(self.forgotten, gone.seq)

    def _is_too_much(self, oldest_s: float) -> bool:
        if len(self._entries) > self._most or self._bytes > self._most_bytes:
            return True
        return self._entries[0].at_s < oldest_s and len(self._entries) > self._least

    def complete(self, oldest_s: float) -> int:
        """The `seq` after which all messages are there that are not too old."""
        old = [entry.seq for entry in self._entries if entry.at_s < oldest_s]
        return max([self.forgotten, *old])

    def after(self, since: int) -> Iterable[Entry]:
        """The messages after `since`: mostly few, at the end. A body is unpacked when it is its turn."""
        found: list[_Packed] = []
        for packed in reversed(self._entries):
            if packed.seq <= since:
                break
            found.append(packed)
        return (Entry(self._topic, each.seq, _unpacked(each.data), each.at_s) for each in reversed(found))


def _packed(body: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, _COMMON)
    return packer.compress(body) + packer.flush()


def _unpacked(data: bytes) -> bytes:
    return zlib.decompressobj(_WINDOW_BITS, _COMMON).decompress(data)
