"""Up to where a file holds what an engine has said, and how to go on with it. Pure.

Whoever wrote the file may have been killed, or its machine has lost its power: its end may be torn, at any byte.

A final comes only when all finals before it are dealt with, and metrics only when everything before them is. With other
messages that is not so: a gap may stand before a final that was lost on its way and asked for again. So the position is
that of a final or of metrics, and of what may come again behind it, the file says itself whether it holds it.
"""

import codecs
from typing import NamedTuple

from mpengine.client.follow import Since
from mpengine.client.position import Hole
from mpengine.shared.messages import Published


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
