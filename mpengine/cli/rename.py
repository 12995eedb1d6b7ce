"""`mpengine rename` sets the speaker's name in the transcripts of an engine."""

import argparse

from mpengine.cli.options import add_target, target_of
from mpengine.cli.target import Target
from mpengine.shared import messages
from mpengine.shared.config_tables import LONGEST_USER_NAME
from mpengine.shared.errors import ExitCode, require
from mpengine.shared.standard_streams import write_lines
from mpengine.shared.text import harmless


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("user_name", metavar="NAME", help="the speaker's name in transcripts from now on")
    add_target(parser, "query", "command")


def main(arguments: argparse.Namespace) -> int:
    """See `rename`."""
    return rename(target_of(arguments), arguments.user_name)


def rename(target: Target, user_name: str) -> int:
    """Give the speaker another name, until the engine ends. Returns 0.

    Raises ConfigError for a name that cannot be, EngineUnreachable, and MpengineError when the engine refuses.
    """
    is_text = user_name.encode(errors="replace").decode() == user_name and len(user_name) <= LONGEST_USER_NAME
    require("NAME", is_text, f"expected a name of at most {LONGEST_USER_NAME} letters")
    target.tell(messages.SetUserName(user_name))
    write_lines(f'from now on the speaker is called "{harmless(user_name)}"')
    return int(ExitCode.OK)
