"""What supervisor and zygote say to each other: one msgpack message a packet, over a socket pair. Pure.

With `Fork` come the descriptors of the new process: the read end of its pipe, and what it inherits besides.
"""

import msgspec

MAX_BYTES = 4096
MAX_DESCRIPTORS = 2


class _Tagged(msgspec.Struct, tag_field="type", tag=True, frozen=True, kw_only=True):
    """Base of the messages: told apart by the class name."""


class Fork(_Tagged, frozen=True, kw_only=True):
    """Supervisor to zygote: fork a child that becomes the process called `name`."""

    name: str


class Ready(_Tagged, frozen=True, kw_only=True):
    """Zygote to supervisor: it can fork now."""


class Forked(_Tagged, frozen=True, kw_only=True):
    """The answer to `Fork`."""

    pid: int


class NotForked(_Tagged, frozen=True, kw_only=True):
    """The answer to `Fork` when the system had no room for another process."""

    why: str


class Ended(_Tagged, frozen=True, kw_only=True):
    """A child has ended; `status` is its exit code, or minus the signal that killed it."""

    pid: int
    status: int


Told = Ready | Forked | NotForked | Ended

encode = msgspec.msgpack.encode
decode_told: msgspec.msgpack.Decoder[Told] = msgspec.msgpack.Decoder(Told)
decode_fork: msgspec.msgpack.Decoder[Fork] = msgspec.msgpack.Decoder(Fork)
