"""The run's journal: with it, a supervisor that is started again goes on where the last one was killed.

The header has counters at fixed places, each written with one `pwrite`. After it comes one record for each final, each
published gap, each change of the device, and each other message that the history keeps. The page cache suffices,
because it outlives a killed process. A record that the kill cut short ends the journal. A final is appended, published,
then acknowledged. It is marked as published some time later, since the last published messages may die in the socket's
queue.
"""

import errno
import os
import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple, Self

import msgspec

from mpengine.shared.messages import FINALS, UNREADABLE, Stamp, Transcript, read_stamp
from mpengine.shared.ranges import Range, Ranges
from mpengine.supervisor.bus.history import LEAST_FINALS, History

_MAGIC = b"mpjourn1"
_HEADER_BYTES = 512
_IDENTITY_AT = 64
_COUNTER = struct.Struct("<Q")
_PROGRESS = struct.Struct("<QQQ")  # captured, sent, connection: next to one another
_PUBLISHED_AT, _RESERVED_AT, _ACKNOWLEDGED_AT, _CAPTURED_AT, _SENT_AT, _CONNECTION_AT = 16, 24, 32, 40, 48, 56
# `seq` is reserved in steps, so that not every message costs a write. After a kill it goes on after the step.
_RESERVE = 1000
# After it has grown by this, it is written again with the records that are still needed.
_COMPACT_BYTES = 1_000_000
_RECORD = struct.Struct("<II")  # length and crc32


class Identity(msgspec.Struct, frozen=True):
    """The run of a journal, and the facts that must be the same for another supervisor to go on with it.

    `machine_boot`: gaps are measured by the monotonic clock, which starts again with the machine. `window`: the path of
    the replay window, and its shape.
    """

    run: str
    machine_boot: str
    sample_rate: int
    channels: int
    source: str
    window: str = ""

    def continues(self, other: "Identity") -> bool:
        """Whether a supervisor that wants `other` can go on with this run."""
        return msgspec.structs.replace(other, run=self.run) == self


class Final(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """One final as it was, or was to be, published. All samples before `covers` have their finals."""

    seq: int
    body: bytes
    covers: int

    def transcript(self) -> Transcript | None:
        """The transcript in `body`; None if another version wrote it."""
        try:
            return msgspec.json.decode(self.body, type=Transcript)
        except UNREADABLE:
            return None


class ToldGap(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A gap of samples [first, end) was published; a replay over them must not publish it again."""

    first: int
    end: int


class Note(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Another message that the history keeps, as it was published under `topic`."""

    topic: str
    body: bytes


class OpenDevice(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The device of this `identity` was open, while the configuration wanted `wanted`. Only the last one counts."""

    identity: str
    wanted: str


class Forgotten(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """For each topic the `seq` of the last message that the history had forgotten when the journal was compacted."""

    last: dict[str, int]


Record = Final | ToldGap | Note | OpenDevice | Forgotten

_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


class Recovered(NamedTuple):
    """The content of a journal. `recent`: the last finals; `unpublished`: all finals that perhaps did not go out."""

    identity: Identity
    acknowledged: int
    captured: int
    sent: int
    seq: int
    connection: int
    gaps: list[Range]
    recent: list[Final]
    unpublished: list[Final]
    device: OpenDevice | None = None


def _framed(content: Identity | Record) -> bytes:
    """`content` as it stands in the file."""
    payload = msgspec.msgpack.encode(content)
    return _RECORD.pack(len(payload), zlib.crc32(payload)) + payload


def _unframed(data: bytes, offset: int) -> bytes | None:
    """The payload at `offset`; None at the end, and where the record is torn."""
    if offset + _RECORD.size > len(data):
        return None
    length, crc = _RECORD.unpack_from(data, offset)
    payload = data[offset + _RECORD.size : offset + _RECORD.size + length]
    return payload if length and len(payload) == length and zlib.crc32(payload) == crc else None


def _read_records(data: bytes, offset: int) -> tuple[list[Record], int]:
    """The records from `offset` on, and where they end. Raises one of UNREADABLE if another version wrote one."""
    records: list[Record] = []
    while (payload := _unframed(data, offset)) is not None:
        records.append(_decoder.decode(payload))
        offset += _RECORD.size + len(payload)
    return records, offset


class Journal:
    """The journal of one run, open for appending. It keeps the messages that its `history` keeps."""

    def __init__(self, path: str, fd: int, history: History) -> None:
        self.history = history
        self._path = path
        self._fd = fd
        self._end = os.lseek(fd, 0, os.SEEK_END)
        self._reserved = self._counter(_RESERVED_AT)
        self._compact_at = self._end + _COMPACT_BYTES
        self._acknowledged = self._counter(_ACKNOWLEDGED_AT)
        self._unpublished: list[Final] = []  # appended, and not yet marked as published
        self._device: OpenDevice | None = None
        self._gaps = Ranges()  # published; those before the acknowledged sample are forgotten when another one comes

    @classmethod
    def create(cls, path: str, identity: Identity, history: History | None = None) -> Self:
        """A journal for a new run, in place of an older one. Raises OSError (disk full)."""
        new = f"{path}.new"
        fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        header = _MAGIC.ljust(_IDENTITY_AT, b"\0") + _framed(identity)
        os.pwrite(fd, header.ljust(_HEADER_BYTES, b"\0"), 0)
        os.replace(new, path)
        return cls(path, fd, history or History())

    @classmethod
    def recover(
        cls, path: str, history: History | None = None, *, now: float = 0.0, utc_ns: int = 0
    ) -> tuple[Self, Recovered] | None:
        """The journal at `path`, open, and its content; None if there is no readable one.

        `history` gets the messages that it keeps. `now` is the monotonic time, `utc_ns` the time of day.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        data = os.pread(fd, os.fstat(fd).st_size, 0)
        try:
            if not data.startswith(_MAGIC):
                raise ValueError("no journal")
            identity = msgspec.msgpack.decode(_unframed(data, _IDENTITY_AT) or b"", type=Identity)
            records, end = _read_records(data, _HEADER_BYTES)
        except UNREADABLE:  # damaged, or of another version
            os.close(fd)
            return None
        finals = [record for record in records if isinstance(record, Final)]
        os.ftruncate(fd, end)
        journal = cls(path, fd, history or History())
        _restore(journal.history, records, now, utc_ns)
        published = journal._counter(_PUBLISHED_AT)
        covered = max([journal._acknowledged, *(final.covers for final in finals)])
        journal._unpublished = [final for final in finals if final.seq > published]
        journal._gaps = Ranges((record.first, record.end) for record in records if isinstance(record, ToldGap))
        journal._gaps.forget_before(covered)
        journal._device = next((record for record in reversed(records) if isinstance(record, OpenDevice)), None)
        journal.acknowledge(covered)
        recovered = Recovered(
            identity=identity,
            acknowledged=covered,
            captured=max(covered, journal._counter(_CAPTURED_AT)),
            sent=journal._counter(_SENT_AT),
            seq=journal._reserved,
            connection=journal._counter(_CONNECTION_AT),
            gaps=list(journal._gaps),
            recent=finals[-LEAST_FINALS:],
            unpublished=list(journal._unpublished),
            device=journal._device,
        )
        return journal, recovered

    def reserve(self, seq: int) -> None:
        """Make sure that no later supervisor uses `seq` again. Call it before `seq` is used."""
        if seq > self._reserved:
            self._reserved = seq + _RESERVE
            self._set(_RESERVED_AT, self._reserved)

    def append(self, entry: Final | ToldGap | Note | OpenDevice) -> None:
        """Keep `entry`. Call it before publishing. Raises OSError (disk full); nothing is kept of the entry then."""
        record = _framed(entry)
        written = os.pwrite(self._fd, record, self._end)
        if written != len(record):
            os.ftruncate(self._fd, self._end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
        self._end += written
        if isinstance(entry, Final):
            self._unpublished.append(entry)
        elif isinstance(entry, ToldGap):
            self._gaps.forget_before(self._acknowledged)
            self._gaps.join(entry.first, entry.end)
        elif isinstance(entry, OpenDevice):
            self._device = entry
        if self._end > self._compact_at:
            self._compact()

    def published(self, seq: int) -> None:
        """All finals up to `seq` have certainly gone out."""
        if self._unpublished and self._unpublished[0].seq <= seq:
            self._unpublished = [final for final in self._unpublished if final.seq > seq]
            self._set(_PUBLISHED_AT, seq)

    def acknowledge(self, sample: int) -> None:
        """Finals cover all samples before `sample`."""
        self._acknowledged = max(self._acknowledged, sample)
        self._set(_ACKNOWLEDGED_AT, self._acknowledged)

    def progress(self, *, captured: int, sent: int, connection: int) -> None:
        """Note the positions of capture and streaming, and the number of the current connection."""
        os.pwrite(self._fd, _PROGRESS.pack(captured, sent, connection), _CAPTURED_AT)

    def close(self, *, remove: bool) -> None:
        """Close it. `remove`: no other supervisor needs to go on with the run."""
        os.close(self._fd)
        if remove:
            os.unlink(self._path)

    def _compact(self) -> None:
        """Write it again with the records that are still needed. A kill meanwhile leaves the old journal."""
        self._compact_at = self._end + _COMPACT_BYTES  # without room for the new one, try again after that
        new = f"{self._path}.new"
        data = os.pread(self._fd, _HEADER_BYTES, 0) + b"".join(_framed(record) for record in self._needed())
        try:
            fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            is_whole = os.pwrite(fd, data, 0) == len(data)
        except OSError:
            is_whole = False
        if not is_whole:  # no room: keep the old one
            os.close(fd)
            os.unlink(new)
            return
        os.replace(new, self._path)
        os.close(self._fd)
        self._fd, self._end = fd, len(data)
        self._compact_at = self._end + _COMPACT_BYTES

    def _needed(self) -> list[Record]:
        """The records of the history, of finals that perhaps did not go out, of gaps, and of the last device."""
        finals = {final.seq: final for final in self._unpublished}
        notes: list[Record] = []
        for entry in self.history.entries():
            if entry.topic == FINALS:
                finals.setdefault(entry.seq, Final(entry.seq, entry.body, 0))
            else:
                notes.append(Note(entry.topic, entry.body))
        in_order = sorted(finals.values(), key=lambda final: final.seq)
        self._gaps.forget_before(self._acknowledged)
        gaps = [ToldGap(*gap) for gap in self._gaps]
        device = [] if self._device is None else [self._device]
        return [Forgotten(self.history.forgotten), *device, *in_order, *notes, *gaps]

    def _counter(self, offset: int) -> int:
        data = os.pread(self._fd, _COUNTER.size, offset)
        return int.from_bytes(data, "little")

    def _set(self, offset: int, value: int) -> None:
        os.pwrite(self._fd, _COUNTER.pack(value), offset)


def _restore(history: History, records: Iterable[Record], now: float, utc_ns: int) -> None:
    """Give `history` the messages that it had kept."""
    for record in records:
        if isinstance(record, Forgotten):
            for topic, seq in record.last.items():
                history.forgot(topic, seq)
        elif isinstance(record, (Final, Note)):
            stamp = stamp_of(record.body)
            if stamp.seq:
                age_s = max(0, utc_ns - stamp.time_ns) / 1e9
                history.add(stamp.topic, stamp.seq, stamp.prev, record.body, now - age_s)


def stamp_of(body: bytes) -> Stamp:
    """The stamp of a message; an empty one if another version wrote the message."""
    try:
        return read_stamp(body)
    except UNREADABLE:
        return Stamp()
