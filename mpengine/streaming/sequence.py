"""Whether the frames that arrive from capture are all that it has sent. Pure.

PUSH shares its frames out among all who read them. Only streaming ought to read, but a program of the same user can
connect as well: then frames go astray, and the window still has their audio.
"""

from mpengine.shared.frames import Frame


class FrameSequence:
    """The frames of one connection after the other: which of them streaming may take, and whether some are missing."""

    def __init__(self) -> None:
        self.attempt = 0
        """The attempt of the last frame that was not stale."""
        self.is_broken = False
        """Whether a frame of this attempt is missing. No further frame of it is taken."""
        self._next_number = 0

    def takes(self, frame: Frame) -> bool:
        """Whether to take `frame`: it follows the last one, or begins an attempt that is not older."""
        if frame.attempt != self.attempt:
            if frame.attempt < self.attempt:
                return False
            self.attempt, self.is_broken, self._next_number = frame.attempt, False, 0
        if self.is_broken or frame.number != self._next_number:
            self.is_broken = True
            return False
        self._next_number += 1
        return True
