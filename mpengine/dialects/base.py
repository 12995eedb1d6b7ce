"""What a recogniser can say, in words of our own, and what its dialect and its configuration have to know. Pure.

Each recogniser is one module, which has its RemoteConfig and its Dialect; the session knows only this.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, NamedTuple

from msgspec import Meta

from mpengine.dialects import causes
from mpengine.dialects.causes import Cause
from mpengine.shared.config_tables import AudioConfig, Secret, Section, about
from mpengine.shared.messages import ErrorKind, Published, Transcript


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

    message: Published
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


class RemoteConfig(Section, tag_field="mode", frozen=True, kw_only=True):
    """The keys of [remote] that all recognisers have. A recogniser adds its own; its `mode` is the tag."""

    starts_recogniser: ClassVar[bool] = False
    """Whether the recogniser is a child of the supervisor."""

    language: Annotated[str, about("of the speech; passed on as it is. Local mode: it must begin with `en`")] = "en-US"
    hold_s: Annotated[
        float, Meta(ge=0, le=60), about("for proxies whose results have no times, see below", unit="seconds")
    ] = 3.0
    ca_file: Annotated[
        str | None,
        about("a certificate authority, for a server of your own; certificates are always verified", path=True),
    ] = None

    @property
    def mode(self) -> str:
        """The word by which the recogniser is chosen."""
        return str(self.__struct_config__.tag)

    def check(self, audio: AudioConfig) -> None:
        """Raises ConfigError for keys that are missing or do not fit each other or `audio`."""

    def dialect(self, audio: AudioConfig) -> "Dialect":
        """The protocol, for audio as it is captured."""
        raise NotImplementedError

    def started_at(self, url: str, token: Secret) -> "RemoteConfig":
        """How streaming reaches the recogniser that the supervisor has started, where there is one."""
        raise NotImplementedError


def shown(url: str) -> str:
    """`url` without its query and without credentials."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


class Dialect:
    """One recogniser's protocol, for one connection after the other. A subclass has what differs from this.

    `url` and `headers` (whole lines, `Name: value`) may hold secrets; `endpoint` is the address as it may be shown.
    """

    url: str
    endpoint: str
    headers: Sequence[str] = ()
    secret: str
    """The key or token: no word that leaves the process may hold it."""
    keep_alive: str | None = None
    """The text that keeps a connection without audio open, if the protocol has one."""
    greeting: str | None = None
    """The text to say first. None: the recogniser is ready when the connection is open."""
    fails_with_last_word = False
    """Whether the recogniser says its last word before a failure, too. Then only a normal close confirms the end."""
    close_confirms = False
    """Whether a normal close after the texts of `finish` confirms the end: the protocol has no other last word."""
    request_id_header: str | None = None
    """The header of the upgrade's answer, in lower case, that has an id to quote to the recogniser's support."""
    error_header: str | None = None
    """The header of the upgrade's answer, in lower case, that has the reason of a refusal."""
    close_names: re.Pattern[str] | None = None
    """Finds the recogniser's own name for the cause in the reason of a close: the groups, joined by a hyphen."""

    @property
    def answer_headers(self) -> tuple[str, ...]:
        """The headers of the upgrade's answer that the transport hands over."""
        return tuple(name for name in (self.request_id_header, self.error_header) if name is not None)

    # What happens

    def opened(self) -> None:
        """A connection is open. A dialect that remembers what was said forgets the connection before it."""

    def decode(self, text: str) -> Sequence[Meaning]:
        """What a message means, in order. Never raises: a message that cannot be read is `Ignored`."""
        raise NotImplementedError

    def finish(self, *, can_finalize: bool) -> Sequence[str]:  # noqa: ARG002  not here
        """The texts after the last audio for which the recogniser sends its last results and a last word.

        None: the recogniser cannot be asked, and is given time.
        """
        return ()

    def ended(self) -> Sequence[Meaning]:
        """The peer has closed the connection. The results that its messages still leave, such as a last partial text.

        They are told before the close is judged: a final that covers all audio confirms the end.
        """
        return ()

    # Why it failed

    def request_id(self, headers: Mapping[str, str]) -> str | None:
        """The id in the headers of the upgrade's answer."""
        return headers.get(self.request_id_header or "")

    def refused(self, status: int, phrase: str, body: str, headers: Mapping[str, str]) -> Cause:
        """The upgrade was answered with an HTTP status other than 101."""
        error = headers.get(self.error_header or "") or phrase
        return causes.refused(status, error, body, self.request_id(headers))

    def turned_away(self, error: ServiceError) -> Cause:
        """The greeting was answered with an error. By default another try may help."""
        return Cause(error.code or "refused", error.message, kind=ErrorKind.HANDSHAKE)

    def closed(self, code: int, reason: str, request_id: str | None) -> Cause:
        """The peer closed the connection, unasked."""
        named = self.close_names.search(reason) if self.close_names is not None else None
        return causes.closed(code, reason, request_id, name="-".join(named.groups()).lower() if named else "")
