"""Puts the silence gate's judgement into effect: the pusher holds or skips, and the supervisor is told.

The main thread owns the gate; it calls every method.
"""

from mpengine.capture.gate import Detector, Gate
from mpengine.capture.pusher import Pusher
from mpengine.processes.loop import ControlChannel
from mpengine.shared import control
from mpengine.shared.config_tables import AudioConfig


class Gating:
    """The gate of one capture process, between its window and its pusher. With `audio.gate = "off"` all audio passes.

    `next_sample` is the next sample of the sample clock. The caller lets the pusher send afterwards.
    """

    def __init__(self, audio: AudioConfig, *, hang_over_s: float, pusher: Pusher, channel: ControlChannel) -> None:
        """Raises ConfigError where the detector of voices is wanted and missing."""
        self._pusher = pusher
        self._control = channel
        self._has_told_closed = False
        self._gate: Gate | None = None
        if audio.gate != "off":
            self._gate = Gate(
                sample_rate=audio.sample_rate,
                channels=audio.channels,
                hang_over_s=hang_over_s,
                detector=_detector() if audio.gate == "vad" else None,
            )

    @property
    def is_closed(self) -> bool:
        """Whether the gate is closed now."""
        return self._gate is not None and self._gate.closed_at is not None

    def judge(self, first: int, pcm: bytes, next_sample: int) -> None:
        """A block has come, whose samples begin at `first`: hold the audio, or release it, where the gate moves."""
        gate = self._gate
        if gate is None:
            return
        was_closed_at = gate.closed_at
        gate.add(first, pcm)
        if gate.closed_at is not None and was_closed_at is None:
            self._pusher.hold(gate.closed_at)
        elif gate.closed_at is None and was_closed_at is not None:
            self.tell(next_sample)
            self._pusher.release()

    def begin(self, next_sample: int) -> None:
        """A source delivers anew: nothing is known of its noise."""
        if self._gate is not None:
            self._gate.opened(next_sample)
            self.tell(next_sample)
            self._pusher.release()

    def end(self, next_sample: int) -> None:
        """The source delivers no more: what the gate holds back is not needed."""
        if self._gate is not None:
            self._gate.closed()
            self.tell(next_sample)
            self._pusher.release()

    def tell(self, next_sample: int) -> None:
        """Tell which samples were judged silent since the last time, and whether the gate is closed."""
        if self._gate is None:
            return
        is_closed = self.is_closed
        for silent in self._gate.take_gated():
            self._pusher.gated(silent)
            self._control.tell(control.Gated(first=silent.first, end=silent.end, is_closed=is_closed))
            self._has_told_closed |= is_closed
        if self._has_told_closed and not is_closed:
            self._control.tell(control.Gated(first=next_sample, end=next_sample, is_closed=False))
            self._has_told_closed = False


def _detector() -> Detector:
    """The detector of voices, which loads a library. Raises ConfigError where that is missing."""
    from mpengine.capture.voice import VoiceDetector  # noqa: PLC0415  it loads an extra

    return VoiceDetector()
