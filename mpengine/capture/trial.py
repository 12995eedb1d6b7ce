"""A trial of the source of audio for `mpengine check`, in a process of its own: a device that hangs must not stop it.

    python -m mpengine.capture.trial

The process reads its settings as a child of the engine does, and opens the source that capture would open. It writes
`tried.Event`s to the descriptor `EVENTS_FD`, one object of JSON a line, and ends. Where the audio system does not come
back, it ends without a last word, see `guard`. The main thread does all of it.
"""

import os
import select
import sys
import time

import msgspec

from mpengine.capture.level import FLOOR_DBFS, LevelMeter, Loudness, measure
from mpengine.capture.process import source_of
from mpengine.capture.source import Source
from mpengine.capture.tried import Cards, Event, Found, Level, Listened, Opened, Trouble
from mpengine.processes import beginning
from mpengine.processes.beginning import Parent
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ExitCode, MpengineError
from mpengine.shared.sources import DEFAULT, SOURCES

EVENTS_FD = beginning.LISTENER_FD

_LEVELS_PER_S = 10
_MOST_BLOCKS = 50
_LONGEST_WAIT_S = 0.1
# Further audio is not kept, only its level.
_MOST_KEPT_S = 60
# Microphones settle after their opening, with a click or with zeros.
_SETTLES_S = 0.3


class TrialSettings(Parent, frozen=True, kw_only=True):
    """What to try. `seconds`: how long to listen."""

    audio: AudioConfig
    seconds: float


def is_microphone(audio: AudioConfig) -> bool:
    """Whether the source is an input device of this machine."""
    return audio.home is SOURCES[DEFAULT]


def try_source(audio: AudioConfig, seconds: float) -> None:
    """Find, open and hear the source, and tell of each step. Raises MpengineError."""
    if audio.gate == "vad":
        from mpengine.capture.voice import VoiceDetector  # noqa: PLC0415  it loads an extra

        VoiceDetector()
    if is_microphone(audio):
        _find(audio)
    source = source_of(audio)
    opened = source.open(0)
    try:
        _tell(Opened(opened.name, opened.device_rate_hz))
        if seconds and not audio.kind.seekable:
            _listen(source, audio, seconds)
    finally:
        source.close()


def _find(audio: AudioConfig) -> None:
    """Say what there is, and which microphone is meant. Raises DeviceError."""
    from mpengine.capture import cards, sound_server  # noqa: PLC0415

    sound_server.check()
    from mpengine.capture import devices, portaudio  # noqa: PLC0415  they start PortAudio

    _tell(Cards(cards.pcms(), portaudio.version()))
    choice = devices.look_for(audio.device, "")[0]
    _tell(Found(choice.name, choice.is_card, choice.source))


def _listen(source: Source, audio: AudioConfig, seconds: float) -> None:
    """Hear so many seconds. Raises DeviceError when nothing comes, or the device goes."""
    values_per_s = audio.sample_rate * audio.channels
    meter = LevelMeter(values_per_s // _LEVELS_PER_S)
    levels: list[Loudness] = []
    kept = bytearray()
    settles, wanted = int(_SETTLES_S * values_per_s), int((seconds + _SETTLES_S) * values_per_s)
    heard = 0
    while heard < wanted:
        _wait_for(source)
        for block in source.read(time.monotonic_ns(), _MOST_BLOCKS):
            heard += len(block.pcm) // 2
            if heard < settles:
                continue
            if len(kept) < 2 * _MOST_KEPT_S * values_per_s:
                kept += block.pcm
            if (loudness := meter.add(block.pcm)) is not None:
                levels.append(loudness)
                _tell(Level(loudness.rms_dbfs, loudness.peak_dbfs))
    whole = measure(bytes(kept))
    rms = [level.rms_dbfs for level in levels] or [FLOOR_DBFS]
    _tell(
        Listened(
            seconds=(heard - settles) / values_per_s,
            loudest_dbfs=max(rms),
            softest_dbfs=min(rms),
            peak_dbfs=max([whole.peak_dbfs, *(level.peak_dbfs for level in levels)]),
            digital_silence=whole.digital_silence and all(level.digital_silence for level in levels),
            clipped=whole.clipped,
            dc=whole.dc,
        )
    )


def _wait_for(source: Source) -> None:
    fd = source.fileno()
    if fd is not None:
        select.select([fd], [], [], _LONGEST_WAIT_S)
    else:
        due_s = source.due_s(time.monotonic_ns())
        time.sleep(_LONGEST_WAIT_S if due_s is None else min(_LONGEST_WAIT_S, max(0.0, due_s)))


def _tell(event: Event) -> None:
    """Write one event. The process ends quietly where nobody reads it any more."""
    data = msgspec.json.encode(event) + b"\n"
    try:
        while data:
            data = data[os.write(EVENTS_FD, data) :]
    except OSError:
        raise SystemExit(int(ExitCode.CRASH)) from None


def main() -> None:
    """Be the process."""
    settings = beginning.receive(TrialSettings, "trial")
    beginning.silence_native_stderr()
    os.set_inheritable(EVENTS_FD, False)
    try:
        try_source(settings.audio, settings.seconds)
    except MpengineError as error:
        _tell(Trouble(str(error), int(error.exit_code)))
        sys.exit(int(error.exit_code))


if __name__ == "__main__":
    main()
