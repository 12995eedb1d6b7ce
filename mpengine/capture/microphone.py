"""The microphone: an input device, read by a timer. The main thread owns the device and the timer.

PortAudio's blocking interface gives what has come, and no call waits for more: see `mpengine.capture.stream`.
"""

import collections
import time
from collections.abc import Sequence
from typing import NamedTuple

from mpengine.capture.cutting import Cutter
from mpengine.capture.guard import ends_within
from mpengine.capture.pace import Pace, Patience
from mpengine.capture.portaudio import sounddevice, words
from mpengine.capture.source import Block, Source, SourceInfo
from mpengine.capture.stream import PortAudioError, Stream, start_again
from mpengine.capture.timer import Timer, has_timers
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import DeviceError

# So much audio may wait for the main thread, which waits for a disk. Later samples are counted, and lost.
_WAITING_S = 30
# A driver that has stood still hands over one buffer after the other.
_READS_AT_ONCE = 32
# From this share of its length on, the buffer counts as full.
_FULL = 0.9
# A sound server that hangs makes these calls hang.
_OPENING_LIMIT_S = 5.0
_CLOSING_LIMIT_S = 0.5


class Device(NamedTuple):
    """An input device. PortAudio gives `number`, which may differ in another process."""

    number: int
    name: str
    host_api: str
    channels: int
    sample_rate: int
    is_default: bool = False


class Microphone(Source):
    """The configured input device, as int16 samples in blocks of the configured length."""

    def __init__(self, audio: AudioConfig) -> None:
        self._audio = audio
        self._sample_bytes = 2 * audio.channels
        self._block_s = audio.block_samples / audio.sample_rate
        self._stream: Stream | None = None
        self._is_lost = False
        self._name = ""
        self._has_tried = False
        self._timer = Timer() if has_timers() else None
        self._due_ns = 0
        self._step_s = 0.0
        self._cutter = self._new_cutter()
        self._pace = self._new_pace(audio.latency)
        self._patience = Patience(0.0)
        self._blocks: collections.deque[Block] = collections.deque()
        self._waiting_samples = self._lost_samples = 0
        self._overflowed = False

    def open(self, first_sample: int) -> SourceInfo:  # noqa: ARG002  not seekable
        """Open and start the device, which is looked for anew. Raises DeviceError."""
        with ends_within(_OPENING_LIMIT_S, "open"):
            if self._has_tried:
                self._look_again()
            self._has_tried = True
            device = choose(input_devices(), self._audio.device)
            self._stream = self._open(device)
        self._name, self._is_lost = device.name, False
        self._cutter, self._pace = self._new_cutter(), self._new_pace(self._stream.latency_s)
        self._patience = Patience(time.monotonic())
        self._set_timer(self._pace.step_s)
        return SourceInfo(device.name, self._stream.latency_s, self._audio.sample_rate)

    def fileno(self) -> int | None:
        """A descriptor that is readable when the device is to be read."""
        return None if self._timer is None else self._timer.fileno()

    def due_s(self, now_ns: int) -> float | None:
        """Where there are no timers: seconds until the device is to be read."""
        return None if self._stream is None or self._is_lost else (self._due_ns - now_ns) / 1e9

    def read(self, now_ns: int, room: int) -> list[Block]:
        """The blocks that have come, at most `room`. The device is read in any case.

        Raises DeviceError once, when the device has gone or has delivered nothing for 3 s. Further calls give the rest.
        """
        if self._timer is not None:
            self._timer.drain()
        if self._stream is not None and not self._is_lost and (self._timer or now_ns >= self._due_ns):
            self._take(self._stream)
        blocks: list[Block] = []
        while self._blocks and len(blocks) < room:
            block = self._blocks.popleft()
            self._waiting_samples -= len(block.pcm) // self._sample_bytes
            blocks.append(block)
        return blocks

    def close(self) -> None:
        """Stop and close the device."""
        stream, self._stream = self._stream, None
        if self._timer is not None:
            self._timer.set(0, 0)
        self._queue(self._cutter.cut_off())
        if stream is not None:
            with ends_within(_CLOSING_LIMIT_S, "close"):
                stream.close()

    def _open(self, device: Device) -> Stream:
        audio = self._audio
        try:
            return Stream(device.number, rate_hz=audio.sample_rate, channels=audio.channels, latency_s=audio.latency)
        except PortAudioError as error:
            raise DeviceError(
                f'cannot open "{device.name}" at {audio.sample_rate} Hz, {audio.channels} channel(s): '
                f"{words(error)}; mpengine devices lists what there is"
            ) from None

    def _look_again(self) -> None:
        try:
            start_again()
        except PortAudioError as error:
            raise DeviceError(f"PortAudio does not start: {words(error)}") from None

    def _take(self, stream: Stream) -> None:
        """Read what the device has. Raises DeviceError when it is lost."""
        has_come = False
        try:
            for _ in range(_READS_AT_ONCE):
                samples, is_late = self._read(stream)
                has_come |= samples > 0
                if not is_late:
                    break
        except PortAudioError as error:
            self._lose()
            raise DeviceError(f'"{self._name}" has gone: {words(error)}') from None
        if self._patience.is_over(time.monotonic(), has_come=has_come):
            self._lose()
            raise DeviceError(f'"{self._name}" has delivered nothing for some seconds')
        first_s, step_s = self._pace.first_step_s(self._cutter.rest_s), self._pace.step_s
        if first_s != step_s or step_s != self._step_s or self._timer is None:
            self._set_timer(first_s, step_s)

    def _read(self, stream: Stream) -> tuple[int, bool]:
        """Read once. Returns the number of samples, and whether more of them may be ready."""
        samples = stream.available()
        at_ns = time.monotonic_ns()
        if not samples:
            return 0, False
        pcm, overflowed = stream.read(samples)
        # A full buffer says nothing about the time, and another one may be ready behind it.
        is_late = samples >= _FULL * stream.latency_s * self._audio.sample_rate
        if overflowed:
            self._pace.hurry()
        if not is_late:
            self._pace.has_read()
        self._queue(self._cutter.add(pcm, at_ns, overflowed=overflowed, is_late=is_late))
        return samples, is_late

    def _queue(self, blocks: list[Block]) -> None:
        """Let blocks wait for `read`; those for which there is no room are counted, and are lost."""
        for block in blocks:
            self._pace.heard(block.pcm)
            samples = len(block.pcm) // self._sample_bytes
            if self._waiting_samples >= _WAITING_S * self._audio.sample_rate:
                self._lost_samples += samples
                self._overflowed |= block.overflowed
                continue
            overflowed = block.overflowed or self._overflowed
            self._blocks.append(Block(block.pcm, block.arrival_ns, self._lost_samples, overflowed, block.is_exact))
            self._lost_samples, self._overflowed = 0, False
            self._waiting_samples += samples

    def _lose(self) -> None:
        """The device is not read again. What it had delivered waits for `read`."""
        self._is_lost = True
        self._queue(self._cutter.cut_off())
        self._set_timer(0.0)

    def _set_timer(self, first_s: float, step_s: float | None = None) -> None:
        self._step_s = first_s if step_s is None else step_s
        self._due_ns = time.monotonic_ns() + int(first_s * 1e9)
        if self._timer is not None:
            self._timer.set(first_s, self._step_s)

    def _new_cutter(self) -> Cutter:
        audio = self._audio
        return Cutter(rate_hz=audio.sample_rate, sample_bytes=self._sample_bytes, block_samples=audio.block_samples)

    def _new_pace(self, buffer_s: float) -> Pace:
        return Pace(block_s=self._block_s, quiet_s=self._audio.quiet_ms / 1000, buffer_s=buffer_s)


def input_devices() -> list[Device]:
    """The devices with inputs, in PortAudio's order. Raises DeviceError."""
    try:
        apis = sounddevice.query_hostapis()
        default = sounddevice.default.device[0]
        return [
            Device(
                number=number,
                name=entry["name"],
                host_api=apis[entry["hostapi"]]["name"],
                channels=entry["max_input_channels"],
                sample_rate=int(entry["default_samplerate"]),
                is_default=number == default,
            )
            for number, entry in enumerate(sounddevice.query_devices())
            if entry["max_input_channels"] > 0
        ]
    except PortAudioError as error:
        raise DeviceError(f"PortAudio cannot list the devices: {words(error)}") from None


def choose(devices: Sequence[Device], wanted: str | int | None) -> Device:
    """The device meant by `wanted`: None for the system's default, a number, a name, or a part of one name.

    Upper and lower case are equal. Raises DeviceError, which lists the devices, when none or several fit.
    """
    if not devices:
        raise DeviceError("there is no audio input device; plug in a microphone, or set audio.source to a WAV file")
    if wanted is None:
        return next((device for device in devices if device.is_default), devices[0])
    if isinstance(wanted, int):
        found = [device for device in devices if device.number == wanted]
    else:
        text = wanted.casefold()
        found = [device for device in devices if device.name.casefold() == text]
        found = found or [device for device in devices if text in device.name.casefold()]
    if not found:
        raise DeviceError(f"no audio input device {wanted!r}; there are: {_listed(devices)}")
    if len({device.name for device in found}) > 1:  # one device may have several host APIs, the preferred one first
        raise DeviceError(f"audio.device {wanted!r} fits several: {_listed(found)}; name one of them")
    return found[0]


def _listed(devices: Sequence[Device]) -> str:
    return ", ".join(f'{device.number} "{device.name}"' for device in devices)
