"""What is sent: the frames on the wire, read by two libraries."""

import pytest
import websocket
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.streams import StreamReader

from mpengine.streaming.websocket.framing import frame

BINARY = websocket.ABNF.OPCODE_BINARY
LENGTHS = [0, 1, 3, 4, 5, 125, 126, 127, 640, 0xFFFF, 0x10000, 200_001]


def parsed(data: bytes) -> Frame:
    """As a server reads it, all of it."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    reading = Frame.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as end:
        next(reading)
    assert not reader.buffer
    return end.value.value


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_a_server_reads_what_was_framed(length, kind):
    payload = bytes(number * 7 % 251 for number in range(length))
    read = parsed(frame(BINARY, kind(payload), b"\x01\x80\xff\x00"))
    assert (read.opcode, read.data, read.fin) == (BINARY, payload, True)


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4), st.sampled_from([1, 2, 8, 9, 10]))
def test_a_frame_is_what_websocket_client_would_make(payload, key, opcode):
    theirs = websocket.ABNF.create_frame(payload, opcode)
    theirs.get_mask_key = lambda _length: key
    assert frame(opcode, payload, key) == theirs.format()
