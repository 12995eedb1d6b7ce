"""The bytes of a pipe as blocks: cut anywhere, with a header or without, read again by another process."""

import io
import os
import random
import struct
import wave

import pytest

from mpengine.capture.byte_stream import ByteStream
from mpengine.capture.notes import Notes
from mpengine.capture.pipe import Pipe
from mpengine.capture.wav_format import WavError
from mpengine.shared.config_tables import AudioConfig
from tests.rig.configs import noise

S = 1_000_000_000
BLOCK = 640
PLENTY = 1 << 30


class Ends:
    """Both ends of a pipe."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        Pipe(self.reader)  # makes it wide

    def write(self, data):
        assert os.write(self.writer, data) == len(data)

    def hang_up(self):
        os.close(self.writer)
        self.writer = -1


@pytest.fixture
def ends():
    both = Ends()
    yield both
    for fd in (both.reader, both.writer):
        if fd >= 0:
            os.close(fd)


@pytest.fixture
def notes(tmp_path):
    fd = os.open(tmp_path / "notes", os.O_RDWR | os.O_CREAT)
    yield Notes(fd)
    os.close(fd)


def stream_of(ends, notes=None, next_sample=0, **audio):
    table = AudioConfig(source="-", **audio)
    return ByteStream(Pipe(ends.reader), table, name="it", notes=notes or Notes(), next_sample=next_sample)


def wav(pcm, *, rate=16000, channels=1, width=2, size=None, behind=b""):
    """A WAV stream, with other chunks before and behind its audio."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, width, rate, 0, "NONE", ""))
        writer.writeframes(pcm)
    data = file.getvalue()
    at = data.index(b"data")
    size = len(pcm) if size is None else size
    return data[:at] + b"LIST" + struct.pack("<I", 4) + b"INFO" + b"data" + struct.pack("<I", size) + pcm + behind


def heard(blocks):
    return b"".join(block.pcm for block in blocks)


def read_at_leisure(stream, seconds=20):
    """All that comes in a pretended time, read every 20 ms."""
    return [block for at in range(seconds * 50) for block in stream.read(at * S // 50, PLENTY)]


def test_raw_samples_come_as_they_are_in_whole_blocks(ends):
    stream = stream_of(ends)
    pcm = noise(1)
    ends.write(pcm[:1001])
    assert heard(stream.read(0, PLENTY)) == pcm[:BLOCK]
    ends.write(pcm[1001:])
    ends.hang_up()
    blocks = stream.read(S, PLENTY)
    assert heard(blocks) == pcm[BLOCK:]
    assert {len(block.pcm) for block in blocks} == {BLOCK}
    assert stream.has_ended


def test_the_last_block_may_be_short_and_half_a_sample_is_no_sample(ends):
    stream = stream_of(ends)
    ends.write(bytes(range(1, 102)))
    ends.hang_up()
    assert heard(stream.read(0, PLENTY)) == bytes(range(1, 101))
    assert stream.has_ended


@pytest.mark.parametrize("seed", range(5))
def test_the_lengths_of_the_writes_do_not_matter(ends, seed):
    stream, pcm = stream_of(ends, channels=3, paced=False), noise(3, seed)
    whole = len(pcm) - len(pcm) % 6
    lengths, data, got = random.Random(seed), wav(pcm[:whole], channels=3), b""
    while data:
        size = lengths.choice([1, 2, 3, 5, 639, 641, 9001])
        ends.write(data[:size])
        data = data[size:]
        got += heard(stream.read(0, PLENTY))
    ends.hang_up()
    while not stream.has_ended:
        got += heard(stream.read(0, PLENTY))
    assert got == pcm[:whole]


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFF000])
def test_a_header_without_a_length_lasts_to_the_end(ends, size):
    stream, pcm = stream_of(ends, paced=False), noise(1)
    ends.write(wav(pcm, size=size))
    ends.hang_up()
    assert heard(read_at_leisure(stream)) == pcm
    assert stream.has_ended


def test_chunks_behind_the_audio_are_no_audio(ends):
    stream, pcm = stream_of(ends), noise(1)
    ends.write(wav(pcm, behind=b"LIST\x08\x00\x00\x00INFOabcd"))
    assert heard(read_at_leisure(stream)) == pcm
    assert not stream.has_ended
    ends.write(b"id3 " * 100)
    assert stream.read(21 * S, PLENTY) == []
    ends.hang_up()
    assert stream.read(22 * S, PLENTY) == []
    assert stream.has_ended


def test_another_rate_is_converted_and_its_end_is_not_cut_off(ends):
    stream, pcm = stream_of(ends), bytes(2 * 2 * 48000)
    ends.write(wav(pcm, rate=48000, channels=2))
    ends.hang_up()
    assert heard(read_at_leisure(stream)) == bytes(2 * 16000)
    assert (stream.has_ended, stream.rate_hz) == (True, 48000)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"fLaC" + bytes(2000), "it is a FLAC file"),
        (b"RIFF" + bytes(2000), "it is no WAV file"),
        (wav(b"", width=1)[:30], "it ends before its audio"),
    ],
)
def test_what_is_no_audio_is_named(ends, data, words):
    stream = stream_of(ends)
    ends.write(data)
    ends.hang_up()
    with pytest.raises(WavError, match=words):
        stream.read(0, PLENTY)


def test_nothing_at_all_ends_without_a_sample(ends):
    stream = stream_of(ends)
    assert stream.read(0, PLENTY) == []
    assert not stream.has_ended
    ends.hang_up()
    assert stream.read(0, PLENTY) == []
    assert (stream.has_ended, stream.has_given) == (True, False)


# Times


def test_the_time_of_a_block_is_that_of_its_last_sample(ends):
    stream = stream_of(ends)
    ends.write(bytes(5 * BLOCK // 2))  # two blocks and a half
    first, second = stream.read(S, PLENTY)
    assert (first.arrival_ns, second.arrival_ns) == (S - 30_000_000, S - 10_000_000)


def test_what_a_converter_holds_back_does_not_shift_the_times(ends):
    stream = stream_of(ends)
    ends.write(wav(bytes(2 * 48000), rate=48000, size=0))
    blocks = stream.read(S, PLENTY)
    samples = sum(len(block.pcm) for block in blocks) // 2
    began_ns = blocks[-1].arrival_ns - samples * S // 16000
    assert began_ns == pytest.approx(0, abs=0.001 * S)


# Room, and other processes


def test_no_more_is_taken_than_there_is_room_for(ends):
    stream, pcm = stream_of(ends, paced=False), noise(1)
    ends.write(pcm)
    size = 10 * BLOCK  # an unpaced block has 200 ms
    assert stream.read(0, 0) == []
    assert heard(stream.read(0, 2)) == pcm[: 2 * size]
    assert Pipe(ends.reader).waiting() == len(pcm) - 2 * size


def test_the_next_process_goes_on_with_the_same_stream(ends, notes):
    pcm = noise(1)
    data = wav(pcm, channels=2, behind=b"LIST\x04\x00\x00\x00abcd")
    ends.write(data[:10_001])
    got = heard(read_at_leisure(stream_of(ends, notes, channels=2), 1))
    assert 0 < len(got) < 10_001
    ends.write(data[10_001:])
    ends.hang_up()
    second = stream_of(ends, notes, channels=2)
    assert second.has_given
    got += heard(read_at_leisure(second))
    assert got == pcm
    assert second.has_ended


def test_what_an_unpaced_stream_gave_to_a_process_that_was_killed_is_known(ends, notes):
    ends.write(noise(1))
    stream = stream_of(ends, notes, next_sample=1000, paced=False)
    assert len(stream.read(0, 3)) == 3
    again = stream_of(ends, notes, next_sample=1000 + 3200, paced=False)  # it had kept one block of 3200 samples
    first, second = again.read(0, 2)
    assert (first.lost_before, second.lost_before) == (6400, 0)


def test_notes_of_another_pipe_are_of_no_use(ends, notes):
    ends.write(wav(noise(1), rate=8000))
    assert read_at_leisure(stream_of(ends, notes), 2)
    others = Ends()
    others.write(noise(1)[:BLOCK])
    stream = stream_of(others, notes)
    assert heard(stream.read(0, PLENTY)) == noise(1)[:BLOCK]
    assert stream.rate_hz == 16000
    os.close(others.reader)
    others.hang_up()


def test_a_file_behind_the_pipe_is_told_once(ends, caplog):
    stream = stream_of(ends)
    taken = 0
    with caplog.at_level("WARNING", "mpengine.capture"):
        for at in range(10 * 50):
            if Pipe(ends.reader).waiting() < 100_000:
                ends.write(bytes(32_000))
            taken += len(heard(stream.read(at * S // 50, PLENTY)))
    assert stream.is_file
    assert taken <= 2 * 16000 * (2 + 5 * 1.1 + 5 + 2)  # at the pace of speech, and what waited first
    assert caplog.text.count("source_is_file") == 1
