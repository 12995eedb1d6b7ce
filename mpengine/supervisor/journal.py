"""The run's journal: what a supervisor that is started again must know to go on where the last one was killed.

A header of counters at fixed places, each written with one `pwrite`, then one record a final, each with its length and
crc32. The page cache suffices (it outlives the process, which is what gets killed); a record torn by a power cut ends
the journal there. Order of a final: append, publish, mark as published, acknowledge.
"""

import os
import struct
import zlib
from typing import NamedTuple, Self

import msgspec

_MAGIC = b"mpjourn1"
_HEADER_BYTES = 512
_IDENTITY_AT = 64
_COUNTER = struct.Struct("<Q")
_PUBLISHED_AT, _RESERVED_AT, _ACKNOWLEDGED_AT, _CAPTURED_AT, _SENT_AT, _CONNECTION_AT = 16, 24, 32, 40, 48, 56
_RECORD = struct.Struct("<II")
# `seq` is promised in steps, so that not every message costs a write; after a kill it goes on behind the step.
_RESERVE = 1000
# A journal that has grown to this is written anew with its youngest finals.
_COMPACT_BYTES = 4_000_000
_KEPT_RECORDS = 1000


class Identity(msgspec.Struct, frozen=True):
    """Of which run the journal is, and what must be equal for another supervisor to go on with it.

    `machine_boot`: the monotonic clock, by which gaps are measured, starts anew with the machine.
    """

    run: str
    machine_boot: str
    sample_rate: int
    channels: int
    source: str

    def continues(self, other: "Identity") -> bool:
        """Whether a run of `other` can go on as this one."""
        return msgspec.structs.replace(other, run=self.run) == self


class Final(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """One final as it was, or was to be, published. `covers`: all samples before it have their finals."""

    seq: int
    body: bytes
    covers: int


class ToldGap(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Samples [first, end) were told to be missing; a replay over them shall not tell it again."""

    first: int
    end: int


_record: msgspec.msgpack.Decoder[Final | ToldGap] = msgspec.msgpack.Decoder(Final | ToldGap)


class Recovered(NamedTuple):
    """What a journal held. `unpublished`: finals that were appended, and perhaps not published."""

    identity: Identity
    acknowledged: int
    captured: int
    sent: int
    seq: int
    connection: int
    finals: list[Final]
    gaps: list[ToldGap]
    unpublished: list[Final]


class Journal:
    """The journal of one run, open for appending."""

    def __init__(self, path: str, fd: int) -> None:
        self._path = path
        self._fd = fd
        self._end = os.lseek(fd, 0, os.SEEK_END)
        self._reserved = self._counter(_RESERVED_AT)
        self._kept: list[Final | ToldGap] = []

    @classmethod
    def create(cls, path: str, identity: Identity) -> Self:
        """A journal for a new run, in place of what was there. Raises OSError (disk full)."""
        new = f"{path}.new"
        fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        body = msgspec.msgpack.encode(identity)
        header = _MAGIC.ljust(_IDENTITY_AT, b"\0") + _framed(body)
        os.pwrite(fd, header.ljust(_HEADER_BYTES, b"\0"), 0)
        os.replace(new, path)
        return cls(path, fd)

    @classmethod
    def recover(cls, path: str) -> tuple[Self, Recovered] | None:
        """The journal at `path`, open, and what it holds; None when there is none that can be read."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        data = os.pread(fd, os.fstat(fd).st_size, 0)
        identity = _unframed(data, _IDENTITY_AT) if data.startswith(_MAGIC) else None
        if identity is None:
            os.close(fd)
            return None
        records, end = [], _HEADER_BYTES
        while (payload := _unframed(data, end)) is not None:
            records.append(_record.decode(payload))
            end += _RECORD.size + len(payload)
        finals = [record for record in records if isinstance(record, Final)]
        os.ftruncate(fd, end)
        journal = cls(path, fd)
        journal._kept = records[-_KEPT_RECORDS:]
        published = journal._counter(_PUBLISHED_AT)
        covered = max([journal._counter(_ACKNOWLEDGED_AT), *(final.covers for final in finals)])
        recovered = Recovered(
            identity=msgspec.msgpack.decode(identity, type=Identity),
            acknowledged=covered,
            captured=max(covered, journal._counter(_CAPTURED_AT)),
            sent=journal._counter(_SENT_AT),
            seq=journal._reserved,
            connection=journal._counter(_CONNECTION_AT),
            finals=finals,
            gaps=[record for record in records if isinstance(record, ToldGap)],
            unpublished=[final for final in finals if final.seq > published],
        )
        return journal, recovered

    def reserve(self, seq: int) -> None:
        """`seq` is about to be used: no later supervisor may use it again."""
        if seq > self._reserved:
            self._reserved = seq + _RESERVE
            self._set(_RESERVED_AT, self._reserved)

    def append(self, entry: Final | ToldGap) -> None:
        """Keep it, before it is published. Raises OSError (disk full): then nothing of it is kept."""
        record = _framed(msgspec.msgpack.encode(entry))
        written = os.pwrite(self._fd, record, self._end)
        if written != len(record):
            os.ftruncate(self._fd, self._end)
            raise OSError(28, os.strerror(28), self._path)
        self._end += written
        self._kept.append(entry)
        del self._kept[:-_KEPT_RECORDS]

    def published(self, seq: int) -> None:
        """The final with `seq`, and all before it, went out."""
        self._set(_PUBLISHED_AT, seq)
        if self._end > _COMPACT_BYTES:
            self._compact()

    def acknowledge(self, sample: int) -> None:
        """All before `sample` is covered (by a blank final, which is not published)."""
        self._set(_ACKNOWLEDGED_AT, sample)

    def progress(self, *, captured: int, sent: int, connection: int) -> None:
        """How far capture and streaming have come, and the connection in use: a later one's number is higher."""
        self._set(_CAPTURED_AT, captured)
        self._set(_SENT_AT, sent)
        self._set(_CONNECTION_AT, connection)

    def close(self, *, remove: bool) -> None:
        """Close it; `remove` when there is nothing left to go on with."""
        os.close(self._fd)
        if remove:
            os.unlink(self._path)

    def _compact(self) -> None:
        """Write it anew with the youngest finals; whoever is killed meanwhile leaves the old one."""
        header = os.pread(self._fd, _HEADER_BYTES, 0)
        new = f"{self._path}.new"
        fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        data = header + b"".join(_framed(msgspec.msgpack.encode(entry)) for entry in self._kept)
        if os.pwrite(fd, data, 0) != len(data):  # no room: go on with the old one
            os.close(fd)
            os.unlink(new)
            return
        os.replace(new, self._path)
        os.close(self._fd)
        self._fd, self._end = fd, len(data)

    def _counter(self, offset: int) -> int:
        data = os.pread(self._fd, _COUNTER.size, offset)
        return int.from_bytes(data, "little")

    def _set(self, offset: int, value: int) -> None:
        os.pwrite(self._fd, _COUNTER.pack(value), offset)


def _framed(payload: bytes) -> bytes:
    return _RECORD.pack(len(payload), zlib.crc32(payload)) + payload


def _unframed(data: bytes, offset: int) -> bytes | None:
    """The payload at `offset`; None at the end, and where it is torn."""
    if offset + _RECORD.size > len(data):
        return None
    length, crc = _RECORD.unpack_from(data, offset)
    payload = data[offset + _RECORD.size : offset + _RECORD.size + length]
    return payload if length and len(payload) == length and zlib.crc32(payload) == crc else None
