"""The run's journal: with it, a supervisor that is started again goes on where the last one was killed.

The header has the counters, twice, each time with a crc32, all written with one `pwrite`. After it come records: the
identity, then one for each final, each published gap, each change of the device, and each other message that the
history keeps. The page cache suffices, because it outlives a killed process. A record that the kill cut short ends the
journal. A final is appended, published, then acknowledged. It is marked as published some time later, since the last
published messages may die in the socket's queue.

A journal is believed only if its counters are whole in one place and can be true. Otherwise it is as if there were no
journal: a wrong position would cost audio without a word. What another version wrote is no journal, either.
"""

import contextlib
import errno
import os
import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple, Self

import msgspec

from mpengine.shared import one_writer
from mpengine.shared.file_id import FileId, file_id
from mpengine.shared.messages import FINALS, UNREADABLE, Stamp, Transcript, read_stamp
from mpengine.shared.ranges import Range, Ranges
from mpengine.supervisor.bus.history import LEAST_FINALS, History

_MAGIC = b"mpjourn2"
_HEADER_BYTES = 256
_COUNTERS_AT = (16, 96)
# The highest number of a connection that fits a frame with room to spare, and of a message that JSON readers take.
_MOST_CONNECTIONS, _MOST_SEQ = 1 << 31, 1 << 53
_MOST_SAMPLES = 1 << 53  # a million years
# `seq` is reserved in steps, so that not every message costs a write. After a kill it goes on after the step.
_RESERVE = 1000
# After it has grown by this, it is written again with the records that are still needed. These are 2.9 MB at most, by
# the bounds of the history. With the last record, which may be a long one, all is 4 MB.
_COMPACT_BYTES = 750_000
# More of them are in the history, too. The oldest need not be published again: they went out some time ago.
_MOST_UNPUBLISHED_BYTES = 1 << 20
_RECORD = struct.Struct("<II")  # length and crc32


class Identity(msgspec.Struct, frozen=True):
    """The run of a journal, and the facts that must be the same for another supervisor to go on with it.

    `machine_boot`: gaps are measured by the monotonic clock, which starts again with the machine. `window`: the path of
    the replay window, and its shape. A source that is a file can be read again: for it these two are always the same.
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


class Counters(NamedTuple):
    """The numbers of the header. `published`, `reserved` and `transcribed` are a `seq`; `transcribed`: up to which the
    transcript file has everything. `acknowledged`, `captured` and `sent` are samples.
    """

    published: int = 0
    reserved: int = 0
    transcribed: int = 0
    acknowledged: int = 0
    captured: int = 0
    sent: int = 0
    connection: int = 0

    def packed(self) -> bytes:
        """As they stand in the header, from its first copy on."""
        fields = _COUNTERS.pack(*self)
        copy = fields + _CRC.pack(zlib.crc32(fields))
        first, second = _COUNTERS_AT
        return copy.ljust(second - first, b"\0") + copy

    @classmethod
    def unpacked(cls, header: bytes) -> Self | None:
        """The first whole copy in `header`; None if none is whole."""
        for at in _COUNTERS_AT:
            fields = header[at : at + _COUNTERS.size]
            if header[at + _COUNTERS.size :].startswith(_CRC.pack(zlib.crc32(fields))):
                return cls(*_COUNTERS.unpack(fields))
        return None

    def can_be(self, last: int) -> bool:
        """Whether they can be true, with `last` as the highest `seq` of a final."""
        return (
            self.connection < _MOST_CONNECTIONS
            and max(self.published, self.transcribed) <= max(self.reserved, last) < _MOST_SEQ
            and max(self.acknowledged, self.sent) <= self.captured < _MOST_SAMPLES
        )


_COUNTERS = struct.Struct(f"<{len(Counters._fields)}Q")
_CRC = struct.Struct("<I")

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

    def __init__(self, path: str, fd: int, history: History, identity: Identity, counters: Counters) -> None:
        self.history = history
        self._path = path
        self._fd = fd
        self._identity = identity
        self._counters = counters
        self._end = os.lseek(fd, 0, os.SEEK_END)
        self._compact_at = self._end + _COMPACT_BYTES
        self._unpublished: list[Final] = []  # appended, and not yet marked as published
        self._unpublished_bytes = 0
        self._device: OpenDevice | None = None
        self._gaps = Ranges()  # published; those before the acknowledged sample are forgotten when another one comes

    @classmethod
    def create(cls, path: str, identity: Identity, history: History | None = None) -> Self:
        """A journal for a new run, in place of an older one. Raises OSError (disk full)."""
        counters = Counters()
        fd = one_writer.put_in_place(path, _header(identity, counters))
        return cls(path, fd, history or History(), identity, counters)

    @classmethod
    def recover(
        cls,
        path: str,
        history: History | None = None,
        *,
        now: float = 0.0,
        utc_ns: int = 0,
    ) -> tuple[Self, Recovered] | None:
        """The journal at `path`, open, and its content; None if there is none that can be believed.

        `history` gets the messages that it keeps. `now` is the monotonic time, `utc_ns` the time of day. Raises OSError
        when there is something else than a file.
        """
        try:
            fd = one_writer.open_file(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            data = os.pread(fd, os.fstat(fd).st_size, 0)
            counters = Counters.unpacked(data[:_HEADER_BYTES])
            if not data.startswith(_MAGIC) or counters is None:
                raise ValueError("no journal")
            identity_record = _unframed(data, _HEADER_BYTES) or b""
            identity = msgspec.msgpack.decode(identity_record, type=Identity)
            records, end = _read_records(data, _HEADER_BYTES + _RECORD.size + len(identity_record))
            finals = [record for record in records if isinstance(record, Final)]
            last = max((final.seq for final in finals), default=0)
            if not counters.can_be(last):
                raise ValueError("impossible counters")
        except UNREADABLE:  # damaged, or of another version
            os.close(fd)
            return None
        os.ftruncate(fd, end)
        journal = cls(path, fd, history or History(), identity, counters)
        _restore(journal.history, records, now, utc_ns)
        covered = max([counters.acknowledged, *(final.covers for final in finals)])
        journal._unpublished = [final for final in finals if final.seq > counters.published]
        journal._unpublished_bytes = sum(len(final.body) for final in journal._unpublished)
        journal._gaps = Ranges((record.first, record.end) for record in records if isinstance(record, ToldGap))
        journal._gaps.forget_before(covered)
        journal._device = next((record for record in reversed(records) if isinstance(record, OpenDevice)), None)
        journal.acknowledge(covered)
        recovered = Recovered(
            identity=identity,
            acknowledged=covered,
            captured=max(covered, counters.captured),
            sent=counters.sent,
            seq=max(counters.reserved, last),
            connection=counters.connection,
            gaps=list(journal._gaps),
            recent=finals[-LEAST_FINALS:],
            unpublished=list(journal._unpublished),
            device=journal._device,
        )
        return journal, recovered

    @property
    def path(self) -> str:
        """Where it stands, or stood."""
        return self._path

    @property
    def file_id(self) -> FileId:
        """Which file it is, wherever it stands."""
        return file_id(os.fstat(self._fd))

    @property
    def transcribed(self) -> int:
        """The `seq` up to which the transcript file has everything."""
        return self._counters.transcribed

    def reserve(self, seq: int) -> None:
        """Make sure that no later supervisor uses `seq` again. Call it before `seq` is used."""
        if seq > self._counters.reserved:
            self._set(reserved=seq + _RESERVE)

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
            self._unpublished_bytes += len(entry.body)
            while self._unpublished_bytes > _MOST_UNPUBLISHED_BYTES:
                self._unpublished_bytes -= len(self._unpublished.pop(0).body)
        elif isinstance(entry, ToldGap):
            self._gaps.forget_before(self._counters.acknowledged)
            self._gaps.join(entry.first, entry.end)
        elif isinstance(entry, OpenDevice):
            self._device = entry
        if self._end > self._compact_at:
            self._compact()

    def published(self, seq: int) -> None:
        """All finals up to `seq` have certainly gone out."""
        if self._unpublished and self._unpublished[0].seq <= seq:
            self._unpublished = [final for final in self._unpublished if final.seq > seq]
            self._set(published=seq)
            self._unpublished_bytes = sum(len(final.body) for final in self._unpublished)

    def acknowledge(self, sample: int) -> None:
        """Finals cover all samples before `sample`."""
        counters = self._counters
        if sample > counters.acknowledged:  # for each final: without another call
            self._counters = counters._replace(acknowledged=sample, captured=max(sample, counters.captured))
            os.pwrite(self._fd, self._counters.packed(), _COUNTERS_AT[0])

    def progress(self, *, captured: int, sent: int, connection: int) -> None:
        """Note the positions of capture and streaming, and the number of the current connection.

        Of capture the supervisor may have heard less than of the others: what was sent was captured.
        """
        captured = max(captured, sent, self._counters.acknowledged)
        self._set(captured=captured, sent=sent, connection=connection)

    def has_transcribed(self, seq: int) -> None:
        """The transcript file has everything up to `seq`."""
        if seq > self._counters.transcribed:
            self._set(transcribed=seq)

    def close(self, *, remove: bool) -> None:
        """Close it. `remove`: no other supervisor needs to go on with the run."""
        os.close(self._fd)
        if remove:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def write_again(self) -> None:
        """Write it again, at its path, with the records that are still needed. A kill meanwhile leaves the old one.

        Raises OSError (disk full); all goes on with the old one then, even where its path is gone.
        """
        self._compact_at = self._end + _COMPACT_BYTES
        content = _header(self._identity, self._counters) + b"".join(_framed(record) for record in self._needed())
        fd = one_writer.put_in_place(self._path, content)
        os.close(self._fd)
        self._fd, self._end = fd, len(content)
        self._compact_at = self._end + _COMPACT_BYTES

    def _compact(self) -> None:
        with contextlib.suppress(OSError):  # try again after as many bytes
            self.write_again()

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
        self._gaps.forget_before(self._counters.acknowledged)
        gaps = [ToldGap(*gap) for gap in self._gaps]
        device = [] if self._device is None else [self._device]
        return [Forgotten(self.history.forgotten), *device, *in_order, *notes, *gaps]

    def _set(self, **changes: int) -> None:
        self._counters = self._counters._replace(**changes)
        os.pwrite(self._fd, self._counters.packed(), _COUNTERS_AT[0])


def _header(identity: Identity, counters: Counters) -> bytes:
    """The beginning of a journal, up to its first record but the identity."""
    header = _MAGIC.ljust(_COUNTERS_AT[0], b"\0") + counters.packed()
    return header.ljust(_HEADER_BYTES, b"\0") + _framed(identity)


def _write(fd: int, data: bytes, offset: int) -> None:
    """Write the whole of `data`. Raises OSError; a part of it may be written then."""
    if os.pwrite(fd, data, offset) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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
