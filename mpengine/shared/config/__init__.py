"""The configuration: a file, overrides, secrets and checks together; every error names the key that is wrong."""

import os
import re
from collections.abc import Mapping
from typing import Any, Self

import msgspec

from mpengine.shared.errors import ConfigError
from mpengine.shared.tables import (
    AudioConfig,
    BufferConfig,
    BusConfig,
    EngineConfig,
    RemoteConfig,
    Section,
    SupervisorConfig,
    decode_secret,
)

_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_CHOICES = {"remote.mode": "'managed', 'byok' or 'local'", "audio.start": "'immediate' or 'connected'"}
_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]*)`")


class Config(Section, frozen=True, kw_only=True):
    """All of it. `Config.load` reads a file; `Config.parse` takes the tables as dicts."""

    engine: EngineConfig = EngineConfig()
    remote: RemoteConfig = RemoteConfig()
    audio: AudioConfig = AudioConfig()
    buffer: BufferConfig = BufferConfig()
    bus: BusConfig = BusConfig()
    supervisor: SupervisorConfig = SupervisorConfig()

    @property
    def pace(self) -> float | None:
        """How fast waiting audio is sent, times real time; None without limit: nobody shares a local recogniser."""
        return None if self.remote.mode == "local" or self.audio.is_unpaced else self.buffer.catch_up

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
        from mpengine.shared.config import file  # noqa: PLC0415  children have the tables alone

        return cls.parse(file.read(path, overrides or {}, environment))

    @classmethod
    def parse(cls, tables: Mapping[str, Any]) -> Self:
        """Check `tables` ({"audio": {"device": "USB"}}) and make a Config of them. Raises ConfigError."""
        from mpengine.shared.config import checks  # noqa: PLC0415  as above

        try:
            config = msgspec.convert(tables, cls, dec_hook=decode_secret)
        except msgspec.ValidationError as error:
            raise _explain(error) from None
        checks.check(
            engine=config.engine,
            remote=config.remote,
            audio=config.audio,
            buffer=config.buffer,
            bus=config.bus,
            supervisor=config.supervisor,
        )
        return config


def _explain(error: msgspec.ValidationError) -> ConfigError:
    """msgspec's text with the path in front. It never holds the value, which may be a secret."""
    found = _AT.match(str(error))
    what, path = (found["what"], found["path"] or "") if found else (str(error), "")
    if unknown := _UNKNOWN.search(what):
        return ConfigError(f"{path}.{unknown['key']}".lstrip("."), "unknown key")
    if path in _CHOICES:
        what = what.replace("Invalid enum value", "unknown value") + f" (expected {_CHOICES[path]})"
    return ConfigError(path, what[:1].lower() + what[1:])
