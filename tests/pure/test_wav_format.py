"""The header of a WAV stream: every kind of PCM, chunks in the way, and bytes that are no WAV at all."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.capture.wav_format import SAMPLE_BYTES, HeaderParser, HeaderStream, WavError, WavFormat
from tests.rig import wav_files
from tests.rig.wav_files import BITS, chunk, fmt, riff, wav

AUDIO = bytes(range(240))


def parsed(content):
    """What the parser finds in a file that can seek."""
    parser = HeaderParser()
    while True:
        found = parser.take(content[parser.position : parser.position + parser.size])
        if found is not None:
            return found


def streamed(pieces):
    """What a stream of these pieces gives: the format, and the audio that came with it or behind it."""
    stream, audio, found = HeaderStream(), b"", None
    for piece in pieces:
        if found is not None:
            audio += piece
            continue
        result = stream.feed(piece)
        if result is not None:
            found, audio = result
    return found, audio


# What is understood


@pytest.mark.parametrize("is_extensible", [False, True], ids=["plain", "EXTENSIBLE"])
@pytest.mark.parametrize("sample_format", SAMPLE_BYTES)
@pytest.mark.parametrize(("rate_hz", "channels"), [(8000, 1), (44100, 2), (192_000, 6)])
def test_every_sample_format_is_known(sample_format, rate_hz, channels, is_extensible):
    content = wav(AUDIO, rate_hz=rate_hz, channels=channels, sample_format=sample_format, is_extensible=is_extensible)
    found = parsed(content)
    assert found == WavFormat(rate_hz, channels, sample_format, len(content) - len(AUDIO), len(AUDIO))
    assert found.frame_bytes == channels * BITS[sample_format] // 8


@pytest.mark.parametrize(("bits", "sample_format"), [(12, "int16"), (20, "int24")])
def test_bits_that_fill_no_bytes_stand_in_the_next_larger_format(bits, sample_format):
    assert parsed(wav(AUDIO, bits=bits)).sample_format == sample_format


@pytest.mark.parametrize("name", [b"RF64", b"BW64"])
def test_a_file_beyond_four_gigabytes_has_its_length_in_another_chunk(name):
    found = parsed(wav_files.rf64(AUDIO, name=name))
    assert found == WavFormat(16000, 1, "int16", 12 + 8 + 28 + 24 + 8, len(AUDIO))


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
@pytest.mark.parametrize("of_file", [0, 0xFFFFFFFF])
def test_a_recorder_that_was_killed_leaves_the_length_open(size, of_file):
    content = riff(fmt(), chunk(b"data", AUDIO, size), size=of_file)
    assert parsed(content) == WavFormat(16000, 1, "int16", 44, None)


def test_a_length_beyond_the_end_is_told_as_it_stands():
    assert parsed(riff(fmt(), chunk(b"data", AUDIO, 10**9))).data_bytes == 10**9


def test_other_chunks_are_passed_over():
    others = [chunk(b"LIST", b"INFO!"), chunk(b"JUNK", bytes(1000)), chunk(b"fact", bytes(4)), chunk(b"bext", b"")]
    content = riff(*others[:2], fmt(), *others[2:], chunk(b"data", AUDIO), chunk(b"LIST", b"behind"))
    found = parsed(content)
    assert content[found.data_at : found.data_at + found.data_bytes] == AUDIO


def test_a_long_chunk_is_not_read():
    parser = HeaderParser()
    parser.take(riff()[:12])
    parser.take(b"LIST" + struct.pack("<I", 3_000_000_000))
    assert (parser.position, parser.size) == (3_000_000_020, 8)


# What is refused


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"ID", "it is no WAV file; convert it (ffmpeg -i FILE out.wav)"),
        (b"fLaC" + bytes(100), "it is a FLAC file; convert it (ffmpeg -i FILE out.wav)"),
        (b"ID3\x04" + bytes(100), "it is an MP3 file; convert it (ffmpeg -i FILE out.wav)"),
        (b"RIFF\x10\0\0\0AVI LIST", "it is no WAV file; convert it (ffmpeg -i FILE out.wav)"),
        (bytes(100), "it is no WAV file; convert it (ffmpeg -i FILE out.wav)"),
        (b"RIFF", "it ends before its audio"),
        (riff(), "it ends before its audio"),
        (riff(fmt()), "it ends before its audio"),
        (riff(fmt())[:-3], "it ends before its audio"),
        (riff(fmt(), chunk(b"LIST", b"", 0xFFFFFFFF), chunk(b"data", AUDIO)), "it ends before its audio"),
        (riff(chunk(b"data", AUDIO), fmt()), "its audio comes before its format"),
        (riff(chunk(b"fmt ", bytes(14))), "its fmt chunk is too short"),
        (riff(*[chunk(b"JUNK", b"")] * 1001, fmt()), "no audio comes within 1000 chunks"),
        (wav(AUDIO, tag=7, bits=8), "its samples are µ-law (format 7), not PCM; convert it (ffmpeg -i FILE out.wav)"),
        (wav(AUDIO, tag=999), "its samples are of a kind (format 999), not PCM; convert it (ffmpeg -i FILE out.wav)"),
        (
            wav(AUDIO, tag=0xFFFE),
            "its samples are of a kind (format 65534), not PCM; convert it (ffmpeg -i FILE out.wav)",
        ),
        (wav(AUDIO, tag=3), "its samples have 16 bits"),
        (wav(AUDIO, bits=64), "its samples have 64 bits"),
        (wav(AUDIO, bits=0), "its samples have 0 bits"),
        (wav(AUDIO, channels=0), "it has 0 channels"),
        (wav(AUDIO, channels=129), "it has 129 channels"),
        (wav(AUDIO, rate_hz=0), "its rate is 0 Hz"),
        (wav(AUDIO, frame_bytes=4), "1 channel(s) of 16 bits do not make frames of 4 bytes"),
    ],
)
def test_what_cannot_be_read_says_why(content, why):
    with pytest.raises(WavError) as caught:
        parsed(content)
    assert str(caught.value) == why


@given(st.binary(max_size=300))
def test_no_bytes_do_harm(content):
    for prefix in (b"", riff(), riff(fmt()), riff(fmt()[:8])):
        try:
            found = parsed(prefix + content)
        except WavError:
            continue
        assert found.frame_bytes > 0


# A pipe


@given(st.data())
def test_a_pipe_may_be_cut_anywhere(data):
    content = riff(chunk(b"LIST", bytes(33)), fmt(is_extensible=True), chunk(b"JUNK", bytes(70)), chunk(b"data", AUDIO))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)))))
    pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    found, audio = streamed(pieces)
    assert found == parsed(content)
    assert audio == AUDIO


def test_what_a_pipe_skips_is_not_kept():
    stream = HeaderStream()
    content = riff(fmt(), chunk(b"JUNK", b"", 2_000_000))
    assert stream.feed(content) is None
    for _ in range(20):
        assert stream.feed(bytes(100_000)) is None
        assert stream.waiting_bytes <= 8
    found, audio = stream.feed(chunk(b"data", AUDIO))
    assert (found.data_at, audio) == (len(content) + 2_000_008, AUDIO)


def test_a_pipe_does_not_wait_for_ever():
    with pytest.raises(WavError, match="does not come soon enough for a pipe"):
        HeaderStream().feed(riff(fmt(), chunk(b"LIST", b"", 0xFFFFFFF0)))


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "it is empty"), (b"RI", "it ends before its audio"), (riff(fmt()), "before its audio")]
)
def test_a_pipe_that_ends_too_soon_says_so(content, why):
    stream = HeaderStream()
    assert stream.feed(content) is None
    assert why in str(stream.finish())


def test_a_pipe_of_something_else_is_refused():
    with pytest.raises(WavError, match="it is a FLAC file"):
        HeaderStream().feed(b"fLaC" + bytes(100))
