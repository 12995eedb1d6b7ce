"""The server's connections, by the address of their other end: bounded in number, and ended if they stall.

asyncio runs the callbacks of a connection and the application in one thread: nothing here needs a lock.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

MOST = 512
"""Further connections are ended at once."""
_LEAST = 8
# What the server has open for itself, and for each engine, at most.
_OWN_DESCRIPTORS, _DESCRIPTORS_OF_AN_ENGINE = 48, 12
IDLE_S = 15.0
"""A connection without a request for so long is ended."""
_LOOK_S = 5.0


class Link:
    """One connection."""

    def __init__(self, transport: asyncio.Transport, now: float) -> None:
        self._transport = transport
        self._idle_since: float | None = now
        self.is_gone = False
        self.on_end: Callable[[], None] = lambda: None
        """Called when the connection has ended."""

    def is_of(self, transport: asyncio.Transport) -> bool:
        """Whether this is the connection of `transport`."""
        return self._transport is transport

    def abort(self) -> None:
        """End it at once. What was not sent yet is dropped."""
        self.is_gone = True
        self._transport.abort()

    def busy(self) -> None:
        """A request is being answered."""
        self._idle_since = None

    def idle(self, now: float) -> None:
        """The request was answered."""
        self._idle_since = now

    def idle_s(self, now: float) -> float:
        """For how long it has had no request."""
        return 0.0 if self._idle_since is None else now - self._idle_since

    def ended(self) -> None:
        """The connection has ended."""
        self.is_gone = True
        self.on_end()


def most_of(descriptors: int, *, engines: int) -> int:
    """How many connections a server of so many `engines` takes, where it may have so many `descriptors`."""
    return max(_LEAST, min(MOST, descriptors - _OWN_DESCRIPTORS - engines * _DESCRIPTORS_OF_AN_ENGINE))


class Links:
    """All connections, at most `most`."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._links: dict[Any, Link] = {}

    def of(self, client: Any) -> Link | None:
        """The connection of the request from `client`."""
        return self._links.get(tuple(client)[:2]) if client else None

    def came(self, transport: asyncio.Transport, now: float) -> None:
        """A connection was accepted."""
        if len(self._links) >= self._most:
            transport.abort()
            return
        peer = _peer(transport)
        if peer in self._links:  # a connection from there has ended: this one came before that was told
            self._links[peer].ended()
        self._links[peer] = Link(transport, now)

    def went(self, transport: asyncio.Transport | None) -> None:
        """A connection has ended."""
        if transport is None:
            return
        peer = _peer(transport)
        link = self._links.get(peer)
        if link is not None and link.is_of(transport):
            del self._links[peer]
            link.ended()

    def abort_all(self) -> None:
        """End all connections at once."""
        for link in list(self._links.values()):
            link.abort()

    async def watch(self) -> None:
        """Look for idle connections, for ever."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self.end_idle(_now())

    def end_idle(self, now: float) -> None:
        """End the connections that have had no request for too long."""
        for link in list(self._links.values()):
            if link.idle_s(now) > IDLE_S:
                link.abort()

    def protocol(self) -> type[H11Protocol]:
        """The protocol of uvicorn, whose connections are counted here."""
        links = self

        class Counted(H11Protocol):
            def __init__(
                self,
                config: Config,
                server_state: ServerState,
                app_state: dict[str, Any],
                _loop: asyncio.AbstractEventLoop | None = None,
            ) -> None:
                super().__init__(config, server_state, app_state, _loop)
                self._own_transport: asyncio.Transport | None = None

            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                self._own_transport = transport
                super().connection_made(transport)
                links.came(transport, _now())

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                links.went(self._own_transport)

        return Counted


def _now() -> float:
    return asyncio.get_running_loop().time()


def _peer(transport: asyncio.Transport) -> Any:
    peer = transport.get_extra_info("peername")
    return tuple(peer)[:2] if isinstance(peer, tuple) else id(transport)
