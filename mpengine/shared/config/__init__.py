"""The configuration as a whole: a file, overrides, secrets and checks. Every error names the key that is wrong.

This package imports the recognisers' tables, and so stands above them. The other tables are in
`mpengine.shared.config_tables`, for processes that need one of them alone.
"""

import contextlib
import os
import stat
from collections.abc import Mapping
from typing import Any, Self, TypeVar

import msgspec

from mpengine import dialects
from mpengine.dialects.base import RemoteConfig
from mpengine.shared import addresses
from mpengine.shared.config_tables import (
    AudioConfig,
    BufferConfig,
    BusConfig,
    EngineConfig,
    Section,
    SupervisorConfig,
    decode_secret,
    encode_secret,
    marked,
)
from mpengine.shared.errors import ConfigError, require
from mpengine.shared.loopback import is_loopback
from mpengine.shared.sources import DEFAULT, FIFO, is_path

_Table = TypeVar("_Table", bound=Section)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration. `Config.load` reads a file; `Config.parse` takes the tables as dicts."""

    engine: EngineConfig
    remote: RemoteConfig
    audio: AudioConfig
    buffer: BufferConfig
    bus: BusConfig
    supervisor: SupervisorConfig

    @property
    def pace(self) -> float | None:
        """How fast waiting audio is sent, as a multiple of real time. None: no limit (local mode, unpaced files)."""
        return None if self.remote.starts_recogniser or self.audio.is_unpaced else self.buffer.catch_up

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        overrides: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Read a TOML file, then `overrides` ({"audio.block_ms": 40}), then secrets from files and the environment.

        A secret stands in the configuration file or in a file of its own (``auth_token_file``), otherwise in a systemd
        credential or in the environment. Overrides must not have secrets, because `ps` shows them to everybody.
        Relative paths in the file start at its folder. Raises ConfigError, whose text has the key's path and, for a key
        of the file, the line.
        """
        from mpengine.shared.config import file  # noqa: PLC0415  a program with an Engine reads no file

        known = secrets()
        paths = {**_marked("path"), **{(table, f"{key}_file"): True for table, key in known}}
        found = file.read(path, paths=paths, endpoints=_marked("endpoint"))
        elsewhere = dict.fromkeys(overrides or {}, "")
        tables = found.tables
        try:
            file.override(tables, overrides or {}, secrets=known)
            file.check_texts(tables)
            remote = file.section(tables, "remote")
            own = _kind_of(remote).__struct_fields__
            needed = {key: variable for key, variable in known.items() if key[0] != "remote" or key[1] in own}
            for _, key in known.keys() - needed.keys():
                remote.pop(f"{key}_file", None)  # the secret of another mode: nobody reads that file
            elsewhere |= file.take_secrets(tables, needed, os.environ if environment is None else environment)
            return cls.parse(tables)
        except ConfigError as error:
            raise found.placed(error, elsewhere) from None

    @staticmethod
    def load_audio(path: str | os.PathLike[str] | None) -> AudioConfig:
        """The table [audio] of a TOML file alone, without secrets; the defaults without a file. Raises ConfigError."""
        from mpengine.shared.config import file  # noqa: PLC0415  a program with an Engine reads no file

        found = file.read(path, paths=_marked("path"))
        try:
            return _table("audio", AudioConfig, found.tables.get("audio", {}))
        except ConfigError as error:
            raise found.placed(error, {}) from None

    @staticmethod
    def load_bus(path: str | os.PathLike[str]) -> tuple[EngineConfig, BusConfig]:
        """The tables [engine] and [bus] of a TOML file, for a program that looks for its engine. Raises ConfigError.

        The secret key is empty where this user may not read its file.
        """
        from mpengine.shared.config import file  # noqa: PLC0415  a program with an Engine reads no file

        key = ("bus", "curve_secret_key")
        paths = {**_marked("path"), ("bus", "curve_secret_key_file"): True}
        found = file.read(path, paths=paths, endpoints=_marked("endpoint"))
        tables = found.tables
        with contextlib.suppress(ConfigError):
            file.take_secrets(tables, {key: secrets()[key]}, os.environ)
        try:
            engine = _table("engine", EngineConfig, tables.get("engine", {}))
            return engine, _table("bus", BusConfig, tables.get("bus", {}))
        except ConfigError as error:
            raise found.placed(error, {}) from None

    @classmethod
    def parse(cls, tables: Mapping[str, Any]) -> Self:
        """Check `tables` ({"audio": {"device": "USB"}}) and make a Config of them. Raises ConfigError."""
        from mpengine.shared.config import file  # noqa: PLC0415  no child parses

        file.check_texts(tables)
        config = cls._of(tables)
        config = msgspec.structs.replace(config, audio=_known_as_fifo(config.audio))
        _check(config)
        return config

    def packed(self) -> msgspec.Raw:
        """The whole configuration in msgpack, secrets included, for a child that calls `unpacked`."""
        return msgspec.Raw(msgspec.msgpack.encode(self, enc_hook=encode_secret))

    @classmethod
    def unpacked(cls, packed: msgspec.Raw) -> Self:
        """The configuration that was `packed`. It is not checked again."""
        return cls._of(msgspec.msgpack.decode(packed))

    @classmethod
    def _of(cls, tables: Mapping[str, Any]) -> Self:
        kinds = {field.name: field.type for field in msgspec.structs.fields(cls)}
        for name, value in tables.items():
            if name not in kinds:
                from mpengine.shared.config import words  # noqa: PLC0415  only for errors

                raise words.unknown_table(name, value, keys())
        remote = _remote(tables.get("remote", {}))
        others = {
            name: _table(name, kind, tables.get(name, {})) for name, kind in kinds.items() if kind is not RemoteConfig
        }
        return cls(remote=remote, **others)


def keys() -> dict[str, list[str]]:
    """The keys of each table, those of all recognisers and of the files of secrets included."""
    found: dict[str, dict[str, bool]] = {}
    for name, kind in _kinds():
        found.setdefault(name, {}).update(dict.fromkeys(kind.__struct_fields__, True))
        found[name].update({f"{key}_file": True for key in marked(kind, "environment")})
    found["remote"] = {"mode": True, **found["remote"]}
    return {name: list(known) for name, known in found.items()}


def secrets() -> dict[tuple[str, str], str]:
    """The secret keys, as (table, key), each with the name of its environment variable."""
    return _marked("environment")


def _marked(mark: str) -> dict[tuple[str, str], Any]:
    """The keys of all tables, every recogniser's included, whose `about` has `mark`, each with its value."""
    return {(table, key): said for table, kind in _kinds() for key, said in marked(kind, mark).items()}


def _kinds() -> list[tuple[str, type[Section]]]:
    """The tables by their names; several are called "remote"."""
    kinds = [(field.name, field.type) for field in msgspec.structs.fields(Config)]
    return kinds + [("remote", dialects.kind(mode)) for mode in dialects.MODES]


def _kind_of(remote: Any) -> type[RemoteConfig]:
    """The table of the mode that `remote` asks for. Raises ConfigError."""
    mode = remote.get("mode", dialects.DEFAULT_MODE) if isinstance(remote, Mapping) else dialects.DEFAULT_MODE
    if mode not in dialects.MODES:
        from mpengine.shared.config import words  # noqa: PLC0415  only for errors

        raise words.unknown_mode(mode)
    return dialects.kind(mode)


def _remote(table: Any) -> RemoteConfig:
    """The table of the chosen recogniser, without keys of other recognisers. Raises ConfigError."""
    kind = _kind_of(table)
    if not isinstance(table, Mapping):
        return _table("remote", kind, table)
    own = dict(table)
    mode = own.pop("mode", dialects.DEFAULT_MODE)
    for key in [key for key in own if key not in kind.__struct_fields__]:
        owner = next((other for other in dialects.MODES if key in dialects.kind(other).__struct_fields__), None)
        if owner is None:
            continue  # no mode has it: refused below
        if key not in dialects.KEYS_OF_ALL_MODES:
            raise ConfigError(f"remote.{key}", f'this is a key of mode "{owner}"; the mode is "{mode}"')
        _table("remote", dialects.kind(owner), {key: own.pop(key)})
    return _table("remote", kind, own)


def _table(name: str, kind: type[_Table], table: Any) -> _Table:
    try:
        return msgspec.convert(table, kind, dec_hook=decode_secret)
    except msgspec.ValidationError as error:
        from mpengine.shared.config import words  # noqa: PLC0415  only for errors

        raise words.explained(error, name, kind, given=table, known=keys()) from None


def _known_as_fifo(audio: AudioConfig) -> AudioConfig:
    """The table with `source` marked as a FIFO, if it is one now. All processes then know it as one."""
    source = audio.source
    try:
        is_fifo = is_path(source) and stat.S_ISFIFO(os.stat(source).st_mode)
    except (OSError, ValueError):  # what is wrong with a file is told when it is opened
        return audio
    return msgspec.structs.replace(audio, source=f"{FIFO}{os.path.abspath(source)}") if is_fifo else audio


def _check(config: Config) -> None:
    """Check combinations of keys, and files that must be there. Raises ConfigError."""
    remote, audio, buffer = config.remote, config.audio, config.buffer
    remote.check(audio)
    if remote.address is not None:
        _check_server(remote, *remote.address)
    if remote.ca_file is not None:
        from mpengine.shared.config import ca_file  # noqa: PLC0415  rarely needed

        ca_file.check("remote.ca_file", remote.ca_file)
    is_alone = audio.command is None or audio.source == DEFAULT
    require("audio.command", is_alone, "expected either this key or audio.source, not both")
    whole = audio.sample_rate * audio.block_ms % 1000 == 0
    require("audio.block_ms", whole, f"expected a whole number of samples at {audio.sample_rate} Hz")
    is_one = audio.channel is None or audio.channels == 1
    require("audio.channel", is_one, "it needs audio.channels = 1; more channels are always the first ones")
    is_heard = audio.gate != "vad" or (audio.sample_rate, audio.channels) == (16000, 1)
    require("audio.gate", is_heard, '"vad" hears one channel of 16000 Hz only')
    if buffer.directory is not None:
        is_usable = os.path.isdir(buffer.directory) and os.access(buffer.directory, os.W_OK)
        require("buffer.directory", is_usable, f"{buffer.directory} is not a writable directory")
    _check_bus(config.bus)


def _check_server(remote: RemoteConfig, key: str, url: str) -> None:
    server = addresses.server(f"remote.{key}", url)
    is_private = server.is_secure or remote.allow_plaintext or is_loopback(server.host)
    require(
        f"remote.{key}",
        is_private or not dialects.secret_of(remote),
        "without encryption (ws://) everybody on the way can read the key; use wss://, or set remote.allow_plaintext "
        "= true on a network that you trust",
    )


def _check_bus(bus: BusConfig) -> None:
    if bus.transcript is not None:
        directory = os.path.dirname(os.path.abspath(bus.transcript))
        is_usable = os.path.isdir(directory) and not os.path.isdir(bus.transcript)
        require("bus.transcript", is_usable, "expected the path of a file in a directory that exists")
    endpoints = {"bus.publish": bus.publish, "bus.query": bus.query, "bus.command": bus.command}
    paths = [path for path, endpoint in endpoints.items() if endpoint is not None]
    for number, path in enumerate(paths):
        for other in paths[:number]:
            is_other = endpoints[path] != endpoints[other]
            require(path, is_other, f"expected another endpoint than that of {other}")
    for path, endpoint in endpoints.items():
        if endpoint is not None:
            addresses.check_endpoint(path, endpoint)
        scheme, _, address = (endpoint or "").partition("://")
        if scheme == "ipc":
            is_free = not os.path.lexists(address) or stat.S_ISSOCK(os.lstat(address).st_mode)
            require(path, is_free, f"{address} is there, and is no socket; name another path, or remove it")
        if scheme == "tcp" and not is_loopback(address.rpartition(":")[0]):
            require(path, bus.curve_secret_key, "tcp beyond this machine needs a key: set bus.curve_secret_key_file")
            if path == "bus.command":
                text = "commands from beyond this machine need a list of those who may give them: set bus.curve_clients"
                require(path, bus.curve_clients, text)
    if bus.curve_clients:
        text = "the bus has no key of its own: set bus.curve_secret_key_file"
        require("bus.curve_clients", bus.curve_secret_key, text)
