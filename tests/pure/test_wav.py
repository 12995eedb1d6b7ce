"""A WAV file as a source: it waits for its reader, is converted where it must be, and refuses what is no audio."""

import logging
import os
import struct
import wave

import pytest

from mpengine.capture.source import Block, SourceInfo
from mpengine.capture.wav import WavFile
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ConfigError, DeviceError
from tests.pure.support import in_fresh_interpreter, pcm
from tests.rig import wav_files
from tests.rig.numeric import np
from tests.rig.wav_files import chunk, fmt, riff

MS = 1_000_000
START = 1_000_000_000_000


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "speech.wav")


@pytest.fixture
def source(path):
    """Opens the file as a source; closed after the test."""
    opened = []

    def open_it(first_sample=0, **audio):
        opened.append(WavFile(AudioConfig(source=path, **audio)))
        opened[-1].open(first_sample)
        return opened[-1]

    yield open_it
    for each in opened:
        each.close()


def write(path, audio, rate=16000, channels=1, width=2):
    with wave.open(path, "wb") as file:
        file.setframerate(rate)
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.writeframes(audio)


def read_all(source, now_ns=START):
    """All that an unpaced source gives."""
    audio = b""
    while not source.has_ended():
        audio += b"".join(block.pcm for block in source.read(now_ns, 1000))
    return audio


@pytest.mark.parametrize(("rate_hz", "samples"), [(16000, 320), (48000, 106), (8000, 640)])
def test_opening_tells_the_path_and_the_length_as_it_is_sent(path, rate_hz, samples):
    write(path, pcm(0, 320), rate=rate_hz)
    file = WavFile(AudioConfig(source=path))
    for first_sample in (0, 100):
        assert file.open(first_sample) == SourceInfo(path, 0.0, samples=samples)
        file.close()


# What is refused


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot read the WAV file {path}: No such file or directory"),
        (b"", "cannot read the WAV file {path}: it is empty"),
        (b"ID3 is none", "cannot read the WAV file {path}: it is no WAV file; convert it (ffmpeg -i FILE out.wav)"),
        (riff(), "cannot read the WAV file {path}: it ends before its audio"),
        (riff(fmt(), chunk(b"LIST", b"", 0xFFFFFFFF)), "cannot read the WAV file {path}: it ends before its audio"),
        (riff(fmt(), chunk(b"data", b"")), "{path} has no samples"),
        (riff(fmt(), chunk(b"data", b"x")), "{path} has no samples"),
        (riff(fmt(), chunk(b"data", b"", 1000)), "{path} has no samples"),
        (riff(fmt(), chunk(b"data", b"", 0), size=0), "{path} has no samples"),
        (wav_files.wav(bytes(4), rate_hz=500), "500 Hz cannot be converted; expected 1000 to 384000 Hz"),
    ],
    ids=["missing", "empty", "text", "no data", "long list", "no samples", "half", "cut", "killed at once", "rate"],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(path, content, why):
    if content is not None:
        wav_files.write(path, content)
    assert refusal(path) == f"audio.source: {why.format(path=path)}"


def refusal(path, **audio):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigError) as caught:
        WavFile(AudioConfig(source=path, **audio)).open(0)
    assert len(os.listdir("/proc/self/fd")) == before
    return str(caught.value)


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert refusal(str(tmp_path)) == f"audio.source: cannot read the WAV file {tmp_path}: it is a directory"
    for path in ("/dev/zero", str(tmp_path / "fifo")):
        assert refusal(path) == f"audio.source: cannot read the WAV file {path}: it is no ordinary file"


def test_channels_that_the_file_has_not_are_refused(path):
    write(path, pcm(0, 320))
    assert refusal(path, channels=2) == "audio.channels: expected at most 1: the source has no more channels"
    assert refusal(path, channel=3) == "audio.channel: expected 0 to 0: the source has 1 channel(s)"


def test_a_file_that_vanishes_from_its_disk_is_a_lost_device(path, source, monkeypatch):
    write(path, pcm(0, 6400))
    file = source(paced=False)

    def fails(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.read", fails)
    with pytest.raises(DeviceError, match=r"cannot read .*speech\.wav: Input/output error"):
        file.read(START, 1000)


def test_a_file_of_two_channels_is_taken_where_two_are_configured(path, source):
    write(path, pcm(0, 640), channels=2)
    assert read_all(source(channels=2, paced=False)) == pcm(0, 640)


# What is read


def test_an_unpaced_file_comes_whole_and_bit_exact(path, source):
    write(path, pcm(0, 100_000))
    assert read_all(source(paced=False)) == pcm(0, 100_000)


def test_blocks_have_the_configured_length_but_for_the_last(path, source):
    write(path, pcm(0, 1000))
    file = source()
    file.read(START, 1000)
    blocks = file.read(START + 1000 * MS, 1000)
    assert [len(block.pcm) // 2 for block in blocks] == [320, 320, 320, 40]


def test_unpaced_blocks_are_long(path, source):
    write(path, pcm(0, 7000))
    assert [len(block.pcm) // 2 for block in source(paced=False).read(START, 1000)] == [3200, 3200, 600]
    assert [len(block.pcm) // 2 for block in source(paced=False, block_ms=250).read(START, 1000)] == [4000, 3000]


@pytest.mark.parametrize("first_sample", [0, 1, 320, 99_999])
def test_a_file_goes_on_at_the_sample_that_is_asked_for(path, source, first_sample):
    write(path, pcm(0, 100_000))
    assert read_all(source(first_sample, paced=False)) == pcm(first_sample, 100_000)


@pytest.mark.parametrize("first_sample", [1000, 1001, 10**9])
def test_at_or_behind_its_end_it_is_over(path, source, first_sample):
    write(path, pcm(0, 1000))
    file = source(first_sample, paced=False)
    assert (file.read(START, 1000), file.has_ended()) == ([], True)


def test_it_has_ended_only_when_the_last_sample_was_read(path, source):
    write(path, pcm(0, 320))
    file = source(paced=True)
    file.read(START, 1000)
    assert [block.pcm for block in file.read(START + 20 * MS, 1000)] == [pcm(0, 320)]
    assert not file.has_ended()
    file.read(START + 40 * MS, 1000)
    assert file.has_ended()


@pytest.mark.parametrize("cut", [1, 2, 3, 641, 1001])
def test_a_truncated_file_gives_the_whole_samples_it_has(path, source, cut):
    write(path, pcm(0, 1000))
    with open(path, "r+b") as file:
        file.truncate(44 + 2000 - cut)
    whole = (2000 - cut) // 2
    assert read_all(source(paced=False)) == pcm(0, whole)


def test_a_truncated_file_opened_behind_its_end_is_over(path, source):
    write(path, pcm(0, 1000))
    with open(path, "r+b") as file:
        file.truncate(44 + 1000)
    assert read_all(source(800, paced=False)) == b""


# A length that is wrong


@pytest.mark.parametrize("size", [0, 2000, 0xFFFFFFFF])
@pytest.mark.parametrize("of_file", [None, 0])
def test_a_wrong_length_is_told_once_and_the_file_read_to_its_end(path, source, caplog, size, of_file):
    wav_files.write(path, riff(fmt(), chunk(b"data", pcm(0, 500), size), size=of_file))
    with caplog.at_level(logging.WARNING):
        file = source(paced=False)
        assert read_all(file) == pcm(0, 500)
        file.close()
        file.open(400)
        assert read_all(file) == pcm(400, 500)
    (told,) = [str(record.msg) for record in caplog.records if record.msg.name == "wav_length_wrong"]
    assert f"path={path} " in told
    assert "present_bytes=1000 " in told
    assert ("declared_bytes=2000 " in told) == (size == 2000)


def test_what_follows_the_audio_is_not_read(path, source, caplog):
    wav_files.write(path, riff(fmt(), chunk(b"data", pcm(0, 500)), chunk(b"LIST", bytes(1000))))
    assert read_all(source(paced=False)) == pcm(0, 500)
    assert not caplog.records


def test_a_file_that_is_cut_off_while_it_is_read_is_over_there(path, source):
    write(path, pcm(0, 10_000))
    file = source(paced=False)
    first = file.read(START, 1)[0].pcm
    with open(path, "r+b") as cut:
        cut.truncate(44 + 2 * 5000 + 1)
    assert first + read_all(file) == pcm(0, 5000)


# What is converted


def spoken(rate_hz, seconds=1.0):
    """A tone of 440 Hz that grows, so that no stretch is like another."""
    times = np.arange(int(rate_hz * seconds)) / rate_hz
    return np.rint(20000 * times * np.sin(2 * np.pi * 440 * times)).astype("<i2")


def heard(pcm):
    return np.frombuffer(pcm, "<i2").astype(float)


@pytest.mark.parametrize("paced", [True, False])
@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 44100, 48000])
def test_a_file_of_another_rate_is_resampled_whole(path, source, rate_hz, paced):
    wav_files.write(path, wav_files.wav(spoken(rate_hz).tobytes(), rate_hz=rate_hz))
    file = source(paced=paced)
    audio, now_ns = b"", START
    while not file.has_ended():
        blocks = file.read(now_ns, 1000)
        assert all(len(block.pcm) == 2 * (320 if paced else 3200) for block in blocks[:-1])
        audio += b"".join(block.pcm for block in blocks)
        now_ns += 20 * MS
    assert len(audio) == 32000
    assert abs(heard(audio) - spoken(16000))[:15800].max() < 10


def test_a_paced_file_of_another_rate_keeps_the_pace(path, source):
    wav_files.write(path, wav_files.wav(spoken(44100).tobytes(), rate_hz=44100))
    file = source()
    file.read(START, 1000)
    assert [len(file.read(START + turn * 20 * MS, 1000)) for turn in range(1, 50)] == [1] * 49


@pytest.mark.parametrize("first_sample", [1, 160, 7777, 15_999])
@pytest.mark.parametrize("rate_hz", [8000, 44100, 22050])
def test_a_resampled_file_goes_on_at_the_sample_that_is_asked_for(path, source, rate_hz, first_sample):
    wav_files.write(path, wav_files.wav(spoken(rate_hz).tobytes(), rate_hz=rate_hz))
    expected = heard(read_all(source(paced=False)))[first_sample:]
    found = heard(read_all(source(first_sample, paced=False)))
    assert len(found) == len(expected)
    assert abs(found - expected).max() <= 1


@pytest.mark.parametrize("first_sample", [16_000, 16_001, 10**9])
def test_a_resampled_file_opened_behind_its_end_is_over(path, source, first_sample):
    wav_files.write(path, wav_files.wav(spoken(44100).tobytes(), rate_hz=44100))
    assert read_all(source(first_sample, paced=False)) == b""


@pytest.mark.parametrize(
    ("sample_format", "data"),
    [
        ("uint8", bytes([0, 64, 128, 192])),
        ("int24", bytes.fromhex("000080 0000c0 000000 000040")),
        ("int32", struct.pack("<4i", -(2**31), -(2**30), 0, 2**30)),
        ("float32", struct.pack("<4f", -1, -0.5, 0, 0.5)),
        ("float64", struct.pack("<4d", -1, -0.5, 0, 0.5)),
    ],
)
@pytest.mark.parametrize("is_extensible", [False, True])
def test_a_file_of_any_sample_format_is_read(path, source, sample_format, data, is_extensible):
    wav_files.write(path, wav_files.wav(data, sample_format=sample_format, is_extensible=is_extensible))
    assert read_all(source(paced=False)) == struct.pack("<4h", -32768, -16384, 0, 16384)


def test_two_channels_become_their_mean(path, source):
    wav_files.write(path, wav_files.wav(struct.pack("<6h", 100, 300, -50, 50, 32767, 32767), channels=2))
    assert read_all(source(paced=False)) == struct.pack("<3h", 200, 0, 32767)


def test_the_channel_that_is_asked_for_is_read(path, source):
    wav_files.write(path, wav_files.wav(struct.pack("<6h", 1, 2, 3, 4, 5, 6), channels=3))
    assert read_all(source(channel=2, paced=False)) == struct.pack("<2h", 3, 6)
    assert read_all(source(paced=False)) == struct.pack("<2h", 1, 4)


_WITHOUT_NUMPY = """
import sys
from mpengine.capture.wav import WavFile
from mpengine.shared.config_tables import AudioConfig
file = WavFile(AudioConfig(source=sys.argv[1], paced=False))
file.open(0)
print(sum(len(block.pcm) for block in file.read(1, 1000)), "numpy" in sys.modules)
"""


def test_a_file_that_is_right_is_read_without_numpy(path):
    wav_files.write(path, wav_files.wav(pcm(0, 500), is_extensible=True))
    assert in_fresh_interpreter(_WITHOUT_NUMPY, path).split() == ["1000", "False"]


# When it is read


def test_a_paced_file_gives_its_first_block_when_that_would_have_been_spoken(path, source):
    write(path, pcm(0, 3200))
    file = source()
    assert file.read(START, 1000) == []
    assert file.read(START + 20 * MS - 1, 1000) == []
    assert file.read(START + 20 * MS, 1000) == [Block(pcm(0, 320), START + 20 * MS)]


def test_a_paced_file_says_when_its_next_block_is_due(path, source):
    write(path, pcm(0, 3200))
    file = source()
    file.read(START, 1000)
    assert file.due_s(START) == pytest.approx(0.020)
    assert file.due_s(START + 15 * MS) == pytest.approx(0.005)


def test_a_paced_file_keeps_the_pace_though_its_reader_comes_late(path, source):
    write(path, pcm(0, 16000))
    file = source()
    file.read(START, 1000)
    count = sum(len(file.read(START + late * MS, 1000)) for late in (25, 43, 61, 88, 101))
    assert count == 5


def test_an_unpaced_file_is_always_due(path, source):
    write(path, pcm(0, 3200))
    assert source(paced=False).due_s(START) == 0.0


def test_what_is_over_is_never_due(path, source):
    write(path, pcm(0, 320))
    file = source(paced=False)
    read_all(file)
    assert file.due_s(START) is None


def test_one_reading_is_bounded(path, source):
    write(path, pcm(0, 160_000))
    assert len(source(paced=False).read(START, 1000)) <= 50


def test_what_was_closed_gives_nothing(path, source):
    write(path, pcm(0, 320))
    file = source(paced=False)
    file.close()
    assert (file.read(START, 1000), file.due_s(START)) == ([], None)


def test_what_was_closed_is_opened_again_where_it_is_told(path, source):
    write(path, pcm(0, 3200))
    file = source(paced=False)
    file.close()
    file.open(1600)
    assert read_all(file) == pcm(1600, 3200)


def test_what_is_over_is_read_again_where_it_is_opened_again(path, source):
    write(path, pcm(0, 8000))
    file = source(paced=False)
    assert read_all(file) == pcm(0, 8000)
    file.close()
    file.open(5000)
    assert not file.has_ended()
    assert file.due_s(START) == 0.0
    assert read_all(file) == pcm(5000, 8000)


def test_a_file_has_no_descriptor_to_wait_for(source, path):
    write(path, pcm(0, 320))
    assert source().fileno() is None
