"""`mpengine completion` prints what a shell needs to complete the commands, made by shtab from the parser."""

import argparse
from collections.abc import Iterator

from mpengine.cli import COMMANDS, parser_for
from mpengine.cli.extras import needed
from mpengine.shared.errors import ExitCode
from mpengine.shared.standard_streams import write_text

_SHELLS = ("bash", "zsh", "fish")
# What stands for the value of an option or an argument, and what it is completed with.
_FILES, _DIRECTORIES, _TOPIC, _ENGINE = {"FILE", "PATH"}, {"DIRECTORY", "DIR"}, "TOPIC", "--name"
# Python would take too long behind a key: the engines of this user are the folders of their sockets.
_LISTED = """sh -c 'cd "$XDG_RUNTIME_DIR/mpengine" 2>/dev/null && ls'"""
_ENGINES: dict[str, str | dict[str, str]] = {
    "bash": "_mpengine_engines",
    "zsh": "_mpengine_engines",
    "fish": "(_mpengine_engines)",
    "preamble": {
        "bash": f'_mpengine_engines() {{ compgen -W "$({_LISTED})" -- "$1"; }}',
        "zsh": f"_mpengine_engines() {{ compadd -- $({_LISTED}) }}",
        "fish": f"function _mpengine_engines; {_LISTED}; end",
    },
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("shell", choices=_SHELLS, help="for which shell")
    parser.epilog = (
        "bash: put it into ~/.local/share/bash-completion/completions/mpengine; zsh: into the file _mpengine in a "
        "folder of $fpath; fish: into ~/.config/fish/completions/mpengine.fish"
    )


def main(arguments: argparse.Namespace) -> int:
    """Print the script. Raises MpengineError where shtab is not installed."""
    write_text(script(arguments.shell) + "\n")
    return int(ExitCode.OK)


def script(shell: str) -> str:
    """The completions of all commands for `shell`. Raises MpengineError where shtab is not installed."""
    with needed("completion"):
        import shtab  # noqa: PLC0415  an extra
    from mpengine.cli.help import topics  # noqa: PLC0415  no other command is loaded to read the arguments of this one

    parser = parser_for(*COMMANDS)
    for action in _actions(parser):
        complete = None
        if action.metavar in _FILES:
            complete = shtab.FILE
        elif action.metavar in _DIRECTORIES:
            complete = shtab.DIRECTORY
        elif action.metavar == _TOPIC:
            complete = shtab.cmd(f"printf '%s\\n' {' '.join(topics())}")
        elif _ENGINE in action.option_strings:
            complete = _ENGINES
        if complete is not None:
            action.complete = complete  # type: ignore[attr-defined]
    return shtab.complete(parser, shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All options and arguments, those of the commands too. argparse has no public way to them; shtab does the same."""
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                yield from _actions(command)
        else:
            yield action
