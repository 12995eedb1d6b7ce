"""Messages as lines of JSON. Pure."""

import re

from mpengine.cli.formats.positions import is_object

# What a terminal may act upon, and JSON need not escape: C1 controls, line ends, what turns the direction of the rest.
_ACTIVE = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def line(body: bytes) -> bytes:
    """A message as it came, of whatever type and with all its fields; nothing for what is no JSON object."""
    if not is_object(body):
        return b""
    # In JSON a line end can only be white space.
    return b" ".join(body.splitlines()) + b"\n"


def inert(line: bytes) -> bytes:
    """The same JSON, which does nothing to a terminal: such letters can only be in its strings, and are escaped."""
    return _ACTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", line.decode()).encode()
