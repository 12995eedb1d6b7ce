"""From a GUI's configuration to ours: the keys that the origin engine read, and further keys of mpengine.

The origin engine's keys come from the Engine's attributes, as they did there. The GUI's configuration is asked for
`remote.allow_plaintext`, `remote.byok_url`, `remote.ca_file`, `remote.hold_s`, `remote.parameters`, and for `mpengine`:
tables as in our TOML file, for all other keys. Its `audio.…` keys are not read: in a GUI they may mean anything.

A dict in which `remote` is a dict itself is no such configuration: it is taken as the tables of our TOML file.
"""

import logging
import os
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from mpengine.processes.beginning import Parent
from mpengine.shared.config import Config
from mpengine.shared.config import keys as known_keys
from mpengine.shared.config_tables import LONGEST_USER_NAME
from mpengine.shared.errors import ConfigError

ORIGIN_KEYS = ("mode", "server_url", "auth_token", "byok_api_key", "deepgram_model", "language")
"""The keys of [remote] that the origin engine has, too: each is an attribute of an Engine."""
# Many a program has keys of its own with these names.
_COMMON = frozenset({"mode", "language", "parameters"})
_FURTHER = ("allow_plaintext", "byok_url", "ca_file", "hold_s", "parameters")
# Half of it is for the last results: the origin engine waited 5 s for its thread.
_STOP_LIMIT_S = 10.0
_NOTHING = object()
_LEVELS = ((logging.DEBUG, "debug"), (logging.INFO, "info"), (logging.WARNING, "warning"))


class EngineSettings(Parent, frozen=True, kw_only=True):
    """The settings of a supervisor that is the child of a program with an `Engine`, or of `mpengine transcribe`.

    `journal_path`: where its journal is, and stays after a kill; None: in the runtime directory, which is removed.
    """

    config: msgspec.Raw
    log_level: str
    journal_path: str | None = None


class Getter(Protocol):
    """A GUI's configuration."""

    def get(self, key: str, default: Any, /) -> Any:
        """The value of `key`, as in ``remote.mode``."""


class _Tables:
    """A configuration that has the tables of our TOML file, and maybe keys such as ``remote.mode`` beside them."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def get(self, key: str, default: Any, /) -> Any:
        """The value of `key`, wherever it stands."""
        table, _, name = key.partition(".")
        return self._given.get(key, self.table(table).get(name, default) if name else default)

    def table(self, name: str) -> Mapping[str, Any]:
        """The table `name`; an empty one where there is none."""
        found = self._given.get(name, {})
        return found if isinstance(found, Mapping) else {}


def getter(given: Any) -> Getter:
    """`given` itself, or what finds keys such as ``remote.mode`` in it, if it has tables.

    Raises TypeError for what is no configuration.
    """
    if not hasattr(given, "get"):
        raise TypeError(f'expected a configuration with get("remote.mode", default), such as a dict, not {type(given)}')
    found: Getter = given
    if not isinstance(given, Mapping) or not isinstance(remote := given.get("remote"), Mapping):
        return found
    # A program's own kind of dict may find keys in its tables by itself, and then its other tables are its own.
    finds_all = all(found.get(f"remote.{key}", _NOTHING) is not _NOTHING for key in remote)
    return found if finds_all else _Tables(given)


def unread(given: Any) -> list[str]:
    """What to tell of keys that look as if they were meant for the Engine, and that it does not read."""
    if not isinstance(given, Mapping):
        return []
    from mpengine.shared.guess import did_you_mean, suggestion  # noqa: PLC0415  rarely needed

    read = [f"remote.{key}" for key in (*ORIGIN_KEYS, *_FURTHER)]
    others = {f"{table}.{key}" for table, names in known_keys().items() for key in names if table != "remote"}
    told = []
    for key in given:
        if not isinstance(key, str) or key in read:
            continue
        if key.startswith("remote."):
            told.append(f"{key}: unknown key{did_you_mean(key, read)}")
        elif key in others:
            told.append(f"{key}: not read here; it belongs into the tables under the key mpengine")
        elif f"remote.{key}" in read and key not in _COMMON:
            told.append(f"{key}: unknown key{suggestion(f'remote.{key}')}")
    return told


def config_of(
    given: Any,
    *,
    name: str,
    user_name: str,
    remote: Mapping[str, Any],
    device: str | int | None,
    sample_rate: int,
    channels: int,
) -> Config:
    """The configuration of an engine, from the GUI's configuration and the Engine's attributes. Raises ConfigError."""
    got = getter(given)
    tables = _tables(got.get("mpengine", {}))
    if isinstance(got, _Tables):
        for table in known_keys():
            tables[table] = {**got.table(table), **tables.get(table, {})}
    further = {key: got.get(f"remote.{key}", None) for key in _FURTHER}
    tables["engine"] = {"name": name, "user_name": published_name(user_name)}
    # None and "" mean "not set", as in the origin engine.
    everything = {**tables.get("remote", {}), **further, **remote}
    tables["remote"] = {key: value for key, value in everything.items() if value is not None and value != ""}
    audio = tables.setdefault("audio", {})
    audio.update(sample_rate=sample_rate, channels=channels)
    if device is not None:
        audio["device"] = device
    tables.setdefault("supervisor", {}).setdefault("stop_limit_s", _STOP_LIMIT_S)
    return Config.parse(tables)


def published_name(user_name: str) -> str:
    """`user_name`, cut to the longest that may be published. The origin engine, and so the GUI, had no limit."""
    return user_name[:LONGEST_USER_NAME]


def settings_of(config: Config) -> EngineSettings:
    """The settings for a child with `config`."""
    return EngineSettings(
        parent_pid=os.getpid(),
        dies_with_thread=False,  # the thread that starts it may end long before the program
        config=config.packed(),
        log_level=_log_level(),
    )


def _tables(given: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(given, Mapping) or not all(isinstance(table, Mapping) for table in given.values()):
        raise ConfigError("mpengine", "expected tables, as in {'audio': {'latency': 0.1}}")
    return {name: dict(table) for name, table in given.items()}


def _log_level() -> str:
    """The child logs from the level on from which the program logs."""
    level = logging.getLogger("mpengine").getEffectiveLevel()
    return next((name for limit, name in _LEVELS if level <= limit), "error")
