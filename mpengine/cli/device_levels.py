"""`mpengine devices --levels` shows how loud each microphone is: bars on a terminal, otherwise lines."""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from mpengine.capture import devices as microphones
from mpengine.capture import portaudio
from mpengine.capture.choosing import Choice, Present, choose
from mpengine.capture.level import FLOOR_DBFS, Loudness, measure
from mpengine.cli.device_list import look
from mpengine.cli.terminal import Screen
from mpengine.shared.config import Config
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import DeviceError, ExitCode
from mpengine.shared.standard_streams import drop_output, write_text
from mpengine.shared.text import harmless, width

_READ_S = 0.1
_READS_A_LINE = 10
_SILENT_S = 3.0
_MOST = 16
_BAR = 40
_LOWEST_DBFS = -60.0


class _Ear:
    """One microphone that is listened to."""

    def __init__(self, choice: Choice, audio: AudioConfig) -> None:
        self.name = choice.name
        self.loudness: Loudness | None = None
        self.trouble = ""
        self._heard_at = time.monotonic()
        self._pcm = bytearray()
        self._stream: Any = None
        rates = dict.fromkeys((audio.sample_rate, choice.rate_hz or 48000, 48000, 44100))
        for rate_hz in rates:
            try:
                microphones.prepare(choice)
                self._stream = portaudio.sounddevice.RawInputStream(
                    device=choice.number, samplerate=rate_hz, channels=1, dtype="int16", latency=0.5
                )
                self._stream.start()
            except (portaudio.sounddevice.PortAudioError, ValueError) as error:
                self._stream, self.trouble = None, portaudio.words(error)
            else:
                self.trouble = ""
                return

    def listen(self) -> None:
        """Take what has come."""
        if self._stream is None:
            return
        try:
            self._pcm += self._stream.read(self._stream.read_available)[0]
        except portaudio.sounddevice.PortAudioError:
            self._stream, self.trouble = None, "has gone"

    def judge(self) -> None:
        """Measure what has come since the last time."""
        now = time.monotonic()
        if self._pcm:
            self.loudness, self._heard_at = measure(bytes(self._pcm)), now
            self._pcm.clear()
        elif self._stream is None or now > self._heard_at + _SILENT_S:
            self.loudness = None

    @property
    def words(self) -> str:
        """The level in words."""
        if self.trouble:
            return self.trouble
        if self.loudness is None:
            return "nothing comes"
        if self.loudness.digital_silence:
            return "digital silence"
        return f"{self.loudness.rms_dbfs:.1f} dBFS, peak {self.loudness.peak_dbfs:.1f}"

    @property
    def bar(self) -> str:
        """The level as a bar: the RMS, and a mark at the peak."""
        rms, peak = (FLOOR_DBFS, FLOOR_DBFS) if self.loudness is None else self.loudness[:2]
        cells = ["#" if place < _cell(rms) else " " for place in range(_BAR)]
        if _cell(peak):
            cells[_cell(peak) - 1] = "|"
        return "".join(cells)


def show_levels(config_path: str | None, begins: Callable[[], None]) -> int:
    """Show levels until Ctrl-C. Returns exit code 3 when there is nothing to listen to. Raises DeviceError.

    Calls `begins` when all microphones are open.
    """
    audio = Config.load_audio(config_path)
    choices = _choices(look(audio).present)
    if not choices:
        write_text("no audio input device: plug in a microphone (in a container, pass in /dev/snd)\n")
        return int(ExitCode.DEVICE)
    ears = [_Ear(choice, audio) for choice in choices]
    begins()
    columns = max(width(harmless(ear.name)) for ear in ears)
    try:
        if sys.stdout.isatty():
            _draw(ears, columns)
        _print(ears)
    except (KeyboardInterrupt, BrokenPipeError):
        drop_output()
    # A device that hangs in PortAudio's end must not keep the command.
    os._exit(int(ExitCode.OK))


def _choices(present: Present) -> list[Choice]:
    """All microphones that can be opened: by number, so that names cannot be ambiguous."""
    found = []
    names: list[str | int] = [source.name for source in present.sources if not source.is_monitor]
    for wanted in [*names, *(entry.number for entry in present.inputs)]:
        with contextlib.suppress(DeviceError):
            found.append(choose(wanted, "", present))
    return found[:_MOST]


def _draw(ears: list[_Ear], columns: int) -> None:
    with Screen() as screen:
        while True:
            lines = []
            for ear in ears:
                ear.listen()
                ear.judge()
                name = harmless(ear.name)
                lines.append(f"{name}{' ' * (columns - width(name))} [{ear.bar}] {harmless(ear.words)}")
            screen.show([*lines, "", "Ctrl-C ends this"])
            time.sleep(_READ_S)


def _print(ears: list[_Ear]) -> None:
    while True:
        for _ in range(_READS_A_LINE):
            time.sleep(_READ_S)
            for ear in ears:
                ear.listen()
        for ear in ears:
            ear.judge()
            write_text(f"{harmless(ear.name)}: {harmless(ear.words)}\n")


def _cell(dbfs: float) -> int:
    return max(0, min(_BAR, round((1 - dbfs / _LOWEST_DBFS) * _BAR)))
