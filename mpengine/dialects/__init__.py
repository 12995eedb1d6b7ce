"""The recognisers, found by `remote.mode`. Pure.

A recogniser is one module and one line here. The module has the recogniser's table of the configuration (a
RemoteConfig) and its protocol (a Dialect), and is loaded on use.
"""

import importlib

import msgspec

from mpengine.dialects.base import RemoteConfig
from mpengine.shared.config_tables import Secret, decode_secret, encode_secret, marked

_HOMES = {
    "managed": "managed.ManagedConfig",
    "byok": "deepgram.ByokConfig",
    "local": "managed.LocalConfig",
}
MODES = tuple(_HOMES)
DEFAULT_MODE = "managed"
MEANT = {"deepgram": "byok", "nova": "byok", "proxy": "managed", "pocketsphinx": "local", "sphinx": "local"}
"""The mode that people mean by these words."""
# The first modes had one table, and users' files have its keys side by side: `mode` alone chooses. A key of these that
# belongs to another mode is checked and has no effect. Any other key of another mode is refused.
KEYS_OF_ALL_MODES = frozenset({"server_url", "auth_token", "byok_api_key", "byok_url", "deepgram_model", "parameters"})


def kind(mode: str) -> type[RemoteConfig]:
    """The class of the table [remote] for `mode`, which is one of MODES."""
    module, _, name = _HOMES[mode].partition(".")
    found: type[RemoteConfig] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    return found


def packed(remote: RemoteConfig) -> msgspec.Raw:
    """`remote` with its secrets, for a child's settings; `unpacked` is the reverse."""
    return msgspec.Raw(msgspec.msgpack.encode(remote, enc_hook=encode_secret))


def secret_of(remote: RemoteConfig) -> Secret:
    """The key or token in `remote`; an empty one if it needs none."""
    key = _secret_key(remote)
    return Secret() if key is None else getattr(remote, key)


def with_secret(remote: RemoteConfig, secret: Secret) -> RemoteConfig:
    """`remote` with another key or token. Raises ValueError if it needs none."""
    key = _secret_key(remote)
    if key is None:
        raise ValueError(remote.mode)
    return msgspec.structs.replace(remote, **{key: secret})


def _secret_key(remote: RemoteConfig) -> str | None:
    return next(iter(marked(type(remote), "environment")), None)


class _Mode(msgspec.Struct):
    mode: str


def unpacked(remote: msgspec.Raw) -> RemoteConfig:
    """The table that was `packed`."""
    mode = msgspec.msgpack.decode(remote, type=_Mode).mode
    return msgspec.msgpack.decode(remote, type=kind(mode), dec_hook=decode_secret)
