"""The server's side of the managed protocol. Pure.

The client sends `auth`, and the server answers with `ready`. Then the client sends audio in binary messages, and the
server sends transcripts. In the end the client sends `finalize`; the server answers with the last finals and
`session_end`. All messages except the audio are JSON text.
"""

import hmac

import msgspec

from mpengine.recogniser.speech import Heard, HeardWord
from mpengine.recogniser.words import SAMPLE_RATE


class RefusedError(Exception):
    """The client's request is refused. `code` is for programs, `message` for people."""

    def __init__(self, code: str, message: str, close_code: int = 1008) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.close_code = close_code


class AudioConfig(msgspec.Struct):
    """The client's description of its audio. Unknown fields, such as `model`, are ignored."""

    sample_rate: int = SAMPLE_RATE  # Hz
    channels: int = 1
    encoding: str = "linear16"
    language: str | None = None
    interim_results: bool = True


class _Auth(msgspec.Struct, tag="auth"):
    token: str
    config: msgspec.Raw = msgspec.Raw(b"{}")  # decoded only when the token is right


class _Text(msgspec.Struct):
    type: str = ""


class Ready(msgspec.Struct, tag="ready"):
    """The client may send audio."""

    features: list[str] = msgspec.field(default_factory=lambda: ["finalize", "silence", "idle"])


class Transcript(msgspec.Struct, tag="transcript"):
    """A result, in seconds since the connection's first sample. A final without text covers silence."""

    text: str
    is_final: bool
    start: float
    duration: float
    confidence: float | None
    words: list[HeardWord]


class SessionEnd(msgspec.Struct, tag="session_end"):
    """The answer to `finalize`, after the last transcript."""

    seconds_used: float


class Error(msgspec.Struct, tag="error"):
    """Why the connection ends."""

    code: str
    message: str


_encoder = msgspec.json.Encoder()
_auth_decoder = msgspec.json.Decoder(_Auth)
_config_decoder = msgspec.json.Decoder(AudioConfig)
_text_decoder = msgspec.json.Decoder(_Text)


def encode(message: Ready | Transcript | SessionEnd | Error) -> str:
    """The JSON text of a message."""
    return _encoder.encode(message).decode()


def transcript(heard: Heard) -> str:
    """The JSON text of a transcript."""
    return encode(
        Transcript(
            text=heard.text,
            is_final=heard.is_final,
            start=heard.start_s,
            duration=heard.duration_s,
            confidence=heard.confidence,
            words=heard.words,
        )
    )


def authorise(message: str | bytes, token: str) -> AudioConfig:
    """The audio that the client's first message describes. Raises RefusedError, also for a wrong token."""
    try:
        auth = _auth_decoder.decode(message)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise RefusedError("unauthorized", "the first message must be auth, with a token") from error
    if not hmac.compare_digest(auth.token.encode(errors="surrogatepass"), token.encode()):
        raise RefusedError("unauthorized", "wrong token")
    try:
        config = _config_decoder.decode(auth.config)
    except msgspec.DecodeError as error:
        raise RefusedError("unsupported", f"config of the auth message: {error}") from error
    _check(config)
    return config


def _check(config: AudioConfig) -> None:
    language = (config.language or "en").lower().replace("_", "-")
    if config.sample_rate != SAMPLE_RATE:
        problem = f"the local recogniser hears {SAMPLE_RATE} Hz only, not {config.sample_rate}"
    elif config.channels != 1:
        problem = f"the local recogniser hears one channel only, not {config.channels}"
    elif config.encoding != "linear16":
        problem = f"the local recogniser takes linear16 only, not {config.encoding!r}"
    elif language.partition("-")[0] != "en":
        problem = f"the local recogniser knows English only, not {config.language!r}"
    else:
        return
    raise RefusedError("unsupported", problem)


def is_finalize(message: str) -> bool:
    """Whether a text message is `finalize`; the server ignores all others."""
    try:
        return _text_decoder.decode(message).type == "finalize"
    except (msgspec.DecodeError, UnicodeError):
        return False
