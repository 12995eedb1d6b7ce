"""The frame on the PUSH socket: golden bytes, round trip, and what is no frame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.shared.frames import HEADER_BYTES, Frame, pack, unpack

RUN = b"\x01\x02\x03\x04\x05\x06\x07\x08"


def test_a_frame_is_its_golden_bytes():
    packed = pack(Frame(RUN, 7, 16000, b"\xaa\xbb", attempt=3, number=258))
    numbers = "07000000" + "03000000" + "02010000"
    assert packed.hex() == "0102030405060708" + numbers + "00" + "000000" + "803e000000000000" + "aabb"


def test_the_end_mark_is_a_header_with_a_flag():
    assert (
        pack(Frame(RUN, 7, 16000, b"", is_last=True)).hex()
        == "0102030405060708" + "07000000" + 16 * "0" + "01" + "000000" + "803e000000000000"
    )


def test_the_quiet_mark_is_a_header_with_another_flag():
    mark = Frame(RUN, 7, 16000, b"", is_quiet=True)
    assert pack(mark)[20:24].hex() == "02000000"
    assert unpack(pack(mark)) == mark


def test_the_header_is_32_bytes_for_a_run_of_8():
    assert (HEADER_BYTES, 8) == (32, 8)


@given(
    st.binary(min_size=8, max_size=8),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=100),
    st.booleans(),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)
def test_what_is_packed_is_unpacked(run, grant, first_sample, pcm, is_last, attempt, number):
    frame = Frame(run, grant, first_sample, pcm, is_last, attempt=attempt, number=number)
    assert unpack(pack(frame)) == frame


def test_a_memoryview_is_packed_as_its_bytes():
    assert pack(Frame(RUN, 1, 0, memoryview(b"abcd")[2:]))[HEADER_BYTES:] == b"cd"


def test_an_unpacked_frame_copies_no_audio():
    data = pack(Frame(RUN, 1, 0, b"abcd"))
    assert unpack(data).pcm.obj is data


@pytest.mark.parametrize("length", [0, 1, HEADER_BYTES - 1])
def test_less_than_a_header_is_no_frame(length):
    with pytest.raises(ValueError, match=f"{length} bytes are no frame"):
        unpack(bytes(length))
