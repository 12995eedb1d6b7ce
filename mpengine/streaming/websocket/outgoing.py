"""A message as the bytes of one WebSocket frame (RFC 6455, section 5.2). Pure.

websocket-client frames, too, but in many calls a block, and a processor that was asleep feels every one of them.
"""

import struct

_IS_WHOLE = 0x80  # no fragments
_IS_MASKED = 0x80  # as everything is that a client sends
_MOST_SHORT, _MOST_MIDDLE = 125, 0xFFFF
_head_short = struct.Struct(">BB4s").pack
_head_middle = struct.Struct(">BBH4s").pack
_head_long = struct.Struct(">BBQ4s").pack


def frame(opcode: int, payload: bytes | memoryview, key: bytes) -> bytes:
    """`payload` in one frame, masked with `key`: 4 bytes that nobody can guess, other ones for each frame."""
    length = len(payload)
    first = _IS_WHOLE | opcode
    if length <= _MOST_SHORT:
        head = _head_short(first, _IS_MASKED | length, key)
    elif length <= _MOST_MIDDLE:
        head = _head_middle(first, _IS_MASKED | 126, length, key)
    else:
        head = _head_long(first, _IS_MASKED | 127, length, key)
    mask = (key * (length // 4 + 1))[:length]
    # As one large number each: the fastest that Python has without numpy.
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")
    return head + masked.to_bytes(length, "little")
