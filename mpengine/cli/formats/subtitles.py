"""SubRip and WebVTT: what is written, live, into files that only grow. Pure.

In WebVTT each run has a note that says where its second 0 is, each cue is called after the final it comes from
(RUN:SEQ.NUMBER/OF_NUMBER), and so is the note on a loss. So who goes on with such a file misses nothing and writes
nothing twice: `subtitle_ends` reads it. SubRip has no place for that.
"""

from mpengine.cli.formats.cues import Cue, Cues
from mpengine.cli.formats.positions import Ending
from mpengine.cli.formats.subtitle_ends import HEADER, TornFinal, end_of_subtitles
from mpengine.client.position import Hole
from mpengine.shared.messages import Gap, Published, Transcript
from mpengine.shared.snapshot import FINALS
from mpengine.shared.text import harmless


class Subtitles:
    """Turns messages into what is to be written, which ends with an empty line."""

    def __init__(self, cues: Cues, *, is_vtt: bool) -> None:
        self._cues = cues
        self._is_vtt = is_vtt
        self._number = 0
        self._torn: TornFinal | None = None
        self.header = HEADER.decode() if is_vtt else ""

    def show(self, message: Published | Hole | None) -> str:
        """What to write for `message`; nothing for what is no concern of a reader."""
        match message:
            case Transcript(is_final=True, run=run, start_s=start_s) if message.text.strip():
                return self._meet(run, start_s) + self._final(message)
            case Gap(run=run, start_s=start_s) if message.samples and self._is_vtt:
                return self._meet(run, start_s) + self._gap(message)
            case Hole(topic=topic, last_seq=last_seq) if topic == FINALS and self._is_vtt:
                last = "end" if last_seq is None else last_seq
                return f"NOTE {_text(message.run)}:{last} results lost\n\n"
        return ""

    def go_on(self, existing: bytes) -> Ending:
        """From now on behind `existing`, which is a file that was begun earlier."""
        end = end_of_subtitles(existing, is_vtt=self._is_vtt)
        self.header = ""
        self._number = end.number_cues
        self._cues.go_on(end.run, end.zero_ms if end.run else self._cues.zero_ms, end.last_ms)
        self._torn = end.torn
        return end.ending

    def take_back(self, message: Published | Hole | None) -> int | None:
        """How many bytes of the file to keep before `message` is shown; None if that is all of them.

        A final that is there in part is let go of only when it comes again: an engine that has begun another run, as
        after a loss of power, does not have it any more.
        """
        torn = self._torn
        match message:
            case Transcript(is_final=True, run=run, seq=seq) if torn and (run, seq) == (torn.run, torn.seq):
                self._torn = None
                self._cues.last_ms = torn.last_ms
                return torn.begin_bytes
            case Transcript(is_final=True) | Gap() | Hole():
                self._torn = None  # it is not to be had any more, and not the last thing either
        return None

    def _meet(self, run: str, start_s: float) -> str:
        if not self._cues.meet(run, start_s) or not self._is_vtt or not run:
            return ""
        return f"NOTE run {_text(run)} begins at {self._cues.zero_ms} ms\n\n"

    def _final(self, final: Transcript) -> str:
        cues = self._cues.of(final)
        name = f"{final.run}:{final.seq}"
        return "".join(self._cue(cue, f"{name}.{number}/{len(cues)}") for number, cue in enumerate(cues, 1))

    def _gap(self, gap: Gap) -> str:
        name = f"{_text(gap.run)}:{gap.seq} " if gap.run else ""
        clock = _clock(max(0, self._cues.zero_ms + round(gap.start_s * 1000)), ".")
        return f"NOTE {name}{gap.end_s - gap.start_s:.1f} s lost at {clock}: {_text(gap.reason)}\n\n"

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
