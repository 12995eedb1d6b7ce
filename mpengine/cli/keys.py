"""`mpengine keys` makes CURVE key pairs: the secret halves into files of mode 0600, the public ones on the screen."""

import argparse
import os
import re
import shlex

import zmq

from mpengine.shared.errors import ConfigError, ExitCode, MpengineError

_NAME = re.compile(r"\A[A-Za-z0-9_-]{1,64}\Z")

_BOTH = """\
On the machine of the engine, in its configuration:

    [bus]
    curve_secret_key_file = "{server}"
    curve_clients = ["{public}"]

On the machine of the program that listens or commands, with the file {client}:

    export MPENGINE_CURVE_CLIENT_KEY_FILE=/path/of/{client_name}
    export MPENGINE_CURVE_SERVER_KEY='{server_public}'

Move {client} there, and keep no copy. Each file is a secret; what is printed here is not.
One more client: mpengine keys {directory} --client NAME
"""

_CLIENT = """\
On the machine of the engine, one more key in its configuration:

    [bus]
    curve_clients = [..., "{public}"]

On the machine of the client, with the file {client}, and MPENGINE_CURVE_SERVER_KEY as for the others:

    export MPENGINE_CURVE_CLIENT_KEY_FILE=/path/of/{client_name}

Move {client} there, and keep no copy.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("directory", metavar="DIRECTORY", nargs="?", default=".", help="where to put the files")
    parser.add_argument("--client", metavar="NAME", help="make only the key of one more client, in NAME.key")


def main(arguments: argparse.Namespace) -> int:
    """See `keys`."""
    return keys(arguments.directory, client=arguments.client)


def keys(directory: str, *, client: str | None) -> int:
    """Make `server.key` and `client.key`, or the key of one more `client` alone, and print which goes where.

    Raises ConfigError for a name that cannot be a file, MpengineError when a file exists or cannot be written, or when
    there is no such directory.
    """
    if client is not None and not _NAME.fullmatch(client):
        raise ConfigError("--client", "expected 1 to 64 of A-Z a-z 0-9 _ -")
    names = ["server", "client"] if client is None else [client]
    paths = [os.path.abspath(os.path.join(directory, f"{name}.key")) for name in names]
    for path in paths:
        if os.path.lexists(path):
            raise MpengineError(f"{path} exists; a key that is in use must not be lost")
    folder = os.path.dirname(paths[0])
    if not os.path.exists(folder):
        raise MpengineError(f"there is no directory {folder}; first: mkdir -m 700 {shlex.quote(directory)}")
    publics = [_make(path) for path in paths]
    where = {"public": publics[-1], "client": paths[-1], "client_name": os.path.basename(paths[-1])}
    if client is None:
        print(_BOTH.format(server=paths[0], server_public=publics[0], directory=directory, **where), end="")
    else:
        print(_CLIENT.format(**where), end="")
    return int(ExitCode.OK)


def _make(path: str) -> str:
    """Write a new secret key to the file `path`, which must not exist. Returns the public key."""
    public, secret = zmq.curve_keypair()
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(fd, 0o600)
            os.write(fd, secret + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise MpengineError(f"cannot write {path}: {error.strerror}") from None
    return public.decode("ascii")
