"""What is known of the engines, and the log of their messages that all readers share. Pure.

The log has each message once, whoever reads it: so its bound in bytes holds for any number of readers, and a reader
that stands still costs nothing here. What an engine has said for good (finals, gaps, errors, holes) is kept, too, for
readers that come late. Both forget their oldest part.
"""

import bisect
import collections
import heapq
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from mpengine.client.position import HOLE, Hole, Received, loss, read
from mpengine.formats import jsonl
from mpengine.shared import messages
from mpengine.shared.messages import FINALS, Stamp

LOG_BYTES = 4 << 20
"""How many bytes of the last messages the log has."""
KEPT_BYTES = 8 << 20
"""How many bytes of an engine's finals are kept."""
_MOST_KEPT = {"gap": 1000, "error": 100, HOLE: 1000}
# A larger message is not passed on; an engine's history leaves it out as well.
_LARGEST_BYTES = 256 << 10
# A live engine publishes its metrics once a second.
ABSENT_S = 5.0
# Until then it is no trouble, as in `mpengine status --check`.
_TROUBLE_S = 60.0
_MOST_CHANNELS = 64
PRESENCE = "presence"
"""The topic by which readers are told whether an engine is heard. No engine publishes it."""
_OTHER = "other"
# No clock and no counter of an engine comes so far, and sums of such numbers can still be made.
_LARGEST_NUMBER = 1e20
DELAYS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Entry(NamedTuple):
    """A message of `engine`, as JSON on one line. `number` counts all entries, `end_bytes` their bytes up to its end.

    `seq` of a hole in the finals is its `last_seq`, 0 where nobody knows it.
    """

    number: int
    engine: str
    topic: str
    data: bytes
    run: str
    seq: int
    prev: int
    end_bytes: int


class Delays:
    """How long finals took, counted by `DELAYS_S`: from the end of their audio to their publication."""

    def __init__(self) -> None:
        self.counts = [0] * (len(DELAYS_S) + 1)
        self.sum_s = 0.0

    def note(self, seconds: float) -> None:
        """Count one final."""
        self.counts[bisect.bisect_left(DELAYS_S, seconds)] += 1
        self.sum_s += seconds


class View:
    """One engine, as its messages show it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_heard = False
        self.heard_at = 0.0
        self.run = ""
        self.last: dict[str, Entry] = {}  # the last message of a topic that each message replaces
        self.status: messages.Status | None = None
        self.level: messages.Level | None = None
        self.metrics: messages.Metrics | None = None
        self.last_final_ns = 0
        self.finals = self.holes = self.unreadable = 0
        self.gaps_s: dict[str, float] = {}
        self.errors: dict[str, int] = {}
        self.delays = Delays()
        self._interims: dict[int, Entry] = {}
        self._ill_since: float | None = None
        self._kept: dict[str, collections.deque[Entry]] = collections.defaultdict(collections.deque)
        self._finals_bytes = 0
        self._in_order: list[Entry] | None = None  # what `kept` gave last, as long as that is true

    @property
    def kept(self) -> list[Entry]:
        """Finals, gaps, errors and holes, in the order in which they came. Leave the list as it is."""
        if self._in_order is None:  # hundreds of readers may come at once
            self._in_order = list(heapq.merge(*self._kept.values(), key=lambda entry: entry.number))
        return self._in_order

    @property
    def interims(self) -> list[Entry]:
        """The open interims, at most one of each channel."""
        return list(self._interims.values())

    def ill_s(self, now: float) -> float:
        """For how long the engine has not been running, as far as its messages show."""
        return 0.0 if self._ill_since is None else now - self._ill_since

    def trouble(self, now: float) -> str:
        """Why the engine is not healthy, in words; empty for one that is."""
        if not self.is_heard:
            return f"{self.name}: no engine of this name is heard"
        if self.status is None:
            return ""
        state = self.status.state
        if state in messages.OVER or self.ill_s(now) > _TROUBLE_S:
            reason = f": {self.status.reason}" if self.status.reason else ""
            since = "" if state in messages.OVER else f" for {self.ill_s(now):.0f} s"
            return f"{self.name}: {state}{since}{reason}"
        return ""

    def keep(self, entry: Entry) -> None:
        """Keep `entry` for readers that come late."""
        kept, self._in_order = self._kept[entry.topic], None
        kept.append(entry)
        if entry.topic == FINALS:
            self._finals_bytes += len(entry.data)
            while self._finals_bytes > KEPT_BYTES and len(kept) > 1:
                self._finals_bytes -= len(kept.popleft().data)
        elif len(kept) > _MOST_KEPT[entry.topic]:
            kept.popleft()

    def note(self, entry: Entry, message: messages.Published | Hole | None, now: float) -> None:
        """Take in what `message`, which is `entry`, says about the engine."""
        if entry.run and entry.run != self.run and entry.topic != HOLE:
            self.run = entry.run
            self._interims.clear()
        match message:
            case messages.Transcript():
                self._note_transcript(entry, message)
            case messages.Status() | messages.Level() | messages.Metrics():
                self.last[entry.topic] = entry
                self._note_state(message, now)
            case messages.Gap(reason=reason) if message.samples:
                known = reason if reason in set(messages.GapReason) else _OTHER
                self.gaps_s[known] = self.gaps_s.get(known, 0.0) + max(0.0, message.end_s - message.start_s)
            case messages.Error(code=code):
                # A recogniser may have any number of codes: they must not become labels.
                known = code if code in set(messages.ErrorCode) else _OTHER
                self.errors[known] = self.errors.get(known, 0) + 1
            case Hole():
                self.holes += 1

    def _note_state(self, message: messages.Status | messages.Level | messages.Metrics, now: float) -> None:
        match message:
            case messages.Status(state=state):
                self.status = message
                is_ill = state != messages.EngineState.RUNNING
                self._ill_since = (now if self._ill_since is None else self._ill_since) if is_ill else None
            case messages.Level():
                self.level = message
            case messages.Metrics():
                self.metrics = message

    def _note_transcript(self, entry: Entry, message: messages.Transcript) -> None:
        channel = message.channel
        if message.is_final or message.interrupted or not message.text:
            self._interims.pop(channel, None)
        elif channel in self._interims or len(self._interims) < _MOST_CHANNELS:
            self._interims[channel] = entry
        if message.is_final:
            self._note_final(message)

    def _note_final(self, final: messages.Transcript) -> None:
        self.finals += 1
        self.last_final_ns = max(self.last_final_ns, final.time_ns)
        if final.start_time_ns is not None and not final.estimated and not final.replayed:
            end_ns = final.start_time_ns + round((final.end_s - final.start_s) * 1e9)
            self.delays.note(max(0.0, (final.time_ns - end_ns) / 1e9))


class Hub:
    """All engines, and the log. `now` is monotonic time in seconds."""

    def __init__(self, names: Iterable[str]) -> None:
        self.views = {name: View(name) for name in names}
        self.end = self.end_bytes = 0
        """The number of the next entry, and the bytes of all entries before it."""
        self._log: dict[int, Entry] = {}
        self._log_bytes = 0

    @property
    def first(self) -> int:
        """The number of the oldest entry that the log still has."""
        return self.end - len(self._log)

    def after(self, number: int) -> Iterator[Entry]:
        """The entries from `number` on, which must be `first` or more."""
        return (self._log[each] for each in range(number, self.end))

    def take(self, received: Received, now: float) -> None:
        """Take in a message."""
        view = self.views.get(received.name)
        if view is None:
            return
        view.heard_at = now
        if not view.is_heard:
            self._tell_presence(view, is_heard=True)
        self._take(view, received, now)

    def tick(self, now: float) -> bool:
        """Look for engines that are not heard any more. True: readers have something to read."""
        before = self.end
        for view in self.views.values():
            if view.is_heard and now - view.heard_at > ABSENT_S:
                self._tell_presence(view, is_heard=False)
        return self.end > before

    def _take(self, view: View, received: Received, now: float) -> None:
        stamp = read("", received.body).stamp
        message = received.message
        if len(received.body) > _LARGEST_BYTES or not _has_possible_numbers(message):
            view.unreadable += received.hole is None
            topic = messages.TOPICS.get(received.topic)
            if topic and topic.counts and stamp.seq:
                hole = Hole(topic=received.topic, run=stamp.run, first_seq=stamp.seq, last_seq=stamp.seq)
                self._take(view, loss(view.name, hole), now)
            return
        data = with_engine(view.name, received.body)
        # A hole and a presence that somebody else publishes look like the subscriber's and this server's own.
        if not data or (received.hole is None and received.topic in {HOLE, PRESENCE}):
            view.unreadable += 1
            return
        if received.hole is not None:
            last_seq = (received.hole.last_seq or 0) if received.hole.topic == FINALS else 0
            stamp = Stamp(type=HOLE, run=received.hole.run, seq=last_seq)
        entry = self._append(view.name, received.topic, data, stamp)
        if received.topic == FINALS or received.topic in _MOST_KEPT:
            view.keep(entry)
        view.note(entry, message, now)

    def _tell_presence(self, view: View, *, is_heard: bool) -> None:
        view.is_heard = is_heard
        data = msgspec.json.encode({"engine": view.name, "type": PRESENCE, "is_heard": is_heard})
        view.last[PRESENCE] = self._append(view.name, PRESENCE, data, Stamp())

    def _append(self, engine: str, topic: str, data: bytes, stamp: Stamp) -> Entry:
        self.end_bytes += len(data)
        entry = Entry(self.end, engine, topic, data, stamp.run, stamp.seq, stamp.prev, self.end_bytes)
        self._log[self.end] = entry
        self._log_bytes += len(data)
        self.end += 1
        while self._log_bytes > LOG_BYTES:
            self._log_bytes -= len(self._log.pop(self.first).data)
        return entry


def _has_possible_numbers(value: object) -> bool:
    """Whether no number of a message is beyond all clocks and counters. Those of its words are not looked at."""
    if isinstance(value, int | float):
        return -_LARGEST_NUMBER < value < _LARGEST_NUMBER
    if isinstance(value, msgspec.Struct):
        return all(_has_possible_numbers(getattr(value, field)) for field in value.__struct_fields__)
    return not isinstance(value, dict) or all(map(_has_possible_numbers, value.values()))


def with_engine(name: str, body: bytes) -> bytes:
    """`body`, a JSON object, on one line and with the field `engine` before all others; empty for another `body`."""
    line = jsonl.line(body).strip()
    return jsonl.with_engine(line, name) if line else b""
