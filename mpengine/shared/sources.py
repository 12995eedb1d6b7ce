"""The sources of audio, and the properties that the engine knows without loading a source. Pure.

A source is one module of `capture`, which implements `capture.source.Source`, and one line here.
"""

from collections.abc import Sequence
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
    """The implementation of a source, as MODULE.CLASS of `capture`, and its properties.

    `is_pipe`: it reads a pipe that the supervisor has as well, so that the next process can go on with that pipe.
    """

    name: str
    kind: SourceKind
    is_pipe: bool = False


DEFAULT = "portaudio"
STANDARD_INPUT = "-"
FIFO = "fifo:"
"""Stands before the path of a FIFO, once the configuration was checked: from then on nobody asks the file again."""

_LIVE = SourceKind(waits=False, seekable=False, ends=False)
# By the value of `audio.source`. Any other value is the path of a file.
SOURCES = {
    DEFAULT: Home("microphone.Microphone", _LIVE),
    STANDARD_INPUT: Home("standard_input.StandardInput", _LIVE._replace(ends=True), is_pipe=True),
}
_FILE = Home("wav.WavFile", SourceKind(waits=True, seekable=True, ends=True))
_FIFO = Home("fifo.Fifo", _LIVE, is_pipe=True)
_COMMAND = Home("command.Command", _LIVE)


def home_of(source: str, command: Sequence[str] | None = None, *, paced: bool = True) -> Home:
    """The home of the source that `audio.source` and `audio.command` name.

    Standard input is live, unless it is read as fast as possible: `paced` is false.
    """
    if command:
        return _COMMAND
    if source == STANDARD_INPUT and not paced:
        home = SOURCES[source]
        return home._replace(kind=home.kind._replace(waits=True))
    return _FIFO if source.startswith(FIFO) else SOURCES.get(source, _FILE)


def is_path(source: str) -> bool:
    """Whether `audio.source` is the path of a file, or may be that of a FIFO."""
    return source not in SOURCES and not source.startswith(FIFO)


def path_of(source: str) -> str:
    """The path in `audio.source`."""
    return source.removeprefix(FIFO)
