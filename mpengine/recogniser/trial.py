"""A trial of the local recogniser for `mpengine check`: the packages are there, and the model hears a second."""

from mpengine.recogniser.process import missing
from mpengine.shared.errors import ConfigError

_SILENCE_S = 1


def try_model() -> None:
    """Load the model, and have it hear a second of silence. Raises ConfigError."""
    try:
        from mpengine.recogniser import server, speech  # noqa: F401, PLC0415  the extra may be missing
        from mpengine.recogniser.words import SAMPLE_RATE  # noqa: PLC0415
    except ImportError as error:
        raise missing(error) from None
    try:
        recogniser = speech.SpeechRecogniser()
    except (RuntimeError, OSError) as error:
        raise ConfigError("remote.mode", f"pocketsphinx cannot load its English model: {error}") from None
    recogniser.feed(bytes(2 * _SILENCE_S * SAMPLE_RATE))
    recogniser.finish()
