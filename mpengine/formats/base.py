"""The interface of an output format, and the position from which to continue a file. Pure.

The writer of a file may have been killed, or its machine may have lost power: the file may end at any byte.

A final comes only after all finals before it, and metrics only after all messages before them. Other messages have no
such order: a gap may stand before a final that was lost on its way and asked for again. So a file's position is that of
its last final or metrics. Messages after that position may come again: the file itself says which of them it holds.
"""

import abc
import codecs
import enum
from collections.abc import Iterable
from typing import ClassVar, Literal, NamedTuple, Protocol

from mpengine.client.follow import Since
from mpengine.client.position import Hole
from mpengine.shared.messages import TOPICS, Published


class Position(NamedTuple):
    """From where on to listen, and which later messages the file holds already.

    `later`: their `seq`. `holes`: topic and `last_seq` of each hole (None for a hole at the end of a run).
    """

    since: Since = None
    later: frozenset[int] = frozenset()
    holes: frozenset[tuple[str, int | None]] = frozenset()

    def holds(self, message: Published | Hole | None) -> bool:
        """Whether the file holds `message` already."""
        if message is None or not isinstance(self.since, tuple) or message.run != self.since[0]:
            return False
        if isinstance(message, Hole):
            return (message.topic, message.last_seq) in self.holes
        return message.seq in self.later


START, NOW = Position("start"), Position()


class Ending(NamedTuple):
    """How to continue a file: remove its last `torn_bytes`, write `mend`, then listen from `position`."""

    torn_bytes: int
    mend: bytes
    position: Position


class Place(enum.Enum):
    """Where the output goes."""

    FILE = enum.auto()
    PIPE = enum.auto()
    TERMINAL = enum.auto()


class Style(NamedTuple):
    """The options of all formats. `clock`: which time stands before each final. `offset_s` is added to times.

    `engines`: the names of the engines, if there is more than one. Then each line says whose it is.
    """

    with_names: bool = False
    clock: Literal["run", "utc", "both"] | None = None
    offset_s: float = 0.0
    engines: tuple[str, ...] = ()


class Drawn(Protocol):
    """Text on a terminal whose last line is drawn again. Each method returns the text to write."""

    def show(self, message: Published | Hole | None, /, engine: str = "") -> str:
        """The text for `message` of `engine`."""

    def again(self) -> str:
        """The text after the terminal has changed its size."""

    def finish(self) -> str:
        """The text that leaves the terminal to other programs."""


class Format(abc.ABC):
    """Turns messages into bytes, for one output."""

    since: ClassVar[Position] = NOW
    """From where on to listen by default, where the output is no file."""
    interims_in: ClassVar[frozenset[Place]] = frozenset(Place)
    """The places that show interims. In the others `show` gets none."""
    topics: ClassVar[frozenset[str]] = frozenset(name for name, topic in TOPICS.items() if not topic.is_fleeting)
    """The topics that it shows, where nobody says others."""
    is_for_several: ClassVar[bool] = False
    """Whether one output may have the messages of several engines."""
    header = b""
    """The first bytes of an output that is no file."""
    drawn: Drawn | None = None
    """Draws on a terminal in place of `show`."""

    def __init__(self, style: Style, place: Place) -> None:
        self._style = style
        self._place = place

    @abc.abstractmethod
    def show(self, body: bytes, message: Published | Hole | None, engine: str = "") -> bytes:
        """The bytes to write for a message of `engine`, which is `body` in JSON.

        `message` is None for an unknown type.
        """

    @abc.abstractmethod
    def go_on(self, pieces: Iterable[bytes]) -> Ending:
        """How to continue a file. Its `pieces` come last one first, and are read only as far as they are needed."""

    def take_back(self, message: Published | Hole | None) -> int | None:  # noqa: ARG002  most never do
        """How many bytes of the file to keep before `message` is shown; None to keep all of them."""
        return None


def whole_letters(text: bytes) -> bytes:
    """`text`, in UTF-8, without an incomplete letter at its end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(text)
    return text[: len(text) - len(decoder.getstate()[0])]
