"""What a developer is told of connections, at the log level debug: never a secret, never a word that was said. Pure."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mpengine.shared.logs.lines import Event
from mpengine.streaming.actions import Action, Drop, SendClose, SendPing, SendPong, SendText
from mpengine.streaming.websocket import events

# The parameters of an address whose values are no secrets. Of others only the name is told.
_PLAIN_PARAMETERS = frozenset(
    {
        "channels",
        "diarize",
        "encoding",
        "endpointing",
        "interim_results",
        "language",
        "model",
        "multichannel",
        "numerals",
        "punctuate",
        "sample_rate",
        "smart_format",
        "utterance_end_ms",
        "vad_events",
        "version",
    }
)


def attempt(number: int, endpoint: str, url: str, headers: Sequence[str]) -> Event:
    """The line about an attempt to connect.

    `endpoint` is the address without secrets. Of the parameters of `url` it tells most names alone, as of `headers`.
    """
    parameters = [f"{key}={value if key in _PLAIN_PARAMETERS else '…'}" for key, value in _query(urlsplit(url).query)]
    names = [header.partition(":")[0] for header in headers]
    return Event(
        "attempt", connection=number, endpoint=endpoint, parameters=" ".join(parameters), headers=" ".join(names)
    )


def _query(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return []


def happened(number: int, event: events.Event, after_s: float) -> Event | None:
    """The line about an `event` of the connection, `after_s` after its attempt; None for messages and pongs."""
    fields: dict[str, Any] = {"connection": number, "after_s": after_s}
    match event:
        case events.Opened(headers=headers):
            answer = " ".join(f"{key}={value}" for key, value in headers.items())
            return Event("upgraded", **fields, answer=answer or None)
        case events.Refused(status=status, phrase=phrase, body=body, retry_after_s=retry_after_s):
            return Event("refused", **fields, status=status, phrase=phrase, body=body, retry_after_s=retry_after_s)
        case events.CloseReceived(code=code, reason=reason):
            return Event("close_received", **fields, code=code, reason=reason)
        case events.Failed(reason=reason):
            return Event("failed", **fields, reason=reason)
    return None


def performed(number: int, action: Action, after_s: float) -> Event | None:
    """The line about an `action` on the connection; None for one that is told elsewhere. Texts may hold secrets."""
    fields: dict[str, Any] = {"connection": number, "after_s": after_s}
    match action:
        case SendText(text=text):
            return Event("text_sent", **fields, characters=len(text))
        case SendPing() | SendPong():
            return Event("ping_sent" if isinstance(action, SendPing) else "pong_sent", **fields)
        case SendClose(code=code):
            return Event("close_sent", **fields, code=code)
        case Drop():
            return Event("dropped", **fields)
    return None
