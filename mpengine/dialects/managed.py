"""The managed proxy's protocol, also spoken by the local recogniser. Pure.

After the upgrade, the engine sends `auth`. The proxy answers with `ready` or `error`, then sends `transcript`,
`credits_low`, `error` and `session_end`. It may support two additions: times in transcripts (`start`, `duration`,
`words`), and `features` in `ready`. By `finalize` it promises to answer `{"type":"finalize"}` with its last finals,
`session_end` and a close; by `silence`, to send transcripts without text of audio without words; by `idle`, to keep a
connection without audio open as long as it lasts.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from mpengine.dialects.base import (
    Dialect,
    Hypothesis,
    Meaning,
    Ready,
    RemoteConfig,
    Said,
    ServiceError,
    shown,
)
from mpengine.dialects.causes import Cause
from mpengine.dialects.deepgram import Deepgram
from mpengine.dialects.wire import Figure, JsonDialect, Part, Seconds, Words, by_name, complaint, spoken
from mpengine.shared.config_tables import AudioConfig, Secret, about
from mpengine.shared.deciding import NEVER
from mpengine.shared.errors import ExitCode, require
from mpengine.shared.keys import scheme_of
from mpengine.shared.messages import CreditsLow, ErrorCode, ErrorKind, SessionEnd, Transcript

# Nobody knows what stands behind a proxy. Deepgram closes a connection that gets nothing after ten seconds; and it is
# often told to measure a second of silence, before which the gate must not close.
_CLOSE_AFTER_S, _HANG_OVER_S = 8.0, 2.0
FINALIZE = '{"type":"finalize"}'


class _Message(Part, tag_field="type"):
    pass


class _Ready(_Message, tag="ready"):
    features: tuple[str, ...] = ()


class _Transcript(_Message, tag="transcript"):
    decides = "text"

    text: str = ""
    is_final: bool = False
    start: Seconds | None = None
    duration: Seconds | None = None
    confidence: Figure | None = None
    words: Words = ()
    speech_final: bool = False


class _CreditsLow(_Message, tag="credits_low"):
    seconds_remaining: Seconds | str | None = None


class _SessionEnd(_Message, tag="session_end"):
    seconds_used: Seconds | str | None = None


_PASSING = frozenset(
    {
        "busy",
        "capacity",
        "internal",
        "internal_error",
        "overloaded",
        "rate_limit",
        "rate_limited",
        "server_error",
        "timeout",
        "too_many_requests",
        "try_again",
        "unavailable",
        "upstream",
        "upstream_error",
    }
)
_PASSING_STATUS = re.compile("429|5[0-9][0-9]")
_CONFIGURATION = frozenset({"unsupported", "bad_request", "invalid_config", "invalid_request"})


class ManagedConfig(RemoteConfig, tag="managed", frozen=True, kw_only=True):
    """A proxy, somebody else's or your own, that stands between the engine and a speech service."""

    server_url: Annotated[
        str,
        about(
            "the proxy, required. The scheme is optional (`wss://`), a `/` at the end is ignored, `/ws/transcribe` is "
            "added",
            example='"speech.example.org"',
        ),
    ] = ""
    auth_token: Annotated[
        Secret,
        about(
            "the proxy's token, required; a [secret](configuration.md#secrets)",
            environment="MPENGINE_AUTH_TOKEN",
            example='"proxy.token"',
        ),
    ] = Secret()
    deepgram_model: Annotated[str, about("passed on as it is")] = "nova-2"

    @property
    def hang_over_s(self) -> float:
        """See RemoteConfig."""
        return _HANG_OVER_S

    @property
    def address(self) -> tuple[str, str]:
        """See RemoteConfig."""
        return "server_url", transcribe_url(self.server_url)

    def check(self, audio: AudioConfig) -> None:  # noqa: ARG002  the proxy may refuse it
        """See RemoteConfig."""
        hint = 'managed mode requires a server URL; for another recogniser set remote.mode to "byok" or "local"'
        require("remote.server_url", self.server_url, hint)
        scheme, has_scheme, _ = self.server_url.partition("://")
        require("remote.server_url", not has_scheme or scheme in {"ws", "wss"}, "expected wss:// (or ws://)")
        require(
            "remote.auth_token",
            self.auth_token,
            "managed mode requires an auth token (or remote.auth_token_file, or MPENGINE_AUTH_TOKEN)",
        )

    def dialect(self, audio: AudioConfig) -> Dialect:
        """See RemoteConfig."""
        return Managed(self, audio)


class LocalConfig(RemoteConfig, tag="local", frozen=True, kw_only=True):
    """pocketsphinx on this machine, in a process of its own: no account, no network, small, English only."""

    starts_recogniser = True

    @property
    def address(self) -> None:
        """See RemoteConfig."""

    def check(self, audio: AudioConfig) -> None:
        """See RemoteConfig."""
        is_right = audio.sample_rate == 16000
        require("audio.sample_rate", is_right, "local mode recognises 16000 Hz only; all audio is converted to it")
        require("audio.channels", audio.channels == 1, "local mode recognises one channel only; see audio.channel")
        require("remote.language", self.language.lower().startswith("en"), "local mode knows English only")

    def started_at(self, url: str, token: Secret) -> ManagedConfig:
        """See RemoteConfig. The local recogniser speaks the proxy's protocol."""
        return ManagedConfig(server_url=url, auth_token=token, language=self.language, hold_s=self.hold_s)


class Managed(JsonDialect):
    """The proxy's dialect for one configuration."""

    decoder = msgspec.json.Decoder(_Ready | _Transcript | _CreditsLow | _SessionEnd)
    kinds = by_name(_Ready, _Transcript, _CreditsLow, _SessionEnd)
    # Most proxies pass on Deepgram's headers and close reasons.
    request_id_header = Deepgram.request_id_header
    error_header = Deepgram.error_header
    close_names = Deepgram.close_names

    def __init__(self, remote: ManagedConfig, audio: AudioConfig) -> None:
        super().__init__()
        self._can_finalize = False  # the proxy of the current connection sends its last results when asked
        self.url = transcribe_url(remote.server_url)
        self.endpoint = shown(self.url)
        _, self.secret = scheme_of(remote.auth_token.reveal())
        auth = {
            "type": "auth",
            "token": self.secret,
            "config": {
                "model": remote.deepgram_model,
                "language": remote.language,
                "sample_rate": audio.sample_rate,
                "channels": audio.channels,
                "encoding": "linear16",
                "interim_results": True,
            },
        }
        self.greeting = msgspec.json.encode(auth).decode()

    def opened(self) -> None:
        """See Dialect."""
        super().opened()
        self._can_finalize = self.answers_silence = False
        self.close_after_s = _CLOSE_AFTER_S

    def finish(self) -> Sequence[str]:
        """Ask for the last finals if the proxy supports that. Other proxies send them unasked."""
        return (FINALIZE,) if self._can_finalize else ()

    def meanings(self, message: Any) -> Sequence[Meaning]:
        """See JsonDialect."""
        match message:
            case _Transcript():
                return self.heard(_hypothesis(message))
            case _Ready(features=features):
                self._can_finalize = self._can_finalize or "finalize" in features
                self.answers_silence = self.answers_silence or "silence" in features
                if "idle" in features:
                    self.close_after_s = NEVER
                return (Ready(),)
            case _CreditsLow(seconds_remaining=seconds):
                return (Said(CreditsLow(seconds_remaining=_or_0(seconds))),)
            case _:
                return (Said(SessionEnd(seconds_used=_or_0(message.seconds_used)), is_last=True),)

    def other(self, kind: str, data: dict[str, Any]) -> Sequence[Meaning] | None:
        """See JsonDialect."""
        return (complaint(data, "Unknown error"),) if kind == "error" else None

    def turned_away(self, error: ServiceError) -> Cause:
        """The proxy answered `error` to the auth message.

        After a code for passing trouble (a word, or HTTP's 429 and 5xx) the engine tries again. Every other code is
        permanent, also an unknown one: proxies have many words for a bad token, and more tries get the token locked.
        """
        code, reason = error.code, f"Proxy auth error: {error.message}"
        if code.lower() in _PASSING or _PASSING_STATUS.fullmatch(code):
            return Cause(code, reason, slow=True, kind=ErrorKind.HANDSHAKE)
        exit_code = ExitCode.CONFIG if code.lower() in _CONFIGURATION else ExitCode.ACCOUNT
        return Cause(code or ErrorCode.UNAUTHORIZED, reason, exit_code, kind=ErrorKind.HANDSHAKE, signed=True)


def _hypothesis(heard: _Transcript) -> Hypothesis:
    start_s, duration_s = heard.start, heard.duration
    has_times = start_s is not None and duration_s is not None
    end_s = (start_s or 0.0) + (duration_s or 0.0)
    transcript = Transcript(
        text=heard.text,
        is_final=heard.is_final,
        speech_final=heard.speech_final,
        start_s=start_s or 0.0,
        end_s=end_s,
        confidence=heard.confidence,
        words=spoken(heard.words, start_s if has_times else None, end_s),
    )
    return Hypothesis(transcript, has_times)


def transcribe_url(server_url: str) -> str:
    """The address at which the proxy takes audio. Without a scheme it is `wss://`; a `/` at the end is ignored."""
    url = server_url.rstrip("/")
    if not url.startswith(("ws://", "wss://")):
        url = f"wss://{url}"
    return f"{url}/ws/transcribe"


def _or_0(seconds: float | str | None) -> float:
    """`seconds` if it is a number. The message is worth publishing without it."""
    return seconds if isinstance(seconds, float) else 0.0
