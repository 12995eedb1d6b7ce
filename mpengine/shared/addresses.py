"""Checks the addresses of servers and endpoints, so that a wrong one is refused at the start. Pure."""

import ipaddress
import re
from typing import NamedTuple

from mpengine.shared.errors import ConfigError

_URL = re.compile(r"\A(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")
_PLACE = re.compile(r"\A(?P<host>\[[^\[\]]*\]|[^\[\]:]*)(?::(?P<port>.*))?\Z", re.DOTALL)
_NOT_IN_A_NAME = re.compile(r"[\s\\%@\[\]:]")
# RFC 1035, section 2.3.4.
_LONGEST_NAME, _LONGEST_LABEL = 253, 63
_MOST_PORT = 65535


class Place(NamedTuple):
    """A host, an IPv6 address without brackets, and a port."""

    host: str
    port: int | None


class Server(NamedTuple):
    """The host of a URL, and whether the way to it is encrypted."""

    host: str
    is_secure: bool


def place(text: str) -> Place:
    """The host and the port in HOST or HOST:PORT. Raises ValueError, which says what was expected."""
    found = _PLACE.match(text)
    if not found:
        raise ValueError("expected HOST or HOST:PORT, and an IPv6 address in brackets")
    host, port = found["host"], found["port"]
    if port is not None and not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= _MOST_PORT):
        raise ValueError(f"expected a port from 1 to {_MOST_PORT}")
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            raise ValueError("expected an IPv6 address in the brackets") from None
    else:
        labels = host.removesuffix(".").split(".")
        is_name = len(host) <= _LONGEST_NAME and all(0 < len(label) <= _LONGEST_LABEL for label in labels)
        if not is_name or _NOT_IN_A_NAME.search(host):
            raise ValueError("expected the name or the address of a host")
    return Place(host.strip("[]"), None if port is None else int(port))


def server(path: str, url: str) -> Server:
    """The server of `url`, a ws:// or wss:// address. Raises ConfigError for the key at `path`."""
    if _UNPRINTABLE.search(url):
        raise ConfigError(path, "expected an address without spaces and control characters")
    found = _URL.match(url)
    scheme = found["scheme"].lower() if found else ""
    if not found or scheme not in {"ws", "wss"}:
        raise ConfigError(path, "expected wss:// (or ws://)")
    try:
        host, _ = place(found["authority"].rpartition("@")[2])
    except ValueError as error:
        raise ConfigError(path, str(error)) from None
    return Server(host, scheme == "wss")


def check_endpoint(path: str, endpoint: str) -> None:
    """Raise ConfigError for the key at `path` if `endpoint` is tcp:// without ADDRESS:PORT, or ipc://@NAME."""
    scheme, _, address = endpoint.partition("://")
    if scheme == "ipc" and address.startswith("@"):
        raise ConfigError(path, "expected the path of a socket; every user of this machine can use an abstract one (@)")
    if scheme != "tcp":
        return
    try:
        _, port = place(address.replace("*", "any", 1) if address.startswith("*:") else address)
    except ValueError as error:
        raise ConfigError(path, str(error)) from None
    if port is None:
        raise ConfigError(path, "expected tcp://ADDRESS:PORT")
