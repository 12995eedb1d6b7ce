"""Looks at a file of certificate authorities. The processes that read the configuration load no TLS library."""

import binascii
import os
import re
import stat

from mpengine.shared.errors import ConfigError

_MOST_BYTES = 16 << 20  # a hundred times what a system's own bundle has
# The forms that OpenSSL reads; inside is DER, which begins with the tag of a sequence.
_CERTIFICATE = re.compile(
    rb"-----BEGIN (X509 |TRUSTED |)CERTIFICATE-----\s(?P<base64>[A-Za-z0-9+/=\s]+)-----END \1CERTIFICATE-----"
)
_SEQUENCE = 0x30


def check(path: str, file: str) -> None:
    """Raise ConfigError for the key at `path` if `file` cannot be read, or has no certificate in PEM form."""
    try:
        # O_NONBLOCK: a FIFO without a writer must not hold up the start.
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigError(path, f"cannot read {file}: {why}") from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ConfigError(path, f"{file} is not a file")
        content = b""
        while len(content) < _MOST_BYTES and (piece := os.read(fd, _MOST_BYTES)):
            content += piece
    except OSError as error:
        raise ConfigError(path, f"cannot read {file}: {error.strerror}") from None
    finally:
        os.close(fd)
    if not any(_is_der(found["base64"]) for found in _CERTIFICATE.finditer(content)):
        raise ConfigError(path, f"{file} has no certificate (PEM, -----BEGIN CERTIFICATE-----)")


def _is_der(base64: bytes) -> bool:
    try:
        return binascii.a2b_base64(base64)[:1] == bytes([_SEQUENCE])
    except binascii.Error:
        return False
