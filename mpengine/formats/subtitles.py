"""SubRip and WebVTT, written live into files that only grow. Pure.

In WebVTT a note says for each run where its second 0 is. The name of a cue is that of its final (RUN:SEQ.NUMBER/OF);
notes on gaps and holes have such names too. `end_of_subtitles` reads them: so a file is continued without missing
anything or writing it twice. SubRip has no room for names and notes.
"""

import re
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

from mpengine.client.position import Hole
from mpengine.formats.base import NOW, START, Ending, Format, Place, Position, Style, whole_letters
from mpengine.formats.cues import Cue, Cues
from mpengine.shared.messages import FINALS, Gap, Published, Transcript
from mpengine.shared.text import harmless

HEADER = b"WEBVTT\n\n"

_BLOCK = re.compile(rb"(?:(?!\r?(?:\n|\Z))[^\n]*(?:\n|\Z))+")
_LINE_ENDS = (b"\n", b"\r\n")
_CLOCK = rb"(?:(\d+):)?(\d\d):(\d\d)[.,](\d\d\d)"
_TIMES = re.compile(rb"^" + _CLOCK + rb"[ \t]+-->[ \t]+" + _CLOCK + rb"[^\n]*", re.MULTILINE)
_CUE = re.compile(rb"(\S+):(\d+)\.(\d+)/(\d+)\r?\n(?=[\d:.]+ --> )")
_RUN = re.compile(rb"NOTE run (\S+) begins at (-?\d+) ms\s*\Z")
_GAP = re.compile(rb"NOTE (\S+):(\d+) [\d.]+ s \w+ at ")
_LOSS = re.compile(rb"NOTE (\S+):(\d+|end) results lost\s*\Z")
_TORN = re.compile(rb"NOTE (\S+):(\d+) is torn\s*\Z")
# The beginning of a cue in SubRip, up to its text.
_NO_CUE_YET = re.compile(rb"\d+\s*[\d:,. >-]*\s*\Z")
_ENTITY_BEGUN = re.compile(rb"&[a-z]{0,3}\Z")


class TornFinal(NamedTuple):
    """A final of which the file has only a part, at its end. The cue before that final ends at `last_ms`."""

    run: str
    seq: int
    begin_bytes: int
    last_ms: int


class SubtitleEnd(NamedTuple):
    """How a file of subtitles ends. `run`: that of the last cues, if a note says so; its second 0 is at `zero_ms`."""

    ending: Ending
    number_cues: int = 0
    last_ms: int = 0
    run: str | None = None
    zero_ms: int = 0
    torn: TornFinal | None = None


class Subtitles(Format):
    """Turns messages into cues and notes. Each ends with an empty line."""

    since = START
    interims_in = frozenset()
    topics = frozenset({FINALS, "gap"})
    is_vtt: ClassVar[bool]

    def __init__(self, style: Style, place: Place) -> None:
        super().__init__(style, place)
        self._cues = Cues(offset_ms=round(style.offset_s * 1000), with_names=style.with_names)
        self._number = 0
        self._torn: TornFinal | None = None

    def show(self, body: bytes, message: Published | Hole | None, engine: str = "") -> bytes:  # noqa: ARG002
        """See Format; empty for a message that is not for readers."""
        return self._text_for(message).encode()

    def _text_for(self, message: Published | Hole | None) -> str:
        match message:
            case Transcript(is_final=True, run=run, start_s=start_s) if message.text.strip():
                return self._meet(run, start_s) + self._final(message)
            case Gap(run=run, start_s=start_s) if message.samples and self.is_vtt:
                return self._meet(run, start_s) + self._gap(message)
            case Hole(topic=topic, last_seq=last_seq) if topic == FINALS and self.is_vtt:
                last = "end" if last_seq is None else last_seq
                return f"NOTE {_text(message.run)}:{last} results lost\n\n"
        return ""

    def go_on(self, pieces: Iterable[bytes]) -> Ending:
        """See Format. It reads the whole file, which says where the run begins and how many cues there are."""
        end = end_of_subtitles(b"".join(reversed(list(pieces))), is_vtt=self.is_vtt)
        self._number = end.number_cues
        self._cues.go_on(end.run, end.zero_ms if end.run else self._cues.zero_ms, end.last_ms)
        self._torn = end.torn
        return end.ending

    def take_back(self, message: Published | Hole | None) -> int | None:
        """See Format.

        The part of a torn final stays until that final comes again: an engine that has begun another run, as after a
        loss of power, does not have it any more.
        """
        torn = self._torn
        match message:
            case Transcript(is_final=True, run=run, seq=seq) if torn and (run, seq) == (torn.run, torn.seq):
                self._torn = None
                self._cues.last_ms = torn.last_ms
                return torn.begin_bytes
            case Transcript(is_final=True) | Gap() | Hole():
                self._torn = None  # the engine does not have it any more, and now it is not at the end either
        return None

    def _meet(self, run: str, start_s: float) -> str:
        if not self._cues.meet(run, start_s) or not self.is_vtt or not run:
            return ""
        return f"NOTE run {_text(run)} begins at {self._cues.zero_ms} ms\n\n"

    def _final(self, final: Transcript) -> str:
        cues = self._cues.of(final)
        name = f"{final.run}:{final.seq}"
        return "".join(self._cue(cue, f"{name}.{number}/{len(cues)}") for number, cue in enumerate(cues, 1))

    def _gap(self, gap: Gap) -> str:
        name = f"{_text(gap.run)}:{gap.seq} " if gap.run else ""
        clock = _clock(max(0, self._cues.zero_ms + round(gap.start_s * 1000)), ".")
        how, why = ("lost", f": {_text(gap.reason)}") if gap.is_loss else (gap.reason, "")
        return f"NOTE {name}{gap.end_s - gap.start_s:.1f} s {how} at {clock}{why}\n\n"

    def _cue(self, cue: Cue, name: str) -> str:
        self._number += 1
        mark = "." if self.is_vtt else ","
        times = f"{_clock(cue.start_ms, mark)} --> {_clock(cue.end_ms, mark)}"
        if self.is_vtt:
            return f"{_text(name)}\n{times}\n" + "".join(f"{_text(line)}\n" for line in cue.lines) + "\n"
        return f"{self._number}\n{times}\n" + "".join(f"{line.replace('-->', '→')}\n" for line in cue.lines) + "\n"


class SubRip(Subtitles):
    """Numbered cues, and nothing else."""

    is_vtt = False


class WebVtt(Subtitles):
    """Cues and notes."""

    is_vtt = True
    header = HEADER


def _text(text: str) -> str:
    """`text` with the letters escaped that begin or end tags and arrows in WebVTT."""
    return harmless(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(milliseconds: int, mark: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}{mark}{rest:03}"


def end_of_subtitles(data: bytes, *, is_vtt: bool) -> SubtitleEnd:
    """How the file `data` ends, and how to continue it. A file of another program counts by the times of its cues."""
    if not data.strip() or (is_vtt and HEADER.startswith(data)):
        return SubtitleEnd(Ending(len(data), HEADER if is_vtt else b"", START))
    found = _Found()
    kept_bytes, mend = len(data), b""
    for each in _BLOCK.finditer(data):
        block, begin = each[0], each.start()
        if not data.startswith(_LINE_ENDS, each.end()):  # the last block, without an empty line after it
            kept = found.kept_of(block, begin, is_vtt=is_vtt)
            kept_bytes = begin + len(kept)
            mend = b"" if not kept else b"\n" if kept.endswith(b"\n") else b"\n\n"
            found.take(kept, begin, is_torn=True)
        else:
            found.take(block, begin)
    if not kept_bytes:
        return SubtitleEnd(Ending(len(data), HEADER if is_vtt else b"", START))
    torn = None if found.is_whole else TornFinal(found.run, found.seq, found.begin_bytes, found.before_ms)
    if torn and not found.is_marked_torn:
        mend += f"NOTE {torn.run}:{torn.seq} is torn\n\n".encode()
    ending = Ending(len(data) - kept_bytes, mend, found.position if is_vtt else NOW)
    return SubtitleEnd(ending, found.number_cues, found.last_ms, found.run or None, found.zero_ms, torn)


class _Found:
    """What was found so far. All but the number of cues and `last_ms` is of the last run alone."""

    def __init__(self) -> None:
        self.number_cues = self.last_ms = 0
        self.run = ""
        self._begin_run("", 0)

    def _begin_run(self, run: str, zero_ms: int) -> None:
        if run != self.run or not run:
            self.seq = self.begin_bytes = self.before_ms = 0  # of the last final
            self._gaps: set[int] = set()
            self._losses: set[int | None] = set()
        self.run, self.zero_ms = run, zero_ms
        self.is_whole, self.is_marked_torn = True, False

    @property
    def position(self) -> Position:
        if not self.run:
            return START
        since_seq = self.seq if self.is_whole else self.seq - 1
        holes = frozenset((FINALS, last_seq) for last_seq in self._losses)
        return Position((self.run, since_seq), frozenset(self._gaps), holes)

    def kept_of(self, block: bytes, begin: int, *, is_vtt: bool) -> bytes:
        """The part of the last, torn block to keep: of a cue, all that is whole, if some of its text is there."""
        times = _TIMES.search(block)
        if times:
            kept = whole_letters(block)
            if _CUE.match(block):
                kept = _ENTITY_BEGUN.sub(b"", kept)
            return kept if kept[times.end() :].strip() else b""
        if begin == 0:  # the header, or the text of another program
            return b"" if not is_vtt and _NO_CUE_YET.match(block) else whole_letters(block)
        return b""

    def take(self, block: bytes, begin: int, *, is_torn: bool = False) -> None:
        """Take in the next `block`, at byte `begin`; of a torn one, the part that `kept_of` keeps."""
        if found := _RUN.match(block):
            self._begin_run(found[1].decode(errors="replace"), int(found[2]))
        elif found := _TORN.match(block):
            if self._is_of_run(found[1]) and int(found[2]) == self.seq:
                self.is_whole, self.is_marked_torn = False, True
        elif found := _GAP.match(block):
            self._goes_on(self._gaps, found[1], int(found[2]))
        elif found := _LOSS.match(block):
            self._goes_on(self._losses, found[1], None if found[2] == b"end" else int(found[2]))
        elif times := list(_TIMES.finditer(block)):
            if (found := _CUE.match(block)) and self._is_of_run(found[1]):
                self._take_cue(begin, *(int(each) for each in found.groups()[1:]), is_torn=is_torn)
            self.number_cues += len(times)
            self.last_ms = max(self.last_ms, *(_read_ms(each.groups()[4:]) for each in times))

    def _goes_on(self, known: set[Any], run: bytes, seq: int | None) -> None:
        """Take in a note after the last final. If that final is torn, the engine did not have it any more."""
        if self._is_of_run(run):
            known.add(seq)
            self.is_whole = True

    def _take_cue(self, begin: int, seq: int, number: int, of_number: int, *, is_torn: bool) -> None:
        if seq != self.seq:
            self.seq, self.begin_bytes, self.before_ms = seq, begin, self.last_ms
        self.is_whole, self.is_marked_torn = number == of_number and not is_torn, False

    def _is_of_run(self, run: bytes) -> bool:
        return bool(self.run) and run.decode(errors="replace") == self.run


def _read_ms(parts: tuple[bytes | None, ...]) -> int:
    hours, minutes, seconds, milliseconds = (int(part or 0) for part in parts)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds
