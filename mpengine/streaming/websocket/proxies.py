"""The proxy of the environment for a server, by the rules of curl and requests. Pure.

A server's scheme has its variable (`https_proxy` for wss://, `http_proxy` for ws://), and `all_proxy` counts where that
one is not set. `no_proxy` lists servers that are reached directly. Lower case goes before upper case.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

from mpengine.shared import addresses
from mpengine.shared.loopback import is_loopback

User = tuple[str, str]

_URL = re.compile(r"\A(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?(?P<authority>[^/?#]*)")
_PORTS = {"http": 80, "https": 443}


class UnusableProxyError(ValueError):
    """A variable names no proxy that can be used. The text is one sentence without passwords."""


class Proxy(NamedTuple):
    """An HTTP proxy: where it is, our name and password there, and the variable that names it."""

    is_secure: bool
    host: str
    port: int
    user: User | None
    variable: str

    def __str__(self) -> str:
        """Where it is, and who says so, without the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"proxy {'https' if self.is_secure else 'http'}://{host}:{self.port} ({self.variable})"


def proxy_for(host: str, port: int, *, is_secure: bool, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy for the server at `host` and `port`. None: it is reached directly. Raises UnusableProxyError.

    This machine has none: a proxy would send our token to a machine of its own choice.
    """
    if is_loopback(host):
        return None
    for name in ("https_proxy" if is_secure else "http_proxy", "all_proxy"):
        variable = name if name in environment else name.upper()
        if variable in environment:
            value = environment[variable].strip()
            excepted = environment.get("no_proxy", "").strip() or environment.get("NO_PROXY", "")
            return _proxy(value, variable) if value and not _is_excepted(host, port, excepted) else None
    return None


def _proxy(value: str, variable: str) -> Proxy:
    found = _URL.match(value)
    assert found is not None  # it matches any text
    scheme = (found["scheme"] or "http").lower()
    if scheme not in _PORTS:
        raise UnusableProxyError(
            f"the proxy in {variable} is a {scheme}:// one, which is not supported; name an http:// or https:// proxy, "
            "or list the server in no_proxy"
        )
    login, _, where = found["authority"].rpartition("@")
    try:
        host, port = addresses.place(where)
    except ValueError as error:
        raise UnusableProxyError(f"the proxy in {variable} has no usable address: {error}") from None
    name, _, password = login.partition(":")
    user = (unquote(name), unquote(password)) if login else None
    return Proxy(scheme == "https", host, port or _PORTS[scheme], user, variable)


def _is_excepted(host: str, port: int, excepted: str) -> bool:
    """Whether the list `excepted` has the server.

    An entry is `*`, a name (for all names below it, too), an address or a network. Names and addresses may have a port.
    """
    name = host.lower().rstrip(".")
    address = _address(name)
    for entry in excepted.lower().replace(",", " ").split():
        if entry == "*":
            return True
        wanted, wanted_port = _parts(entry)
        if wanted_port and wanted_port != str(port):
            continue
        if address is not None:
            if _holds(wanted, address):
                return True
        elif (domain := wanted.removeprefix("*").strip(".")) and f".{name}".endswith(f".{domain}"):
            return True
    return False


def _parts(entry: str) -> tuple[str, str]:
    """The name, address or network in `entry`, and its port or an empty text. IPv6 has brackets before a port."""
    if entry.startswith("["):
        inside, _, rest = entry[1:].partition("]")
        if rest.startswith("/"):
            return inside + rest, ""
        return inside, rest.removeprefix(":")
    if entry.count(":") == 1:
        wanted, _, port = entry.partition(":")
        return wanted, port
    return entry, ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _holds(network: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
