"""From a GUI's configuration to ours: the keys that the origin engine read, and further keys of mpengine.

The origin engine's keys come from the Engine's attributes, as they did there. The GUI's configuration is asked for
`remote.allow_plaintext`, `remote.byok_url`, `remote.ca_file`, `remote.hold_s`, `remote.parameters`, and for `mpengine`:
tables as in our TOML file, for all other keys. Its `audio.…` keys are not read: in a GUI they may mean anything.
"""

import logging
import os
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from mpengine.processes.beginning import Parent
from mpengine.shared.config import Config
from mpengine.shared.config_tables import LONGEST_USER_NAME
from mpengine.shared.errors import ConfigError

_FURTHER = ("allow_plaintext", "byok_url", "ca_file", "hold_s", "parameters")
# Half of it is for the last results: the origin engine waited 5 s for its thread.
_STOP_LIMIT_S = 10.0
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


def config_of(
    given: Getter,
    *,
    name: str,
    user_name: str,
    remote: Mapping[str, Any],
    device: str | int | None,
    sample_rate: int,
    channels: int,
) -> Config:
    """The configuration of an engine, from the GUI's configuration and the Engine's attributes. Raises ConfigError."""
    tables = _tables(given.get("mpengine", {}))
    further = {key: given.get(f"remote.{key}", None) for key in _FURTHER}
    tables["engine"] = {"name": name, "user_name": published_name(user_name)}
    remotes = tables.setdefault("remote", {})
    # None and "" mean "not set", as in the origin engine.
    remotes.update({key: value for key, value in {**further, **remote}.items() if value is not None and value != ""})
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
