"""The managed proxy's protocol, also spoken by the local recogniser. Pure.

After the upgrade: `auth`, answered by `ready` or `error`; then `transcript`, `credits_low`, `error`, `session_end`.
Two additions, both optional: times on transcripts (`start`, `duration`, `words`), and `"features":["finalize"]` in
`ready`, by which a proxy promises to answer `{"type":"finalize"}` with its last finals, `session_end` and a close.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from mpengine.streaming.dialect import (
    Hypothesis,
    Ignored,
    Malformed,
    Note,
    Ready,
    Said,
    ServiceError,
    SpokenWord,
    shown,
)

FINALIZE = '{"type":"finalize"}'


class _Word(msgspec.Struct):
    word: str
    start: float
    end: float
    confidence: float | None = None
    punctuated_word: str | None = None
    speaker: int | None = None


class _Message(msgspec.Struct, tag_field="type"):
    pass


class _Ready(_Message, tag="ready"):
    features: list[str] = []


class _Transcript(_Message, tag="transcript"):
    text: str = ""
    is_final: bool = False
    start: float | None = None
    duration: float | None = None
    confidence: float | None = None
    words: list[_Word] = []
    speech_final: bool = False


class _Error(_Message, tag="error"):
    code: str | int = ""
    message: str = "Unknown error"


_decoder: msgspec.json.Decoder[_Ready | _Transcript | _Error] = msgspec.json.Decoder(_Ready | _Transcript | _Error)
_any = msgspec.json.Decoder()
_KNOWN = frozenset({"ready", "transcript", "error"})
_NOTES = {"credits_low": "seconds_remaining", "session_end": "seconds_used"}


class Managed:
    """The proxy's dialect for one configuration."""

    keep_alive = None
    headers: Sequence[str] = ()

    def __init__(
        self, *, server_url: str, token: str, model: str, language: str, sample_rate: int, channels: int
    ) -> None:
        self.url = transcribe_url(server_url)
        self.endpoint = shown(self.url)
        self._auth = {
            "type": "auth",
            "token": token,
            "config": {
                "model": model,
                "language": language,
                "sample_rate": sample_rate,
                "channels": channels,
                "encoding": "linear16",
                "interim_results": True,
            },
        }

    @property
    def greeting(self) -> str:
        """The auth message; it goes out on every connection."""
        return msgspec.json.encode(self._auth).decode()

    def finish(self, *, can_finalize: bool) -> Sequence[str]:
        """Ask for the last finals where the proxy knows how; otherwise the close handshake does it."""
        return (FINALIZE,) if can_finalize else ()

    def decode(self, text: str) -> Said:
        """What a message of the proxy means."""
        try:
            message = _decoder.decode(text)
        except msgspec.DecodeError as error:
            return _other(text, error)
        match message:
            case _Ready(features=features):
                return Ready("finalize" in features)
            case _Error(code=code):
                return ServiceError(str(code), message.message)
            case _Transcript():
                words = tuple(
                    SpokenWord(word.word, word.start, word.end, word.confidence, word.punctuated_word, word.speaker)
                    for word in message.words
                )
                return Hypothesis(
                    message.text,
                    message.is_final,
                    message.start,
                    message.duration,
                    message.speech_final,
                    message.confidence,
                    words,
                )


def transcribe_url(server_url: str) -> str:
    """Where the proxy takes audio: scheme optional (`wss://` assumed), trailing `/` ignored."""
    url = server_url.rstrip("/")
    if not url.startswith(("ws://", "wss://")):
        url = f"wss://{url}"
    return f"{url}/ws/transcribe"


def _other(text: str, error: msgspec.DecodeError) -> Said:
    try:
        data: Any = _any.decode(text)
    except msgspec.DecodeError:
        return Ignored("not JSON")
    kind = data.get("type") if isinstance(data, dict) else None
    if kind in _NOTES:
        seconds = data.get(_NOTES[kind], 0)
        return Note(kind, {_NOTES[kind]: float(seconds) if isinstance(seconds, (int, float)) else 0.0})
    return Malformed(f"{kind}: {error}") if kind in _KNOWN else Ignored(f"type {kind!r}")
