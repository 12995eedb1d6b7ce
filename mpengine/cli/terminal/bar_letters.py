"""The letters of bars: of how far something is, how full, how loud. Pure."""

from typing import NamedTuple


class Letters(NamedTuple):
    """What is full of a bar, what is empty, and a mark."""

    full: str
    empty: str
    mark: str


BLOCKS = Letters("\N{FULL BLOCK}", "\N{MIDDLE DOT}", "\N{BOX DRAWINGS LIGHT VERTICAL}")
ASCII = Letters("#", ".", "|")
"""For an encoding without blocks."""
