"""The sources of audio, and the properties that the engine knows without loading a source. Pure.

A source is one module of `capture`, which implements `capture.source.Source`, and one line in `SOURCES`.
"""

from typing import NamedTuple


class SourceKind(NamedTuple):
    """The properties of a source.

    `waits`: its samples wait for their reader; otherwise samples that nobody reads in time are lost. `seekable`: it can
    be read again from any sample on. `ends`: it has a last sample, and the engine stops after that sample.
    """

    waits: bool
    seekable: bool
    ends: bool


class Home(NamedTuple):
    """The implementation of a source, as MODULE.CLASS of `capture`, and its properties."""

    name: str
    kind: SourceKind


# By the value of `audio.source`. Any other value is the path of a file.
SOURCES = {
    "portaudio": Home("microphone.Microphone", SourceKind(waits=False, seekable=False, ends=False)),
}
_FILE = Home("wav.WavFile", SourceKind(waits=True, seekable=True, ends=True))


def home_of(source: str) -> Home:
    """The home of the source that `audio.source` names."""
    return SOURCES.get(source, _FILE)


def is_path(source: str) -> bool:
    """Whether `audio.source` is the path of a file."""
    return source not in SOURCES
