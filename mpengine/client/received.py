"""What a subscriber is handed: a message as it came, and what it means. Pure."""

from typing import NamedTuple

import msgspec

from mpengine.client.position import Hole
from mpengine.shared.decoding import UNREADABLE
from mpengine.shared.messages import Published

HOLE = "hole"
"""The topic of a loss. No engine publishes it."""

_decoder: msgspec.json.Decoder[Published] = msgspec.json.Decoder(Published)


class Received(NamedTuple):
    """A message of `topic` (without the engine's name) as it came; or a loss, which alone has a `hole`."""

    name: str
    topic: str
    body: bytes
    hole: Hole | None = None

    @property
    def message(self) -> Published | Hole | None:
        """What it means; None for a type that this version does not know, and for what is no message at all."""
        return self.hole or decode(self.body)


def loss(name: str, hole: Hole) -> Received:
    """A loss, which has JSON of its own too."""
    return Received(name, HOLE, msgspec.json.encode(hole), hole)


def decode(body: bytes) -> Published | None:
    """The message in `body`; None for one of a type that this version does not know, and for what is none at all."""
    try:
        return _decoder.decode(body)
    except UNREADABLE:
        return None
