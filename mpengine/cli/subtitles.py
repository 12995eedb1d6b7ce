"""SubRip and WebVTT: files that only grow, by whole cues, and how to go on with one. Pure.

In WebVTT each run has a note that says where its second 0 is, and each cue is called after the final it comes from:
RUN:SEQ.NUMBER. So who goes on with such a file misses nothing and writes nothing twice. SubRip has no place for that.
"""

import re
from typing import NamedTuple

from mpengine.cli.cues import Cue, Cues
from mpengine.cli.text import harmless
from mpengine.client.known import Hole
from mpengine.shared.messages import Gap, Published, Transcript
from mpengine.shared.snapshot import FINALS

_HEADER = "WEBVTT\n\n"
_CLOCK = r"(?:(\d+):)?(\d\d):(\d\d)[.,](\d\d\d)"
_TIMES = re.compile(rf"^{_CLOCK}[ \t]+-->[ \t]+{_CLOCK}", re.MULTILINE)
_RUN = re.compile(r"^NOTE run (\S+) begins at (-?\d+) ms$", re.MULTILINE)
_NAME = re.compile(r"^(\S+):(\d+)\.\d+\n(?=.*-->)", re.MULTILINE)


class Continued(NamedTuple):
    """What is to be done with a file in order to go on: keep so many of its bytes, then write `mend`.

    `since` is the run and the number of the final that was written last, if the file says so.
    """

    kept_bytes: int
    mend: str
    since: tuple[str, int] | None = None


class Subtitles:
    """Turns messages into what is to be written, which ends with an empty line."""

    def __init__(self, cues: Cues, *, is_vtt: bool) -> None:
        self._cues = cues
        self._is_vtt = is_vtt
        self._number = 0
        self.header = _HEADER if is_vtt else ""

    def show(self, message: Published | Hole | None) -> str:
        """What to write for `message`; nothing for what is no concern of a reader."""
        match message:
            case Transcript(is_final=True, run=run, start_s=start_s) if message.text.strip():
                return self._meet(run, start_s) + self._final(message)
            case Gap(samples=samples, run=run, start_s=start_s, end_s=end_s) if samples and self._is_vtt:
                clock = _clock(max(0, self._cues.zero_ms + round(start_s * 1000)), ".")
                return f"NOTE {end_s - start_s:.1f} s lost at {clock}: {_text(message.reason)}\n\n"
            case Hole(topic=topic) if topic == FINALS and self._is_vtt:
                return "NOTE results lost\n\n"
        return ""

    def go_on(self, existing: bytes) -> Continued:
        """From now on behind `existing`, which is a file that was begun earlier."""
        text = existing.decode(errors="surrogateescape").replace("\r\n", "\n")
        if not existing.strip():
            return Continued(0, self.header)
        self.header = ""
        # Whoever wrote the last lines may have been killed meanwhile. A cue that has its times is kept.
        begin = text.rstrip("\n").rfind("\n\n") + 1
        is_torn = not text.endswith("\n\n") and not _TIMES.search(text, begin) and begin > 0
        kept_bytes = len(existing)
        if is_torn:
            kept_bytes = max(existing.rfind(b"\n\n"), existing.rfind(b"\n\r\n")) + 1
            text = text[:begin]
        mend = "" if text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
        times, runs, names = (list(each.finditer(text)) for each in (_TIMES, _RUN, _NAME))
        self._number = len(times)
        last_ms = max((_read_ms(found.groups()[4:]) for found in times), default=0)
        if runs and names and names[-1][1] == runs[-1][1]:
            self._cues.go_on(runs[-1][1], int(runs[-1][2]), last_ms)
            return Continued(kept_bytes, mend, (names[-1][1], int(names[-1][2])))
        self._cues.go_on(None, self._cues.zero_ms, last_ms)
        return Continued(kept_bytes, mend)

    def _meet(self, run: str, start_s: float) -> str:
        if not self._cues.meet(run, start_s) or not self._is_vtt or not run:
            return ""
        return f"NOTE run {_text(run)} begins at {self._cues.zero_ms} ms\n\n"

    def _final(self, final: Transcript) -> str:
        cues = self._cues.of(final)
        return "".join(self._cue(cue, f"{final.run}:{final.seq}.{number}") for number, cue in enumerate(cues, 1))

    def _cue(self, cue: Cue, name: str) -> str:
        self._number += 1
        mark = "." if self._is_vtt else ","
        times = f"{_clock(cue.start_ms, mark)} --> {_clock(cue.end_ms, mark)}"
        if self._is_vtt:
            return f"{_text(name)}\n{times}\n" + "".join(f"{_text(line)}\n" for line in cue.lines) + "\n"
        return f"{self._number}\n{times}\n" + "".join(f"{line.replace('-->', '→')}\n" for line in cue.lines) + "\n"


def _text(text: str) -> str:
    """As WebVTT wants it: tags and arrows begin and end with these."""
    return harmless(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(milliseconds: int, mark: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}{mark}{rest:03}"


def _read_ms(parts: tuple[str | None, ...]) -> int:
    hours, minutes, seconds, milliseconds = (int(part or 0) for part in parts)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds
