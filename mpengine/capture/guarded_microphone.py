"""The microphone, after a look at the sound server. PortAudio is loaded and started only while that server answers.

A start of PortAudio asks all sound systems that ALSA knows. It waits for a sound server that hangs as long as that
hangs, also where a card is wanted, and says nothing.
"""

from mpengine.capture import sound_server
from mpengine.capture.guard import ends_within
from mpengine.capture.source import Block, Source, SourceInfo
from mpengine.shared.config_tables import AudioConfig

_LOADING_LIMIT_S = 15.0  # PortAudio opens each device as it is loaded, and one may hang


class GuardedMicrophone(Source):
    """`Microphone`, which is made at the first opening that finds no hanging sound server."""

    def __init__(self, audio: AudioConfig) -> None:
        self._audio = audio
        self._remembered = ""
        self._microphone: Source | None = None

    def open(self, first_sample: int) -> SourceInfo:
        """Open the device. Raises DeviceError, also when the sound server hangs or PortAudio cannot be loaded."""
        sound_server.check()
        if self._microphone is None:
            self._microphone = self._load()
        return self._microphone.open(first_sample)

    def _load(self) -> Source:
        with ends_within(_LOADING_LIMIT_S, "load"):
            from mpengine.capture.microphone import Microphone  # noqa: PLC0415  it starts PortAudio
        microphone = Microphone(self._audio)
        microphone.remember(self._remembered)
        return microphone

    def read(self, now_ns: int, room: int) -> list[Block]:
        """See `Microphone.read`."""
        return [] if self._microphone is None else self._microphone.read(now_ns, room)

    def close(self) -> None:
        """See `Microphone.close`."""
        if self._microphone is not None:
            self._microphone.close()

    def remember(self, identity: str) -> None:
        """See `Source.remember`."""
        self._remembered = identity

    def feeding(self) -> str | None:
        """See `Microphone.feeding`."""
        return None if self._microphone is None else self._microphone.feeding()

    def fileno(self) -> int | None:
        """See `Microphone.fileno`; None before the first opening."""
        return None if self._microphone is None else self._microphone.fileno()

    def due_s(self, now_ns: int) -> float | None:
        """See `Microphone.due_s`."""
        return None if self._microphone is None else self._microphone.due_s(now_ns)
