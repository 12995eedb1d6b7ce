"""What the relay asks of a connection to a broker, and how that says no."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from mpengine.relay.naming import Names
from mpengine.relay.position import Entry, Position

CONNECT_S = 10.0
"""The limit for a connection, and for each answer while it is made."""


class Away(Exception):
    """The broker cannot be had, or does not take what it is given: try again later. The text says why."""


class TooLarge(Exception):
    """The broker will never take this message."""


class Login(NamedTuple):
    """Who the relay is to the broker. `creds`, and those of `tls`, are read from their files."""

    user: str | None = None
    password: str | None = None
    creds: str | None = None
    tls: ssl.SSLContext | None = None


class Wanted(NamedTuple):
    """What is handed to a broker, and how."""

    names: Names
    engines: tuple[str, ...]
    login: Login
    version: str
    creates_stream: bool = False
    has_discovery: bool = False


class Broker(Protocol):
    """One connection. It is opened once, and made anew after it was lost."""

    @property
    def about(self) -> str:
        """What there is, in words, once it is open."""

    @property
    def lost(self) -> "asyncio.Future[str]":
        """Why the connection was lost, as soon as it is."""

    async def open(self) -> Mapping[str, Position]:
        """Connect. What the broker says it has of the engines. Raises Away."""

    async def send(self, engine: str, entry: Entry) -> "asyncio.Future[object]":
        """Hand over `entry`, behind those before it. The future is done when the broker has it; else it has the error.

        Raises Away, TooLarge; so does the future.
        """

    async def close(self) -> None:
        """Say good-bye, if the broker still listens. It raises nothing."""
