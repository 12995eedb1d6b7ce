"""Conversion of audio to what is sent: int16 at `audio.sample_rate` with `audio.channels` channels.

`converter` says whether audio needs it, and makes what does it. Only `mpengine.capture.polyphase` knows numpy; it is
loaded here, and only where samples are converted.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Protocol

from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ConfigError

# The rates that can be converted, in Hz.
LOWEST_HZ, HIGHEST_HZ = 1000, 384_000

# A library inside numpy starts a thread for each processor while it is loaded, unless one of these says otherwise.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Converter(Protocol):
    """Converts a stream of samples, piece by piece.

    The lengths of the pieces change a sample by at most 1, and rarely: sums of float32 are rounded in another order.
    The filter has no delay: output sample m stands at the time m / `audio.sample_rate`, counted from the first sample
    of the stream. It looks ahead, so some input is held back. Silence stays exactly zero: there is no dither.
    """

    def convert(self, data: bytes) -> bytes:
        """The samples that are ready after the further input `data`, as int16.

        `data` must consist of whole frames (a frame has one sample of each channel); the caller keeps a rest for the
        next call. Raises ValueError otherwise.
        """

    def flush(self) -> bytes:
        """The samples that are still held back, at the end of the stream. Afterwards a new stream begins."""

    def reset(self) -> None:
        """Forget the stream, for audio was lost: the next input begins a new one."""

    def seek(self, sample: int) -> int:
        """Prepare to give out a seekable stream from its output sample `sample` on. Returns an input frame.

        The next input must begin at this frame, which is some milliseconds before `sample`: the filter needs them.
        """

    @property
    def held_s(self) -> float:
        """The length of the input that is still held back, in seconds.

        The end of the output that was given out arrived this long before the end of the input.
        """


def converter(*, rate_hz: int, channels: int, sample_format: str, audio: AudioConfig) -> Converter | None:
    """A converter from this rate, number of channels and sample format to what `audio` sends.

    `sample_format` is one of `wav_format.SAMPLE_BYTES`.

    None: the samples are right as they are. Then numpy is not loaded. Raises ConfigError for channels that are not
    there, and for a rate that cannot be converted.
    """
    mixed = channels_sent(audio, channels)
    is_right = mixed == tuple((number,) for number in range(channels))
    if is_right and sample_format == "int16" and rate_hz == audio.sample_rate:
        return None
    if rate_hz != audio.sample_rate and not LOWEST_HZ <= rate_hz <= HIGHEST_HZ:
        raise ConfigError("audio.source", f"{rate_hz} Hz cannot be converted; expected {LOWEST_HZ} to {HIGHEST_HZ} Hz")
    with _one_thread():
        from mpengine.capture.polyphase import PcmConverter  # noqa: PLC0415  it loads numpy, 11 MB
    return PcmConverter(
        rate_hz=rate_hz, channels=channels, sample_format=sample_format, mixed=mixed, sent_hz=audio.sample_rate
    )


def channels_sent(audio: AudioConfig, channels: int) -> tuple[tuple[int, ...], ...]:
    """For each channel that `audio` sends, those of `channels` existing ones whose mean it is.

    One channel is `audio.channel`; by default it is the first one of a single channel, the mean of two, and the first
    of more, because microphone arrays have the beam there, and the rest is raw or the loudspeaker. Several channels are
    the first ones. Raises ConfigError for a channel that is not there.
    """
    if channels < audio.channels:
        raise ConfigError("audio.channels", f"expected at most {channels}: the source has no more channels")
    if audio.channels > 1:
        return tuple((number,) for number in range(audio.channels))
    wanted = audio.channel
    if wanted is None:
        wanted = "mix" if channels == 2 else 0
    if wanted == "mix":
        return (tuple(range(channels)),)
    if wanted >= channels:
        raise ConfigError("audio.channel", f"expected 0 to {channels - 1}: the source has {channels} channel(s)")
    return ((wanted,),)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Inside the block, a library that is loaded starts no threads. The environment is as before afterwards."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
