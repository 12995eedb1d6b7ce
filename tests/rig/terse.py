"""A recogniser that hears words only in sounds, and tells which sound it was; and those sounds."""

import array
from collections.abc import Iterator
from typing import Any

from tests.rig.connection import Connection

_STEP = 1600
_ENDS_AFTER = 5  # steps without sound
_LEAST = 1000


def sound(number: int, seconds: float = 0.5) -> bytes:
    """A sound that `Terse` hears as the words "word NUMBER" (up to 99)."""
    return array.array("h", [_LEAST + 100 * number] * round(seconds * 16000)).tobytes()


class Terse:
    """A Responder: a final for each sound, half a second after its end. In silence it says nothing, or, every
    `blank_s` of audio, that there are no words."""

    def __init__(self, blank_s: float | None = None) -> None:
        self.blank_s = blank_s

    def __call__(self, connection: Connection, samples: int) -> Iterator[Any]:
        state = connection.memory
        if not vars(state):
            state.heard = state.told = state.quiet = 0
            state.first = state.end = state.number = None
        while state.heard + _STEP <= samples:
            values = array.array("h", connection.pcm(state.heard, state.heard + _STEP))
            loudest = max(values)
            if loudest >= _LEAST:
                state.first = state.heard if state.first is None else state.first
                state.end, state.number, state.quiet = state.heard + _STEP, (loudest - _LEAST) // 100, 0
            state.heard += _STEP
            state.quiet += 1
            if state.first is not None and state.quiet > _ENDS_AFTER:
                yield from self._final(connection)
            elif self.blank_s and state.first is None and state.heard - state.told >= self.blank_s * 16000:
                yield connection.transcript("", state.told, state.heard, final=False)
                state.told = state.heard
        if connection.finishing and state.first is not None:
            yield from self._final(connection)

    def _final(self, connection: Connection) -> Iterator[Any]:
        state = connection.memory
        middle = (state.first + state.end) // 2
        words = [("word", state.first, middle), (str(state.number), middle, state.end)]
        yield connection.transcript(f"word {state.number}", state.first, state.end, words=words)
        state.told, state.first = state.end, None
