"""What a format is; up to where a file holds what an engine has said, and how to go on with it. Pure.

Whoever wrote the file may have been killed, or its machine has lost its power: its end may be torn, at any byte.

A final comes only when all finals before it are dealt with, and metrics only when everything before them is. With other
messages that is not so: a gap may stand before a final that was lost on its way and asked for again. So the position is
that of a final or of metrics, and of what may come again behind it, the file says itself whether it holds it.
"""

import abc
import codecs
import enum
from collections.abc import Iterable
from typing import ClassVar, Literal, NamedTuple, Protocol

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


class Place(enum.Enum):
    """Where the output goes."""

    FILE = enum.auto()
    PIPE = enum.auto()
    TERMINAL = enum.auto()


class Look(NamedTuple):
    """What users may wish of any format. `clock`: the time before each final. `offset_s` is added to times."""

    with_names: bool = False
    clock: Literal["run", "utc", "both"] | None = None
    offset_s: float = 0.0


class Drawn(Protocol):
    """Text on a terminal, of which some is drawn again: what to write."""

    def show(self, message: Published | Hole | None, /) -> str:
        """For `message`."""

    def again(self) -> str:
        """When the terminal has another size."""

    def finish(self) -> str:
        """In order to leave the terminal to others."""


class Format(abc.ABC):
    """Turns messages into bytes, for one output."""

    since: ClassVar[Position] = NOW
    """From where on to listen, if nobody says so and the output is no file."""
    interims_in: ClassVar[frozenset[Place]] = frozenset(Place)
    """Where interims are shown, too. Elsewhere `show` gets none."""
    header = b""
    """What an output begins with that is no file."""
    drawn: Drawn | None = None
    """What draws on a terminal in place of `show`."""

    def __init__(self, look: Look, place: Place) -> None:
        self._look = look
        self._place = place

    @abc.abstractmethod
    def show(self, body: bytes, message: Published | Hole | None) -> bytes:
        """What to write for a message, which is `body` in JSON; None if it is of a type that we do not know."""

    @abc.abstractmethod
    def go_on(self, pieces: Iterable[bytes]) -> Ending:
        """How to go on with a file. Its `pieces` come from its end on; no more need be taken than it takes."""

    def take_back(self, message: Published | Hole | None) -> int | None:  # noqa: ARG002  most never do
        """How many bytes of the file to keep before `message` is shown; None if that is all of them."""
        return None


def whole_letters(text: bytes) -> bytes:
    """`text` without the beginning of a letter at its end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(text)
    return text[: len(text) - len(decoder.getstate()[0])]
