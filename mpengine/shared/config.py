"""The configuration: what may be set, its defaults, and the checks that name the key that is wrong.

Children get their part of it from the supervisor over a pipe; only `load` reads files and the environment.
"""

import os
import re
from collections.abc import Mapping
from typing import Any, Literal, Self

import msgspec

from mpengine.shared.errors import ConfigError

# Where secrets stand in the configuration, and the environment variables that hold them otherwise.
SECRETS = {
    ("remote", "auth_token"): "MPENGINE_AUTH_TOKEN",
    ("remote", "byok_api_key"): "DEEPGRAM_API_KEY",
    ("bus", "curve_secret_key"): "MPENGINE_CURVE_SECRET_KEY",
}
NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


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


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: unknown keys are refused."""


class EngineConfig(_Section, frozen=True, kw_only=True):
    """`name` stands in topics and in the runtime directory's path."""

    name: str = "default"
    user_name: str = "User"


class RemoteConfig(_Section, frozen=True, kw_only=True):
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


class AudioConfig(_Section, frozen=True, kw_only=True):
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
        """Samples of each channel in one block."""
        return self.sample_rate * self.block_ms // 1000

    @property
    def is_file(self) -> bool:
        """Whether the source is a WAV file."""
        return self.source != "portaudio"


class BufferConfig(_Section, frozen=True, kw_only=True):
    """The replay window. `catch_up`: how much faster than real time audio that waited is sent."""

    seconds: float = 300.0
    catch_up: float = 1.25
    directory: str | None = None


class BusConfig(_Section, frozen=True, kw_only=True):
    """Where results are published; the defaults are sockets in the runtime directory."""

    publish: str | None = None
    query: str | None = None
    curve_secret_key: Secret = Secret()


class SupervisorConfig(_Section, frozen=True, kw_only=True):
    """Restart policy of the children, limits of silence, and how long a clean stop may take, in seconds."""

    backoff_s: float = 0.5
    backoff_ceiling_s: float = 30.0
    stable_after_s: float = 10.0
    hang_limit_s: float = 20.0
    first_frame_limit_s: float = 60.0
    stop_limit_s: float = 30.0


class Config(_Section, frozen=True, kw_only=True):
    """All of it. `Config.load` reads a file; `Config.parse` takes the tables as dicts."""

    engine: EngineConfig = EngineConfig()
    remote: RemoteConfig = RemoteConfig()
    audio: AudioConfig = AudioConfig()
    buffer: BufferConfig = BufferConfig()
    bus: BusConfig = BusConfig()
    supervisor: SupervisorConfig = SupervisorConfig()

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        overrides: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Read a TOML file, then `overrides` ({"audio.block_ms": 40}), then secrets from files and the environment.

        Raises ConfigError, with the key's path in its text. Relative paths in the file are meant from its folder.
        """
        from mpengine.shared import config_file  # noqa: PLC0415  children never read files: keep tomllib out of them

        return cls.parse(config_file.read(path, overrides or {}, environment))

    @classmethod
    def parse(cls, tables: Mapping[str, Any]) -> Self:
        """Check `tables` ({"audio": {"device": "USB"}}) and make a Config of them. Raises ConfigError."""
        try:
            config = msgspec.convert(tables, cls, dec_hook=decode_secret)
        except msgspec.ValidationError as error:
            raise _explain(error) from None
        for check in _CHECKS:
            check(config)
        return config


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


_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_CHOICES = {"remote.mode": "'managed', 'byok' or 'local'", "audio.start": "'immediate' or 'connected'"}
_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]*)`")


def _explain(error: msgspec.ValidationError) -> ConfigError:
    """msgspec's text with the path in front. It never holds the value, which may be a secret."""
    found = _AT.match(str(error))
    what, path = (found["what"], found["path"] or "") if found else (str(error), "")
    if unknown := _UNKNOWN.search(what):
        return ConfigError(f"{path}.{unknown['key']}".lstrip("."), "unknown key")
    if path in _CHOICES:
        what = what.replace("Invalid enum value", "unknown value") + f" (expected {_CHOICES[path]})"
    return ConfigError(path, what[:1].lower() + what[1:])


def _require(path: str, condition: bool, expected: str) -> None:
    if not condition:
        raise ConfigError(path, expected)


def _check_engine(config: Config) -> None:
    _require("engine.name", bool(NAME.fullmatch(config.engine.name)), "expected 1 to 32 of A-Z a-z 0-9 _ -")


def _check_remote(config: Config) -> None:
    remote = config.remote
    match remote.mode:
        case "managed":
            _require("remote.server_url", bool(remote.server_url), "managed mode requires a server URL")
            _require(
                "remote.auth_token",
                bool(remote.auth_token),
                "managed mode requires an auth token (or remote.auth_token_file, or MPENGINE_AUTH_TOKEN)",
            )
        case "byok":
            _require(
                "remote.byok_api_key",
                bool(remote.byok_api_key),
                "byok mode requires an API key (or remote.byok_api_key_file, or DEEPGRAM_API_KEY)",
            )
            _require(
                "remote.byok_url",
                remote.byok_url.startswith(("ws://", "wss://")),
                "expected a URL that starts with wss:// (or ws:// on a trusted network)",
            )
        case "local":
            audio = config.audio
            _require("audio.sample_rate", audio.sample_rate == 16000, "local mode recognises 16000 Hz only")
            _require("audio.channels", audio.channels == 1, "local mode recognises one channel only")
            _require("remote.language", remote.language.lower().startswith("en"), "local mode knows English only")
    _require("remote.hold_s", 0 <= remote.hold_s <= 60, "expected 0 to 60 seconds")
    for secret, path in ((remote.auth_token, "remote.auth_token"), (remote.byok_api_key, "remote.byok_api_key")):
        text = secret.reveal()
        _require(path, text.isprintable() and text == text.strip(), "expected one line without spaces around it")


def _check_audio(config: Config) -> None:
    audio = config.audio
    _require("audio.sample_rate", 8000 <= audio.sample_rate <= 192000, "expected 8000 to 192000 Hz")
    _require("audio.channels", 1 <= audio.channels <= 8, "expected 1 to 8")
    _require("audio.block_ms", 5 <= audio.block_ms <= 250, "expected 5 to 250 ms")
    whole = audio.sample_rate * audio.block_ms % 1000 == 0
    _require("audio.block_ms", whole, f"expected a whole number of samples at {audio.sample_rate} Hz")
    _require("audio.latency", 0 < audio.latency <= 2, "expected more than 0, at most 2 seconds")
    _require("audio.source", bool(audio.source), 'expected "portaudio" or the path of a WAV file')


def _check_buffer(config: Config) -> None:
    _require("buffer.seconds", 60 <= config.buffer.seconds <= 86400, "expected 60 to 86400 seconds")
    _require("buffer.catch_up", 1 < config.buffer.catch_up <= 100, "expected more than 1 (Deepgram allows 1.25)")


def _check_bus(config: Config) -> None:
    for key in ("publish", "query"):
        endpoint, path = getattr(config.bus, key), f"bus.{key}"
        if endpoint is None:
            continue
        scheme, _, address = endpoint.partition("://")
        _require(path, scheme in {"ipc", "tcp"} and bool(address), "expected ipc://PATH or tcp://ADDRESS:PORT")
        if scheme == "tcp" and not is_loopback(address.rpartition(":")[0]):
            _require(path, bool(config.bus.curve_secret_key), "tcp off loopback needs bus.curve_secret_key_file")


def is_loopback(host: str) -> bool:
    """Whether `host` (of a ZeroMQ tcp endpoint) can only be reached from this machine."""
    import ipaddress  # noqa: PLC0415  only tcp endpoints need it

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_supervisor(config: Config) -> None:
    for key in msgspec.structs.fields(SupervisorConfig):
        value = getattr(config.supervisor, key.name)
        _require(f"supervisor.{key.name}", 0 < value <= 86400, "expected more than 0 seconds, at most a day")


_CHECKS = (_check_engine, _check_remote, _check_audio, _check_buffer, _check_bus, _check_supervisor)
