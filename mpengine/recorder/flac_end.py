"""Where a FLAC file whose writer was killed ends, and how many samples it has up to there. Pure.

A frame begins with a code, its number and a crc of these, and ends with a crc of the whole (RFC 9639, section 9). The
search for the end of the last whole frame goes backwards, and decodes nothing.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

STREAMINFO_BYTES = 42
"""The marker, and the first block with its header."""
LARGEST_FRAME_BYTES = 1 << 19
_SYNC = b"\xff\xf8"  # frames of one size
_MOST_STARTS = 64
_LONGEST_HEADER = 16
_SIZES = {1: 192}
_SIZES |= {code: 576 << (code - 2) for code in range(2, 6)}
_SIZES |= {code: 256 << (code - 8) for code in range(8, 16)}
_TOTAL_BITS = 36


class FlacEnd(NamedTuple):
    """The last whole frame ends at byte `end`; `samples` of each channel stand before that."""

    end: int
    samples: int


def flac_end(streaminfo: bytes, tail: bytes, at: int) -> FlacEnd | None:
    """Where the last whole frame in `tail` ends; None without one. `tail` begins at byte `at` of the file.

    `streaminfo`: the first bytes of the file.
    """
    if len(streaminfo) < STREAMINFO_BYTES or not streaminfo.startswith(b"fLaC"):
        return None
    (block_samples,) = struct.unpack_from(">H", streaminfo, 8)
    if tail.endswith(bytes(3)):  # a page that a power cut has lost; a crc fits over zeros behind a frame, too
        tail = tail.rstrip(b"\0")
    starts = _starts(tail)
    for place in range(len(starts) - 1, -1, -1):
        begin, number, samples = starts[place]
        for limit in (len(tail), *(start for start, _, _ in reversed(starts[place + 1 :]))):
            end = _end_of_frame(tail, begin, limit)
            if end is not None:
                return FlacEnd(at + end, number * block_samples + samples)
    return None


def with_total(streaminfo: bytes, samples: int) -> bytes:
    """`streaminfo` that tells how many `samples` the file has."""
    (packed,) = struct.unpack_from(">Q", streaminfo, 18)
    packed = packed >> _TOTAL_BITS << _TOTAL_BITS | samples
    return streaminfo[:18] + struct.pack(">Q", packed) + streaminfo[26:]


def _starts(tail: bytes) -> Sequence[tuple[int, int, int]]:
    """The last places in `tail` that look like the beginning of a frame, each with the frame's number and samples."""
    found: list[tuple[int, int, int]] = []
    end = len(tail)
    while len(found) < _MOST_STARTS and (place := tail.rfind(_SYNC, 0, end)) >= 0:
        end = place + 1
        header = _header(tail[place : place + _LONGEST_HEADER])
        if header is not None:
            found.append((place, *header))
    return found[::-1]


def _header(data: bytes) -> tuple[int, int] | None:
    """Number and samples of the frame whose header `data` begins with."""
    if len(data) < 6:
        return None
    size, rate = data[2] >> 4, data[2] & 15
    first = data[4]
    more = 0 if first < 0x80 else 7 - (first ^ 0xFF).bit_length()  # bytes behind the first one of the number
    number = first if not more else first & (0x3F >> more)
    length = 5 + more + (size == 6) + 2 * (size == 7) + (rate == 12) + 2 * (rate in {13, 14})
    if size == 0 or data[3] & 1 or not (first < 0x80 or 1 <= more <= 5) or len(data) <= length:
        return None
    for byte in data[5 : 5 + more]:
        if byte >> 6 != 2:
            return None
        number = number << 6 | byte & 0x3F
    if _crc8(data[:length]) != data[length]:
        return None
    extra = data[5 + more :]
    samples = extra[0] + 1 if size == 6 else (extra[0] << 8 | extra[1]) + 1 if size == 7 else _SIZES[size]
    return number, samples


def _end_of_frame(data: bytes, begin: int, limit: int) -> int | None:
    """Where a whole frame ends: at `limit`, or just before, if the header of the next one is torn there."""
    if limit - begin > LARGEST_FRAME_BYTES:
        return None
    least = max(begin, limit - _LONGEST_HEADER)
    crc, end = _crc16(data[begin:least]), None
    for place in range(least, limit):
        crc = _crc16(data[place : place + 1], crc)
        end = end if crc else place + 1
    return end


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc


def _crc16(data: bytes, crc: int = 0) -> int:
    table = _CRC16
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ table[crc >> 8 ^ byte]
    return crc


def _table(polynomial: int, bits: int) -> list[int]:
    table = []
    for byte in range(256):
        crc = byte << (bits - 8)
        for _ in range(8):
            crc = crc << 1 ^ (polynomial if crc >> (bits - 1) & 1 else 0)
        table.append(crc & (1 << bits) - 1)
    return table


_CRC8, _CRC16 = _table(0x07, 8), _table(0x8005, 16)
