"""`mpengine devices --levels` shows how loud each microphone is: bars on a terminal, otherwise lines."""

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Self

from mpengine.capture import devices as microphones
from mpengine.capture import portaudio
from mpengine.capture.choosing import Choice, choose
from mpengine.capture.device_format import rates_to_try
from mpengine.capture.inventory import Present
from mpengine.capture.level import FLOOR_DBFS, Loudness, measure
from mpengine.capture.stream import PortAudioError, Stream, refuses_the_rate
from mpengine.cli.devices import listing
from mpengine.cli.terminal.in_place import Screen
from mpengine.shared.config import Config
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import DeviceError, ExitCode
from mpengine.shared.standard_streams import drop_output, write_text
from mpengine.shared.text import harmless, width

_READ_S = 0.1
_READS_A_LINE = 10
_SILENT_S = 3.0
_MOST = 16
_BUFFER_S = 0.5
# The columns of what stands beside a bar: spaces, and "-100.0 dBFS, peak -100.0".
_WORDS = 26


class _Meter:
    """One microphone: it is listened to, or its `trouble` says why not."""

    def __init__(self, name: str, trouble: str = "") -> None:
        self.name = name
        self.loudness: Loudness | None = None
        self.trouble = trouble
        self._heard_at = time.monotonic()
        self._pcm = bytearray()
        self._stream: Stream | None = None

    def open(self, choice: Choice, audio: AudioConfig) -> Self:
        """Begin to listen."""
        assert choice.number is not None
        microphones.prepare(choice)
        for rate_hz in rates_to_try(audio.sample_rate, choice.rate_hz):
            try:
                self._stream = Stream(choice.number, rate_hz=rate_hz, channels=1, latency_s=_BUFFER_S)
            except PortAudioError as error:
                self.trouble = portaudio.words(error)
                if not refuses_the_rate(error):
                    break
            else:
                self.trouble = ""
                break
        return self

    def listen(self) -> None:
        """Take what has come."""
        if self._stream is None:
            return
        try:
            self._pcm += self._stream.read(self._stream.available()).pcm
        except PortAudioError:
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
    def levels(self) -> tuple[float, float]:
        """The RMS and the peak."""
        return (FLOOR_DBFS, FLOOR_DBFS) if self.loudness is None else self.loudness[:2]

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


def show_levels(config_path: str | None, begins: Callable[[], None]) -> int:
    """Show levels until Ctrl-C. Returns exit code 3 when there is nothing to listen to. Raises DeviceError.

    Calls `begins` when all microphones are open.
    """
    audio = Config.load_audio(config_path)
    found = listing.look(audio)
    choices = _choices(found.present)
    if not choices:
        write_text("\n".join(listing.lines(found, audio)) + "\n")
        return int(ExitCode.DEVICE)
    hidden = [_Meter(row.one.name, row.state) for row in found.rows if row.one.is_hidden]
    meters = [_Meter(choice.name).open(choice, audio) for choice in choices] + hidden
    begins()
    try:
        if sys.stdout.isatty():
            _draw(meters)
        _print(meters)
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


def _draw(meters: list[_Meter]) -> None:
    with Screen() as screen:
        while True:
            for meter in meters:
                meter.listen()
                meter.judge()
            screen.show(functools.partial(_drawn, meters))
            time.sleep(_READ_S)


def _drawn(meters: list[_Meter]) -> list[str]:
    """A line a microphone, or two where the terminal is too narrow for a name and a bar."""
    from mpengine.cli.terminal import drawing  # noqa: PLC0415  a pipe needs none

    to = drawing.standard_output()
    names = max(width(harmless(meter.name)) for meter in meters)
    length = drawing.level_columns((to.columns or 0) - _WORDS - names)
    heads = [drawing.Head(word, least) for word, least in (("NAME", 0), ("", length), ("", _WORDS))]
    rows = [(meter.name, drawing.level_bar(*meter.levels, length, to), meter.words) for meter in meters]
    return [*drawing.lines(drawing.table(heads, rows, to), to), "", "Ctrl-C ends this"]


def _print(meters: list[_Meter]) -> None:
    while True:
        for _ in range(_READS_A_LINE):
            time.sleep(_READ_S)
            for meter in meters:
                meter.listen()
        for meter in meters:
            meter.judge()
            write_text(f"{harmless(meter.name)}: {harmless(meter.words)}\n")
