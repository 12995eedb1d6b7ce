"""Which configuration a command means that was given none: the usual files, and the recogniser without a file."""

import importlib.util
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from mpengine.shared.config import Config, keys
from mpengine.shared.config.file import parse_override
from mpengine.shared.errors import ConfigError, install
from mpengine.shared.user_folders import user_folder

USUAL_FILE = "mic.toml"
_KEY_VARIABLE = "DEEPGRAM_API_KEY"
# A key that chooses a recogniser, and the mode of that one; None where the key itself says it, or the default does.
_CHOOSING = {
    "remote.mode": None,
    "remote.server_url": None,
    "remote.auth_token": None,  # refused with the reason
    "remote.auth_token_file": None,
    "remote.byok_api_key": "byok",
    "remote.byok_api_key_file": "byok",
    "remote.byok_url": "byok",
}
_WAYS = """
  {local:{width}} a small recogniser on this machine: no account, no network, English only{extra}
  {deepgram:{width}} Deepgram, with your own key
  mpengine init --output {usual}
  {empty:{width}} a configuration with every key explained; then: {command}
"""
_LEAST_WIDTH = 37


class Chosen(NamedTuple):
    """The file of the configuration, None for none, and what overrides it, as in ``{"audio.block_ms": 40}``.

    `why` is for the log; empty where the file was named.
    """

    path: str | None
    overrides: dict[str, Any]
    why: str = ""


class NothingChosen(ConfigError):
    """There is no configuration, and nothing says which recogniser to use. `more` has three ways to begin `command`."""

    def __init__(self, usual: str, command: str) -> None:
        super().__init__("", "no configuration, and nothing says which recogniser to use. Three ways to begin:")
        deepgram = f"{_KEY_VARIABLE}=KEY {command}"
        width = max(_LEAST_WIDTH, len(deepgram))
        is_installed = importlib.util.find_spec("pocketsphinx") is not None
        extra = "" if is_installed else f"\n  {'':{width}} (first: {install('local')})"
        commands = {"local": f"{command} --local", "deepgram": deepgram, "command": command}
        ways = _WAYS.format(usual=usual, extra=extra, width=width, empty="", **commands)
        self.more = tuple(ways.rstrip().split("\n"))


def read_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """The values of `--set`, as in ``{"audio.block_ms": 40}``. Raises ConfigError."""
    try:
        return dict(map(parse_override, texts))
    except ConfigError as error:
        if "." in error.path:
            raise
        from mpengine.shared.config import words  # noqa: PLC0415  only for errors

        raise error.with_hint(words.without_table(error.path, keys())) from None


def usual_file(environment: Mapping[str, str], *, is_user: bool, name: str = USUAL_FILE) -> str:
    """The path of the configuration of this user, or of the machine."""
    if not is_user:
        return os.path.join("/etc/mpengine", name)
    return os.path.join(user_folder("CONFIG", environment), "mpengine", name)


def found_file(environment: Mapping[str, str], *, is_there: Callable[[str], bool] = os.path.exists) -> str | None:
    """The file that `mpengine run` takes when none is named: the user's or the machine's. None if neither is there."""
    usual = (usual_file(environment, is_user=is_user) for is_user in (True, False))
    return next(filter(is_there, usual), None)


def shown(path: str) -> str:
    """`path` as a person would write it in a shell: with ~ for the home folder."""
    home = os.path.expanduser("~")
    return f"~{path[len(home) :]}" if path.startswith(f"{home}/") else path


def choose(
    path: str | None,
    overrides: Mapping[str, Any],
    environment: Mapping[str, str],
    *,
    is_local: bool = False,
    is_there: Callable[[str], bool] = os.path.exists,
    command: str = "mpengine run",
) -> Chosen:
    """Choose what `path` and `overrides` say; without a path the usual file; without that Deepgram if its key is there.

    `is_local` chooses the recogniser of this machine in any case. Raises NothingChosen, with ways to begin `command`,
    and ConfigError for overrides that cannot be.
    """
    given = {**overrides, "remote.mode": "local"} if is_local else dict(overrides)
    if path is not None:
        return Chosen(path, given)
    usual = found_file(environment, is_there=is_there)
    if usual is not None:
        return Chosen(usual, given, f"{usual} is there, and no other file was named")
    for key, mode in _CHOOSING.items():
        if key in given:
            return Chosen(None, given if mode is None else {"remote.mode": mode, **given})
    if _has_key(environment, is_there):
        return Chosen(None, {"remote.mode": "byok", **given}, f"{_KEY_VARIABLE} is set: Deepgram, with your own key")
    # A wrong key among the arguments is told first.
    Config.load(overrides={"remote.mode": "byok", **given}, environment={_KEY_VARIABLE: "any"})
    raise NothingChosen(shown(usual_file(environment, is_user=True)), command)


def _has_key(environment: Mapping[str, str], is_there: Callable[[str], bool]) -> bool:
    """Whether Deepgram's key is in the environment, or among the credentials of systemd."""
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    is_credential = bool(credentials) and is_there(os.path.join(str(credentials), _KEY_VARIABLE))
    return is_credential or bool(environment.get(_KEY_VARIABLE, "").strip())
