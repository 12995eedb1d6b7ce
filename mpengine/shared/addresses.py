"""What an address of a server or of an endpoint must be, so that a wrong one is refused at the start. Pure."""

import ipaddress
import re
from typing import NamedTuple

from mpengine.shared.errors import require

_URL = re.compile(r"\A(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")
_PLACE = re.compile(r"\A(?P<host>\[[^\[\]]*\]|[^\[\]:]*)(?::(?P<port>.*))?\Z", re.DOTALL)
_NOT_IN_A_NAME = re.compile(r"[\s\\%@\[\]:]")
# RFC 1035, section 2.3.4.
_LONGEST_NAME, _LONGEST_LABEL = 253, 63
_MOST_PORT = 65535


class Server(NamedTuple):
    """The host of a URL, an IPv6 address without brackets, and whether the way to it is encrypted."""

    host: str
    is_secure: bool


def server(path: str, url: str) -> Server:
    """The server of `url`, a ws:// or wss:// address. Raises ConfigError for the key at `path`."""
    require(path, not _UNPRINTABLE.search(url), "expected an address without spaces and control characters")
    found = _URL.match(url)
    scheme = found["scheme"].lower() if found else ""
    require(path, found and scheme in {"ws", "wss"}, "expected wss:// (or ws://)")
    assert found is not None
    place = _PLACE.match(found["authority"].rpartition("@")[2])
    require(path, place, "expected wss://HOST or wss://HOST:PORT")
    assert place is not None
    if place["port"] is not None:
        _require_port(path, place["port"])
    host = place["host"]
    _require_host(path, host)
    return Server(host.strip("[]"), scheme == "wss")


def check_endpoint(path: str, endpoint: str) -> None:
    """Raise ConfigError for the key at `path` if `endpoint` is no ipc://PATH and no tcp://ADDRESS:PORT."""
    require(path, not _UNPRINTABLE.search(endpoint) or endpoint.startswith("ipc://"), "expected no spaces")
    scheme, _, address = endpoint.partition("://")
    if scheme != "tcp":
        return
    place = _PLACE.match(address)
    require(path, place and place["port"] is not None, "expected tcp://ADDRESS:PORT; an IPv6 address needs brackets")
    assert place is not None
    _require_port(path, place["port"])
    if place["host"] != "*":
        _require_host(path, place["host"])


def _require_port(path: str, port: str) -> None:
    is_port = port.isascii() and port.isdigit() and len(port) <= len(str(_MOST_PORT)) and 1 <= int(port) <= _MOST_PORT
    require(path, is_port, f"expected a port from 1 to {_MOST_PORT}")


def _require_host(path: str, host: str) -> None:
    require(path, host, "expected the name or the address of a host")
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            require(path, False, "expected an IPv6 address in the brackets")
        return
    labels = host.removesuffix(".").split(".")
    is_name = len(host) <= _LONGEST_NAME and all(0 < len(label) <= _LONGEST_LABEL for label in labels)
    require(path, is_name and not _NOT_IN_A_NAME.search(host), "expected the name or the address of a host")
