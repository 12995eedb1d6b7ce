"""The tables of the configuration and their defaults. Pure; `config` reads and checks them.

Children get the tables they need from the supervisor over a pipe.
"""

import re
from typing import Annotated, Any, Literal

import msgspec

from mpengine.shared.sources import SourceKind, home_of

# Where secrets stand in the configuration, and the environment variables that hold them otherwise.
SECRETS = {
    ("remote", "auth_token"): "MPENGINE_AUTH_TOKEN",
    ("remote", "byok_api_key"): "DEEPGRAM_API_KEY",
    ("bus", "curve_secret_key"): "MPENGINE_CURVE_SECRET_KEY",
}
NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
# It stands in every transcript, and the history has room for so many bytes, not for so many messages.
LONGEST_USER_NAME = 200
UserName = Annotated[str, msgspec.Meta(max_length=LONGEST_USER_NAME)]


class Secret:
    """A key or token. It shows itself only to `reveal`; text, repr and tracebacks have stars."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(***)" if self._value else "Secret()"


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: unknown keys are refused."""


class EngineConfig(Section, frozen=True, kw_only=True):
    """`name` stands in topics and in the runtime directory's path."""

    name: str = "default"
    user_name: UserName = "User"


class RemoteConfig(Section, frozen=True, kw_only=True):
    """The recogniser. `parameters` go into the service's query string as they are."""

    mode: Literal["managed", "byok", "local"] = "managed"
    server_url: str = ""
    auth_token: Secret = Secret()
    byok_api_key: Secret = Secret()
    byok_url: str = "wss://api.deepgram.com/v1/listen"
    deepgram_model: str = "nova-2"
    language: str = "en-US"
    hold_s: float = 3.0
    ca_file: str | None = None
    parameters: dict[str, str | bool | int | float | list[str | int | float]] = {}


# As long as services like it.
_UNPACED_BLOCK_MS = 200


class AudioConfig(Section, frozen=True, kw_only=True):
    """The source. `latency` is PortAudio's suggested latency in seconds; `source` is "portaudio" or a WAV's path."""

    device: str | int | None = None
    sample_rate: int = 16000
    channels: int = 1
    block_ms: int = 20
    latency: float = 0.08
    start: Literal["immediate", "connected"] = "immediate"
    source: str = "portaudio"
    paced: bool = True

    @property
    def block_samples(self) -> int:
        """Samples of each channel in one block. A source that is not paced comes in long ones: each costs."""
        block_ms = max(self.block_ms, _UNPACED_BLOCK_MS) if self.is_unpaced else self.block_ms
        return self.sample_rate * block_ms // 1000

    @property
    def kind(self) -> SourceKind:
        """What can be asked of the source."""
        return home_of(self.source).kind

    @property
    def is_unpaced(self) -> bool:
        """Whether the source is read as fast as it can be. One that does not wait sets the pace itself."""
        return self.kind.waits and not self.paced


class BufferConfig(Section, frozen=True, kw_only=True):
    """The replay window. `catch_up`: how much faster than real time audio that waited is sent."""

    seconds: float = 300.0
    catch_up: float = 1.25
    directory: str | None = None


class BusConfig(Section, frozen=True, kw_only=True):
    """Where results are published; the defaults are sockets in the runtime directory.

    `history` finals, none older than `history_s`, are kept for who comes late. `transcript` is the path of a file that
    lasts, of at most `transcript_mb`; `transcript_files` of them are kept.
    """

    publish: str | None = None
    query: str | None = None
    curve_secret_key: Secret = Secret()
    history: int = 1000
    history_s: float = 86400.0
    transcript: str | None = None
    transcript_mb: float = 10.0
    transcript_files: int = 5


class SupervisorConfig(Section, frozen=True, kw_only=True):
    """Restart policy of the children, limits of silence, and how long a clean stop may take, in seconds.

    `patience` stretches the limits of silence: on a slow board everything takes longer.
    """

    backoff_s: float = 0.5
    backoff_ceiling_s: float = 30.0
    stable_after_s: float = 10.0
    hang_limit_s: float = 20.0
    first_frame_limit_s: float = 60.0
    patience: float = 1.0
    stop_limit_s: float = 30.0


def decode_secret(kind: type, value: Any) -> Any:
    """For msgspec: a Secret from the text in a file. Raises TypeError without showing the value."""
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise TypeError("Expected `str`")


def encode_secret(value: Any) -> str:
    """For msgspec: a Secret as text, on its way to the child that needs it."""
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(type(value).__name__)
