"""WebSocket frames (RFC 6455, section 5.2): makes events of a peer's bytes, and bytes of messages.

The owner of the connection answers pings and close frames, not this module. Every header is judged before its payload
is read, so that a hostile length costs nothing. `frame` replaces websocket-client's function, which needs many calls
for a block: a processor that was asleep is slow at each of them.
"""

import struct
from collections.abc import Callable
from typing import cast

import websocket

from mpengine.streaming.websocket.events import (
    NO_CLOSE_CODE,
    CloseReceived,
    Event,
    PingReceived,
    PongReceived,
    Received,
)
from mpengine.streaming.websocket.library import FrameReader, Header

# Incoming frames.
_CONTINUATION = websocket.ABNF.OPCODE_CONT
_FIRST_CONTROL = websocket.ABNF.OPCODE_CLOSE
_MAX_CONTROL_BYTES = 125
# Outgoing frames.
_IS_WHOLE = 0x80  # no fragments
_IS_MASKED = 0x80  # a client masks every frame
_MOST_SHORT, _MOST_MIDDLE = 125, 0xFFFF
_head_short = struct.Struct(">BB4s").pack
_head_middle = struct.Struct(">BBH4s").pack
_head_long = struct.Struct(">BBQ4s").pack


class MessageTooBigError(Exception):
    """The peer announced a message that is too long."""


class Incoming(FrameReader):
    """Reads events. `receive` gets up to so many bytes, none at the end of the stream."""

    def __init__(self, receive: Callable[[int], bytes], *, max_message_bytes: int) -> None:
        super().__init__(receive)
        self._max_message_bytes = max_message_bytes
        self._fragments: bytearray | None = None  # of a message that is not complete
        self.close_received = False

    def next_event(self) -> Event:
        """Wait for the next control frame or whole message, and ignore all frames after a close frame.

        Raises the exceptions of `receive`, EOFError at the end of the stream, MessageTooBigError, and
        websocket.WebSocketProtocolException. After an exception nothing more can be read.
        """
        while True:
            frame = self.next_frame()
            if not self.close_received and (event := self._take(frame)):
                return event

    def _take(self, frame: websocket.ABNF) -> Event | None:
        payload = cast("bytes", frame.data)  # only frames to be sent have text
        match frame.opcode:
            case websocket.ABNF.OPCODE_PING:
                return PingReceived(payload)
            case websocket.ABNF.OPCODE_PONG:
                return PongReceived(payload)
            case websocket.ABNF.OPCODE_CLOSE:
                self.close_received = True
                code = struct.unpack("!H", payload[:2])[0] if payload else NO_CLOSE_CODE
                return CloseReceived(code, payload[2:].decode("utf-8", "replace"))
        message = bytearray() if self._fragments is None else self._fragments
        message += payload
        self._fragments = None if frame.fin else message
        # One damaged letter is not worth a new connection.
        return Received(message.decode("utf-8", "replace")) if frame.fin else None

    def judge_header(self, header: Header) -> None:
        """Raise WebSocketProtocolException for a frame that no server may send."""
        if header.rsv1 or header.rsv2 or header.rsv3 or header.opcode not in websocket.ABNF.OPCODES:
            raise websocket.WebSocketProtocolException("a frame of an unknown kind")
        if header.is_masked:
            raise websocket.WebSocketProtocolException("a masked frame from a server")
        if header.opcode >= _FIRST_CONTROL:
            if header.length > _MAX_CONTROL_BYTES or not header.final:
                raise websocket.WebSocketProtocolException("a control frame that is long or in fragments")
        elif (header.opcode == _CONTINUATION) == (self._fragments is None):
            raise websocket.WebSocketProtocolException("fragments out of order")

    def judge_length(self, opcode: int, length: int) -> None:
        """Raise MessageTooBigError when the message, with its earlier fragments, is too long."""
        if opcode < _FIRST_CONTROL:
            total = len(self._fragments or b"") + length
            if total > self._max_message_bytes:
                raise MessageTooBigError(f"message of {total} bytes refused: over {self._max_message_bytes}")


def frame(opcode: int, payload: bytes | memoryview, key: bytes) -> bytes:
    """`payload` in one frame, masked with `key`: 4 random bytes, new ones for each frame."""
    length = len(payload)
    first = _IS_WHOLE | opcode
    if length <= _MOST_SHORT:
        head = _head_short(first, _IS_MASKED | length, key)
    elif length <= _MOST_MIDDLE:
        head = _head_middle(first, _IS_MASKED | 126, length, key)
    else:
        head = _head_long(first, _IS_MASKED | 127, length, key)
    mask = (key * (length // 4 + 1))[:length]
    # The exclusive or of two large numbers is the fastest way without numpy.
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")
    return head + masked.to_bytes(length, "little")
