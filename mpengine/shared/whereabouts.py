"""The file `endpoints` in an engine's runtime directory: where its sockets are, for other programs of its user.

The supervisor writes it as a whole when its sockets are bound, and removes it at a clean end. One that was killed
leaves it. A program trusts the file as much as the sockets beside it, if the file belongs to its own user or to root.
"""

import os

import msgspec

from mpengine.shared import one_writer
from mpengine.shared.messages import UNREADABLE

FILE = "endpoints"
_MOST_BYTES = 8192


class Whereabouts(msgspec.Struct, frozen=True, kw_only=True):
    """The engine `name`, the process `pid` of its supervisor, and its endpoints, if they are configured.

    An endpoint that is not configured is None: its socket stands beside the file, whatever the directory is called
    where it is mounted. `public_key`: the engine's public CURVE key; None for an engine without one. `window`: the path
    of the replay window, where `buffer.directory` is configured.
    """

    v: int = 1
    name: str
    pid: int
    publish: str | None = None
    query: str | None = None
    command: str | None = None
    public_key: str | None = None
    window: str | None = None


_decoder: msgspec.json.Decoder[Whereabouts] = msgspec.json.Decoder(Whereabouts)


def write(directory: str, whereabouts: Whereabouts) -> None:
    """Write the file in `directory`, in place of an earlier one. Raises OSError."""
    os.close(one_writer.put_in_place(os.path.join(directory, FILE), msgspec.json.encode(whereabouts) + b"\n"))


def read(directory: str) -> Whereabouts | None:
    """What the file in `directory` says; None without one, and for one that another user may have written."""
    try:
        fd = one_writer.open_file(os.path.join(directory, FILE), os.O_RDONLY)
        try:
            owner, user = os.fstat(fd).st_uid, os.getuid()
            if owner not in {user, 0} and user != 0:
                return None
            body = os.read(fd, _MOST_BYTES)
        finally:
            os.close(fd)
        return _decoder.decode(body)
    except (OSError, *UNREADABLE):
        return None
