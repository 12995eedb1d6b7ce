"""WAV files of every kind, good and bad, byte by byte."""

import struct
from pathlib import Path

BITS = {"uint8": 8, "int16": 16, "int24": 24, "int32": 32, "float32": 32, "float64": 64}
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    """A chunk; `size` is what it says of its length, where it lies."""
    return name + struct.pack("<I", len(content) if size is None else size) + content + bytes(len(content) % 2)


def fmt(
    rate_hz: int = 16000,
    channels: int = 1,
    sample_format: str = "int16",
    *,
    is_extensible: bool = False,
    tag: int | None = None,
    bits: int | None = None,
    frame_bytes: int | None = None,
) -> bytes:
    """A fmt chunk."""
    bits = BITS[sample_format] if bits is None else bits
    kind = (3 if sample_format.startswith("float") else 1) if tag is None else tag
    frame_bytes = channels * ((bits + 7) // 8) if frame_bytes is None else frame_bytes
    plain = struct.pack("<HIIHH", channels, rate_hz, rate_hz * frame_bytes, frame_bytes, bits)
    if not is_extensible:
        return chunk(b"fmt ", struct.pack("<H", kind) + plain)
    more = struct.pack("<HHI", 22, bits, 0) + struct.pack("<H", kind) + _GUID_TAIL
    return chunk(b"fmt ", struct.pack("<H", 0xFFFE) + plain + more)


def riff(*chunks: bytes, name: bytes = b"RIFF", size: int | None = None) -> bytes:
    """A file of these chunks."""
    content = b"WAVE" + b"".join(chunks)
    return name + struct.pack("<I", len(content) if size is None else size) + content


def wav(data: bytes, **of_fmt) -> bytes:
    """An ordinary file with this audio."""
    return riff(fmt(**of_fmt), chunk(b"data", data))


def rf64(data: bytes, *, name: bytes = b"RF64", **of_fmt) -> bytes:
    """The kind that may be longer than 4 GB."""
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, len(data), 0, 0))
    unknown = 0xFFFFFFFF
    return riff(sizes, fmt(**of_fmt), chunk(b"data", data, unknown), name=name, size=unknown)


def write(path: Path | str, content: bytes) -> str:
    """Write `content`; returns the path."""
    Path(path).write_bytes(content)
    return str(path)
