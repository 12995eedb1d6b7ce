"""The sources of audio: that each is where it is said to be, and of which kind it is."""

import importlib

import pytest

from mpengine.capture.source import Source
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.sources import SOURCES, SourceKind, is_path, path_of


@pytest.mark.parametrize(
    "keys", [*({"source": each} for each in [*SOURCES, "talk.wav", "fifo:/talk"]), {"command": ["arecord"]}]
)
def test_each_is_where_its_home_is_and_made_of_the_configuration_alone(keys):
    audio = AudioConfig(**keys)
    module, _, class_name = audio.home.name.partition(".")
    made = getattr(importlib.import_module(f"mpengine.capture.{module}"), class_name)(audio)
    assert isinstance(made, Source)
    assert not made.has_ended()
    made.close()


def test_a_microphone_waits_for_nobody_and_has_no_end():
    assert AudioConfig().kind == SourceKind(waits=False, seekable=False, ends=False)


@pytest.mark.parametrize("source", ["talk.wav", "/a/portaudio", "portaudio.wav", "./portaudio", "PortAudio"])
def test_what_is_no_name_of_a_source_is_the_path_of_a_file(source):
    assert is_path(source)
    assert AudioConfig(source=source).kind == SourceKind(waits=True, seekable=True, ends=True)


@pytest.mark.parametrize("source", SOURCES)
def test_the_name_of_a_source_is_no_path(source):
    assert not is_path(source)


@pytest.mark.parametrize("keys", [{"source": "fifo:/talk"}, {"command": ["arecord"]}])
def test_a_fifo_and_a_command_are_live_and_have_no_end(keys):
    assert AudioConfig(**keys).kind == SourceKind(waits=False, seekable=False, ends=False)


@pytest.mark.parametrize(("paced", "waits"), [(True, False), (False, True)])
def test_standard_input_ends_and_is_live_unless_it_is_read_as_fast_as_possible(paced, waits):
    audio = AudioConfig(source="-", paced=paced)
    assert audio.kind == SourceKind(waits=waits, seekable=False, ends=True)
    assert audio.is_unpaced is waits


def test_the_next_process_goes_on_with_the_same_pipe_but_not_with_the_same_command():
    pipes = [AudioConfig(source="-"), AudioConfig(source="fifo:/talk")]
    assert [audio.home.is_pipe for audio in pipes] == [True, True]
    others = [AudioConfig(), AudioConfig(source="a.wav"), AudioConfig(command=["arecord"])]
    assert [audio.home.is_pipe for audio in others] == [False, False, False]


def test_a_fifo_is_a_path_until_the_configuration_was_checked():
    assert is_path("/talk")
    assert not is_path("fifo:/talk")
    assert path_of("fifo:/talk") == "/talk"
