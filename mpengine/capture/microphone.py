"""The microphone, through PortAudio.

PortAudio's own thread runs `_on_audio`, which copies, counts and wakes the main thread. It takes no lock and uses no
log and no socket. Everything else belongs to the main thread. `_blocks` is the border between them: `_on_audio` appends
on the right, the main thread pops on the left.
"""

import collections
import time
from typing import Any

from mpengine.capture import devices
from mpengine.capture.portaudio import sounddevice, words
from mpengine.capture.source import Block, Source, SourceInfo
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import DeviceError
from mpengine.shared.wake import Wake

# So much audio may wait for the main thread. It fills up only when the process is stopped.
_WAITING_S = 30
# The first blocks after opening decide how long the gap was, so the stream's exact time is asked for them. It costs too
# much for every block, and later the median of many is good enough.
_EXACT_BLOCKS = 16
# No block waits longer than this in the sound server: an older time is wrong.
_OLDEST_S = 300.0


class Microphone(Source):
    """The configured input device, as int16 samples in blocks of the configured length."""

    def __init__(self, audio: AudioConfig) -> None:
        self._audio = audio
        self._stream: Any = None
        self._blocks: collections.deque[Block] = collections.deque()
        self._most_blocks = _WAITING_S * 1000 // audio.block_ms
        self._lost = 0
        self._exact_left = 0
        self._has_finished = False
        self._wake = Wake()

    def open(self, first_sample: int) -> SourceInfo:  # noqa: ARG002  not seekable
        """Open and start the device. Raises DeviceError."""
        choice = devices.look_for(self._audio.device, "")[0]
        devices.prepare(choice)
        self._has_finished = False
        self._exact_left = _EXACT_BLOCKS
        try:
            self._stream = sounddevice.RawInputStream(
                samplerate=self._audio.sample_rate,
                channels=self._audio.channels,
                blocksize=self._audio.block_samples,
                device=choice.number,
                dtype="int16",
                latency=self._audio.latency,
                callback=self._on_audio,
                finished_callback=self._on_finished,
            )
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            self.close()
            raise DeviceError(
                f'cannot open "{choice.name}" at {self._audio.sample_rate} Hz, {self._audio.channels} channel(s): '
                f"{words(error)}; mpengine devices lists what there is"
            ) from None
        return SourceInfo(choice.name, float(self._stream.latency))

    def fileno(self) -> int:
        """A descriptor that is readable while blocks wait, or when the stream has ended."""
        return self._wake.fileno()

    def read(self, now_ns: int, room: int) -> list[Block]:  # noqa: ARG002  a device needs no clock
        """The blocks that have arrived, at most `room`. Raises DeviceError when the stream has ended by itself."""
        self._wake.drain()
        blocks: list[Block] = []
        while self._blocks and len(blocks) < room:
            blocks.append(self._blocks.popleft())
        if self._has_finished and self._stream is not None and not self._blocks:
            if not blocks:
                raise DeviceError("the audio device has gone: PortAudio ended the stream")
            self._wake.set()  # so that the next call comes, which raises
        return blocks

    def close(self) -> None:
        """Stop and close the device."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.stop(ignore_errors=True)
            stream.close(ignore_errors=True)

    def _on_audio(self, data: Any, n_samples: int, times: Any, status: Any) -> None:
        if len(self._blocks) >= self._most_blocks:
            self._lost += n_samples
            return
        lost, self._lost = self._lost, 0
        # PortAudio's clock may be the wall clock, which jumps, so only the difference of two of its times is used.
        # `currentTime` was taken before this thread waited to run, which may be some ms ago on a busy machine.
        current_s = times.currentTime
        stream = self._stream  # None while it is being closed
        if self._exact_left and stream is not None:
            self._exact_left -= 1
            current_s = stream.time
        now_ns = time.monotonic_ns()
        first_at_s = times.inputBufferAdcTime
        age_s = current_s - first_at_s - n_samples / self._audio.sample_rate
        is_timed = first_at_s > 0 and abs(age_s) < _OLDEST_S
        arrival_ns = now_ns - int(age_s * 1e9) if is_timed else now_ns
        self._blocks.append(Block(bytes(data), arrival_ns, lost, bool(status) and status.input_overflow, is_timed))
        if len(self._blocks) == 1:  # otherwise the main thread is awake, and takes this block, too
            self._wake.set()

    def _on_finished(self) -> None:
        self._has_finished = True
        self._wake.set()
