"""Decides what goes into which file: audio, silence for a gap, and where a file begins and ends. Pure.

All positions are samples of each channel on the run's clock. A file has no hole: silence stands for a short gap. A gap
that is longer than a minute, or reaches to the end of the file's time, ends the file. The next file begins behind the
gap, and tells of it.
"""

import enum
from typing import NamedTuple

from mpengine.shared.ranges import Range

LONGEST_SILENCE_S = 60


class Cause(enum.StrEnum):
    """Why audio is missing in a recording."""

    NOT_CAPTURED = "not_captured"  # the engine itself does not have it: its own `gap` has the reason
    NOT_READ = "not_read"  # it was in the window and is no longer: no recorder ran, or its disk was full


class Lack(NamedTuple):
    """Audio that is missing."""

    lost: Range
    cause: Cause


class Begin(NamedTuple):
    """Begin a file with the sample `first`. `before`: what is missing between the file before it and this one.

    `arrival_ns`: when that sample arrived, in time of the monotonic clock.
    """

    first: int
    arrival_ns: int
    before: Lack | None


class Audio(NamedTuple):
    """Write audio."""

    pcm: bytes


class Silence(NamedTuple):
    """Write silence for what is missing."""

    lack: Lack


class End(NamedTuple):
    """End the file."""


Action = Begin | Audio | Silence | End


class Tape:
    """The recording of one run."""

    def __init__(self, *, sample_rate: int, channels: int, most_samples: int, position: int | None) -> None:
        """`most_samples`: of one file. `position`: where earlier recordings of this run end; None if there are none."""
        self._rate = sample_rate
        self._frame_bytes = 2 * channels
        self._most_samples = most_samples
        self.position = position
        self._end: int | None = None  # where the open file ends at the latest; None while none is open

    @property
    def is_open(self) -> bool:
        """Whether a file is open."""
        return self._end is not None

    def take(self, first: int, pcm: bytes, arrival_ns: int, *, follows: bool) -> list[Action]:
        """Take the audio that begins at the sample `first`, and whose last sample arrived at `arrival_ns`.

        `follows`: whether all that capture wrote before it was read.
        """
        end = first + len(pcm) // self._frame_bytes
        actions: list[Action] = []
        if self.position is not None:
            if end <= self.position:  # a file that is read again, or a window that is read again from its beginning
                return []
            before = self._before(first, Cause.NOT_CAPTURED if follows else Cause.NOT_READ, actions)
            pcm = pcm[max(0, self.position - first) * self._frame_bytes :]
            first = max(first, self.position)
        else:
            before = None
        while first < end:
            if self._end is None:
                actions.append(Begin(first, arrival_ns - (end - first) * 1_000_000_000 // self._rate, before))
                self._end, before = first + self._most_samples, None
            part = pcm[: (self._end - first) * self._frame_bytes]
            actions.append(Audio(part))
            pcm = pcm[len(part) :]
            first += len(part) // self._frame_bytes
            if first == self._end:
                actions += self.end()
        self.position = end
        return actions

    def end(self) -> list[Action]:
        """End the file: nothing more is coming for now."""
        if self._end is None:
            return []
        self._end = None
        return [End()]

    def _before(self, first: int, cause: Cause, actions: list[Action]) -> Lack | None:
        """Decide about what is missing before `first`. Returns it if the next file is to tell of it."""
        assert self.position is not None
        if first <= self.position:
            return None
        lack = Lack(Range(self.position, first), cause)
        if self._end is not None and first < self._end and first - self.position <= LONGEST_SILENCE_S * self._rate:
            actions.append(Silence(lack))
            self.position = first
            return None
        actions += self.end()
        self.position = first
        return lack
