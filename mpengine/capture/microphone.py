"""The microphone: an input device, read by a timer. The main thread owns the device and the timer.

PortAudio's blocking interface gives what has come, and no call waits for more: see `mpengine.capture.stream`.
"""

import collections
import time

from mpengine.capture import devices
from mpengine.capture.absence import LOST_AFTER_S, Patience
from mpengine.capture.choosing import Choice
from mpengine.capture.clock import STALL_NS
from mpengine.capture.convert import Converter, converter
from mpengine.capture.cutting import Cutter
from mpengine.capture.device_format import channels_to_open, rates_to_try
from mpengine.capture.guard import ends_within
from mpengine.capture.pace import Pace
from mpengine.capture.portaudio import words
from mpengine.capture.source import Block, Source, SourceInfo
from mpengine.capture.stream import PortAudioError, Stream, refuses_the_rate, refuses_the_samples, start_again
from mpengine.capture.timer import Timer, has_timers
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import DeviceError

# So much audio may wait for the main thread, which waits for a disk. Later samples are counted, and lost.
_WAITING_S = 30
# A driver that has stood still hands over one buffer after the other.
_READS_AT_ONCE = 32
# A sound server that hangs makes these calls hang.
_OPENING_LIMIT_S = 5.0
_CLOSING_LIMIT_S = 0.5


class Microphone(Source):
    """The configured input device, as int16 samples in blocks of the configured length."""

    def __init__(self, audio: AudioConfig) -> None:
        self._audio = audio
        self._sample_bytes = 2 * audio.channels
        self._block_s = audio.block_samples / audio.sample_rate
        self._stream: Stream | None = None
        self._converter: Converter | None = None
        self._is_lost = False
        self._feed: devices.Feed | None = None
        self._name = self._remembered = ""
        self._has_tried = False
        self._timer = Timer() if has_timers() else None
        self._due_ns = 0
        self._step_s = 0.0
        self._came_ns = 0  # when samples came last
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
            choice, self._stream = self._open_one(devices.look_for(self._audio.device, self._remembered))
            self._feed = devices.Feed(choice)
        self._name, self._remembered, self._is_lost = choice.name, choice.identity, False
        self._cutter, self._pace = self._new_cutter(), self._new_pace(self._stream.latency_s)
        self._patience, self._came_ns = Patience(time.monotonic()), time.monotonic_ns()
        self._set_timer(self._pace.step_s)
        return SourceInfo(choice.name, self._stream.latency_s, self._stream.rate_hz, choice.identity)

    def remember(self, identity: str) -> None:
        """See `Source.remember`."""
        self._remembered = identity

    def feeding(self) -> str | None:
        """The source of the sound server that feeds the device. Raises DeviceError when it is not the wanted one."""
        try:
            return None if self._feed is None or self._is_lost else self._feed.source()
        except DeviceError:
            self._lose()
            raise

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
        self._end_stretch()
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()
        if stream is not None:
            with ends_within(_CLOSING_LIMIT_S, "close"):
                stream.close()

    def _open_one(self, choices: list[Choice]) -> tuple[Choice, Stream]:
        """Open the first of the choices that can be opened. Raises DeviceError for the best one."""
        errors = []
        for choice in choices:
            try:
                return self._open_settled(choice)
            except DeviceError as error:
                errors.append(error)
        raise errors[0]

    def _open_settled(self, choice: Choice) -> tuple[Choice, Stream]:
        """Open the device, and see which card it is. Raises DeviceError."""
        stream = self._open(choice)
        try:
            return devices.settle(choice, self._remembered), stream
        except DeviceError:
            stream.close()
            raise

    def _open(self, choice: Choice) -> Stream:
        """Open the device at the first rate that it takes. Raises DeviceError."""
        audio = self._audio
        device = choice.alsa_name if choice.number is None else choice.number
        assert device is not None
        channels = channels_to_open(audio, choice.name, choice.channels)
        rates = rates_to_try(audio.sample_rate, choice.rate_hz)
        devices.prepare(choice)
        for rate_hz in rates:
            try:
                stream = Stream(device, rate_hz=rate_hz, channels=channels, latency_s=audio.latency)
            except PortAudioError as error:
                if refuses_the_rate(error) and rate_hz != rates[-1]:
                    continue
                tried = f"any of {', '.join(map(str, rates))} Hz" if refuses_the_rate(error) else f"{rate_hz} Hz"
                mend = "mpengine devices lists what there is"
                if choice.plug_name and refuses_the_samples(error):
                    mend = f'ALSA can convert its samples: set audio.device to "{choice.plug_name}"'
                raise DeviceError(
                    f'cannot open "{choice.name}" at {tried}, {channels} channel(s): {words(error)}; {mend}'
                ) from None
            break
        self._converter = converter(rate_hz=rate_hz, channels=channels, sample_format="int16", audio=audio)
        return stream

    def _look_again(self) -> None:
        try:
            start_again()
        except PortAudioError as error:
            raise DeviceError(f"PortAudio does not start: {words(error)}") from None

    def _take(self, stream: Stream) -> None:
        """Read what the device has. Raises DeviceError when it is lost."""
        if self._feed is not None and self._feed.may_have_moved():
            self.feeding()  # what waits may be of another microphone
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
            raise DeviceError(f'"{self._name}" has delivered nothing for {LOST_AFTER_S:g} s')
        first_s, step_s = self._pace.first_step_s(self._cutter.rest_s), self._pace.step_s
        if first_s != step_s or step_s != self._step_s or self._timer is None:
            self._set_timer(first_s, step_s)

    def _read(self, stream: Stream) -> tuple[int, bool]:
        """Read once. Returns the number of samples, and whether more of them may be ready."""
        samples = stream.available()
        at_ns = time.monotonic_ns()
        if not samples:
            self._pace.has_looked(0.0)
            return 0, False
        pcm, overflowed = stream.read(samples)
        if at_ns - self._came_ns > STALL_NS:  # a backlog may follow, a piece at a time: look closer
            self._pace.hurry()
        self._came_ns = at_ns
        # More than this step can have brought is a backlog, the rest of which may be on its way.
        is_late = samples > self._pace.most_s * stream.rate_hz
        if overflowed:
            self._flush(at_ns)
            self._pace.hurry()
        if not is_late:
            self._pace.has_looked(samples / stream.rate_hz)
        if self._converter is not None:
            pcm = self._converter.convert(pcm)
            at_ns -= int(self._converter.held_s * 1e9)
        self._queue(self._cutter.add(pcm, at_ns, overflowed=overflowed, is_late=is_late))
        return samples, is_late

    def _flush(self, at_ns: int) -> None:
        """Samples are lost from here on: take what the converter holds back."""
        if self._converter is not None:
            self._queue(self._cutter.add(self._converter.flush(), at_ns, is_late=True))

    def _end_stretch(self) -> None:
        """Nothing that comes follows what came before: queue all of that."""
        self._flush(time.monotonic_ns())
        self._queue(self._cutter.cut_off())

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
        self._end_stretch()
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
