"""Deepgram's live API (`/v1/listen`), with one's own key. Pure.

The messages are those of Deepgram's API specification (asyncapi) and of https://developers.deepgram.com/docs. Deepgram
adds types and fields without notice, so unknown ones are no error.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mpengine.dialects.base import Dialect, Hypothesis, Ignored, LeftOut, Meaning, RemoteConfig, Said, shown
from mpengine.dialects.wire import (
    Channels,
    Entities,
    Figure,
    JsonDialect,
    Part,
    Seconds,
    Words,
    by_name,
    complaint,
    passed_on,
    place_of,
    spoken,
    unfit_entities,
)
from mpengine.shared.config_tables import AudioConfig, Secret, about
from mpengine.shared.errors import require
from mpengine.shared.keys import scheme_of
from mpengine.shared.messages import SpeechStarted, Transcript

KEEP_ALIVE = '{"type":"KeepAlive"}'
CLOSE_STREAM = '{"type":"CloseStream"}'
FINALIZE = '{"type":"Finalize"}'


class _Alternative(Part):
    decides = "transcript"

    transcript: str = ""
    confidence: Figure | None = None
    words: Words = ()
    languages: tuple[str, ...] = ()
    entities: Entities = ()


class _Channel(Part):
    decides = "alternatives"

    alternatives: tuple[_Alternative, ...] = ()


class _Message(Part, tag_field="type"):
    pass


class _Results(_Message, tag="Results"):
    decides = "channel"

    channel: _Channel = msgspec.field(default_factory=_Channel)
    channel_index: Channels = None
    start: Seconds | None = None
    duration: Seconds | None = None
    is_final: bool = False
    speech_final: bool = False


class _SpeechStarted(_Message, tag="SpeechStarted"):
    decides = "timestamp"

    timestamp: Seconds
    channel: Channels = None


class _UtteranceEnd(_Message, tag="UtteranceEnd"):
    decides = "last_word_end"

    last_word_end: Seconds
    channel: Channels = None


_OF_AUDIO = frozenset({"encoding", "sample_rate", "channels"})
_PASSED_ON = frozenset({"metadata", "configuresuccess", "configurefailure", "warning"})
_ERRORS = frozenset({"error", "errorresponse"})
_BEST = "$.channel.alternatives[0]"


class ByokConfig(RemoteConfig, tag="byok", frozen=True, kw_only=True):
    """Deepgram with your own key, or a server that speaks the same protocol."""

    byok_api_key: Annotated[
        Secret,
        about(
            "Deepgram's key, required; a [secret](configuration.md#secrets)",
            environment="DEEPGRAM_API_KEY",
            example='"deepgram.key"',
        ),
    ] = Secret()
    byok_url: Annotated[
        str,
        Meta(pattern=r"\Awss?://"),
        about(
            "a regional or compatible server",
            values="a URL that starts with wss:// (or ws://, see `allow_plaintext`)",
        ),
    ] = "wss://api.deepgram.com/v1/listen"
    deepgram_model: Annotated[str, about("the model; Deepgram's newer one is `nova-3`")] = "nova-2"
    parameters: Annotated[
        dict[str, str | bool | int | float | list[str | int | float]],
        about(
            "further query parameters; they override those that the engine sends by itself. `encoding`, `sample_rate` "
            "and `channels` follow from `[audio]` and are refused",
            values="a table of text, numbers, true or false, and lists, which repeat the parameter",
            example='{ endpointing = 300, keyterm = ["mpengine", "ZeroMQ"] }',
        ),
    ] = msgspec.field(default_factory=dict)

    @property
    def hang_over_s(self) -> float:
        """See RemoteConfig. Deepgram measures silence in the audio that it gets."""
        endpointing_s = _in_s(self.parameters.get("endpointing"))
        utterance_end_s = _in_s(self.parameters.get("utterance_end_ms"))
        return max(super().hang_over_s, endpointing_s + 0.5, utterance_end_s + 1.0 if utterance_end_s else 0.0)

    @property
    def address(self) -> tuple[str, str]:
        """See RemoteConfig."""
        return "byok_url", self.byok_url

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


class Deepgram(JsonDialect):
    """Deepgram's dialect for one configuration."""

    decoder = msgspec.json.Decoder(_Results | _SpeechStarted | _UtteranceEnd)
    kinds = by_name(_Results, _SpeechStarted, _UtteranceEnd)
    keep_alive = KEEP_ALIVE
    fails_with_last_word = True  # Metadata comes before a close 1011 as it does before 1000
    close_confirms = True  # some compatible servers send no Metadata
    request_id_header = "dg-request-id"
    error_header = "dg-error"
    # NET-0001, or the address of its page, https://dpgr.am/net0001 (https://developers.deepgram.com/docs/errors)
    close_names = re.compile(r"\b(DATA|NET|MESSAGE|BIG)-?(\d{4})\b", re.IGNORECASE)

    def __init__(self, remote: ByokConfig, audio: AudioConfig) -> None:
        from urllib.parse import quote, urlencode, urlsplit  # noqa: PLC0415  the supervisor never needs it

        super().__init__()
        url = remote.byok_url
        host = urlsplit(url).hostname or ""
        self._is_deepgram = host == "deepgram.com" or host.endswith(".deepgram.com")
        scheme, self.secret = scheme_of(remote.byok_api_key.reveal())
        self.headers = (f"Authorization: {scheme or 'Token'} {self.secret}",)
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

    def finish(self) -> Sequence[str]:
        """Flush and close. Deepgram answers with the last Results, Metadata and close code 1000.

        `Finalize` before it would change nothing (https://developers.deepgram.com/docs/close-stream), and compatible
        servers end the session at it.
        """
        return (CLOSE_STREAM,)

    def flush(self) -> Sequence[str]:
        """`Finalize`, for Deepgram itself: compatible servers end the session at it."""
        return (FINALIZE,) if self._is_deepgram else ()

    def meanings(self, message: Any) -> Sequence[Meaning]:
        """See JsonDialect."""
        match message:
            case _Results():
                return self._results(message)
            case _SpeechStarted(timestamp=at_s, channel=channel):
                return (Said(SpeechStarted(at_s=at_s, channel=place_of(channel)[0])),)
            case _UtteranceEnd(last_word_end=at_s, channel=channel) if at_s >= 0:
                return (self.utterance_end(at_s, place_of(channel)[0]),)
            case _:
                # By -1 Deepgram says that the message is to be ignored.
                return (Ignored("UtteranceEnd without a word"),)

    def other(self, kind: str, data: dict[str, Any]) -> Sequence[Meaning] | None:
        """See JsonDialect."""
        if kind in _PASSED_ON:
            return passed_on(data, is_last=kind == "metadata")
        return (complaint(data, "unknown error"),) if kind in _ERRORS else None

    def _results(self, results: _Results) -> Sequence[Meaning]:
        alternatives = results.channel.alternatives
        if not alternatives and not results.is_final:
            return (Ignored("Results without alternatives"),)
        best = alternatives[0] if alternatives else _Alternative()
        if len(alternatives) > 1 and not best.transcript.strip():
            best = next((each for each in alternatives if each.transcript.strip()), best)
        start_s, duration_s = results.start, results.duration
        has_times = start_s is not None and duration_s is not None
        end_s = (start_s or 0.0) + (duration_s or 0.0)
        channel, channels = place_of(results.channel_index)
        unfit = unfit_entities(best.entities, f"{_BEST}.entities") if best.entities else None
        transcript = Transcript(
            text=best.transcript,
            is_final=results.is_final,
            speech_final=results.speech_final,
            start_s=start_s or 0.0,
            end_s=end_s,
            confidence=best.confidence,
            words=spoken(best.words, start_s if has_times else None, end_s),
            channel=channel,
            language=best.languages[0] if best.languages else None,
            entities=best.entities if unfit is None else (),
        )
        meanings = self.heard(Hypothesis(transcript, has_times, channels))
        return meanings if unfit is None else (*meanings, LeftOut(f"Results: `{unfit[:100]}`"))


def _in_s(value: Any) -> float:
    """The seconds of a parameter in milliseconds; 0 where it is no number."""
    try:
        return 0.0 if isinstance(value, bool) else max(0.0, float(value) / 1000)
    except (TypeError, ValueError):
        return 0.0


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
