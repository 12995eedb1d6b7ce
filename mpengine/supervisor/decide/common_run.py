"""The longest run of words that two lists have in common, in a time that grows with their length alone. Pure.

A recogniser may say one word five hundred times. Comparing each word with each other one would then take the supervisor
a quarter of a second for a message of a kilobyte.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Run(NamedTuple):
    """`size` words that are equal from `first_a` and from `first_b` on."""

    first_a: int
    first_b: int
    size: int


class _State:
    """The ends of runs of `a` that occur at the same places. `end`: the first of these; `longest`: the longest run."""

    __slots__ = ("end", "longest", "next", "shorter")

    def __init__(self, longest: int, end: int, follows: dict[str, "_State"], shorter: "_State | None") -> None:
        self.longest = longest
        self.end = end
        self.next = follows
        self.shorter = shorter


def longest_common_run(a: Sequence[str], b: Sequence[str]) -> Run:
    """The longest run that both have; of several, the first one in `a`, and of these the first one in `b`."""
    state, size, best = _automaton(a), 0, Run(0, 0, 0)
    for at, word in enumerate(b):
        while word not in state.next and state.shorter is not None:
            state = state.shorter
            size = state.longest
        if word in state.next:
            state = state.next[word]
            size += 1
        found = Run(state.end - size, at + 1 - size, size)
        if size > best.size or (size == best.size > 0 and found.first_a < best.first_a):
            best = found
    return best


def _automaton(words: Sequence[str]) -> _State:
    """The suffix automaton of `words` (Blumer and others, 1985): it follows each run that occurs in them."""
    start = last = _State(0, 0, {}, None)
    for at, word in enumerate(words, 1):
        new = _State(last.longest + 1, at, {}, start)
        state: _State | None = last
        while state is not None and word not in state.next:
            state.next[word] = new
            state = state.shorter
        if state is not None:
            new.shorter = _split(state, word)
        last = new
    return start


def _split(state: _State, word: str) -> _State:
    """The state of the run of `state` and `word` alone: runs that are longer occur at fewer places."""
    follower = state.next[word]
    if follower.longest == state.longest + 1:
        return follower
    copy = _State(state.longest + 1, follower.end, dict(follower.next), follower.shorter)
    follower.shorter = copy
    above: _State | None = state
    while above is not None and above.next.get(word) is follower:
        above.next[word] = copy
        above = above.shorter
    return copy
