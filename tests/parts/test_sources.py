"""The sources of audio: that each is where it is said to be, and of which kind it is."""

import importlib

import pytest

from mpengine.capture.source import Source
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.sources import SOURCES, SourceKind, home_of, is_path


@pytest.mark.parametrize("source", [*SOURCES, "talk.wav"])
def test_each_is_where_its_home_is_and_made_of_the_configuration_alone(source):
    module, _, class_name = home_of(source).name.partition(".")
    made = getattr(importlib.import_module(f"mpengine.capture.{module}"), class_name)(AudioConfig(source=source))
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
