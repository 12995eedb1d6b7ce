"""Deepgram's live API (`/v1/listen`), with one's own key. Pure.

The messages are those of Deepgram's API specification (asyncapi) and of https://developers.deepgram.com/docs. Deepgram
adds types and fields without notice, so unknown ones are no error.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mpengine.dialects.base import (
    Dialect,
    Hypothesis,
    Ignored,
    Malformed,
    Meaning,
    RemoteConfig,
    Said,
    ServiceError,
    shown,
)
from mpengine.dialects.wire import Channels, Other, Seconds, Words, passed_on, read, spoken
from mpengine.shared.config_tables import AudioConfig, Secret, about
from mpengine.shared.errors import require
from mpengine.shared.messages import SpeechStarted, Transcript, UtteranceEnd

KEEP_ALIVE = '{"type":"KeepAlive"}'
FINALIZE = '{"type":"Finalize"}'
CLOSE_STREAM = '{"type":"CloseStream"}'


class _Alternative(msgspec.Struct):
    transcript: str = ""
    confidence: float | None = None
    words: Words = []
    languages: list[str] = []


class _Channel(msgspec.Struct):
    alternatives: list[_Alternative] = []


class _Message(msgspec.Struct, tag_field="type"):
    pass


class _Results(_Message, tag="Results"):
    channel: _Channel = msgspec.field(default_factory=_Channel)
    channel_index: Channels = []  # number of the channel, count of channels
    start: Seconds | None = None
    duration: Seconds | None = None
    is_final: bool = False
    speech_final: bool = False


class _SpeechStarted(_Message, tag="SpeechStarted"):
    timestamp: Seconds = 0.0


class _UtteranceEnd(_Message, tag="UtteranceEnd"):
    last_word_end: Seconds = -1.0


class _Error(_Message, tag="Error"):
    description: str = ""
    message: str = ""
    variant: str = ""
    code: str = ""


_decoder: msgspec.json.Decoder[_Results | _SpeechStarted | _UtteranceEnd | _Error] = msgspec.json.Decoder(
    _Results | _SpeechStarted | _UtteranceEnd | _Error
)
_KNOWN = frozenset({"Results", "SpeechStarted", "UtteranceEnd", "Error"})
_OF_AUDIO = frozenset({"encoding", "sample_rate", "channels"})
_PASSED_ON = frozenset({"Metadata", "ConfigureSuccess", "ConfigureFailure", "Warning"})


class ByokConfig(RemoteConfig, tag="byok", frozen=True, kw_only=True):
    """Deepgram with your own key, or a server that speaks the same protocol."""

    byok_api_key: Annotated[
        Secret, about("Deepgram's key, required; a secret, see below", environment="DEEPGRAM_API_KEY")
    ] = Secret()
    byok_url: Annotated[
        str,
        Meta(pattern=r"\Awss?://"),
        about(
            "a regional or compatible server",
            values="a URL that starts with wss:// (or ws:// on a trusted network)",
        ),
    ] = "wss://api.deepgram.com/v1/listen"
    deepgram_model: Annotated[str, about("the model; Deepgram's newer one is `nova-3`")] = "nova-2"
    parameters: Annotated[
        dict[str, str | bool | int | float | list[str | int | float]],
        about(
            "further query parameters; they override those that the engine sends by itself. `encoding`, `sample_rate` "
            "and `channels` follow from `[audio]` and are refused",
            values="a table of text, numbers, true or false, and lists, which repeat the parameter",
        ),
    ] = msgspec.field(default_factory=dict)

    def check(self, audio: AudioConfig) -> None:  # noqa: ARG002  Deepgram takes any audio
        """See RemoteConfig."""
        require(
            "remote.byok_api_key",
            self.byok_api_key,
            "byok mode requires an API key (or remote.byok_api_key_file, or DEEPGRAM_API_KEY)",
        )
        for name in self.parameters:
            require(f"remote.parameters.{name}", name not in _OF_AUDIO, "follows from [audio]; leave it out")

    def dialect(self, audio: AudioConfig) -> Dialect:
        """See RemoteConfig."""
        return Deepgram(self, audio)


class Deepgram(Dialect):
    """Deepgram's dialect for one configuration."""

    keep_alive = KEEP_ALIVE
    fails_with_last_word = True  # Metadata comes before a close 1011 as it does before 1000
    request_id_header = "dg-request-id"
    error_header = "dg-error"
    # NET-0001, or the address of its page, https://dpgr.am/net0001 (https://developers.deepgram.com/docs/errors)
    close_names = re.compile(r"\b(DATA|NET|MESSAGE|BIG)-?(\d{4})\b", re.IGNORECASE)

    def __init__(self, remote: ByokConfig, audio: AudioConfig) -> None:
        from urllib.parse import quote, urlencode  # noqa: PLC0415  the supervisor has the table, and never a dialect

        self.secret, url = remote.byok_api_key.reveal(), remote.byok_url
        self.headers = (f"Authorization: Token {self.secret}",)  # `Bearer` is for temporary tokens
        query: dict[str, Any] = {
            "model": remote.deepgram_model,
            "language": remote.language,
            "interim_results": True,
            "punctuate": True,
            "smart_format": True,
            "encoding": "linear16",
            "sample_rate": audio.sample_rate,
            "channels": audio.channels,
        }
        query.update(remote.parameters)
        pairs = [(key, _plain(item)) for key, value in query.items() for item in _items(value)]
        self.endpoint = shown(url)
        self.url = f"{url}{'&' if '?' in url else '?'}{urlencode(pairs, quote_via=quote)}"

    def finish(self, *, can_finalize: bool) -> Sequence[str]:  # noqa: ARG002  Deepgram always can
        """Flush and close. Deepgram answers with the last Results, Metadata and close code 1000."""
        return (FINALIZE, CLOSE_STREAM)

    def decode(self, text: str) -> Sequence[Meaning]:
        """See Dialect."""
        return (_meaning(text),)


def _meaning(text: str) -> Meaning:
    match read(text, _decoder, _KNOWN):
        case _Results() as results:
            return _hypothesis(results)
        case _SpeechStarted(timestamp=timestamp):
            return Said(SpeechStarted(at_s=timestamp))
        case _UtteranceEnd(last_word_end=end):
            # By -1 Deepgram says that the message is to be ignored.
            return Said(UtteranceEnd(at_s=end)) if end >= 0 else Ignored("UtteranceEnd without a word")
        case _Error() as error:
            words = error.description or error.message
            return ServiceError(error.code or error.variant, words or "unknown error")
        case Other(kind=kind) if kind in _PASSED_ON:
            return passed_on(kind, text, is_last=kind == "Metadata")
        case Other(kind=kind):
            return Ignored(f"type {kind!r}")
        case Ignored() | Malformed() as unreadable:
            return unreadable


def _hypothesis(results: _Results) -> Meaning:
    channel, channels = results.channel_index[:2] if len(results.channel_index) > 1 else (0, 1)
    if not results.channel.alternatives and not results.is_final:
        return Ignored("Results without alternatives")
    best = results.channel.alternatives[0] if results.channel.alternatives else _Alternative()
    start_s, duration_s = results.start, results.duration
    has_times = start_s is not None and duration_s is not None
    transcript = Transcript(
        text=best.transcript,
        is_final=results.is_final,
        speech_final=results.speech_final,
        start_s=start_s or 0.0,
        end_s=(start_s or 0.0) + (duration_s or 0.0),
        confidence=best.confidence,
        words=spoken(best.words),
        channel=channel,
        language=best.languages[0] if best.languages else None,
    )
    return Hypothesis(transcript, has_times, channels)


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
