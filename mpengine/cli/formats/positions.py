"""Up to where a file holds what an engine has said, and how to go on with it. Pure.

Whoever wrote the file may have been killed, or its machine has lost its power: its end may be torn, at any byte.

A final comes only when all finals before it are dealt with, and metrics only when everything before them is. With other
messages that is not so: a gap may stand before a final that was lost on its way and asked for again. So the position is
that of a final or of metrics, and of what may come again behind it, the file says itself whether it holds it.
"""

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from mpengine.client.follow import Since
from mpengine.client.position import Hole
from mpengine.shared.decoding import UNREADABLE
from mpengine.shared.messages import Published
from mpengine.shared.snapshot import KEPT


class Position(NamedTuple):
    """From where on to listen. Behind that, the file holds already: messages by their `seq`, and losses.

    A loss is a topic and its last `seq`, which is None for that of a run's end.
    """

    since: Since = None
    behind: frozenset[int] = frozenset()
    told: frozenset[tuple[str, int | None]] = frozenset()

    def holds(self, message: Published | Hole | None) -> bool:
        """Whether `message`, which has come, is in the file already."""
        if message is None or not isinstance(self.since, tuple) or message.run != self.since[0]:
            return False
        if isinstance(message, Hole):
            return (message.topic, message.last_seq) in self.told
        return message.seq in self.behind


START, NOW = Position("start"), Position()


class Ending(NamedTuple):
    """What to do with a file in order to go on: let go of so many of its last bytes, then write `mend`."""

    torn_bytes: int
    mend: bytes
    position: Position


class _Mark(msgspec.Struct, frozen=True):
    """What a line says of its place. A hole has a topic and a `last_seq`, all else a `seq`."""

    type: str = ""
    is_final: bool = False
    run: str = ""
    seq: int = 0
    topic: str = ""
    last_seq: int | None = None


_read_mark = msgspec.json.Decoder(_Mark).decode
_read_object = msgspec.json.Decoder(dict[str, Any]).decode


def is_object(line: bytes) -> bool:
    """Whether `line` is a JSON object."""
    try:
        _read_object(line)
    except UNREADABLE:
        return False
    return True


def end_of_lines(pieces: Iterable[bytes]) -> Ending:
    """The end of a file of JSON lines, whose `pieces` come from its end on. No more are taken than it needs."""
    lines = _lines_back(pieces)
    last = next(lines, b"")  # what stands behind the last line end
    is_whole = is_object(last)
    position = _position_in(chain([last] if is_whole else [], lines))
    return Ending(0, b"\n", position) if is_whole else Ending(len(last), b"", position)


def _position_in(lines: Iterable[bytes]) -> Position:
    """`lines` come from the last one on."""
    run = ""
    behind: set[int] = set()
    told: set[tuple[str, int | None]] = set()
    since_seq = 0
    for line in lines:
        try:
            mark = _read_mark(line)
        except UNREADABLE:
            continue
        run = run or mark.run
        if not mark.run:
            continue
        if mark.run != run:
            break
        if mark.type == "hole":
            told.add((mark.topic, mark.last_seq))
        elif mark.seq and (mark.type == "metrics" or (mark.type == "transcript" and mark.is_final)):
            since_seq = mark.seq
            break
        elif mark.type in KEPT:
            behind.add(mark.seq)
    return Position((run, since_seq), frozenset(behind), frozenset(told)) if run else START


def _lines_back(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines, from what stands behind the last line end on."""
    rest: list[bytes] = []  # of a line whose beginning was not found yet, its end first
    for piece in pieces:
        first, *lines = piece.split(b"\n")
        if lines:
            yield b"".join([lines.pop(), *reversed(rest)])
            yield from reversed(lines)
            rest = []
        rest.append(first)
    if rest:
        yield b"".join(reversed(rest))


def end_of_text(last: bytes) -> Ending:
    """The end of a file of text, of which some `last` bytes are given, at least as many as a letter has."""
    kept = whole_letters(last)
    mend = b"" if not kept or kept.endswith(b"\n") else b"\n"
    return Ending(len(last) - len(kept), mend, NOW if kept else START)


def whole_letters(text: bytes) -> bytes:
    """`text` without the beginning of a letter at its end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(text)
    return text[: len(text) - len(decoder.getstate()[0])]
