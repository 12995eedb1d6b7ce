"""The parser of the command line: its errors are one line as all others, and say what was probably meant."""

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from mpengine.shared.errors import ConfigError

_OF_ARGUMENT = re.compile(r"argument (?P<name>\S+): (?P<what>.*)", re.DOTALL)
_CHOICE = re.compile(r"invalid choice: (?P<given>.*) \(choose from (?P<choices>.*)\)", re.DOTALL)
_REQUIRED = "the following arguments are required: "
_WORD = re.compile(r"[\w.-]+")
_COMMAND = "COMMAND"


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises ConfigError where that one prints its usage and exits, also for unknown options."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.place = ""
        """The name of the command; empty for the parser of all."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See ArgumentParser. What nobody knows is refused here, where the options of the command are known."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            raise self._unknown(unknown)
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError in place of argparse's `message`."""
        found = _OF_ARGUMENT.fullmatch(message)
        if found is None:
            raise ConfigError(self.place, message.replace(_REQUIRED, "expected ", 1))
        name, what = found["name"], found["what"]
        choice = _CHOICE.fullmatch(what)
        if choice is not None:
            raise self._no_choice(name, choice["given"].strip("'\""), _WORD.findall(choice["choices"]))
        raise self._wrong(name, self._reworded(name, what))

    def _no_choice(self, name: str, given: str, choices: Sequence[str]) -> ConfigError:
        from mpengine.shared.config.words import one_of  # noqa: PLC0415  only for errors
        from mpengine.shared.guess import did_you_mean  # noqa: PLC0415

        hint = did_you_mean(given, choices)
        if name == _COMMAND:
            known = f"; there are {', '.join(choices)}"
            return ConfigError("", f'no command "{given}"{hint or known}')
        return self._wrong(name, f"expected {one_of(choices)}{hint}")

    def _reworded(self, name: str, what: str) -> str:
        action = next((action for action in self._actions if name in "/".join(action.option_strings).split("/")), None)
        if what.startswith("expected") and "argument" in what and action is not None:
            return f"expected a value: {action.option_strings[-1]} {action.metavar or action.dest.upper()}"
        if what.startswith("ignored explicit argument"):
            return "it takes no value"
        return what.replace("not allowed with argument", "it cannot go together with")

    def _wrong(self, name: str, text: str) -> ConfigError:
        return ConfigError(" ".join(filter(None, (self.place, name.rsplit("/", maxsplit=1)[-1]))), text)

    def _unknown(self, words: Iterable[str]) -> ConfigError:
        from mpengine.shared.guess import did_you_mean, suggestion  # noqa: PLC0415  only for errors

        more = f"; see mpengine {self.place} --help".replace("  ", " ")
        options = [option for action in self._actions for option in action.option_strings]
        word = next((word for word in words if word.startswith("-")), None)
        if word is not None:
            name = word.partition("=")[0]
            return ConfigError(self.place, f"unknown option {name}{did_you_mean(name, options) or more}")
        word = next(iter(words))
        is_config = word.endswith(".toml") and "--config" in options
        hint = suggestion(f"--config {word}") if is_config else more
        return ConfigError(self.place, f'"{word}" is one word too many{hint}')
