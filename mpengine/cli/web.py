"""`mpengine web` serves captions, events and figures of engines over HTTP, as a process of its own."""

import argparse
import socket

import mpengine
from mpengine.cli.extras import needed
from mpengine.cli.options import MOST_ENGINES, add_target, names_of, target_of
from mpengine.shared import addresses
from mpengine.shared.addresses import Place
from mpengine.shared.errors import ConfigError
from mpengine.shared.loopback import is_loopback
from mpengine.shared.secret import secret_in

_PLACE = "127.0.0.1:8714"
_SHORTEST_TOKEN = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add_target(parser, "publish", "query", is_several=True)
    parser.add_argument(
        "--listen", metavar="ADDRESS:PORT", default=_PLACE, help=f"where to serve (default: {_PLACE}; port 0: any)"
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="a file with a token: whoever knows it may read. Needed beyond this machine. It goes into the header "
        "Authorization: Bearer, or once into the page's address, as ?token=TOKEN",
    )
    parser.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="a name by which browsers reach this server, beside localhost, addresses and the machine's own name",
    )


def main(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Raises ConfigError, and MpengineError where the packages of the extra are missing."""
    place = _place(arguments.listen)
    token = None if arguments.token_file is None else _token(arguments.token_file)
    if token is None and not is_loopback(place.host):
        text = f"{arguments.listen} can be reached from other machines: that needs --token-file (see mpengine help web)"
        raise ConfigError("--listen", text)
    names = names_of(arguments, most=MOST_ENGINES)
    target = target_of(arguments)
    with needed("web"):
        from mpengine.web.server import Options, serve  # noqa: PLC0415  none of the other commands needs the extra
    return serve(
        Options(
            names=names or (target.name,),
            place=place,
            version=mpengine.__version__,
            token=token,
            hosts=(socket.gethostname(), f"{socket.gethostname()}.local", *arguments.allow_host),
            publish=target.publish,
            query=target.query,
            server_key=target.server_key,
            client_key=target.client_key,
        )
    )


def _place(text: str) -> Place:
    host, colon, port = text.rpartition(":")
    try:
        if colon and port == "0":
            return Place(addresses.place(host).host, 0)
        place = addresses.place(text)
    except ValueError as error:
        raise ConfigError("--listen", str(error)) from None
    if place.port is None:
        raise ConfigError("--listen", f"expected ADDRESS:PORT, as {_PLACE}")
    return place


def _token(path: str) -> str:
    """The token in the file at `path`."""
    token = secret_in(path, "--token-file")
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        advice = "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe())'"
        text = f"{path}: expected one word of {_SHORTEST_TOKEN} or more ASCII characters; {advice}"
        raise ConfigError("--token-file", text)
    return token
