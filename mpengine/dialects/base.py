"""The messages of all recognisers in one form, and the base classes of their configuration and their protocol. Pure.

Each recogniser is one module, which has its RemoteConfig and its Dialect. The session knows only this module.
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

    `has_times` is False if the recogniser gave no times. `channels` is how many channels it transcribes.
    """

    transcript: Transcript
    has_times: bool = False
    channels: int = 1


class Said(NamedTuple):
    """Another message to publish. Its `at_s`, if it has one, counts the audio sent on this connection.

    `is_last`: no result comes after it.
    """

    message: Published
    is_last: bool = False


class Ready(NamedTuple):
    """The recogniser takes audio now."""


class ServiceError(NamedTuple):
    """The recogniser reports an error. It closes the connection itself if it wants to."""

    code: str
    message: str


class Ignored(NamedTuple):
    """A message that was understood and that the engine has no use for. `why` is for people."""

    why: str


class Unknown(NamedTuple):
    """A message that was not understood, which is no error: services add types. It is no sign of life, either.

    `kind`: its type as the peer wrote it, of any length, or why it has none.
    """

    kind: str


class LeftOut(NamedTuple):
    """Fields of the message before it did not fit and were left out. `why` names type and fields, never the content."""

    why: str


class Malformed(NamedTuple):
    """A message of a known type that cannot be used: what it is about, such as its text, does not fit.

    `why` names type and field, never the content. `is_final`: it was a final, whose words are lost. `span_s`: the start
    and the end of that final in seconds of the audio sent on this connection, where they are known.
    """

    why: str
    is_final: bool = False
    span_s: tuple[float, float] | None = None


Meaning = Hypothesis | Said | Ready | ServiceError | Ignored | Unknown | LeftOut | Malformed


class RemoteConfig(Section, tag_field="mode", frozen=True, kw_only=True):
    """The keys of [remote] that all recognisers have. A recogniser adds its own; its `mode` is the tag."""

    starts_recogniser: ClassVar[bool] = False
    """Whether the recogniser is a child of the supervisor."""

    language: Annotated[str, about("of the speech; passed on as it is. Local mode: it must begin with `en`")] = "en-US"
    hold_s: Annotated[
        float,
        Meta(ge=0, le=60),
        about(
            "for proxies whose results have no times, see [managed proxies](configuration.md#managed-proxies)",
            unit="seconds",
        ),
    ] = 3.0
    ca_file: Annotated[
        str | None,
        about(
            "a certificate authority (PEM), for a server of your own; certificates are always verified",
            path=True,
            example='"ca.pem"',
        ),
    ] = None
    allow_plaintext: Annotated[
        bool,
        about(
            "let the key or token go to another machine without encryption, over `ws://`: everybody on the way can "
            "read it, and the audio. Servers on this machine need no permission"
        ),
    ] = False

    @property
    def mode(self) -> str:
        """The word by which the recogniser is chosen."""
        return str(self.__struct_config__.tag)

    @property
    def hang_over_s(self) -> float:
        """How long the silence gate has to stay open after the last sound, so that the recogniser ends the utterance.

        A recogniser that measures silence longer than this overrides it.
        """
        return 1.0

    @property
    def address(self) -> tuple[str, str] | None:
        """The key that has the server's address, and that address with its scheme. None if `starts_recogniser`."""
        raise NotImplementedError

    def check(self, audio: AudioConfig) -> None:
        """Raises ConfigError for keys that are missing or do not fit each other or `audio`."""

    def dialect(self, audio: AudioConfig) -> "Dialect":
        """The protocol for this configuration and captured audio."""
        raise NotImplementedError

    def started_at(self, url: str, token: Secret) -> "RemoteConfig":
        """If `starts_recogniser`: the table by which streaming reaches the started recogniser."""
        raise NotImplementedError


def shown(url: str) -> str:
    """`url` without its query and without credentials."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


class Dialect:
    """One recogniser's protocol, for one connection after the other. A subclass overrides what is different.

    `url` and `headers` (whole lines, `Name: value`) may hold secrets. `endpoint` is the address without secrets.
    """

    url: str
    endpoint: str
    headers: Sequence[str] = ()
    secret: str
    """The key or token. It is removed from all reports."""
    keep_alive: str | None = None
    """The text that keeps a connection without audio open, if the protocol has one."""
    greeting: str | None = None
    """The first text to send. None: the recogniser is ready when the connection is open."""
    fails_with_last_word = False
    """Whether the recogniser says its last word before a failure, too. Then only a normal close confirms the end."""
    answers_silence = False
    """Whether the recogniser also sends results of silence. Then it is late when it sends none."""
    close_after_s: float = 30.0
    """How long the connection stays open while the silence gate is closed. Then it is ended, until somebody speaks."""
    close_confirms = False
    """Whether a normal close after the texts of `finish` confirms the end, without any other last word."""
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
        """A connection is open. A dialect with a memory of messages forgets those of the connection before."""

    def decode(self, text: str) -> Sequence[Meaning]:
        """The meanings of a message, in order. Never raises: a message that cannot be read is `Unknown`."""
        raise NotImplementedError

    def finish(self) -> Sequence[str]:
        """The texts to send after the last audio, so that the recogniser sends its last results and a last word.

        Without texts the recogniser cannot be asked, and is given time.
        """
        return ()

    def flush(self) -> Sequence[str]:
        """The texts to send when the silence gate has closed, so that the recogniser gives the results that it holds.

        The connection stays open. Without texts the recogniser ends the utterance by the silence that it has heard.
        """
        return ()

    def ended(self) -> Sequence[Meaning]:
        """The peer has closed the connection. Returns results that its messages have left, such as a last partial text.

        They are handled before the close: a final that covers all audio confirms the end.
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
