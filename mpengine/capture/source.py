"""What a source of audio is to capture's work loop. Pure."""

import abc
from typing import NamedTuple

import msgspec


class Block(msgspec.Struct, frozen=True, gc=False):
    """Some samples as the source gave them.

    `arrival_ns`: monotonic clock when the last of them arrived. `is_timed`: that is what the device says, to a few
    milliseconds; else it is when we got it, which may be late. `lost_before`: samples the source knows to have lost
    just before it. `overflowed`: it lost some there, and does not know how many.
    """

    pcm: bytes
    arrival_ns: int
    lost_before: int = 0
    overflowed: bool = False
    is_timed: bool = False


class SourceInfo(NamedTuple):
    """What was opened."""

    name: str
    latency_s: float


class Source(abc.ABC):
    """A microphone, a file, or the like. All methods belong to capture's main thread and never block for long.

    `shared.sources` says of which kind each is. Sources are made of an `AudioConfig` alone.
    """

    @abc.abstractmethod
    def open(self, first_sample: int) -> SourceInfo:
        """Begin to deliver: one that is seekable at `first_sample`, any other now. Raises DeviceError, ConfigError."""

    @abc.abstractmethod
    def read(self, now_ns: int, room: int) -> list[Block]:
        """The blocks that are due, at most `room`. Raises DeviceError when the device is gone."""

    @abc.abstractmethod
    def close(self) -> None:
        """Stop delivering and let go of the device. What was delivered can still be read once."""

    def fileno(self) -> int | None:
        """A descriptor that is readable when blocks wait, if the source has one."""
        return None

    def due_s(self, now_ns: int) -> float | None:  # noqa: ARG002
        """In how many seconds `read` has something, where no descriptor tells; None when it has not."""
        return None

    def has_ended(self) -> bool:
        """Whether nothing follows; asked of a source that ends."""
        return False
