"""Who may read over HTTP: the token, and the headers by which a stranger's page in a browser betrays itself. Pure.

The owner of another page may have its name point to this machine (DNS rebinding). Then the browser takes our answers
for that page's own. The name in `Host` shows that. Nobody can point an address elsewhere: so each address is right.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mpengine.shared import addresses
from mpengine.shared.loopback import is_loopback

COOKIE_S = 400 * 86400  # browsers keep none for longer
_LONGEST_COOKIES = 8192
_PURPOSE = b"cookie of mpengine web"


class Refusal(NamedTuple):
    """The answer to somebody who may not read."""

    status: int
    words: str


class Access:
    """Decides about each request. Without a `token` everybody who reaches the endpoint may read."""

    def __init__(self, *, token: str | None, hosts: Iterable[str] = ()) -> None:
        """`hosts`: the names of this machine, beside `localhost` and its addresses."""
        self._token = token
        self._hosts = {host.lower().removesuffix(".") for host in hosts}
        self.cookie = "" if token is None else hmac.new(token.encode(), _PURPOSE, hashlib.sha256).hexdigest()
        """What a browser keeps in place of the token."""
        # All servers of a host share their cookies, whatever their ports are.
        self.cookie_name = f"mpengine_web_{self.cookie[:8]}"

    def refusal(self, headers: Mapping[str, str]) -> Refusal | None:
        """Why a request with these `headers` is not answered; None if it is. Their names are in small letters."""
        return self.stranger(headers) or self._unknown(headers)

    def stranger(self, headers: Mapping[str, str]) -> Refusal | None:
        """Why the headers show a stranger, whatever token it has; None if they do not."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            words = f"this server is not called {host[:100]!r}; if it is, start it with --allow-host NAME"
            return Refusal(421, words)
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in {f"http://{host.lower()}", f"https://{host.lower()}"}:
            return Refusal(403, "pages of other servers may not read this one")
        return None

    def is_token(self, given: str) -> bool:
        """Whether `given` is the token."""
        return self._token is not None and hmac.compare_digest(given.encode(), self._token.encode())

    def _unknown(self, headers: Mapping[str, str]) -> Refusal | None:
        if self._token is None:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return None
        if hmac.compare_digest(self._cookie_in(headers.get("cookie", "")).encode(), self.cookie.encode()):
            return None
        return Refusal(401, "send the header Authorization: Bearer TOKEN, or open this page once with ?token=TOKEN")

    def _cookie_in(self, header: str) -> str:
        if len(header) > _LONGEST_COOKIES:
            return ""
        # Other servers of the host set cookies as they like. `http.cookies` reads none where it does not like one.
        pairs = (each.strip().partition("=") for each in header.split(";"))
        return next((value for name, _, value in pairs if name == self.cookie_name), "")

    def _is_ours(self, host: str) -> bool:
        try:
            name, _ = addresses.place(host)
        except ValueError:
            return False
        name = name.lower().removesuffix(".")
        if name in self._hosts or is_loopback(name):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
