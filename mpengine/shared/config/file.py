"""Reads the TOML file, overrides, and secrets from their own files and the environment.

Callers pass the keys that need special care, as (table, key).
"""

import os
import re
import tomllib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, TypeAlias

from mpengine.shared.config_tables import Secret
from mpengine.shared.errors import ConfigError
from mpengine.shared.secret import secret_in
from mpengine.shared.sources import is_path

Key: TypeAlias = tuple[str, str]

# How long a program may take that writes a secret into a pipe, as in --set remote.auth_token_file=<(pass show token).
_PIPE_WAIT_S = 10.0
_MOST_BYTES = 1 << 20
# What Python makes of bytes in arguments that are not UTF-8.
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class File(NamedTuple):
    """A configuration file: its tables, and its text, in which errors find their line. Without a file all is empty."""

    path: str
    text: str
    tables: dict[str, Any]

    def placed(self, error: ConfigError, elsewhere: Mapping[str, str]) -> ConfigError:
        """`error` with the place of its key: this file and the line, or what `elsewhere` says for the key's path.

        A key that does not stand in the file, because it is missing there, has no line.
        """
        bare = error.path.partition("[")[0]
        for path in (bare, f"{bare}_file"):
            if path in elsewhere:
                return error.at(elsewhere[path])
        if error.place or not self.path:
            return error
        from mpengine.shared.config import lines  # noqa: PLC0415  only for errors

        found = (lines.line_of(self.text, path) for path in (bare, f"{bare}_file") if bare)
        number = next(filter(None, found), None)
        return error.at(self.path if number is None else f"{self.path}:{number}")


def read(path: str | os.PathLike[str] | None, *, paths: Collection[Key], endpoints: Collection[Key] = ()) -> File:
    """The file at `path`, None for none. Raises ConfigError.

    Relative paths start at its folder: those at the keys `paths`, and those of ipc endpoints at the keys `endpoints`.
    """
    if path is None:
        return File("", "", {})
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError("", f"cannot read {path}: {error.strerror}") from None
    except ValueError:  # a NUL in the path
        raise ConfigError("", f"cannot read {path!r}: not a path") from None
    if len(content) > _MOST_BYTES:
        raise ConfigError("", f"not valid TOML: it has more than {_MOST_BYTES} bytes", path)
    try:
        text = content.decode("utf-8-sig")  # editors on Windows write a byte order mark
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise ConfigError("", "not valid TOML: it is not UTF-8 text", f"{path}:{number}") from None
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise ConfigError("", "not valid TOML: nested too deeply", path) from None
    except ValueError as error:  # also for numbers of thousands of digits
        from mpengine.shared.config import lines  # noqa: PLC0415  only for errors

        line, why = lines.explained(text, str(error))
        raise ConfigError("", f"not valid TOML: {why}", path if line is None else f"{path}:{line}") from None
    found = File(path, text, tables)
    try:
        _resolve(tables, os.path.dirname(path), paths, endpoints)
    except ConfigError as error:
        raise found.placed(error, {}) from None
    return found


def _resolve(tables: dict[str, Any], folder: str, paths: Collection[Key], endpoints: Collection[Key]) -> None:
    for table, key in paths:
        value = section(tables, table).get(key)
        if isinstance(value, str) and value and is_path(value):
            tables[table][key] = os.path.join(folder, os.path.expanduser(value))
    for table, key in endpoints:
        value = section(tables, table).get(key)
        if isinstance(value, str):
            tables[table][key] = _absolute(value, folder)


def _absolute(endpoint: str, folder: str) -> str:
    """`endpoint` with an absolute path, because others get to know it; one without a path as it is."""
    scheme, _, path = endpoint.partition("://")
    if scheme != "ipc" or not path or path.startswith("@"):
        return endpoint
    return f"ipc://{os.path.abspath(os.path.join(folder, os.path.expanduser(path)))}"


def override(tables: dict[str, Any], overrides: Mapping[str, Any], *, secrets: Mapping[Key, str]) -> None:
    """Set keys, as in ``audio.block_ms``, in `tables`. Raises ConfigError, also for a key in `secrets`."""
    for path, value in overrides.items():
        table, _, key = path.partition(".")
        if (table, key) in secrets:
            where = f"a file ({key}_file) or the environment variable {secrets[table, key]}"
            raise ConfigError(path, f"`ps` shows arguments to everybody; put this secret into {where}")
        _set(tables, path, value)


def take_secrets(tables: dict[str, Any], secrets: Mapping[Key, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Put `secrets` into `tables`: from their own files, systemd credentials or variables. Raises ConfigError.

    Returns those that came from a credential or a variable: its path or its name by the path of the key.
    """
    around = {}
    for (table, key), variable in secrets.items():
        found = section(tables, table)
        file = found.pop(f"{key}_file", None)
        if file is not None:
            if key in found:
                raise ConfigError(f"{table}.{key}", f"set either {key} or {key}_file, not both")
            if not isinstance(file, str):
                raise ConfigError(f"{table}.{key}_file", "expected a path")
            found[key] = _read_secret(os.path.expanduser(file), f"{table}.{key}_file")
        elif key not in found:
            credential = _credential(variable, f"{table}.{key}", environment)
            given = credential or Secret(environment.get(variable, "").strip(), variable=variable)
            if given:
                tables.setdefault(table, {})[key] = given
                around[f"{table}.{key}"] = given.path or f"${variable}"
    return around


def parse_override(text: str) -> tuple[str, Any]:
    """``audio.block_ms=40`` as a key and a value: TOML where it is valid TOML, text otherwise. Raises ConfigError."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or "." not in key:
        raise ConfigError(key, "expected --set table.key=value")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except RecursionError:
        raise ConfigError(key, "nested too deeply") from None
    except ValueError:
        return key, value.strip()


def check_texts(tables: Mapping[str, Any]) -> None:
    """Raise ConfigError for a text that has a NUL or is not UTF-8, as an argument may be.

    The system takes no NUL in a path, a name or an address, and messages between the processes are UTF-8.
    """
    waiting: list[tuple[str, Any]] = [("", tables)]
    while waiting:
        path, value = waiting.pop()
        match value:
            case str() if "\0" in value:
                raise ConfigError(path, "expected text without a NUL character")
            case str() if _SURROGATE.search(value):
                raise ConfigError(path, "expected text in UTF-8")
            case Mapping():
                waiting += [(f"{path}.{key}".lstrip("."), item) for key, item in value.items()]
            case list():
                waiting += [(path, item) for item in value]


def section(tables: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The table `name`; an empty one where there is none. Raises ConfigError."""
    found = tables.get(name, {})
    if not isinstance(found, dict):
        raise ConfigError(name, f"expected a table, [{name}]")
    return found


def _set(tables: dict[str, Any], path: str, value: Any) -> None:
    *above, key = path.split(".")
    table = tables
    for depth, name in enumerate(above):
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ConfigError(".".join(above[: depth + 1]), "expected a table")
    table[key] = value


def _credential(variable: str, key: str, environment: Mapping[str, str]) -> Secret:
    """The systemd credential called `variable` (LoadCredential=); empty when there is none."""
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if not directory or not os.path.exists(os.path.join(directory, variable)):
        return Secret()
    return _read_secret(os.path.join(directory, variable), key)


def _read_secret(path: str, key: str) -> Secret:
    return Secret(secret_in(path, key, wait_s=_PIPE_WAIT_S), os.path.abspath(path))
