"""What the full window drops, a block at a time, told as ranges. Pure."""

from mpengine.capture.window import Range


class Losses:
    """Joins neighbours until `flush`."""

    def __init__(self) -> None:
        self._waiting: Range | None = None

    def dropped(self, lost: Range) -> list[Range]:
        """A block was dropped unsent; the ranges to tell now (a neighbour waits for the next ones)."""
        if self._waiting is not None and self._waiting.end == lost.first:
            self._waiting = Range(self._waiting.first, lost.end)
            return []
        finished = self.flush()
        self._waiting = lost
        return finished

    def flush(self) -> list[Range]:
        """What waits for neighbours, to tell now."""
        waiting, self._waiting = self._waiting, None
        return [] if waiting is None else [waiting]
