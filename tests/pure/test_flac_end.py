"""FLAC files whose writer was killed at any byte: where the last whole frame ends, and how many samples there are."""

import random

import pytest

from mpengine.recorder.flac_end import STREAMINFO_BYTES, FlacEnd, flac_end, with_total

soundfile = pytest.importorskip("soundfile", reason="the extra `record` is not installed")

from mpengine.recorder.flac import Flac  # noqa: E402  behind the check above

FRAME = 4096


def written(pcm, *, channels=1, closes=False):
    encoder = Flac(16000, channels)
    encoder.write(pcm)
    if closes:
        encoder.close()
    content = bytearray()
    for place, data in encoder.take():
        content[place : place + len(data)] = data
    if not closes:
        encoder.close()
    return bytes(content)


def speech(samples, channels=1, seed=1):
    """Neither noise nor silence: frames of all sizes."""
    chance = random.Random(seed)
    level, out = 0, bytearray()
    for _ in range(samples * channels):
        level = max(-32768, min(32767, level + chance.randrange(-300, 301)))
        out += level.to_bytes(2, "little", signed=True)
    return bytes(out)


def end_of(content, at=0):
    return flac_end(content[:STREAMINFO_BYTES], content[at:], at)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_whole_file_ends_at_its_end(channels):
    content = written(speech(3 * FRAME + 1, channels), channels=channels)
    assert end_of(content) == FlacEnd(len(content), 3 * FRAME)


def test_the_last_frame_of_a_closed_file_is_shorter():
    for samples in (1, 191, 192, 255, 256, 257, 5000, 2 * FRAME):
        content = written(speech(samples), closes=True)
        assert end_of(content) == FlacEnd(len(content), samples)


def test_a_torn_frame_does_not_count_wherever_it_is_torn():
    content = written(speech(3 * FRAME + 1))
    third = len(written(speech(2 * FRAME + 1)))
    for size in [*range(third + 1, third + 40), *range(third + 40, len(content), 97), len(content) - 1]:
        assert end_of(content[:size]) == FlacEnd(third, 2 * FRAME), size


def test_a_lost_page_behind_the_last_frame_does_not_count():
    content = written(speech(2 * FRAME + 1))
    assert end_of(content + bytes(4096)) == FlacEnd(len(content), 2 * FRAME)


def test_what_is_no_frame_takes_the_one_before_with_it():
    first = len(written(speech(FRAME + 1)))
    assert end_of(written(speech(2 * FRAME + 1)) + b"\xff\xf8" * 2000) == FlacEnd(first, FRAME)


def test_silence_makes_frames_of_a_few_bytes():
    content = written(bytes(2 * 200 * FRAME + 2))
    assert len(content) < 6000
    assert end_of(content) == FlacEnd(len(content), 200 * FRAME)
    assert end_of(content[:-1]).samples == 199 * FRAME


def test_the_end_of_the_file_suffices():
    content = written(speech(6 * FRAME + 1))
    at = len(content) - 12_000
    assert end_of(content, at) == FlacEnd(len(content), 6 * FRAME)


@pytest.mark.parametrize("tail", [b"", b"\xff\xf8", bytes(100), b"\xff\xf8" * 50, random.Random(2).randbytes(100_000)])
def test_where_no_frame_is_there_is_none(tail):
    content = written(speech(FRAME + 1))
    assert flac_end(content[:STREAMINFO_BYTES], tail, 1000) is None


def test_what_is_no_flac_has_no_end():
    assert flac_end(b"RIFF" + bytes(100), bytes(100), 0) is None
    assert flac_end(b"", b"", 0) is None


def test_the_total_is_told_where_soundfile_tells_it(tmp_path):
    content = written(speech(2 * FRAME + 1))
    mended = with_total(content[:STREAMINFO_BYTES], 2 * FRAME) + content[STREAMINFO_BYTES:]
    (tmp_path / "mended.flac").write_bytes(mended)
    info = soundfile.info(tmp_path / "mended.flac")
    assert (info.frames, info.samplerate, info.channels) == (2 * FRAME, 16000, 1)
    closed = written(speech(5000), closes=True)
    assert with_total(closed[:STREAMINFO_BYTES], 5000) == closed[:STREAMINFO_BYTES]
