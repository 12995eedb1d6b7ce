"""The way to a server, stage by stage: how far an attempt to open a connection has come. Pure."""

import enum
from typing import NamedTuple


class Stage(enum.Enum):
    """The part of the way that an attempt is at."""

    NAME = enum.auto()
    """The name of the host, or of the proxy, is looked up."""
    CONNECTION = enum.auto()
    """TCP, and the proxy's tunnel."""
    TLS = enum.auto()
    DONE = enum.auto()


class Certificate(NamedTuple):
    """A server's certificate, which was verified. `issuer`: in words. `tls`: the version of TLS.

    `ends_s`: when it expires, in seconds since 1970, UTC.
    """

    issuer: str
    ends_s: float
    tls: str


class Progress:
    """How far one attempt has come. The thread that opens writes it, and any thread may read it.

    `addresses` are those of the host, or of the proxy. `address` is the one that has answered; empty before that.
    """

    def __init__(self) -> None:
        self.stage = Stage.NAME
        self.addresses: tuple[str, ...] = ()
        self.address = ""
