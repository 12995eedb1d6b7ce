"""What the types of the configuration cannot say: ranges, combinations, files that must be there."""

import os

import msgspec

from mpengine.shared.errors import ConfigError
from mpengine.shared.loopback import is_loopback
from mpengine.shared.tables import (
    NAME,
    AudioConfig,
    BufferConfig,
    BusConfig,
    EngineConfig,
    RemoteConfig,
    SupervisorConfig,
)

_FIXED_PARAMETERS = frozenset({"encoding", "sample_rate", "channels"})
# A child beats once a second; a limit must leave room for a busy machine.
_LEAST_HANG_LIMIT_S = 3


def check(
    *,
    engine: EngineConfig,
    remote: RemoteConfig,
    audio: AudioConfig,
    buffer: BufferConfig,
    bus: BusConfig,
    supervisor: SupervisorConfig,
) -> None:
    """Raises ConfigError for the first key that cannot be."""
    _require("engine.name", bool(NAME.fullmatch(engine.name)), "expected 1 to 32 of A-Z a-z 0-9 _ -")
    _check_remote(remote, audio)
    _check_audio(audio)
    _check_buffer(buffer)
    _check_bus(bus)
    _check_supervisor(supervisor)


def _require(path: str, condition: bool, expected: str) -> None:
    if not condition:
        raise ConfigError(path, expected)


def _check_remote(remote: RemoteConfig, audio: AudioConfig) -> None:
    match remote.mode:
        case "managed":
            _require("remote.server_url", bool(remote.server_url), "managed mode requires a server URL")
            scheme, has_scheme, _ = remote.server_url.partition("://")
            _require("remote.server_url", not has_scheme or scheme in {"ws", "wss"}, "expected wss:// (or ws://)")
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
            _require("audio.sample_rate", audio.sample_rate == 16000, "local mode recognises 16000 Hz only")
            _require("audio.channels", audio.channels == 1, "local mode recognises one channel only")
            _require("remote.language", remote.language.lower().startswith("en"), "local mode knows English only")
    for name in remote.parameters:
        _require(f"remote.parameters.{name}", name not in _FIXED_PARAMETERS, "follows from [audio]; leave it out")
    if remote.ca_file is not None:
        _require("remote.ca_file", os.access(remote.ca_file, os.R_OK), f"cannot read {remote.ca_file}")
    _require("remote.hold_s", 0 <= remote.hold_s <= 60, "expected 0 to 60 seconds")
    for secret, path in ((remote.auth_token, "remote.auth_token"), (remote.byok_api_key, "remote.byok_api_key")):
        text = secret.reveal()
        _require(path, text.isprintable() and text == text.strip(), "expected one line without spaces around it")


def _check_audio(audio: AudioConfig) -> None:
    _require("audio.sample_rate", 8000 <= audio.sample_rate <= 192000, "expected 8000 to 192000 Hz")
    _require("audio.channels", 1 <= audio.channels <= 8, "expected 1 to 8")
    _require("audio.block_ms", 5 <= audio.block_ms <= 250, "expected 5 to 250 ms")
    whole = audio.sample_rate * audio.block_ms % 1000 == 0
    _require("audio.block_ms", whole, f"expected a whole number of samples at {audio.sample_rate} Hz")
    _require("audio.latency", 0 < audio.latency <= 2, "expected more than 0, at most 2 seconds")
    _require("audio.source", bool(audio.source), 'expected "portaudio" or the path of a WAV file')


def _check_buffer(buffer: BufferConfig) -> None:
    _require("buffer.seconds", 60 <= buffer.seconds <= 86400, "expected 60 to 86400 seconds")
    _require("buffer.catch_up", 1 < buffer.catch_up <= 100, "expected more than 1 (Deepgram allows 1.25)")
    directory = buffer.directory
    if directory is not None:
        is_usable = os.path.isdir(directory) and os.access(directory, os.W_OK)
        _require("buffer.directory", is_usable, f"{directory} is no directory that can be written")


def _check_bus(bus: BusConfig) -> None:
    _require("bus.history", 100 <= bus.history <= 100_000, "expected 100 to 100000 finals")
    _require("bus.history_s", 1 <= bus.history_s <= 31_536_000, "expected 1 second to a year")
    _require("bus.transcript_mb", 0.01 <= bus.transcript_mb <= 100_000, "expected 0.01 to 100000 MB")
    _require("bus.transcript_files", 1 <= bus.transcript_files <= 1000, "expected 1 to 1000 files")
    if bus.transcript is not None:
        directory = os.path.dirname(os.path.abspath(bus.transcript))
        is_usable = bool(bus.transcript) and os.path.isdir(directory) and not os.path.isdir(bus.transcript)
        _require("bus.transcript", is_usable, "expected the path of a file in a directory that exists")
    both = (bus.publish, bus.query)
    _require("bus.query", None in both or both[0] != both[1], "expected another endpoint than bus.publish")
    for key in ("publish", "query"):
        endpoint, path = getattr(bus, key), f"bus.{key}"
        if endpoint is None:
            continue
        scheme, _, address = endpoint.partition("://")
        _require(path, scheme in {"ipc", "tcp"} and bool(address), "expected ipc://PATH or tcp://ADDRESS:PORT")
        if scheme == "tcp" and not is_loopback(address.rpartition(":")[0]):
            _require(path, bool(bus.curve_secret_key), "tcp off loopback needs bus.curve_secret_key_file")


def _check_supervisor(supervisor: SupervisorConfig) -> None:
    for key in msgspec.structs.fields(SupervisorConfig):
        value = getattr(supervisor, key.name)
        _require(f"supervisor.{key.name}", 0 < value <= 86400, "expected more than 0 seconds, at most a day")
    _require("supervisor.hang_limit_s", supervisor.hang_limit_s >= _LEAST_HANG_LIMIT_S, "expected at least 3 s")
