"""What a person should know of the microphone's level: told once when it begins, and once when it is over. Pure.

    notice         begins                                                  is over
    digital        10 s of nothing but zeros                               with the first sample that is not zero
    nearly silent  60 s below -75 dBFS (the noise of a room is louder)     after a second above that
    clipping       samples at full scale in more than two of five levels, after 10 s of sound without any
                   until that is 2 s of them
    DC offset      10 s with a mean of 5 % of full scale or more           after 10 s with one below 4 %

The seconds are those of the samples: while nothing comes, nothing is judged.

A microphone with a noise gate gives zeros, and one with a low gain in a quiet room is nearly silent, whenever nobody
speaks. So a silence that was over soon after it was told was a pause, and the next one has to last twice as long.
"""

from typing import NamedTuple

from mpengine.shared import control
from mpengine.shared.messages import ErrorCode

_DIGITAL_S = 10.0
_NEARLY_SILENT_S, _HEARD_AGAIN_S = 60.0, 1.0
NEARLY_SILENT_DBFS = -75.0
# A silence of less than this many times its limit was a pause. The limit doubles at most so often.
_PAUSE, _DOUBLINGS = 3, 5
# One blow against the microphone is no clipping, however hard it is.
CLIPPED_SHARE = 0.002
_CLIPPED_S, _UNCLIPPED_S = 2.0, 10.0
_LEAK = 2 / 3  # of the clipped seconds, while nothing is clipped
# Softer audio does not show whether louder audio would still be clipped.
_SOUND_PEAK_DBFS = -40.0
_OFFSET_S, _CENTRED_S = 10.0, 10.0
OFFSET_SHARE, _CENTRED_SHARE = 0.05, 0.04

_OVER = {
    ErrorCode.DIGITAL_SILENCE: (ErrorCode.DIGITAL_SILENCE_OVER, "gives more than digital silence again"),
    ErrorCode.NEARLY_SILENT: (ErrorCode.NEARLY_SILENT_OVER, "is no longer nearly silent"),
    ErrorCode.CLIPPING: (ErrorCode.CLIPPING_OVER, "clips no longer"),
    ErrorCode.DC_OFFSET: (ErrorCode.DC_OFFSET_OVER, "has no DC offset any more"),
}


class Notice(NamedTuple):
    """Something to tell; `is_over`: it has passed. `words` follow the name of the device."""

    code: ErrorCode
    words: str
    is_over: bool = False


class _Silence:
    """How long a silence has lasted, and for how long one has to last to be told."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s, self._most_s = limit_s, limit_s * 2**_DOUBLINGS
        self._lasts_s = self._lasted_s = 0.0

    def count(self, lasted_s: float, *, is_silent: bool) -> None:
        """So many further seconds were heard."""
        self._lasts_s = self._lasts_s + lasted_s if is_silent else 0.0
        self._lasted_s = self._lasts_s or self._lasted_s

    @property
    def is_long(self) -> bool:
        """Whether to tell it."""
        return self._lasts_s >= self._limit_s

    def opened(self) -> None:
        """Nothing was heard yet."""
        self._lasts_s = 0.0

    def ended(self) -> None:
        """The silence that was told is over."""
        if self._lasted_s < _PAUSE * self._limit_s:
            self._limit_s = min(self._most_s, 2 * self._limit_s)


class LevelNotices:
    """Judges the levels of one engine. What has been told stays told when the device is opened again."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._told: set[ErrorCode] = set()
        self._digital, self._soft = _Silence(_DIGITAL_S), _Silence(_NEARLY_SILENT_S)
        self._silences = {ErrorCode.DIGITAL_SILENCE: self._digital, ErrorCode.NEARLY_SILENT: self._soft}
        self.opened()

    def opened(self) -> None:
        """A device was opened: what was heard before does not count."""
        self._digital.opened()
        self._soft.opened()
        self._loud_s = 0.0
        self._clipped_s = self._unclipped_s = self._offset_s = self._centred_s = 0.0

    def heard(self, level: control.LevelHeard) -> list[Notice]:
        """The next level. Returns what is to be told now."""
        self._count(level, (level.end - level.first) / self._rate)
        notices: list[Notice] = []
        for code, begins, ends in (
            (ErrorCode.DIGITAL_SILENCE, self._digital.is_long, not level.digital_silence),
            (ErrorCode.NEARLY_SILENT, self._soft.is_long, self._loud_s >= _HEARD_AGAIN_S),
            (ErrorCode.CLIPPING, self._clipped_s >= _CLIPPED_S, self._unclipped_s >= _UNCLIPPED_S),
            (ErrorCode.DC_OFFSET, self._offset_s >= _OFFSET_S, self._centred_s >= _CENTRED_S),
        ):
            if begins and code not in self._told:
                self._told.add(code)
                notices.append(Notice(code, _words(code, level)))
            elif ends and code in self._told:
                self._told.remove(code)
                if code in self._silences:
                    self._silences[code].ended()
                notices.append(Notice(*_OVER[code], is_over=True))
        return notices

    def _count(self, level: control.LevelHeard, lasted_s: float) -> None:
        """Count how long each condition has lasted, up to the end of `level`."""
        is_soft = level.rms_dbfs < NEARLY_SILENT_DBFS
        self._digital.count(lasted_s, is_silent=level.digital_silence)
        # Zeros have a notice of their own.
        self._soft.count(lasted_s, is_silent=is_soft and not level.digital_silence)
        self._loud_s = 0.0 if is_soft else self._loud_s + lasted_s
        if level.clipped >= CLIPPED_SHARE:
            self._clipped_s = min(_CLIPPED_S, self._clipped_s + lasted_s)
            self._unclipped_s = 0.0
        else:
            self._clipped_s = max(0.0, self._clipped_s - _LEAK * lasted_s)
            if level.peak_dbfs > _SOUND_PEAK_DBFS:
                self._unclipped_s += lasted_s
        self._offset_s = self._offset_s + lasted_s if abs(level.dc) >= OFFSET_SHARE else 0.0
        self._centred_s = self._centred_s + lasted_s if abs(level.dc) < _CENTRED_SHARE else 0.0


def _words(code: ErrorCode, level: control.LevelHeard) -> str:
    match code:
        case ErrorCode.DIGITAL_SILENCE:
            return "gives digital silence: is it muted, or the wrong device? (mpengine devices)"
        case ErrorCode.NEARLY_SILENT:
            return (
                f"is nearly silent ({level.rms_dbfs:.0f} dBFS): is it muted, its gain at zero, or is it the wrong "
                "device? (mpengine devices)"
            )
        case ErrorCode.CLIPPING:
            return f"clips: {level.clipped:.1%} of its last samples are at full scale; turn its gain down"
        case _:
            return (
                f"has a DC offset of {abs(level.dc):.0%} of full scale, which leaves less room for sound: a bad cable, "
                "missing plug-in power, or a broken device"
            )
