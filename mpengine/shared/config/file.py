"""Reading the configuration: the TOML file, overrides, and secrets from their own files and the environment."""

import os
import tomllib
from collections.abc import Mapping
from typing import Any

from mpengine.shared.errors import ConfigError
from mpengine.shared.sources import is_path
from mpengine.shared.tables import SECRETS

_PATHS = (("audio", "source"), ("buffer", "directory"), ("bus", "transcript"), ("remote", "ca_file"))


def read(
    path: str | os.PathLike[str] | None,
    overrides: Mapping[str, Any],
    environment: Mapping[str, str] | None,
) -> dict[str, Any]:
    """The tables that the file, the overrides and the secrets make up together. Raises ConfigError.

    A secret stands in the configuration file, in a file of its own (``auth_token_file``) or, if neither is there, in
    a credential of systemd's or in the environment. It is refused among the overrides, which others can read with
    `ps`.
    """
    environment = os.environ if environment is None else environment
    tables = _read_toml(os.fspath(path)) if path is not None else {}
    for key, value in overrides.items():
        section, _, name = key.partition(".")
        if (section, name) in SECRETS:
            raise ConfigError(key, f"set it in a file ({name}_file) or in {SECRETS[section, name]}: ps shows arguments")
        _set(tables, key, value)
    for (section, name), variable in SECRETS.items():
        _take_secret(tables, section, name, variable, environment)
    return tables


def parse_override(text: str) -> tuple[str, Any]:
    """``audio.block_ms=40`` as a key and a value: TOML where it is valid TOML, text otherwise. Raises ConfigError."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or "." not in key:
        raise ConfigError(key, "expected --set table.key=value")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value.strip()


def _read_toml(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        raise ConfigError("", f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("", f"{path} is not valid TOML: {error}") from None
    for section, name in _PATHS:
        value = _section(tables, section).get(name)
        if isinstance(value, str) and value and is_path(value):
            tables[section][name] = _beside(path, value)
    for section, name in SECRETS:
        value = _section(tables, section).get(f"{name}_file")
        if isinstance(value, str):
            tables[section][f"{name}_file"] = _beside(path, value)
    return tables


def _beside(path: str, value: str) -> str:
    """`value` as a path that is meant from the folder of the file `path`."""
    return os.path.join(os.path.dirname(path), os.path.expanduser(value))


def _section(tables: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = tables.get(name, {})
    if not isinstance(section, dict):
        raise ConfigError(name, "expected a table")
    return section


def _set(tables: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    table = tables
    for depth, section in enumerate(sections):
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(".".join(sections[: depth + 1]), "expected a table")
    table[name] = value


def _take_secret(
    tables: dict[str, Any], section: str, name: str, variable: str, environment: Mapping[str, str]
) -> None:
    table = _section(tables, section)
    file = table.pop(f"{name}_file", None)
    if file is not None:
        if name in table:
            raise ConfigError(f"{section}.{name}", f"set either it or {name}_file, not both")
        if not isinstance(file, str):
            raise ConfigError(f"{section}.{name}_file", "expected a path")
        table[name] = _read_secret(os.path.expanduser(file), f"{section}.{name}_file")
    elif name not in table:
        given = _credential(variable, f"{section}.{name}", environment) or environment.get(variable, "").strip()
        if given:
            tables.setdefault(section, {})[name] = given


def _credential(variable: str, key: str, environment: Mapping[str, str]) -> str:
    """What systemd hands over under the name of `variable` (LoadCredential=); empty when there is none."""
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if not directory or not os.path.exists(os.path.join(directory, variable)):
        return ""
    return _read_secret(os.path.join(directory, variable), key)


def _read_secret(path: str, key: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(key, f"cannot read {path}: {why}") from None
