"""`mpengine init` prints a configuration: each key with its default and its meaning, and those that options set."""

import argparse
import contextlib
import json
import os
import shlex
import textwrap
from collections.abc import Mapping
from typing import Any

from mpengine import dialects
from mpengine.cli.chosen import NothingChosen, choose, read_overrides, shown, usual_file
from mpengine.cli.links import in_words
from mpengine.cli.options import add_set
from mpengine.shared.config import Config, secrets
from mpengine.shared.config.file import override
from mpengine.shared.config.reference import Key, reference
from mpengine.shared.config_tables import marked
from mpengine.shared.errors import ConfigError, ExitCode, require
from mpengine.shared.standard_streams import complain, write_text

_HEAD = """\
# The configuration of mpengine: each key with its default, behind a #. To change a key, take its # away.
#   mpengine run --config FILE    runs an engine with it; as {usual} it is found without --config
#   mpengine help configuration   says more about the keys
"""
_WIDTH = 100
# What the value in the file shows by itself.
_PLAIN_VALUES = frozenset({"text", "a path", "true or false"})
# A key of 40 characters, in place of one that is not read: it fits everywhere.
_ANY_KEY = "0" * 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--output", metavar="FILE", help="write to this new file, not to standard output")
    parser.add_argument("--force", action="store_true", help="replace the output file if it exists")
    modes = ", ".join(dialects.MODES)
    parser.add_argument(
        "--mode",
        help=f"remote.mode: {modes} (default: managed with --server, byok with --key-file or with $DEEPGRAM_API_KEY, "
        "otherwise local)",
    )
    parser.add_argument("--key-file", metavar="FILE", help="the file with the recogniser's key or token alone in it")
    parser.add_argument("--server", metavar="URL", help="remote.server_url, and remote.byok_url in mode byok")
    parser.add_argument("--language", help="remote.language, such as en-GB")
    parser.add_argument("--device", help="audio.device: a microphone's name, a part of the name, or its number")
    parser.add_argument("--name", help="engine.name, for one of several engines")
    parser.add_argument("--user-name", metavar="NAME", help="engine.user_name: who speaks")
    add_set(parser, "set any other key; may be repeated")


def main(arguments: argparse.Namespace) -> int:
    """Print the configuration, or write it to the output file. Raises ConfigError."""
    given = settings(arguments, os.environ)
    _check(given)
    text = configuration(given)
    if arguments.output in (None, "-"):
        write_text(text)
    else:
        _write(arguments.output, text, force=arguments.force)
        is_usual = os.path.abspath(arguments.output) == usual_file(os.environ, is_user=True)
        which = "" if is_usual else f" --config {shlex.quote(arguments.output)}"
        complain(f"{arguments.output} is written; next: mpengine run{which}")
    _remind(given)
    return int(ExitCode.OK)


def settings(arguments: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, Any]:
    """The keys that the options set, as in ``{"audio.block_ms": 40}``; `remote.mode` always. Raises ConfigError."""
    given: dict[str, Any] = read_overrides(arguments.set)
    options = {
        "remote.mode": arguments.mode,
        "remote.language": arguments.language,
        "audio.device": _number_or_name(arguments.device),
        "engine.name": arguments.name,
        "engine.user_name": arguments.user_name,
    }
    given |= {path: value for path, value in options.items() if value is not None}
    mode = given.setdefault("remote.mode", _mode(arguments, environment))
    if mode not in dialects.MODES:
        return given  # refused with the other checks
    key = _secret_of(mode)
    if arguments.key_file is not None:
        require("--key-file", key, f'a recogniser of mode "{mode}" has no key')
        given[f"remote.{key}_file"] = os.path.abspath(os.path.expanduser(arguments.key_file))
    if arguments.server is not None:
        address = dialects.kind(mode)().address
        require("--server", address, f'a recogniser of mode "{mode}" has no address')
        given[f"remote.{address[0] if address else ''}"] = arguments.server
    return given


def configuration(given: Mapping[str, Any]) -> str:
    """The text of the file in which `given`, as in ``{"audio.block_ms": 40}``, is set, and all else is a comment."""
    tables: dict[str, Any] = {}
    override(tables, given, secrets={})
    lines = [_HEAD.format(usual=shown(usual_file(os.environ, is_user=True)))]
    for table, keys in reference().items():
        lines.append(f"[{table}]")
        for key in keys:
            lines += _lines(key, tables.get(table, {}))
    return "\n".join(lines)


def _lines(key: Key, table: Mapping[str, Any]) -> list[str]:
    """The comment of a key and its line, and an empty one."""
    name = f"{key.name}_file" if key.variable else key.name
    text = in_words(key.meaning, "mpengine help")
    text = f"mode {text}" if text.partition(":")[0] in dialects.MODES else text
    if key.variable:
        text += f". It stands alone in this file; without a file it is taken from ${key.variable}"
    elif key.values not in _PLAIN_VALUES:
        text += f". Values: {key.values}"
    if key.usual:
        text += f". Default: {key.usual}"
    text = f"{text[0].upper()}{text[1:]}."
    comment = textwrap.wrap(text, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    value = key.default or key.example
    setting = f"#{name} = {value}"
    if name in table:
        setting = f"{name} = {as_toml(table[name])}" + (f"  # default: {key.default}" if key.default else "")
    return [*(f"# {line}" for line in comment), setting, ""]


def as_toml(value: Any) -> str:
    """`value` on one line of TOML."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Mapping():
            return "{ " + ", ".join(f"{json.dumps(key)} = {as_toml(item)}" for key, item in value.items()) + " }"
        case list() | tuple():
            return f"[{', '.join(map(as_toml, value))}]"
    return str(value)


def _mode(arguments: argparse.Namespace, environment: Mapping[str, str]) -> str:
    """The mode that nobody has named."""
    if arguments.server is not None:
        return "managed"
    if arguments.key_file is not None:
        return "byok"
    try:
        return str(choose(None, {}, environment, is_there=lambda _: False).overrides["remote.mode"])
    except NothingChosen:
        return "local"


def _secret_of(mode: str) -> str:
    """The key of [remote] that has the secret of the mode; empty if it needs none."""
    return next(iter(marked(dialects.kind(mode), "environment")), "")


def _number_or_name(device: str | None) -> str | int | None:
    return int(device) if device is not None and device.isascii() and device.isdigit() else device


def _check(given: Mapping[str, Any]) -> None:
    """Raise ConfigError for keys and values that an engine would refuse. Files of secrets are not read."""
    files = {f"{table}.{key}_file": (table, variable) for (table, key), variable in secrets().items()}
    for path in files.keys() & given.keys():
        require(path, isinstance(given[path], str), "expected a path")
    around = {variable: _ANY_KEY for path, (table, variable) in files.items() if table == "remote" or path in given}
    Config.load(overrides={path: value for path, value in given.items() if path not in files}, environment=around)


def _remind(given: Mapping[str, Any]) -> None:
    """Say which secret is still missing."""
    key = _secret_of(given["remote.mode"])
    if not key:
        return
    file, variable = given.get(f"remote.{key}_file"), secrets()["remote", key]
    if file is None and not os.environ.get(variable):
        complain(f"the key is still missing: set {variable}, or name its file by --key-file FILE")
    elif file is not None and not os.path.exists(file):
        complain(f"{file} is not there yet: put the key into it, and nothing else")


def _write(path: str, text: str, *, force: bool) -> None:
    """Write the file; with `force` at once or not at all. The folder of the usual file is made. Raises ConfigError."""
    path = os.path.realpath(os.path.expanduser(path))
    if force and os.path.lexists(path) and not os.path.isfile(path):
        raise ConfigError("--output", f"{path} is no file")
    written = f"{path}.{os.getpid()}.new" if force else path
    try:
        if path == usual_file(os.environ, is_user=True):
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(written, "x", encoding="utf-8") as file, contextlib.ExitStack() as failing:
            failing.callback(os.unlink, written)
            file.write(text)
            file.flush()
            if force:
                os.replace(written, path)
            failing.pop_all()
    except FileExistsError:
        raise ConfigError("--output", f"{path} exists; --force replaces it") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigError("--output", f"cannot write {path}: {why}") from None
