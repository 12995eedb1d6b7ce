"""What a recogniser can say, in words of our own, and what a dialect has to know. Pure.

`deepgram` and `managed` each speak one protocol; the session knows only this.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol


class SpokenWord(NamedTuple):
    """A word between two times in seconds of the connection's audio."""

    word: str
    start_s: float
    end_s: float
    confidence: float | None = None
    punctuated_word: str | None = None
    speaker: int | None = None


class Hypothesis(NamedTuple):
    """What was heard. Times are seconds of audio sent on this connection; None where the recogniser tells none."""

    text: str
    is_final: bool
    start_s: float | None = None
    duration_s: float | None = None
    speech_final: bool = False
    confidence: float | None = None
    words: tuple[SpokenWord, ...] = ()
    channel: int = 0
    channels: int = 1
    language: str | None = None


class Ready(NamedTuple):
    """The recogniser takes audio now. `can_finalize`: it flushes when asked, see `Dialect.finish`."""

    can_finalize: bool = False


class ServiceError(NamedTuple):
    """The recogniser reports an error; what becomes of the connection it decides itself."""

    code: str
    message: str


class SpeechStart(NamedTuple):
    """Speech begins at `at_s` of the connection's audio."""

    at_s: float


class UtteranceStop(NamedTuple):
    """A gap between words; the last one ended at `at_s` of the connection's audio."""

    at_s: float


class Note(NamedTuple):
    """Something to pass on. `kind`: credits_low, session_end or metadata. `is_last`: no result comes behind it."""

    kind: str
    data: dict[str, Any]
    is_last: bool = False


class Ignored(NamedTuple):
    """A message that means nothing to us; `why` is for the log. Never an error: services add new ones."""

    why: str


class Malformed(NamedTuple):
    """A message of a known type that is not of its shape; `why` names the field, never the content."""

    why: str


Said = Hypothesis | Ready | ServiceError | SpeechStart | UtteranceStop | Note | Ignored | Malformed


def shown(url: str) -> str:
    """`url` without its query and without credentials."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


class Dialect(Protocol):
    """One recogniser's protocol, for one connection after the other."""

    @property
    def url(self) -> str:
        """Where to connect, with everything in it."""

    @property
    def endpoint(self) -> str:
        """Where to connect, as it may be shown: without query and credentials."""

    @property
    def headers(self) -> Sequence[str]:
        """HTTP headers of the upgrade, as `Name: value`; they may hold secrets."""

    @property
    def secret(self) -> str:
        """The key or token: no word that leaves the process may hold it."""

    @property
    def keep_alive(self) -> str | None:
        """The text that keeps a connection without audio open, if the protocol has one."""

    @property
    def greeting(self) -> str | None:
        """What to say first; None: the recogniser is ready when the connection is open."""

    @property
    def fails_with_last_word(self) -> bool:
        """Whether it says its last word before a failure, too: then only a normal close behind it confirms the end."""

    def finish(self, *, can_finalize: bool) -> Sequence[str]:
        """The texts behind the last audio that make it send its last results and a last word; none: it has neither."""

    def decode(self, text: str) -> Said:
        """What a message means. Never raises: what cannot be read is `Ignored`."""
