"""Opens a WebSocket: name, TCP, proxy, TLS, upgrade, in the calling thread, before one deadline.

websocket-client does only the upgrade, for two reasons. `adopt` gets every socket before anything waits on it, so that
another thread can end the attempt at any point except the name lookup. And every address of a host is tried, for
whatever reason the one before failed.
"""

import contextlib
import functools
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import websocket

from mpengine.shared.secret import StrikeOut
from mpengine.streaming.websocket import library, proxies
from mpengine.streaming.websocket.events import Failed, Refused
from mpengine.streaming.websocket.locked_socket import LockedSocket
from mpengine.streaming.websocket.proxies import Proxy
from mpengine.streaming.websocket.way import Certificate, Progress, Stage

_MAX_ANSWER_BYTES = 1 << 16  # head and body of an HTTP answer; the rest is not read
_MAX_BODY_CHARS = 4096
_MAX_PLACE_CHARS = 200
_BODY_LIMIT_S = 0.5  # for one whose length is unknown: a peer may keep the connection open behind it
_LAST_CHUNK = b"0\r\n\r\n"
_SHORTEST_SECRET_CHARS = 8  # of our headers' other words, none is so long
# RFC 9110, section 5.6.7: the usual form of a date, and the two old ones that a recipient has to accept.
_HTTP_DATES = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")


class NotOpenedError(Exception):
    """The connection could not be opened; `event` says why."""

    def __init__(self, event: Refused | Failed) -> None:
        super().__init__(type(event).__name__)
        self.event = event


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What to open. `headers` hold secrets, so that this struct must never be shown.

    `answer_headers`: the names, in lower case, of the headers of the answer that the caller wants. `tls` is what
    `prepared` has made; without it, the opening makes one.
    """

    url: str
    headers: Sequence[str]
    answer_headers: Sequence[str]
    ca_file: str | None
    connect_timeout_s: float
    send_timeout_s: float
    tls: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return "Target(...)"


class Link(msgspec.Struct, frozen=True):
    """The socket of an open WebSocket, and the wanted headers of the answer."""

    socket: LockedSocket
    headers: Mapping[str, str]


def open_link(target: Target, adopt: Callable[[LockedSocket], None]) -> Link:
    """Open `target` or raise NotOpenedError.

    `adopt` gets each socket when it is made; the last one is the link's. An exception of `adopt` ends the attempt. The
    caller closes the sockets.
    """
    deadline = time.monotonic() + target.connect_timeout_s
    link = reach(target, adopt, deadline=deadline)
    try:
        return _upgrade(link, target, deadline)
    except (OSError, ValueError, websocket.WebSocketException) as exc:
        host = library.parts_of(target.url).host
        raise NotOpenedError(Failed(_reason(exc, host, target.connect_timeout_s))) from None


def reach(
    target: Target, adopt: Callable[[LockedSocket], None], *, deadline: float, progress: Progress | None = None
) -> LockedSocket:
    """The way to the server of `target`, without the upgrade. Raises NotOpenedError. See `open_link`.

    `progress` is kept up to date, also where the attempt fails.
    """
    proxy = proxy_of(target.url)
    host, port, _, is_secure = library.parts_of(target.url)
    peer = host if proxy is None else f"the {proxy}"
    progress = progress or Progress()
    context = None
    if is_secure:
        progress.stage = Stage.TLS
        context = target.tls or _tls_context(target.ca_file)
        progress.stage = Stage.NAME
    dial = functools.partial(_dial, send_timeout_s=target.send_timeout_s, adopt=adopt, progress=progress)
    try:
        if proxy is None:
            link = dial(host, port, deadline)
        else:
            link = dial(proxy.host, proxy.port, deadline)
            if proxy.is_secure:
                link.start_tls(_proxy_context(target.ca_file), server_hostname=proxy.host, deadline=deadline)
            _ask_proxy(link, proxy, host, port, deadline)
            peer = host
        progress.stage = Stage.TLS
        if context:
            link.start_tls(context, server_hostname=host, deadline=deadline)
    except (OSError, ValueError, websocket.WebSocketException) as exc:
        raise NotOpenedError(Failed(_reason(exc, peer, target.connect_timeout_s))) from None
    progress.stage = Stage.DONE
    return link


def certificate_of(link: LockedSocket) -> Certificate | None:
    """The certificate of the server at the other end; None without TLS."""
    found = link.peer_certificate()
    if found is None:
        return None
    certificate, version = found
    parts = {name: value for group in certificate.get("issuer", ()) for name, value in group}
    names = [parts[name] for name in ("organizationName", "commonName") if name in parts]
    return Certificate(" ".join(dict.fromkeys(names)), ssl.cert_time_to_seconds(certificate["notAfter"]), version)


def prepared(url: str, ca_file: str | None) -> ssl.SSLContext | None:
    """What a connection to `url` needs for TLS; None where it needs nothing, and where the opening will fail.

    To read the authorities takes 40 ms on x86-64, and several times as long on a small board.
    """
    try:
        return _tls_context(ca_file) if library.parts_of(url).is_secure else None
    except (ValueError, NotOpenedError):
        return None


def proxy_of(url: str) -> Proxy | None:
    """The environment's proxy on the way to `url`. Raises NotOpenedError where there can be no connection."""
    try:
        host, port, _, is_secure = library.parts_of(url)
        return proxies.proxy_for(host, port, is_secure=is_secure, environment=os.environ)
    except proxies.UnusableProxyError as error:
        raise NotOpenedError(Failed(str(error))) from None
    except ValueError:
        raise NotOpenedError(Failed("not a WebSocket address")) from None


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as exc:
        raise NotOpenedError(Failed(f"CA file {ca_file} cannot be used: {exc.strerror}")) from None
    context.options |= ssl.OP_NO_RENEGOTIATION  # so that no write needs to read
    return context


def _proxy_context(ca_file: str | None) -> ssl.SSLContext:
    """The system's authorities, and our own one: the proxy may have its certificate from either."""
    context = _tls_context(None)
    if ca_file is not None:
        with contextlib.suppress(OSError):  # told for the server
            context.load_verify_locations(ca_file)
    return context


def _dial(
    host: str,
    port: int,
    deadline: float,
    *,
    send_timeout_s: float,
    adopt: Callable[[LockedSocket], None],
    progress: Progress,
) -> LockedSocket:
    """Connect to the first address that answers. Each address gets its share of the remaining time."""
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    progress.addresses = tuple(str(address[0]) for *_, address in addresses)
    progress.stage = Stage.CONNECTION
    failure: OSError | None = None
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        dialled = LockedSocket(socket.socket(family, kind, protocol), send_timeout_s=send_timeout_s)
        adopt(dialled)
        now = time.monotonic()
        try:
            for option in websocket.DEFAULT_SOCKET_OPTION:  # TCP_NODELAY and TCP's own keep-alive
                dialled.setsockopt(*option)
            dialled.connect(address, deadline=now + (deadline - now) / (len(addresses) - tried))
        except OSError as exc:
            dialled.close()
            failure = exc
        else:
            progress.address = progress.addresses[tried]
            return dialled
    try:
        raise failure or OSError(0, "no address")
    finally:
        del failure  # see _upgrade


class _Answer:
    """Stands between websocket-client and the socket, and limits the peer's answer in bytes and in time.

    It keeps the answer, so that a refusal can be reported in the peer's words.
    """

    def __init__(self, link: LockedSocket, deadline: float) -> None:
        self._link = link
        self._deadline = deadline
        self._heard = bytearray()

    def recv(self, size: int) -> bytes:
        room = min(size, _MAX_ANSWER_BYTES - len(self._heard))
        data = self._link.recv(room, deadline=self._deadline) if room else b""  # an answer that is too long ends here
        self._heard += data
        return data

    def send(self, data: bytes) -> int:
        return self._link.send(data)

    def gettimeout(self) -> float:
        return 0.0

    def close(self) -> None:
        """Do nothing: the library closes after a refusal, but it does not own the socket."""

    def parsed(self) -> tuple[int, str, dict[str, str], bytes] | None:
        """Status, reason phrase, header fields by their names in lower case, body; None if it was no HTTP answer."""
        head, end, body = bytes(self._heard).partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        status, _, phrase = status_line.partition(" ")[2].partition(" ")
        if not end or not (status.isascii() and status.isdigit()):
            return None
        fields = {name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
        is_chunked = fields.get("transfer-encoding", "").lower() == "chunked"
        return int(status), phrase, fields, _without_sizes(body) if is_chunked else body

    def read_on(self) -> None:
        """Read a body that came without its length: the library reads no other one."""
        self._deadline = min(self._deadline, time.monotonic() + _BODY_LIMIT_S)
        with contextlib.suppress(OSError):
            while not self._heard.endswith(_LAST_CHUNK) and self.recv(_MAX_ANSWER_BYTES):
                pass


def _without_sizes(chunks: bytes) -> bytes:
    """The content of `chunks` (RFC 9112, section 7.1), as far as they came."""
    pieces: list[bytes] = []
    place = 0
    while (end := chunks.find(b"\r\n", place)) >= 0:
        try:
            size = int(chunks[place:end].partition(b";")[0], 16)
        except ValueError:
            break
        begin, place = end + 2, end + 2 + max(0, size) + 2
        pieces.append(chunks[begin : place - 2])
    return b"".join(pieces)


def _ask_proxy(link: LockedSocket, proxy: Proxy, host: str, port: int, deadline: float) -> None:
    answer = _Answer(link, deadline)
    try:
        library.ask_for_tunnel(answer, host, port, proxy.user)
    except websocket.WebSocketProxyException:
        status = (answer.parsed() or ("nothing",))[0]
        raise NotOpenedError(Failed(f"the {proxy} opened no tunnel to {host}: it answered {status}")) from None


def _upgrade(link: LockedSocket, target: Target, deadline: float) -> Link:
    answer = _Answer(link, deadline)
    opened = websocket.WebSocket()
    failure: Exception | None = None
    try:
        opened.connect(  # type: ignore[no-untyped-call]
            target.url,
            socket=answer,
            header=list(target.headers),
            suppress_origin=True,
            redirect_limit=0,  # a redirect would send the Authorization header to another host
        )
    except (OSError, websocket.WebSocketException) as exc:
        failure = exc
    except ValueError:  # releases before 1.9 raise it for a header line that is no text, or a wrong length
        failure = websocket.WebSocketException()
    status, phrase, fields, body = answer.parsed() or (101, "", {}, b"")
    if status != 101 and "content-length" not in fields:
        answer.read_on()
        status, phrase, fields, body = answer.parsed() or (status, phrase, fields, body)
    headers = {name: fields[name] for name in target.answer_headers if name in fields}
    if status != 101:
        strike_out = _strike_out(target.headers)
        said = strike_out(body.decode("utf-8", "replace"))[:_MAX_BODY_CHARS]
        headers = {name: strike_out(value) for name, value in headers.items()}
        wait_s = retry_after_s(fields, time.time())
        phrase = strike_out(phrase + _leads_to(status, fields))
        failure = NotOpenedError(Refused(status, phrase, said, headers, wait_s))
    try:
        if failure:
            raise failure
        return Link(link, headers)
    finally:
        del failure  # its traceback has this call in it: a circle, which would keep the connection's descriptors


def _leads_to(status: int, fields: Mapping[str, str]) -> str:
    """Where a redirect leads, to be told: nobody follows it. A captive portal is known by its address."""
    place = fields.get("location", "").partition("?")[0].rpartition("@")[2]
    return f", to {place[:_MAX_PLACE_CHARS]}" if 300 <= status < 400 and place else ""


def _strike_out(headers: Sequence[str]) -> StrikeOut:
    """Hides the values of our headers, also in part: an error page may repeat the request."""
    words = [word for header in headers for word in header.partition(":")[2].split()]
    return StrikeOut(*(word for word in words if len(word) >= _SHORTEST_SECRET_CHARS))


def retry_after_s(fields: Mapping[str, str], utc_s: float) -> float:
    """How long the peer asks us to wait, by the header Retry-After (RFC 9110, section 10.2.3); 0 if it does not.

    A date counts from the answer's own date, where it has one, because our clock may be wrong; otherwise from `utc_s`.
    """
    asked = fields.get("retry-after", "")
    if asked.isascii() and asked.isdigit():
        return float(asked)
    until, since = _http_date(asked), _http_date(fields.get("date", ""))
    return 0.0 if until is None else max(0.0, until - (utc_s if since is None else since))


def _http_date(text: str) -> float | None:
    import calendar  # noqa: PLC0415  rarely needed

    for form in _HTTP_DATES:
        with contextlib.suppress(ValueError):
            return calendar.timegm(time.strptime(text, form))
    return None


def _reason(exc: Exception, host: str, timeout_s: float) -> str:
    match exc:
        case ssl.SSLCertVerificationError():
            return f"TLS certificate of {host} not trusted: {exc.verify_message}"
        case ssl.SSLError():
            return f"TLS with {host} failed: {exc.reason or 'cut short'}"
        case socket.gaierror():
            return f"host name {host} not resolved: {exc.strerror}"
        case TimeoutError() | websocket.WebSocketTimeoutException():
            return f"no answer from {host} within {timeout_s:g} s"
        case BrokenPipeError():
            return f"{host} closed the connection without an answer"
        case ConnectionRefusedError():
            return f"connection refused by {host}"
        case OSError():
            return f"no connection to {host}: {exc.strerror}"
        case websocket.WebSocketConnectionClosedException():
            return f"{host} closed the connection without an answer"
        case websocket.WebSocketException():
            return f"{host} did not answer as a WebSocket server"
        case _:
            return "not a WebSocket address"
