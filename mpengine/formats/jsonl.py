"""Messages as lines of JSON, and how to continue a file of them. Pure."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import msgspec

from mpengine.client.position import Hole
from mpengine.formats.base import START, Ending, Format, Place, Position
from mpengine.shared.messages import KEPT, UNREADABLE, Published

# Characters that a terminal may act upon and that JSON need not escape: C1 controls, line ends, direction marks.
_ACTIVE = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class _Mark(msgspec.Struct, frozen=True):
    """The place of a line's message. A hole has a topic and a `last_seq`, a message has a `seq`."""

    type: str = ""
    is_final: bool = False
    run: str = ""
    seq: int = 0
    topic: str = ""
    last_seq: int | None = None


_read_mark = msgspec.json.Decoder(_Mark).decode
_read_object = msgspec.json.Decoder(dict[str, Any]).decode


class JsonLines(Format):
    """Every message as it came; of several engines, with the name of its own as `engine`."""

    is_for_several = True

    def show(self, body: bytes, message: Published | Hole | None, engine: str = "") -> bytes:  # noqa: ARG002
        """See Format."""
        whole = line(body)
        if whole and self._style.engines:
            whole = with_engine(whole, engine)
        return inert(whole) if self._place is Place.TERMINAL else whole

    def go_on(self, pieces: Iterable[bytes]) -> Ending:
        """See Format."""
        return end_of_lines(pieces)


def line(body: bytes) -> bytes:
    """A message as it came, with all its fields; empty for a `body` that is no JSON object."""
    # In JSON a line end can only be white space.
    return b" ".join(body.splitlines()) + b"\n" if is_object(body) else b""


def with_engine(line: bytes, engine: str) -> bytes:
    """`line`, a JSON object, with the field `engine` before all others."""
    rest = line.lstrip()[1:].lstrip()
    comma = b"" if rest.startswith(b"}") else b","
    return b'{"engine":"%s"%s%s' % (engine.encode(), comma, rest)


def inert(line: bytes) -> bytes:
    """The same JSON with all characters escaped on which a terminal may act. They can stand in strings only."""
    return _ACTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", line.decode()).encode()


def is_object(line: bytes) -> bool:
    """Whether `line` is a JSON object."""
    try:
        _read_object(line)
    except UNREADABLE:
        return False
    return True


def end_of_lines(pieces: Iterable[bytes]) -> Ending:
    """The end of a file of JSON lines. Its `pieces` come last one first, and are read only as far as needed."""
    lines = _lines_back(pieces)
    last = next(lines, b"")  # the bytes after the last line end
    is_whole = is_object(last)
    position = _position_in(chain([last] if is_whole else [], lines))
    return Ending(0, b"\n", position) if is_whole else Ending(len(last), b"", position)


def _position_in(lines: Iterable[bytes]) -> Position:
    """`lines` come last one first."""
    run = ""
    later: set[int] = set()
    holes: set[tuple[str, int | None]] = set()
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
            holes.add((mark.topic, mark.last_seq))
        elif mark.seq and (mark.type == "metrics" or (mark.type == "transcript" and mark.is_final)):
            since_seq = mark.seq
            break
        elif mark.type in KEPT:
            later.add(mark.seq)
    return Position((run, since_seq), frozenset(later), frozenset(holes)) if run else START


def _lines_back(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines, last one first. The first of them is what follows the last line end."""
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
