"""A WAV file as a source: it waits for its reader, and refuses what is of another format."""

import wave

import pytest

from mpengine.capture.source import Block, SourceInfo
from mpengine.capture.wav import WavFile
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ConfigError
from tests.pure.support import pcm

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


def test_opening_tells_the_path_and_no_latency(path):
    write(path, pcm(0, 320))
    file = WavFile(AudioConfig(source=path))
    assert file.open(0) == SourceInfo(path, 0.0)
    file.close()


# What is refused


@pytest.mark.parametrize(
    ("rate", "channels", "width", "found"),
    [
        (44100, 1, 2, "16 bit, 44100 Hz, 1 channel(s)"),
        (16000, 2, 2, "16 bit, 16000 Hz, 2 channel(s)"),
        (16000, 1, 1, "8 bit, 16000 Hz, 1 channel(s)"),
        (16000, 1, 3, "24 bit, 16000 Hz, 1 channel(s)"),
    ],
)
def test_another_format_is_refused_with_the_command_that_mends_it(path, rate, channels, width, found):
    write(path, bytes(width * channels * 10), rate, channels, width)
    with pytest.raises(ConfigError) as caught:
        WavFile(AudioConfig(source=path)).open(0)
    assert str(caught.value) == (
        f"audio.source: {path} is {found}; expected 16 bit, 16000 Hz, 1: "
        "set audio.sample_rate and audio.channels, "
        f"or convert it: sox {path} -b 16 -r 16000 -c 1 out.wav"
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        (b"", "it is cut short"),
        (b"ID3 is no WAV file at all", "file does not start with RIFF id"),
        (b"RIFF\x24\x00\x00\x00WAVE", "missing"),
    ],
    ids=["missing", "empty", "mp3", "no data"],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(path, content, why):
    if content is not None:
        with open(path, "wb") as file:
            file.write(content)
    with pytest.raises(ConfigError, match=rf"audio\.source: cannot read the WAV file .*: .*{why}"):
        WavFile(AudioConfig(source=path)).open(0)


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


def test_a_file_without_samples_is_over_at_once(path, source):
    write(path, b"")
    file = source(paced=False)
    assert (file.read(START, 1000), file.has_ended()) == ([], True)


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
