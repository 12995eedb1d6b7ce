"""Resampling by a linear-phase FIR, and conversion of sample formats and channels: the only module that knows numpy.

Output sample m stands at the input m * down / up. It is the sum of the inputs around this place, each weighted by a
windowed sinc at its distance. Rates with a short common period have the weights of a whole group of outputs in one
matrix. Others have a table of weights by the fraction of m * down / up. It is exact up to a period of 1024 outputs;
beyond it is interpolated linearly (error below -115 dB), so that no rate needs more than 4 MB.
"""

import math

import numpy as np
from numpy.typing import NDArray

from mpengine.capture.wav_format import SAMPLE_BYTES

Samples = NDArray[np.float32]
"""One row a channel, in units of int16."""

# Half the length of the filter, in samples of the lower rate: 2 ms at 16 kHz. With this window the stop band is 87 dB
# down, and begins 1/24 of the lower rate above the cut-off.
_HALF = 32
_KAISER_BETA = 8.0
# The cut-off, as a share of the lower rate: 7.3 kHz for 16 kHz. Everything below 6.6 kHz passes, nothing above 8 kHz.
_CUT_OFF = 0.455
# A group is about as long as this; it is held back until it is complete. Where the common period is longer than
# `_LONGEST_GROUP_S`, the table is used.
_GROUP_S = 0.0025
_LONGEST_GROUP_S = 0.0101
_EXACT_PHASES = 1024
_TABLE_PHASES = 512
# So many outputs are made at once: memory does not grow with the length of the input.
_OUTPUTS_AT_ONCE = 2048
# Beyond full scale: what floating-point samples are limited to before the filter, so that nothing overflows.
_FARTHEST = 8.0
_TYPES = {"int16": "<i2", "uint8": "u1", "int24": "u1", "int32": "<i4", "float32": "<f4", "float64": "<f8"}
_SCALES = {"int16": 1.0, "uint8": 256.0, "int24": 1 / 65536, "int32": 1 / 65536, "float32": 32768.0, "float64": 32768.0}


class Resampler:
    """A streaming resampler of `channels` channels from `rate_hz` to `sent_hz`."""

    def __init__(self, rate_hz: int, sent_hz: int, channels: int) -> None:
        common = math.gcd(rate_hz, sent_hz)
        self._up, self._down = sent_hz // common, rate_hz // common
        low = min(rate_hz, sent_hz)
        self._half = half = math.ceil(_HALF * rate_hz / low)
        self._cycles = 2 * _CUT_OFF * low / rate_hz
        self._channels = channels
        # The outputs of a group stand behind one another in the columns of `_weights`, where there are groups.
        self._group = self._up * max(1, round(_GROUP_S * sent_hz / self._up))
        self._has_groups = self._group <= _LONGEST_GROUP_S * sent_hz
        if self._has_groups:
            self._step = self._group * self._down // self._up
            places = np.arange(self._group) * (self._down / self._up)
            weights = self._fir(np.arange(-half, self._step + half + 1)[:, None] - places)
            weights /= weights.sum(0)
        else:
            self._group = 1
            self._is_exact = self._up <= _EXACT_PHASES
            self._phases = self._up if self._is_exact else _TABLE_PHASES
            fractions = np.arange(self._phases + 1) / self._phases
            weights = self._fir(np.arange(-half, half + 2) - fractions[:, None])
            weights /= weights.sum(1)[:, None]
        self._weights: Samples = weights.astype(np.float32)
        self.begin(0)

    def _fir(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """The weights of inputs at these distances from the output, in input samples."""
        inside = np.clip(1 - (distance / self._half) ** 2, 0, 1)
        window = np.where(np.abs(distance) <= self._half, np.i0(_KAISER_BETA * np.sqrt(inside)), 0)
        return np.asarray(window * np.sinc(self._cycles * distance), np.float64)

    def begin(self, output: int) -> int:
        """Begin a stream at this output sample. Returns the number of the input that must come first."""
        self._skip = output % self._group
        self._next = output - self._skip
        first = self._next * self._down // self._up - self._half
        self._waiting = np.zeros((self._channels, max(0, -first)), np.float32)
        self._taken = max(0, first)
        return self._taken

    @property
    def held(self) -> float:
        """How many inputs are held back, by the places of the outputs that were given out."""
        return self._taken - (self._next + self._skip) * self._down / self._up

    def feed(self, samples: Samples) -> Samples:
        """The outputs that are ready after these further inputs."""
        self._taken += samples.shape[1]
        self._waiting = waiting = np.concatenate((self._waiting, samples), axis=1)
        made = self._in_groups(waiting) if self._has_groups else self._by_table(waiting)
        before = self._next * self._down // self._up
        self._next += made.shape[1]
        self._waiting = waiting[:, self._next * self._down // self._up - before :].copy()
        if not self._skip:
            return made
        skipped = min(self._skip, made.shape[1])
        self._skip -= skipped
        return made[:, skipped:]

    def finish(self) -> Samples:
        """The outputs that stand before the end of the input, as if silence followed. `begin` must be called then."""
        end = -(-self._taken * self._up // self._down)
        left = max(0, end - self._next - self._skip)
        more = self._half * 2 + self._group * self._down // self._up + 2
        return self.feed(np.zeros((self._channels, more), np.float32))[:, :left]

    def _in_groups(self, waiting: Samples) -> Samples:
        channels, count = waiting.shape
        rows = self._weights.shape[0]
        groups = max(0, (count - rows) // self._step + 1)
        # A copy, because BLAS takes no rows that overlap.
        inputs = _windows(waiting, groups, self._step, rows).copy()
        made: Samples = (inputs.reshape(-1, rows) @ self._weights).reshape(channels, -1)
        return made

    def _by_table(self, waiting: Samples) -> Samples:
        up, down, half = self._up, self._down, self._half
        origin = self._next * down // up - half
        count = waiting.shape[1] - 2 * half - 1
        end = -(-(origin + half + count) * up // down)
        if end <= self._next:
            return waiting[:, :0]
        places = np.arange(self._next, end, dtype=np.int64) * down
        bases, phases = np.divmod(places, up)
        if self._is_exact:
            weights = self._weights[phases]
        else:
            numbers, parts = np.divmod(phases * self._phases, up)
            lower = self._weights[numbers]
            weights = lower + (parts / up).astype(np.float32)[:, None] * (self._weights[numbers + 1] - lower)
        inputs = _windows(waiting, count, 1, 2 * half + 2)[:, bases - (origin + half)]
        return np.asarray(np.einsum("cot,ot->co", inputs, weights), np.float32)


def _windows(samples: Samples, count: int, step: int, length: int) -> Samples:
    """Views of `length` samples of each channel, every `step` samples. numpy's own function takes 30 µs more."""
    channels, row = samples.shape
    return np.ndarray((channels, count, length), np.float32, samples, 0, (4 * row, 4 * step, 4))


class PcmConverter:
    """The `Converter` of `mpengine.capture.convert`: sample format, channels, then rate.

    `mixed`: for each channel that is sent, the channels whose mean it is.
    """

    def __init__(
        self, *, rate_hz: int, channels: int, sample_format: str, mixed: tuple[tuple[int, ...], ...], sent_hz: int
    ) -> None:
        self._rate_hz = rate_hz
        self._channels = channels
        self._format = sample_format
        self._type = np.dtype(_TYPES[sample_format])
        self._frame_bytes = channels * SAMPLE_BYTES[sample_format]
        self._mixed = mixed
        self._resampler = Resampler(rate_hz, sent_hz, len(mixed)) if rate_hz != sent_hz else None
        self._bytes_at_once = max(1, _OUTPUTS_AT_ONCE * rate_hz // sent_hz) * self._frame_bytes

    @property
    def held_s(self) -> float:
        """See Converter."""
        return self._resampler.held / self._rate_hz if self._resampler is not None else 0.0

    def convert(self, data: bytes) -> bytes:
        """See Converter. Raises ValueError for a part of a frame."""
        if len(data) % self._frame_bytes:
            raise ValueError(f"{len(data)} bytes are no whole frames of {self._frame_bytes} bytes")
        if len(data) <= self._bytes_at_once:
            return self._convert(data)
        pieces = range(0, len(data), self._bytes_at_once)
        return b"".join(self._convert(data[at : at + self._bytes_at_once]) for at in pieces)

    def flush(self) -> bytes:
        """See Converter."""
        if self._resampler is None:
            return b""
        rest = _pcm(self._resampler.finish())
        self.reset()
        return rest

    def reset(self) -> None:
        """See Converter."""
        self.seek(0)

    def seek(self, sample: int) -> int:
        """See Converter."""
        return self._resampler.begin(sample) if self._resampler is not None else sample

    def _convert(self, data: bytes) -> bytes:
        samples = self._sent_channels(data)
        return _pcm(samples if self._resampler is None else self._resampler.feed(samples))

    def _sent_channels(self, data: bytes) -> Samples:
        found = np.frombuffer(data, self._type)
        if self._format == "int24":
            padded = np.zeros((len(found) // 3, 4), np.uint8)
            padded[:, 1:] = found.reshape(-1, 3)
            found = padded.view("<i4").ravel()
        frames = found.reshape(-1, self._channels)
        sent = np.empty((len(self._mixed), len(frames)), np.float32)
        for number, sources in enumerate(self._mixed):
            sent[number] = self._scaled(frames[:, sources[0]])
            for source in sources[1:]:
                sent[number] += self._scaled(frames[:, source])
            if len(sources) > 1:
                sent[number] /= len(sources)
        return sent

    def _scaled(self, values: NDArray[np.generic]) -> Samples:
        """The samples in units of int16."""
        if self._type.kind == "f":
            values = np.nan_to_num(values.clip(-_FARTHEST, _FARTHEST))
        scaled = values.astype(np.float32)
        if self._format == "uint8":
            scaled -= 128
        scaled *= np.float32(_SCALES[self._format])
        return scaled


def _pcm(samples: Samples) -> bytes:
    """Rounded and limited to int16, channel beside channel."""
    return np.rint(samples).clip(-32768, 32767).astype("<i2").T.tobytes()  # np.clip is slower
