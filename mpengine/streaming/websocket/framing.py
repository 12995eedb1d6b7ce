"""WebSocket frames (RFC 6455, section 5.2): a peer's bytes as events, and messages as bytes.

Nothing is answered here: what a ping or a close frame asks for is left to whoever gets the event. Everything a header
says is judged before the payload is read, so that a hostile length costs nothing. websocket-client makes frames, too,
but in many calls a block, and a processor that was asleep feels every one of them.
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

# Of what comes in.
_CONTINUATION = websocket.ABNF.OPCODE_CONT
_FIRST_CONTROL = websocket.ABNF.OPCODE_CLOSE
_MAX_CONTROL_BYTES = 125
# Of what goes out.
_IS_WHOLE = 0x80  # no fragments
_IS_MASKED = 0x80  # as everything is that a client sends
_MOST_SHORT, _MOST_MIDDLE = 125, 0xFFFF
_head_short = struct.Struct(">BB4s").pack
_head_middle = struct.Struct(">BBH4s").pack
_head_long = struct.Struct(">BBQ4s").pack


class MessageTooBigError(Exception):
    """The peer announced more than is accepted."""


class Incoming(FrameReader):
    """Reads events by means of `receive`: up to so many bytes, none at the end of the stream.

    `next_event` raises what `receive` raises, EOFError at the end of the stream, MessageTooBigError, and
    websocket.WebSocketProtocolException; after any of them nothing more can be read.
    """

    def __init__(self, receive: Callable[[int], bytes], *, max_message_bytes: int) -> None:
        super().__init__(receive)
        self._max_message_bytes = max_message_bytes
        self._fragments: bytearray | None = None  # of the message that is being received
        self.close_received = False

    def next_event(self) -> Event:
        """Wait for the next frame or whole message; what follows a close frame is ignored."""
        while True:
            frame = self.next_frame()
            if not self.close_received and (event := self._take(frame)):
                return event

    def _take(self, frame: websocket.ABNF) -> Event | None:
        payload = cast("bytes", frame.data)  # text only in frames to be sent
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
        # A reconnect for one damaged letter would cost more than the letter; so would a lost close code.
        return Received(message.decode("utf-8", "replace")) if frame.fin else None

    def judge_header(self, header: Header) -> None:
        """Refuse what no server may send."""
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
        """Refuse a message that is too long, together with its fragments before this one."""
        if opcode < _FIRST_CONTROL:
            total = len(self._fragments or b"") + length
            if total > self._max_message_bytes:
                raise MessageTooBigError(f"message of {total} bytes refused: over {self._max_message_bytes}")


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
