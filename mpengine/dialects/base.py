"""What a recogniser can say, in words of our own, and what a dialect has to know. Pure.

`deepgram` and `managed` each speak one protocol; the session knows only this.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mpengine.shared.messages import CreditsLow, Metadata, SessionEnd, SpeechStarted, Transcript, UtteranceEnd


class Hypothesis(NamedTuple):
    """Recognised speech, as it will be published, but with times in seconds of the audio sent on this connection.

    `has_times` is False where the recogniser tells none. `channels` is how many channels it listens to.
    """

    transcript: Transcript
    has_times: bool = False
    channels: int = 1


class Said(NamedTuple):
    """Something else to publish; `at_s`, where a message has it, counts the audio sent on this connection.

    `is_last`: no result comes after it.
    """

    message: SpeechStarted | UtteranceEnd | CreditsLow | SessionEnd | Metadata
    is_last: bool = False


class Ready(NamedTuple):
    """The recogniser takes audio now. `can_finalize`: it flushes when asked, see `Dialect.finish`."""

    can_finalize: bool = False


class ServiceError(NamedTuple):
    """The recogniser reports an error; what becomes of the connection it decides itself."""

    code: str
    message: str


class Ignored(NamedTuple):
    """A message that means nothing to us; `why` is for the log. Never an error: services add new ones."""

    why: str


class Malformed(NamedTuple):
    """A message of a known type that is not of its shape; `why` names the field, never the content."""

    why: str


Meaning = Hypothesis | Said | Ready | ServiceError | Ignored | Malformed


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

    def decode(self, text: str) -> Sequence[Meaning]:
        """What a message means, in order. Never raises: a message that cannot be read is `Ignored`."""
