"""The application: it answers each request, as ASGI. It only reads.

Each reader of /events has a task of its own here, which takes from the hub as much as its connection takes. Nobody
waits for a slow reader: one that is too far behind is dropped, and may come back.
"""

import asyncio
import base64
import contextlib
import hashlib
import os
import re
import time
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, NamedTuple

import msgspec

from mpengine import formats
from mpengine.client.position import HOLE, Hole, decode
from mpengine.formats.base import Place, Style
from mpengine.shared.text import harmless
from mpengine.web.access import COOKIE_S, Access
from mpengine.web.connections import Link, Links
from mpengine.web.figures import Figures
from mpengine.web.hub import Entry, Hub
from mpengine.web.reader import Reader, Wish, positions_in

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HEARTBEAT_S = 10.0
"""A reader gets a comment when there was nothing else for so long."""
STALL_S = 30.0
"""A reader that takes nothing for so long is dropped."""
TRANSCRIPT_S = 300.0
"""A transcript that was not taken within so long is cut off."""
ANSWER_S = 30.0
"""A connection that has not taken a short answer within so long is ended."""
_PIECE_BYTES = 1 << 16
_EVENT_STREAM = "text/event-stream"
_RETRY = b"retry: 1000\n\n"
_MOST_TRANSCRIPTS = 4
# So many messages of a transcript are written before others have a turn.
_AT_ONCE = 20
_TYPES = {
    "txt": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "jsonl": "application/jsonl; charset=utf-8",
}
_PATHS = "/, /events, /transcript.txt, .srt, .vtt and .jsonl, /status, /healthz, /metrics"
_COMMON = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
_NOTHING_ALLOWED = "default-src 'none'; frame-ancestors 'none'"
_PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "captions.html")
_INLINE = re.compile(rb"<(style|script)>(.*?)</\1>", re.DOTALL)


class Answer(NamedTuple):
    """A short answer, whole."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = {}


class _Request(NamedTuple):
    """What is asked for, and by whom. The names of `headers` are in small letters."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    link: Link


class _Asked(Exception):
    """The request cannot be answered as it stands."""

    def __init__(self, words: str, status: int = 400) -> None:
        super().__init__(words)
        self.status = status


class App:
    """The application. `hub` is fed by others, who call `wake` then."""

    def __init__(self, hub: Hub, access: Access, links: Links, *, version: str) -> None:
        self._hub, self._access, self._links = hub, access, links
        self._page = _captions_page()
        self._clients: set[_Client] = set()
        self._transcripts = 0
        self._dropped = self._sent_bytes = self._refused = 0
        self._figures = Figures(hub, self._own, version)
        self._is_ending = False

    def wake(self) -> None:
        """Have all readers take what is new. Those that are too far behind are dropped."""
        for client in list(self._clients):
            if client.reader.is_lost:
                self._drop(client)
            else:
                client.wake.set()

    def end(self) -> None:
        """End all readers' answers; there will be no others."""
        self._is_ending = True
        self.wake()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  no body is read
        """Answer one request."""
        if scope["type"] != "http":
            return
        link = self._links.of(scope.get("client"))
        if link is None:
            return  # there were too many connections: this one has ended
        link.busy()
        try:
            await self._answer(scope, send, link)
        finally:
            link.idle(asyncio.get_running_loop().time())
        if link.is_gone:
            await asyncio.sleep(0)  # uvicorn is told of that first: it complains of an answer that is not whole

    async def _answer(self, scope: Scope, send: Send, link: Link) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            request = _Request(scope["method"], scope["path"], _query(scope["query_string"]), headers, link)
            answer = self._without_right(request)
            if answer is None and request.method not in {"GET", "HEAD"}:
                answer = Answer(405, b"this server is for reading: GET\n", headers={"allow": "GET, HEAD"})
            if answer is None:
                answer = await self._routed(request, send)
        except _Asked as problem:
            answer = Answer(problem.status, f"{problem}\n".encode())
        if answer is not None:
            # A client may ask for one page after the other and read none: the second one then waits for it.
            async with _patience(link, ANSWER_S):
                await _reply(send, answer)

    def _without_right(self, request: _Request) -> Answer | None:
        """The answer to somebody who may not read, and to the link that gives a browser its cookie; else None."""
        given = request.query.pop("token", None)
        refusal = self._access.stranger(request.headers)
        if refusal is None and given is not None and self._access.is_token(given):
            return self._with_cookie(request)
        refusal = refusal or self._access.refusal(request.headers)
        if refusal is None:
            return None
        self._refused += 1
        more = {"www-authenticate": "Bearer"} if refusal.status == 401 else {}
        return Answer(refusal.status, f"{harmless(refusal.words)}\n".encode(), headers=more)

    def _with_cookie(self, request: _Request) -> Answer:
        """Have the browser come again, with a cookie and without the token in its history."""
        rest = urllib.parse.urlencode(request.query)
        # Two slashes would begin the name of another server.
        place = urllib.parse.quote("/" + request.path.lstrip("/")) + (f"?{rest}" if rest else "")
        cookie = f"{self._access.cookie_name}={self._access.cookie}; Path=/; Max-Age={COOKIE_S}; HttpOnly; SameSite=Lax"
        return Answer(303, b"", headers={"location": place, "set-cookie": cookie})

    async def _routed(self, request: _Request, send: Send) -> Answer | None:
        """The answer; None where it was sent already."""
        match request.path:
            case "/":
                return self._page
            case "/events" if request.method == "HEAD":
                return Answer(200, b"", _EVENT_STREAM)
            case "/events":
                await self._events(self._wish(request), send, request.link)
                return None
            case "/status":
                return Answer(200, self._status(), "application/json")
            case "/healthz":
                return self._health(self._engines(request.query))
            case "/metrics":
                page, content_type = self._figures.page(request.headers.get("accept", ""))
                return Answer(200, page, content_type)
        name, _, ending = request.path.rpartition(".")
        if name == "/transcript" and ending in _TYPES:
            await self._transcript(request, ending, send)
            return None
        raise _Asked(f"nothing stands here; there are {_PATHS}", 404)

    # Events

    def _wish(self, request: _Request) -> Wish:
        query = request.query
        engines = self._engines(query)
        topics = tuple(topic for topic in query.get("topics", "").split(",") if topic)[:20]
        last_id = request.headers.get("last-event-id") or query.get("after", "")
        return Wish(engines, topics or ("",), _number(query, "history", 100_000), positions_in(last_id, engines))

    async def _events(self, wish: Wish, send: Send, link: Link) -> None:
        client = _Client(Reader(self._hub, wish, now_ns=time.time_ns()), link)
        self._clients.add(client)
        link.on_end = client.wake.set
        try:
            # Some proxies collect an answer before they pass it on, unless they are told not to.
            more = {"x-accel-buffering": "no", "content-security-policy": _NOTHING_ALLOWED}
            async with _patience(link, STALL_S):
                await _begin(send, 200, _EVENT_STREAM, more)
            await self._send_piece(client, send, _RETRY)
            while not (link.is_gone or self._is_ending):
                client.wake.clear()
                if client.reader.is_lost:
                    self._drop(client)
                elif piece := client.reader.take(_PIECE_BYTES):
                    await self._send_piece(client, send, piece)
                else:
                    try:
                        async with asyncio.timeout(HEARTBEAT_S):
                            await client.wake.wait()
                    except TimeoutError:
                        await self._send_piece(client, send, b":\n\n")
            if not link.is_gone:
                await send({"type": "http.response.body", "body": b""})
        finally:
            link.on_end = lambda: None
            self._clients.discard(client)

    async def _send_piece(self, client: "_Client", send: Send, piece: bytes) -> None:
        self._sent_bytes += len(piece)
        try:
            async with asyncio.timeout(STALL_S):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError:
            self._drop(client)

    def _drop(self, client: "_Client") -> None:
        if client in self._clients:
            self._clients.discard(client)
            self._dropped += 1
            client.link.abort()
            client.wake.set()

    def _own(self) -> dict[str, float]:
        return {
            "clients": len(self._clients),
            "dropped": self._dropped,
            "sent_bytes": self._sent_bytes,
            "refused": self._refused,
        }

    # The rest

    def _engines(self, query: Mapping[str, str]) -> tuple[str, ...]:
        """The engines that the request names, by default all."""
        every = tuple(self._hub.views)
        wanted = tuple(dict.fromkeys(name for name in query.get("engine", "").split(",") if name)) or every
        unknown = [name for name in wanted if name not in every]
        if unknown:
            raise _Asked(f"engine={harmless(unknown[0][:40])}: there are {', '.join(every)}", 404)
        return wanted

    def _status(self) -> bytes:
        """What was heard last, as JSON."""
        now = time.monotonic()
        engines = [
            {
                "engine": view.name,
                "is_heard": view.is_heard,
                "heard_ago_s": round(now - view.heard_at, 1) if view.heard_at else None,
                "trouble": view.trouble(now),
                **{topic: msgspec.Raw(view.last[topic].data) if topic in view.last else None for topic in _REPLACED},
            }
            for view in self._hub.views.values()
        ]
        return msgspec.json.encode({"engines": engines, "web": self._own()}) + b"\n"

    def _health(self, engines: tuple[str, ...]) -> Answer:
        now = time.monotonic()
        troubles = [trouble for name in engines if (trouble := self._hub.views[name].trouble(now))]
        words = "; ".join(troubles) or "ok"
        return Answer(503 if troubles else 200, f"{harmless(words)}\n".encode())

    async def _transcript(self, request: _Request, ending: str, send: Send) -> None:
        query = request.query
        engines = self._engines(query)
        if len(engines) > 1:
            raise _Asked(f"a transcript is of one engine: ?engine={engines[0]}")
        clock = query.get("timestamps")
        if clock not in {None, "run", "utc", "both"}:
            raise _Asked("timestamps: expected run, utc or both")
        if self._transcripts >= _MOST_TRANSCRIPTS:
            raise _Asked("other transcripts are being read; try again in a moment", 503)
        style = Style(with_names=query.get("names", "") in {"1", "true"}, clock=clock)  # type: ignore[arg-type]
        self._transcripts += 1
        try:
            name = f"{engines[0]}.{ending}"
            async with _patience(request.link, TRANSCRIPT_S):
                await _begin(send, 200, _TYPES[ending], {"content-disposition": f'inline; filename="{name}"'})
                await _write(send, formats.name_for(request.path), style, self._hub.views[engines[0]].kept)
        finally:
            self._transcripts -= 1


_REPLACED = ("status", "level", "metrics")


class _Client:
    """One reader and its connection."""

    def __init__(self, reader: Reader, link: Link) -> None:
        self.reader, self.link = reader, link
        self.wake = asyncio.Event()


def _captions_page() -> Answer:
    """The captions page, with its style and its script in one file. Its policy lets in these two, and no others."""
    with open(_PAGE, "rb") as file:
        body = file.read()
    digests = {kind: hashlib.sha256(content).digest() for kind, content in _INLINE.findall(body)}
    hashes = {kind: f"'sha256-{base64.b64encode(digest).decode()}'" for kind, digest in digests.items()}
    policy = (
        f"default-src 'none'; style-src {hashes[b'style']}; script-src {hashes[b'script']}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
    return Answer(200, body, "text/html; charset=utf-8", {"content-security-policy": policy})


@contextlib.asynccontextmanager
async def _patience(link: Link, limit_s: float) -> AsyncIterator[None]:
    """End the connection of a client that has not taken its answer within `limit_s`."""
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError:
        link.abort()


async def _write(send: Send, form: str, style: Style, kept: Iterable[Entry]) -> None:
    made = formats.load(form)(style, Place.FILE)
    pieces = [made.header]
    for number, entry in enumerate(kept, 1):
        with contextlib.suppress(OverflowError):  # times of words that no clock shows
            pieces.append(made.show(entry.data, _message(entry)))
        if number % _AT_ONCE == 0:
            await send({"type": "http.response.body", "body": b"".join(pieces), "more_body": True})
            await asyncio.sleep(0)
            pieces = []
    await send({"type": "http.response.body", "body": b"".join(pieces)})


def _message(entry: Entry) -> Any:
    return msgspec.json.decode(entry.data, type=Hole) if entry.topic == HOLE else decode(entry.data)


async def _begin(send: Send, status: int, content_type: str, more: Mapping[str, str]) -> None:
    headers = {"content-type": content_type, "content-security-policy": _NOTHING_ALLOWED, **_COMMON, **more}
    fields = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": fields})


async def _reply(send: Send, answer: Answer) -> None:
    await _begin(send, answer.status, answer.content_type, {"content-length": str(len(answer.body)), **answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


def _query(text: bytes) -> dict[str, str]:
    try:
        return dict(urllib.parse.parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=20))
    except (ValueError, UnicodeDecodeError):
        raise _Asked("the query is no list of NAME=VALUE, or has more than 20") from None


def _number(query: Mapping[str, str], name: str, most: int) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= most):
        raise _Asked(f"{name}: expected 0 to {most}")
    return int(text)
