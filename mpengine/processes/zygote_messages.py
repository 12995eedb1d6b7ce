"""The messages between supervisor and zygote, one in each packet of a socket pair, as msgpack. Pure.

`Fork` carries the descriptors of the new process: the read end of its pipe, and for the recogniser a listener.
"""

import msgspec

MAX_BYTES = 4096
MAX_DESCRIPTORS = 2


class _Tagged(msgspec.Struct, tag_field="type", tag=True, frozen=True, kw_only=True):
    """Base of the messages, whose type is the name of the class."""


class Fork(_Tagged, frozen=True, kw_only=True):
    """Supervisor to zygote: fork the child `name`."""

    name: str


class Ready(_Tagged, frozen=True, kw_only=True):
    """Zygote to supervisor: the zygote can fork now."""


class Forked(_Tagged, frozen=True, kw_only=True):
    """The answer to `Fork`: the new process."""

    pid: int


class NotForked(_Tagged, frozen=True, kw_only=True):
    """The answer to `Fork` when the system refused the fork."""

    why: str


class Ended(_Tagged, frozen=True, kw_only=True):
    """A child has ended. `status` is its exit code, or minus the signal that killed it."""

    pid: int
    status: int


Told = Ready | Forked | NotForked | Ended

encode = msgspec.msgpack.encode
decode_told: msgspec.msgpack.Decoder[Told] = msgspec.msgpack.Decoder(Told)
decode_fork: msgspec.msgpack.Decoder[Fork] = msgspec.msgpack.Decoder(Fork)
