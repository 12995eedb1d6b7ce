"""A frame of audio on the PUSH socket: one message of one part, a fixed header and then PCM. Pure.

Integers and samples are little-endian.

PUSH shares its frames out among all who read them. Only streaming ought to read, but a program of the same user can
connect as well: then frames go astray, and the window still has their audio. `FrameSequence` notices that.
"""

import struct

import msgspec

_HEADER = struct.Struct("<8sIIIBxxxQ")
_END, _QUIET = 1, 2

HEADER_BYTES = _HEADER.size


class Frame(msgspec.Struct, frozen=True, gc=False):
    """Some samples of a run.

    `run`: id of the sample clock, 8 bytes. `grant`: number of the grant under which the frame was sent; frames of an
    older grant are stale. `first_sample`: index of the first sample (of each channel). `pcm`: int16, channels
    interleaved; empty only in a mark. `is_last`: this is the end mark, after which nothing follows. `is_quiet`: this is
    the quiet mark: the silence gate has closed, and what follows comes when somebody speaks.

    `attempt`: the sending that the frame belongs to. A grant may be given again, to another process of capture or from
    another sample on; each time has a higher number. `number`: counts the frames of an attempt, from 0 on, so that
    streaming notices when one is missing.
    """

    run: bytes
    grant: int
    first_sample: int
    pcm: bytes | memoryview
    is_last: bool = False
    is_quiet: bool = False
    attempt: int = 0
    number: int = 0


def pack(frame: Frame) -> bytes:
    """`frame` as the bytes of one message."""
    flags = (_END if frame.is_last else 0) | (_QUIET if frame.is_quiet else 0)
    header = _HEADER.pack(frame.run, frame.grant, frame.attempt, frame.number, flags, frame.first_sample)
    return b"".join((header, frame.pcm))


def unpack(data: bytes) -> Frame:
    """The frame in one message. Raises ValueError when `data` is shorter than a header."""
    try:
        run, grant, attempt, number, flags, first_sample = _HEADER.unpack_from(data)
    except struct.error as error:
        raise ValueError(f"{len(data)} bytes are no frame") from error
    pcm = memoryview(data)[HEADER_BYTES:]
    return Frame(run, grant, first_sample, pcm, bool(flags & _END), bool(flags & _QUIET), attempt, number)


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
