"""Which samples the window lost, each told once. Pure.

The full window drops a block at a time; neighbours are told as one range. When a connection is lost, sent audio turns
out to be needed again: what of it the window no longer has is lost too, less what was told already.
"""

from mpengine.capture.window import Range


class Losses:
    """Collects dropped ranges and hands out what is to be told."""

    def __init__(self) -> None:
        self._waiting: Range | None = None
        self._told: list[Range] = []
        self.samples = 0

    def never_captured(self, lost: Range) -> None:
        """`lost` was told by whoever noticed it: it is in no window, and need not be told again."""
        self._remember(lost)

    def dropped(self, lost: Range) -> list[Range]:
        """A block was dropped unsent; the ranges to tell now (a neighbour waits for the next ones)."""
        if self._waiting is not None and self._waiting.end == lost.first:
            self._waiting = Range(self._waiting.first, lost.end)
            return []
        finished = self.flush()
        self._waiting = lost
        return finished

    def missed(self, wanted: Range) -> list[Range]:
        """All of `wanted` is gone; the parts of it that were not told yet."""
        finished = self.flush()
        rest = [wanted]
        for told in self._told:
            rest = [piece for part in rest for piece in _without(part, told)]
        for part in rest:
            self._tell(part)
        return finished + rest

    def flush(self) -> list[Range]:
        """What waits for neighbours, to tell now."""
        if self._waiting is None:
            return []
        waiting, self._waiting = self._waiting, None
        self._tell(waiting)
        return [waiting]

    def acknowledged(self, sample: int) -> None:
        """Nothing before `sample` will be asked for again."""
        self._told = [told for told in self._told if told.end > sample]

    def _tell(self, lost: Range) -> None:
        self.samples += lost.end - lost.first
        self._remember(lost)

    def _remember(self, lost: Range) -> None:
        if self._told and self._told[-1].end == lost.first:
            lost = Range(self._told.pop().first, lost.end)
        self._told.append(lost)


def _without(part: Range, told: Range) -> list[Range]:
    if told.end <= part.first or part.end <= told.first:
        return [part]
    pieces = (Range(part.first, told.first), Range(told.end, part.end))
    return [piece for piece in pieces if piece.first < piece.end]
