"""A connection to a broker as the relay needs it, and the errors by which it says no."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from mpengine.relay.naming import Names
from mpengine.relay.position import Entry, Position

_T = TypeVar("_T")
CONNECT_S = 10.0
"""The limit for a connection, and for each answer while it is made."""


class Away(Exception):
    """The broker cannot be reached, or takes no messages: try again later. The text says why."""


class TooLarge(Exception):
    """The broker will never take this message."""


class Login(NamedTuple):
    """Who the relay is to the broker. `creds` is the path of a file, which the library reads for each connection."""

    user: str | None = None
    password: str | None = None
    creds: str | None = None
    tls: ssl.SSLContext | None = None


class Wanted(NamedTuple):
    """What is handed to a broker, and how."""

    names: Names
    engines: tuple[str, ...]
    version: str
    creates_stream: bool = False
    has_discovery: bool = False


class Broker(Protocol):
    """One connection. It is opened once; after a loss there is a new one."""

    @property
    def about(self) -> str:
        """How the broker keeps the messages, in words for the user; set once it is open."""

    @property
    def lost(self) -> "asyncio.Future[str]":
        """Why the connection was lost, as soon as it is."""

    async def open(self) -> Mapping[str, Position]:
        """Connect. Returns what the broker says it has of each engine. Raises Away."""

    async def send(self, engine: str, entry: Entry) -> "asyncio.Future[object]":
        """Hand over `entry`, behind those before it. The future is done once the broker has it, or has refused it.

        Raises Away, TooLarge; so does the future.
        """

    async def close(self) -> None:
        """Take leave of the broker, if it still listens. This raises nothing."""


async def unless(end: "asyncio.Future[str]", work: Awaitable[_T]) -> _T:
    """What `work` returns. Raises Away with the words of `end` when these come before."""
    task = asyncio.ensure_future(work)
    either: list[asyncio.Future[Any]] = [task, end]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Away(end.result())
        return task.result()
    finally:
        task.cancel()


@contextlib.contextmanager
def understood() -> Iterator[None]:
    """Raise Away where a library fails over what a broker, or something else at its place, has answered.

    The libraries take for granted that an answer has all its fields, and that these are of the right types.
    """
    try:
        yield
    except (Away, TooLarge, TimeoutError):
        raise
    except Exception as error:
        raise Away(f"an answer that nobody understands: {type(error).__name__}: {error}") from error
