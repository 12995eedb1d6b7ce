"""The interface between a source of audio and capture's work loop. Pure."""

import abc
from typing import NamedTuple

import msgspec


class Block(msgspec.Struct, frozen=True, gc=False):
    """Some samples as the source delivered them."""

    pcm: bytes
    arrival_ns: int
    """When the last sample arrived, on the monotonic clock."""
    lost_before: int = 0
    """How many samples the source knows to have lost just before this block."""
    overflowed: bool = False
    """Whether the source also lost samples there that it could not count."""
    is_exact: bool = False
    """Whether the source has looked often enough to know `arrival_ns`. Otherwise it may be too late."""


class SourceInfo(NamedTuple):
    """An opened source. `device_rate_hz`, `identity` and `samples`: see `control.DeviceOpened`."""

    name: str
    latency_s: float
    device_rate_hz: int = 0
    identity: str = ""
    samples: int = 0


class Source(abc.ABC):
    """A microphone, a file, or the like. It is made of an `AudioConfig` alone; `shared.sources` lists all sources.

    Capture's main thread calls all methods. None of them blocks for long.
    """

    @abc.abstractmethod
    def open(self, first_sample: int) -> SourceInfo:
        """Begin to deliver: at `first_sample` if the source is seekable, otherwise with the audio of this moment.

        Raises DeviceError, ConfigError.
        """

    @abc.abstractmethod
    def read(self, now_ns: int, room: int) -> list[Block]:
        """The blocks that have come or are due, at most `room`.

        Raises DeviceError once when the device is gone. Further calls give what it had delivered before.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Stop delivering and release the device. One more `read` gets what was delivered before."""

    def remember(self, identity: str) -> None:  # noqa: B027  nothing to do for most sources
        """Before the first `open`: `identity` was open last in this run, see `control.DeviceOpened`; empty: nothing."""

    def feeding(self) -> str | None:
        """The source of the sound server that feeds this one now; None if that is not known.

        Raises DeviceError when it is not the one that is wanted. To be asked about once a second.
        """
        return None

    def fileno(self) -> int | None:
        """A descriptor that is readable while blocks wait; None if the source has no such descriptor."""
        return None

    def due_s(self, now_ns: int) -> float | None:  # noqa: ARG002
        """For a source without a descriptor: seconds until `read` is to be called; None if no block will come."""
        return None

    def awaited(self) -> int | None:
        """While the source is lost: a descriptor that is readable when it may be back; None if only trying tells.

        A source with such a descriptor is waited for even where a missing device would end the engine.
        """
        return None

    def is_file(self) -> bool:
        """Whether a source that is live by its kind has turned out to be a file: its samples wait for their reader."""
        return False

    def keep_notes(self, fd: int) -> None:  # noqa: B027  most sources need none
        """For a source that reads a pipe: the file `fd` has what the process before this one noted about the pipe."""

    def has_ended(self) -> bool:
        """Whether the last sample has been read. Only a source that ends is asked."""
        return False
