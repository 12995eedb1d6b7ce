"""Subtitle cues made of finals: of readable length, in order, never two at a time. Pure.

A cue is on the screen while it is spoken; a short one stays a little longer. A cue never changes, because it may be in
a file already. So a cue that would begin before the end of the last one begins later.

Times are on the clock of the run. Its second 0 is second 0 of a recording that was made from the start of the run. A
run that follows another begins at the end of the last cue.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mpengine.formats.tokens import Token, joined, shares, turns_of
from mpengine.shared.messages import Transcript
from mpengine.shared.text import beginning, width

LINE_COLUMNS = 42
SHORTEST_MS, LONGEST_MS = 1000, 7000
# The shortest time for a cue that comes late, or is followed at once.
LEAST_MS = 300
_SILENCE_MS = 700
_SENTENCE_ENDS = tuple(".?!…。？！")  # noqa: RUF001
_PHRASE_ENDS = (*_SENTENCE_ENDS, *",;:、，；：–—")  # noqa: RUF001
_CLOSING = "\"'”’»)]」』）"  # noqa: RUF001


class Cue(NamedTuple):
    """One or two lines of text, and the time for which they are shown."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


class Cues:
    """Makes cues, final by final, each after all those before it."""

    def __init__(self, *, offset_ms: int = 0, with_names: bool = False) -> None:
        """`offset_ms` is added to the times of the first run; a turn that ends before 0 gets no cue."""
        self._with_names = with_names
        self._name = ""
        self._run: str | None = None
        self.zero_ms = offset_ms  # where the run's second 0 is
        self.last_ms = 0  # where the last cue ends

    def go_on(self, run: str | None, zero_ms: int, last_ms: int) -> None:
        """Continue after cues that end at `last_ms`. `run` is None where nobody knows whose cues these are."""
        self._run, self.zero_ms, self.last_ms = run, zero_ms, last_ms

    def meet(self, run: str, start_s: float) -> bool:
        """Take note of a message of `run` that begins at `start_s`. True if the run is another one than before."""
        if run == self._run:
            return False
        # A message that begins before the end of cues of an unknown run cannot be of that run.
        is_earlier = self.last_ms > 0 and self.last_ms > self.zero_ms + round(start_s * 1000)
        if self._run is not None or is_earlier:
            self.zero_ms = self.last_ms
        self._run = run
        return True

    def of(self, final: Transcript) -> list[Cue]:
        """The cues of `final`; none for a blank one."""
        parts: list[list[Token]] = []
        for turn in turns_of(final):
            tokens = [_moved(token, self.zero_ms) for token in turn.tokens]
            if tokens[-1].end_ms <= 0 and self.zero_ms < 0:
                continue
            if self._with_names and turn.name and turn.name != self._name:
                self._name = turn.name
                tokens[0] = tokens[0]._replace(text=f"{turn.name}: {tokens[0].text}")
            parts += _split([piece for token in tokens for piece in _pieces(token)])
        followings: list[int | None] = [part[0].start_ms for part in parts]
        return [self._place(part, next_ms) for part, next_ms in zip(parts, [*followings[1:], None], strict=False)]

    def _place(self, part: Sequence[Token], next_ms: int | None) -> Cue:
        begin_ms = part[0].start_ms
        start_ms = max(begin_ms, self.last_ms)
        end_ms = max(begin_ms + SHORTEST_MS, *(token.end_ms for token in part))
        if next_ms is not None:
            end_ms = min(end_ms, next_ms)
        self.last_ms = min(max(end_ms, start_ms + LEAST_MS), start_ms + LONGEST_MS)
        return Cue(start_ms, self.last_ms, _lines(part))


def _moved(token: Token, by_ms: int) -> Token:
    return token._replace(start_ms=max(0, token.start_ms + by_ms), end_ms=max(0, token.end_ms + by_ms))


def _pieces(token: Token) -> list[Token]:
    """`token` in pieces of which each fits on a line."""
    if width(token.text) <= LINE_COLUMNS:
        return [token]
    texts, rest = [], token.text
    while rest:
        # A text of nothing but combining marks has no `beginning`. No mark is wider than two columns.
        texts.append(beginning(rest, LINE_COLUMNS + 1) or rest[: LINE_COLUMNS // 2])
        rest = rest[len(texts[-1]) :]
    places = shares(token.start_ms, token.end_ms, [len(text) for text in texts])
    first, *others = (
        token._replace(text=text, start_ms=start_ms, end_ms=end_ms)
        for text, (start_ms, end_ms) in zip(texts, places, strict=True)
    )
    return [first, *(other._replace(is_glued=True) for other in others)]


def _split(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """The tokens of each cue."""
    cue: list[Token] = []
    for token in tokens:
        if cue and _is_over(cue, token):
            yield cue
            cue = []
        while cue and not (_fits([*cue, token]) and token.end_ms - cue[0].start_ms <= LONGEST_MS):
            end = _best_end(cue)
            yield cue[:end]
            cue = cue[end:]
        cue.append(token)
    if cue:
        yield cue


def _is_over(cue: Sequence[Token], following: Token) -> bool:
    last = cue[-1]
    if following.start_ms - last.end_ms > _SILENCE_MS:
        return True
    return _ends_with(last, _SENTENCE_ENDS) and last.end_ms - cue[0].start_ms >= SHORTEST_MS


def _best_end(cue: Sequence[Token]) -> int:
    """Where to end a full cue: after the last comma or the like in its second half, otherwise after its last token."""
    for end in range(len(cue), len(cue) // 2, -1):
        if _ends_with(cue[end - 1], _PHRASE_ENDS):
            return end
    return len(cue)


def _ends_with(token: Token, marks: tuple[str, ...]) -> bool:
    return token.text.rstrip(_CLOSING).endswith(marks)


def _fits(tokens: Sequence[Token]) -> bool:
    """Whether `tokens` fit on two lines."""
    lines, columns = 1, 0
    for token in tokens:
        wide = width(token.text)
        space = 0 if token.is_glued or not columns else 1
        if columns and columns + space + wide > LINE_COLUMNS:
            lines, columns = lines + 1, wide
        else:
            columns += space + wide
    return lines <= 2


def _lines(tokens: Sequence[Token]) -> tuple[str, ...]:
    """`tokens` as one line, or as two of about the same width."""
    whole = joined(tokens)
    if width(whole) <= LINE_COLUMNS:
        return (whole,)
    pairs = [(joined(tokens[:middle]), joined(tokens[middle:])) for middle in range(1, len(tokens))]
    return min(pairs, key=lambda pair: max(width(pair[0]), width(pair[1])))
