"""A connection to a NATS server with JetStream. It belongs to the loop's thread.

A stream takes the messages of one connection in their order. So it has all of a subject up to its last message there. A
new connection asks for that message, and goes on behind it. The library may not connect again by itself: it would send
what it holds, without asking.
"""

import asyncio
import contextlib
import os
import ssl
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from nats.js.errors import APIError, NotFoundError, ServiceUnavailableError
from nats.js.errors import Error as JetStreamError

from mpengine.client.position import HOLE, Hole
from mpengine.relay.broker import CONNECT_S, Away, Login, TooLarge, Wanted, unless
from mpengine.relay.naming import ROOT, Server
from mpengine.relay.position import TOPICS, Entry, Position, hole_entry, message_entry, position_of
from mpengine.shared.messages import FINALS, UNREADABLE

_T = TypeVar("_T")
STREAM = "mpengine"
"""The stream that --create-stream makes."""
_PING_S = 10
# JSApiError code of the server.
_TOO_LARGE = 10054
_CLOSE_S = 2.0


class _Error(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    """The answer to a message. The library's own reader loses the errors in it (`publish_async` of nats-py 2.16)."""

    stream: str = ""
    error: _Error | None = None


_read_answer = msgspec.json.Decoder(_Answer).decode


class _Client(Client):
    """The library's client, which insists on TLS where TLS is wanted.

    The library itself believes a server, or somebody in between, who says that no TLS is required: then it sends the
    password for all to read. It has no public way to look at this greeting.
    """

    async def _process_info(self, info: Any, *arguments: Any, **options: Any) -> None:
        if "tls" in self.options and not info.get("tls_required"):
            if not info.get("tls_available"):
                raise nats.errors.Error("the server has no TLS; without TLS it is nats://")
            info["tls_required"] = True  # it is for this connection
        await super()._process_info(info, *arguments, **options)


class JetStream:
    """One connection; see `Broker`."""

    def __init__(self, server: Server, wanted: Wanted, login: Login) -> None:
        self._server, self._wanted, self._login = server, wanted, login
        self.about = ""
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._client = _Client()
        self._inbox = self._client.new_inbox()
        self._sent = 0
        self._told: dict[str, asyncio.Future[object]] = {}
        self._stream = ""
        self._error = ""
        self._failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def open(self) -> Mapping[str, Position]:
        """See `Broker`."""
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._connect()
                await self._client.subscribe(f"{self._inbox}.*", cb=self._note_answer)
            context = self._client.jetstream(timeout=CONNECT_S)
            self._stream = await unless(self.lost, self._find_stream(context))
            positions = [self._position(context, engine) for engine in self._wanted.engines]
            found = await unless(self.lost, _all(positions))
        except (TimeoutError, nats.errors.TimeoutError):
            raise Away(self._error or f"no answer within {CONNECT_S:g} s") from None
        except ServiceUnavailableError:
            raise Away("the server has no JetStream, or it is not ready yet") from None
        except (OSError, nats.errors.Error, JetStreamError, ValueError) as error:
            raise Away(_words(error)) from None
        self.about = f'stream "{self._stream}"'
        return dict(zip(self._wanted.engines, found, strict=True))

    async def send(self, engine: str, entry: Entry) -> "asyncio.Future[object]":
        """See `Broker`."""
        self._sent += 1
        number = str(self._sent)
        headers = {api.Header.MSG_ID.value: entry.key, api.Header.EXPECTED_STREAM.value: self._stream}
        told = self._told[number] = asyncio.get_running_loop().create_future()
        try:
            await self._client.publish(
                self._wanted.names.subject(engine, entry.topic), entry.body, f"{self._inbox}.{number}", headers
            )
        except nats.errors.MaxPayloadError:
            raise TooLarge from None
        except (OSError, nats.errors.Error) as error:
            raise Away(_words(error)) from None
        return told

    async def close(self) -> None:
        """See `Broker`."""
        for told in self._told.values():
            told.cancel()
        with contextlib.suppress(TimeoutError, OSError, nats.errors.Error):
            async with asyncio.timeout(_CLOSE_S):
                await self._client.close()

    async def _connect(self) -> None:
        login = self._login
        names = {"user": login.user, "password": login.password} if login.user else {"token": login.password}
        if login.tls is not None:
            names |= {"tls": login.tls, "tls_hostname": self._server.host}  # type: ignore[dict-item]
        connecting = self._client.connect(
            servers=str(self._server),
            name=f"mpengine relay of {', '.join(self._wanted.engines)}"[:200],
            allow_reconnect=False,
            connect_timeout=int(CONNECT_S),
            ping_interval=_PING_S,
            max_outstanding_pings=1,
            error_cb=self._note_error,
            closed_cb=self._note_end,
            disconnected_cb=self._note_end,
            user_credentials=login.creds,
            **names,  # type: ignore[arg-type]
        )
        # The library would try again for two minutes, and tell nobody but its `error_cb`.
        await unless(self._failed, connecting)

    async def _note_answer(self, message: Msg) -> None:
        told = self._told.pop(message.subject.rpartition(".")[2], None)
        if told is None or told.done():
            return
        refusal = _refusal(message)
        if refusal is None:
            told.set_result(None)
        else:
            told.set_exception(refusal)

    async def _note_error(self, error: Exception) -> None:
        self._error = _words(error)
        if not self._failed.done():
            self._failed.set_result(self._error)
        # A message that was not permitted is not answered.
        if "permissions violation" in self._error.lower() and not self.lost.done():
            self.lost.set_result(self._error)

    async def _note_end(self) -> None:
        if not self.lost.done():
            self.lost.set_result(self._error or "the connection was closed")

    async def _find_stream(self, context: JetStreamContext) -> str:
        subject = self._wanted.names.subject(self._wanted.engines[0], FINALS)
        try:
            return await context.find_stream_name_by_subject(subject)
        except NotFoundError:
            if not self._wanted.creates_stream:
                text = f"no stream takes {subject}: make one for {ROOT}.>, or let --create-stream do it"
                raise Away(text) from None
        await context.add_stream(name=STREAM, subjects=[f"{ROOT}.>"], storage=api.StorageType.FILE)
        return STREAM

    async def _position(self, context: JetStreamContext, engine: str) -> Position:
        """What the stream has of an engine."""
        stored = [await self._last(context, engine, topic) for topic in (*TOPICS, HOLE)]
        return position_of(entry for entry in stored if entry is not None)

    async def _last(self, context: JetStreamContext, engine: str, topic: str) -> tuple[int, Entry] | None:
        try:
            message = await context.get_last_msg(self._stream, self._wanted.names.subject(engine, topic))
        except NotFoundError:
            return None
        body, entry = message.data or b"", None
        if topic != HOLE:
            entry = message_entry(topic, body)
        else:
            with contextlib.suppress(*UNREADABLE):
                entry = hole_entry(msgspec.json.decode(body, type=Hole))
        return None if entry is None else (message.seq or 0, entry)


async def _all(work: list[Coroutine[Any, Any, _T]]) -> list[_T]:
    return await asyncio.gather(*work)


def _refusal(message: Msg) -> Exception | None:
    """What the server says against a message, in its answer to it."""
    if message.headers and message.headers.get(api.Header.STATUS.value):  # nobody listens to the subject
        return Away(f"no stream takes these subjects now (status {message.headers[api.Header.STATUS.value]})")
    try:
        answer = _read_answer(message.data)
    except UNREADABLE:
        answer = _Answer()
    error = answer.error
    if error is None:
        # Whoever else listens to the subject may answer, too.
        return None if answer.stream else Away("an answer that is none of a stream: which program is it that answers?")
    if error.err_code == _TOO_LARGE:
        return TooLarge()
    return Away(f"the stream says: {error.description or 'no'} ({error.err_code})")


def _words(error: BaseException) -> str:
    """An error of the library in words."""
    if isinstance(error, APIError):
        return f"the stream says: {error.description} ({error.err_code})"
    if isinstance(error, JetStreamError):
        return "no stream takes these subjects"
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_S:g} s"
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    return str(error).removeprefix("nats: ").strip("'") or type(error).__name__
