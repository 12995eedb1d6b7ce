"""Strict readers of SubRip and WebVTT, for what this package writes: they take nothing that a player might not."""

import re
from typing import NamedTuple

_SRT = re.compile(r"(?P<name>\d+)\n(\d\d+):([0-5]\d):([0-5]\d),(\d{3}) --> (\d\d+):([0-5]\d):([0-5]\d),(\d{3})\n")
_VTT = re.compile(
    r"(?P<name>(?!NOTE)[^\n]+)\n(\d\d+):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d\d+):([0-5]\d):([0-5]\d)\.(\d{3})\n"
)


class ReadCue(NamedTuple):
    """A cue as it stands in a file."""

    name: str
    start_ms: int
    end_ms: int
    text: str


def read_srt(data: bytes) -> list[ReadCue]:
    """The cues; they are numbered, in order and do not overlap."""
    cues = [_read(_SRT, block) for block in _blocks(data.decode())]
    assert [cue.name for cue in cues] == [str(number) for number in range(1, len(cues) + 1)]
    assert not any("-->" in cue.text for cue in cues)
    return _ordered(cues)


def read_vtt(data: bytes) -> tuple[list[ReadCue], list[str]]:
    """The cues, with names of their own, and the notes."""
    header, *blocks = _blocks(data.decode())
    assert header == "WEBVTT\n"
    notes = [block.removeprefix("NOTE ").removesuffix("\n") for block in blocks if block.startswith("NOTE ")]
    assert not any("-->" in note for note in notes)
    cues = [_read(_VTT, block) for block in blocks if not block.startswith("NOTE ")]
    assert len({cue.name for cue in cues}) == len(cues)
    for cue in cues:
        assert "-->" not in cue.name
        assert not re.search("[<>]|&(?!amp;|lt;|gt;)", cue.text)
    return _ordered(cues), notes


def _blocks(text: str) -> list[str]:
    """What stands between empty lines, of which there is one behind each block."""
    assert text.endswith("\n\n") or not text
    assert not re.search("[\t\r\v\f\x1c-\x1f\x85\u2028\u2029]|\n\n\n", text)
    return [f"{block}\n" for block in text.split("\n\n")[:-1]]


def _read(pattern: re.Pattern[str], block: str) -> ReadCue:
    found = pattern.match(block)
    assert found, block
    numbers = [int(part) for part in found.groups()[1:]]
    start_ms, end_ms = (((h * 60 + m) * 60 + s) * 1000 + ms for h, m, s, ms in (numbers[:4], numbers[4:]))
    text = block[found.end() :].removesuffix("\n")
    assert text.strip()
    return ReadCue(found["name"], start_ms, end_ms, text)


def _ordered(cues: list[ReadCue]) -> list[ReadCue]:
    times = [time for cue in cues for time in (cue.start_ms, cue.end_ms)]
    assert times == sorted(times)
    assert all(cue.start_ms < cue.end_ms for cue in cues)
    return cues
