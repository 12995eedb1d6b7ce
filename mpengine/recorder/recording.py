"""What is known of one recording: the JSON beside its file."""

import time
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from mpengine.recorder.tape import Lack
from mpengine.shared.messages import UNREADABLE
from mpengine.shared.ranges import Range

VERSION = 1
_LONGEST_NAME = 200


class Missing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Audio that is missing. It is silence in the file, unless it lies before the file's first sample.

    `cause` is a word of `Cause`. `reasons`: what the engine's own messages say of it, words of `GapReason`.
    """

    first_sample: int
    end_sample: int
    start_s: float
    end_s: float
    cause: str
    reasons: list[str] = []


class Recording(msgspec.Struct, kw_only=True, tag_field="type", tag="recording"):
    """One file of a run's audio. Samples are of each channel, on the run's clock, and so are `start_s` and `end_s`.

    `start_time_ns`: UTC of the first sample; `start` is the same in words. While `is_whole` is false, the file is still
    written, or its recorder was killed; `end_sample` is then as it was noted last. `is_damaged`: nothing in the file
    can be read.
    """

    v: int = VERSION
    engine: str
    run: str
    file: str
    sample_rate: int
    channels: int
    first_sample: int
    end_sample: int
    start_s: float
    end_s: float
    start_time_ns: int
    start: str
    is_whole: bool = False
    is_damaged: bool = False
    missing: list[Missing] = []

    @property
    def end_time_ns(self) -> int:
        """UTC of its end."""
        return self.start_time_ns + (self.end_sample - self.first_sample) * 1_000_000_000 // self.sample_rate

    def ends_at(self, end_sample: int) -> None:
        """Note where the file ends."""
        self.end_sample, self.end_s = end_sample, seconds(end_sample, self.sample_rate)

    def cut_at(self, end_sample: int) -> None:
        """Note where a mended file ends. What is told to be missing behind that is no longer told."""
        self.ends_at(end_sample)
        kept = []
        for each in self.missing:
            if each.first_sample < max(end_sample, self.first_sample + 1):
                end = min(each.end_sample, max(end_sample, self.first_sample))
                kept.append(msgspec.structs.replace(each, end_sample=end, end_s=seconds(end, self.sample_rate)))
        self.missing = kept


class ToldGap(NamedTuple):
    """A gap that the engine has told."""

    lost: Range
    reason: str


def missing_of(lack: Lack, sample_rate: int, told: Iterable[ToldGap]) -> Missing:
    """`lack` for the JSON, with the reasons of the gaps in `told` that touch it."""
    (first, end), cause = lack
    reasons = [reason for (begin, stop), reason in told if begin < end and first < stop]
    return Missing(
        first_sample=first,
        end_sample=end,
        start_s=seconds(first, sample_rate),
        end_s=seconds(end, sample_rate),
        cause=cause,
        reasons=sorted(set(reasons)),
    )


def seconds(samples: int, sample_rate: int) -> float:
    """`samples` in seconds, to the microsecond."""
    return round(samples / sample_rate, 6)


def file_name(engine: str, time_ns: int) -> str:
    """The name of a recording that begins at that time, without its ending; names sort by time."""
    return f"{engine}-{_stamp(time_ns, '%Y%m%dT%H%M%S')}.{time_ns // 1_000_000 % 1000:03d}Z"


def in_words(time_ns: int) -> str:
    """A time as ISO 8601 has it."""
    return f"{_stamp(time_ns, '%Y-%m-%dT%H:%M:%S')}.{time_ns // 1_000_000 % 1000:03d}Z"


def written(recording: Recording) -> bytes:
    """`recording` as it stands in its file."""
    return msgspec.json.format(msgspec.json.encode(recording), indent=2) + b"\n"


def read(data: bytes) -> Recording | None:
    """The recording in `data`; None for anything else, and for one that names a file in another folder."""
    try:
        found = _decode(data)
    except UNREADABLE:
        return None
    is_sane = 0 <= found.first_sample <= found.end_sample and found.sample_rate > 0 and found.channels > 0
    is_name = found.file and "/" not in found.file and len(found.file) <= _LONGEST_NAME
    return found if is_sane and is_name and "\0" not in found.file and not found.file.startswith(".") else None


_decode = msgspec.json.Decoder(Recording).decode


def _stamp(time_ns: int, layout: str) -> str:
    return time.strftime(layout, time.gmtime(time_ns // 1_000_000_000))
