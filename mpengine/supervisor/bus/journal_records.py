"""What stands in the run's journal: records, each with its length and crc32. Pure."""

import struct
import zlib
from typing import NamedTuple

import msgspec

from mpengine.shared.decoding import UNREADABLE
from mpengine.shared.messages import Transcript

_RECORD = struct.Struct("<II")


class Identity(msgspec.Struct, frozen=True):
    """Of which run the journal is, and what must be equal for another supervisor to go on with it.

    `machine_boot`: the monotonic clock, by which gaps are measured, starts anew with the machine. `window`: where the
    replay window is, and its shape.
    """

    run: str
    machine_boot: str
    sample_rate: int
    channels: int
    source: str
    window: str = ""

    def continues(self, other: "Identity") -> bool:
        """Whether a run of `other` can go on as this one."""
        return msgspec.structs.replace(other, run=self.run) == self


class Final(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """One final as it was, or was to be, published. `covers`: all samples before it have their finals."""

    seq: int
    body: bytes
    covers: int

    def transcript(self) -> Transcript | None:
        """What is in `body`; None when another version wrote it."""
        try:
            return msgspec.json.decode(self.body, type=Transcript)
        except UNREADABLE:
            return None


class ToldGap(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Samples [first, end) were told to be missing; a replay over them shall not tell it again."""

    first: int
    end: int


class Note(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Another message that the history keeps, as it was published under `topic`."""

    topic: str
    body: bytes


class Forgotten(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """For each topic the `seq` of the last message that the history had let go when the journal was written anew."""

    last: dict[str, int]


Record = Final | ToldGap | Note | Forgotten

_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


class Recovered(NamedTuple):
    """What a journal held. `recent`: the last finals; `unpublished`: those of all that perhaps did not go out."""

    identity: Identity
    acknowledged: int
    captured: int
    sent: int
    seq: int
    connection: int
    gaps: list[ToldGap]
    recent: list[Final]
    unpublished: list[Final]


def framed(payload: bytes) -> bytes:
    """`payload` as a record."""
    return _RECORD.pack(len(payload), zlib.crc32(payload)) + payload


def unframed(data: bytes, offset: int) -> bytes | None:
    """The payload at `offset`; None at the end, and where it is torn."""
    if offset + _RECORD.size > len(data):
        return None
    length, crc = _RECORD.unpack_from(data, offset)
    payload = data[offset + _RECORD.size : offset + _RECORD.size + length]
    return payload if length and len(payload) == length and zlib.crc32(payload) == crc else None


def encoded(record: Record) -> bytes:
    """`record` as it stands in the file."""
    return framed(msgspec.msgpack.encode(record))


def read_records(data: bytes, offset: int) -> tuple[list[Record], int]:
    """The records from `offset` on, and where they end. Raises (see UNREADABLE) at one of another version."""
    records: list[Record] = []
    while (payload := unframed(data, offset)) is not None:
        records.append(_decoder.decode(payload))
        offset += _RECORD.size + len(payload)
    return records, offset
