"""Secrets outside of the configuration: read from their files, and struck out of text for others."""

import errno
import os
import select
from collections.abc import Iterator
from typing import Any

import msgspec

from mpengine.shared.errors import ConfigError

# A piece of a secret that is shorter gives nothing away, and may be a word.
_PIECE_CHARS = 8
_STRUCK = "***"
_MOST_BYTES = 65536
_MOST_PARTS = 32


def read_secret(path: str, *, wait_s: float = 0.0) -> str:
    """The secret in the file at `path`, without a byte order mark and spaces. Raises OSError, UnicodeDecodeError.

    A pipe without a writer counts as an empty file. One that is being written is read to its end, with waits of at most
    `wait_s` each.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        poller, data = select.poll(), b""
        poller.register(fd, select.POLLIN)
        while len(data) <= _MOST_BYTES:
            poller.poll(wait_s * 1000)
            piece = os.read(fd, _MOST_BYTES)
            if not piece:
                return data.decode("utf-8-sig").strip()
            data += piece
        raise OSError(errno.EFBIG, f"no key has more than {_MOST_BYTES} bytes")
    finally:
        os.close(fd)


def secret_in(path: str, key: str, *, wait_s: float = 0.0) -> str:
    """See `read_secret`. Raises ConfigError instead, with `key` for the path of the key or the option that names it."""
    try:
        return read_secret(path, wait_s=wait_s)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(key, f"cannot read {path}: {why}") from None


class StrikeOut:
    """Strikes out each run of `least_chars` or more characters of a secret: texts are cut, and secrets with them.

    A secret with fewer characters is struck out as a whole; with `spares_short`, not at all. A text, as UTF-8, that has
    none of the `parts` stays as it is: that is a quick look, and nearly always enough. A long token has so many parts
    that the look would not be quick: then the only part is the empty one, which every text has.
    """

    def __init__(self, *secrets: str, least_chars: int = _PIECE_CHARS, spares_short: bool = False) -> None:
        self._pieces: dict[int, set[str]] = {}  # by their length
        self._halves: dict[int, set[str]] = {}  # by the length of the pieces: all halves of pieces
        parts: set[str] = set()  # each piece has a whole one of these in it, and there are far fewer of them
        for secret in secrets:
            if not secret or (spares_short and len(secret) < least_chars):
                continue
            chars = min(least_chars, len(secret))
            self._pieces.setdefault(chars, set()).update(_runs(secret, chars))
            self._halves.setdefault(chars, set()).update(_runs(secret, _half(chars)))
            parts.update(_runs(secret, _half(chars), step=_half(chars)))
        self.parts = tuple(part.encode() for part in parts) if len(parts) <= _MOST_PARTS else (b"",)

    def __call__(self, text: str) -> str:
        """`text` with stars in place of each piece. The time grows with the text's length alone."""
        for chars, pieces in self._pieces.items():
            text = _struck(text, pieces, self._halves[chars], chars)
        return text

    def everywhere_in(self, value: Any) -> Any:
        """`value`, a message or a part of one, with stars in all its texts."""
        match value:
            case str():
                return self(value)
            case dict():
                return {self.everywhere_in(key): self.everywhere_in(item) for key, item in value.items()}
            case list() | tuple():
                return type(value)(self.everywhere_in(item) for item in value)
            case msgspec.Struct():
                fields = {name: self.everywhere_in(getattr(value, name)) for name in value.__struct_fields__}
                return msgspec.structs.replace(value, **fields)
            case _:
                return value


def _half(chars: int) -> int:
    return (chars + 1) // 2


def _runs(secret: str, chars: int, *, step: int = 1) -> Iterator[str]:
    return (secret[first : first + chars] for first in range(0, len(secret) - chars + 1, step))


def _struck(text: str, pieces: set[str], halves: set[str], chars: int) -> str:
    kept: list[str] = []
    done, half = 0, _half(chars)
    # The places are so close that each piece has one of them, with a whole half after it.
    for place in range(0, len(text), chars - half + 1):
        if text[place : place + half] not in halves:
            continue
        for first in range(max(done, place - chars + half), place + 1):
            if text[first : first + chars] in pieces:
                end = first + chars
                while text[end - chars + 1 : end + 1] in pieces:
                    end += 1
                kept += (text[done:first], _STRUCK)
                done = end
                break
    return "".join((*kept, text[done:]))
