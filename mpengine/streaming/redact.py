"""Strikes our secret out of what is told of a peer: its words may repeat it ("invalid token ..."). Pure."""

from typing import Any

import msgspec

from mpengine.shared import control
from mpengine.streaming.actions import Action, Mention, Tell

STRUCK = "***"
# A short one may be a word that somebody says: out of speech it is not struck, or words would be lost.
_SPEAKABLE_CHARS = 12


def struck(action: Action, secret: str) -> Action:
    """`action`, and if it tells something, without `secret`."""
    match action:
        case Tell(message=message):
            return Tell(_without(message, secret))
        case Mention(message=message):
            return Mention(_without(message, secret))
        case _:
            return action


def _without(message: control.Up, secret: str) -> control.Up:
    if isinstance(message, control.Heard) and len(secret) < _SPEAKABLE_CHARS:
        return message
    # msgpack escapes nothing: one look at the bytes settles nearly every message.
    if not secret or secret.encode() not in control.encode(message):
        return message
    replaced: control.Up = _replaced(message, secret)
    return replaced


def _replaced(value: Any, secret: str) -> Any:
    match value:
        case str():
            return value.replace(secret, STRUCK)
        case dict():
            return {_replaced(key, secret): _replaced(item, secret) for key, item in value.items()}
        case list() | tuple():
            return type(value)(_replaced(item, secret) for item in value)
        case msgspec.Struct():
            fields = {name: _replaced(getattr(value, name), secret) for name in value.__struct_fields__}
            return msgspec.structs.replace(value, **fields)
        case _:
            return value
