"""A frame of audio on the PUSH socket: one message of one part, a fixed header and then PCM. Pure.

Integers and samples are little-endian.
"""

import struct

import msgspec

_HEADER = struct.Struct("<8sIBxxxQ")
_END = 1

HEADER_BYTES = _HEADER.size


class Frame(msgspec.Struct, frozen=True, gc=False):
    """Some samples of a run.

    `run`: id of the sample clock, 8 bytes. `grant`: number of the grant under which the frame was sent; frames of an
    older grant are stale. `first_sample`: index of the first sample (of each channel). `pcm`: int16, channels
    interleaved; empty only in the end mark. `is_last`: this is the end mark, after which nothing follows.
    """

    run: bytes
    grant: int
    first_sample: int
    pcm: bytes | memoryview
    is_last: bool = False


def pack(frame: Frame) -> bytes:
    """`frame` as the bytes of one message."""
    flags = _END if frame.is_last else 0
    return b"".join((_HEADER.pack(frame.run, frame.grant, flags, frame.first_sample), frame.pcm))


def unpack(data: bytes) -> Frame:
    """The frame in one message. Raises ValueError when `data` is shorter than a header."""
    try:
        run, grant, flags, first_sample = _HEADER.unpack_from(data)
    except struct.error as error:
        raise ValueError(f"{len(data)} bytes are no frame") from error
    return Frame(run, grant, first_sample, memoryview(data)[HEADER_BYTES:], bool(flags & _END))
