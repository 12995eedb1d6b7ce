"""The tables of the configuration. Pure; each key has its range, its choices and its meaning at the field.

`mpengine.shared.config` reads, checks and documents them; the table [remote] stands with the recognisers, in
`mpengine.dialects`. Children get whole tables from the supervisor over a pipe.

A key is described by `about`, whose second part may say:
    unit         of a number, in words
    values       what may stand there, in words, where the type does not tell
    default      the default in words, where the value does not tell
    path         a path: a relative one is meant from the folder of the file
    environment  a secret, and the variable that has it otherwise
"""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mpengine.shared.sources import SourceKind, home_of

NAME = re.compile(r"\A[A-Za-z0-9_-]{1,32}\Z")
NAME_VALUES = "1 to 32 of A-Z a-z 0-9 _ -"
# It stands in every transcript, and the history has room for so many bytes, not for so many messages.
LONGEST_USER_NAME = 200
UserName = Annotated[str, Meta(max_length=LONGEST_USER_NAME)]


class Secret:
    """A key or token. It shows itself only to `reveal`; text, repr and tracebacks have stars."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(***)" if self._value else "Secret()"


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: unknown keys are refused."""


def about(description: str, **more: Any) -> Meta:
    """What the reference says of a key, and what else is to be known of it: see above."""
    return Meta(description=description, extra=more)


class EngineConfig(Section, frozen=True, kw_only=True):
    """Which engine it is, and who speaks."""

    name: Annotated[
        str,
        Meta(pattern=NAME.pattern),
        about("stands in topics and in the path of the runtime directory", values=NAME_VALUES),
    ] = "default"
    user_name: Annotated[UserName, about("stands in transcripts; the command `set_user_name` has the same limit")] = (
        "User"
    )


# As long as services like it.
_UNPACED_BLOCK_MS = 200


class AudioConfig(Section, frozen=True, kw_only=True):
    """The source of the audio."""

    device: Annotated[
        str | int | None,
        about(
            "a device's name, a part of one name, or its number (`mpengine devices`); numbers change between boots",
            default="the system's default",
        ),
    ] = None
    sample_rate: Annotated[
        int,
        Meta(ge=8000, le=192000),
        about("audio is sent as it is captured, as 16-bit samples, without conversion", unit="Hz"),
    ] = 16000
    channels: Annotated[int, Meta(ge=1, le=8), about("how many channels are captured and sent")] = 1
    block_ms: Annotated[
        int,
        Meta(ge=5, le=250),
        about(
            f"length of a block, a whole number of samples; a file that is not paced gets at least {_UNPACED_BLOCK_MS}",
            unit="ms",
        ),
    ] = 20
    latency: Annotated[
        float,
        Meta(gt=0, le=2),
        about("the latency that PortAudio is asked for; smaller values cost more wake-ups", unit="seconds"),
    ] = 0.08
    start: Annotated[
        Literal["immediate", "connected"],
        about("`connected`: the device is opened when the recogniser is ready, and the first words may be lost"),
    ] = "immediate"
    source: Annotated[
        str,
        Meta(min_length=1),
        about(
            "a file has 16 bits, the same rate and channels", values='"portaudio" or a path of a WAV file', path=True
        ),
    ] = "portaudio"
    paced: Annotated[
        bool, about("a file: `true` plays it at the pace of speech, `false` as fast as it is recognised")
    ] = True

    @property
    def block_samples(self) -> int:
        """Samples of each channel in one block. A source that is not paced comes in long ones: each costs."""
        block_ms = max(self.block_ms, _UNPACED_BLOCK_MS) if self.is_unpaced else self.block_ms
        return self.sample_rate * block_ms // 1000

    @property
    def kind(self) -> SourceKind:
        """What can be asked of the source."""
        return home_of(self.source).kind

    @property
    def is_unpaced(self) -> bool:
        """Whether the source is read as fast as it can be. One that does not wait sets the pace itself."""
        return self.kind.waits and not self.paced


class BufferConfig(Section, frozen=True, kw_only=True):
    """The replay window."""

    seconds: Annotated[
        float,
        Meta(ge=60, le=86400),
        about("length of the replay window; 300 s of 16 kHz mono take 10 MB", unit="seconds"),
    ] = 300.0
    catch_up: Annotated[
        float,
        Meta(gt=1, le=100),
        about(
            "how much faster than real time waiting audio is sent; Deepgram allows 1.25. Local mode and files that are "
            "not paced have no limit"
        ),
    ] = 1.25
    directory: Annotated[
        str | None,
        about(
            "where the window stands; it must exist. On a disk a window of hours is possible. A thread writes it, so "
            "that a slow disk holds up nothing",
            default="the runtime directory",
            path=True,
        ),
    ] = None


_Endpoint = Annotated[str, Meta(pattern=r"\A(ipc|tcp)://.")]
_ENDPOINT = {"values": "ipc://PATH or tcp://ADDRESS:PORT", "default": "a socket in the runtime directory"}


class BusConfig(Section, frozen=True, kw_only=True):
    """Where results are published, and what is kept of them."""

    publish: Annotated[_Endpoint | None, about("where messages are published", **_ENDPOINT)] = None
    query: Annotated[
        _Endpoint | None, about("the same for questions and commands; not the same endpoint", **_ENDPOINT)
    ] = None
    curve_secret_key: Annotated[
        Secret,
        about(
            "CURVE key of the bus, 40 characters (Z85), required for `tcp://` off this machine; a secret, see below",
            environment="MPENGINE_CURVE_SECRET_KEY",
        ),
    ] = Secret()
    history: Annotated[
        int, Meta(ge=100, le=100_000), about("how many are kept for programs that come late", unit="finals")
    ] = 1000
    history_s: Annotated[float, Meta(ge=1, le=31_536_000), about("how long they are kept", unit="seconds")] = 86400.0
    transcript: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        about(
            "a file to which finals and gaps are appended as lines of JSON (mode 0600); it outlives the run", path=True
        ),
    ] = None
    transcript_mb: Annotated[
        float,
        Meta(ge=0.01, le=100_000),
        about("the file is rotated at this size (`FILE.1`, `FILE.2`, …)", unit="MB"),
    ] = 10.0
    transcript_files: Annotated[
        int, Meta(ge=1, le=1000), about("how many are kept, the current one included", unit="files")
    ] = 5


_AboveZero = Annotated[float, Meta(gt=0, le=86400)]


class SupervisorConfig(Section, frozen=True, kw_only=True):
    """Restart policy of the children, limits of silence, and how long a clean stop may take."""

    backoff_s: Annotated[
        _AboveZero,
        about(
            "a child is restarted at once the first time, then after a random share of a limit that begins with this "
            "and doubles",
            unit="seconds",
        ),
    ] = 0.5
    backoff_ceiling_s: Annotated[_AboveZero, about("where that limit ends", unit="seconds")] = 30.0
    stable_after_s: Annotated[
        _AboveZero,
        about('a child that has worked so long begins with restarts "at once" again', unit="seconds"),
    ] = 10.0
    # A child beats once a second; a limit must leave room for a busy machine.
    hang_limit_s: Annotated[
        float,
        Meta(ge=3, le=86400),
        about("how long a child may be silent, or its work stand still, before it is killed", unit="seconds"),
    ] = 20.0
    first_frame_limit_s: Annotated[_AboveZero, about("the same while it starts or opens a device", unit="seconds")] = (
        60.0
    )
    patience: Annotated[_AboveZero, about("stretches these two limits: 3 on a slow board")] = 1.0
    stop_limit_s: Annotated[_AboveZero, about("how long a clean stop may take", unit="seconds")] = 30.0


def notes(annotation: Any) -> tuple[list[Meta], dict[str, Any]]:
    """All that is said of a key at its field: limits and description, and what `about` has besides."""
    found = [note for note in getattr(annotation, "__metadata__", ()) if isinstance(note, Meta)]
    return found, {key: value for note in found for key, value in (note.extra or {}).items()}


def marked(kind: type[Section], mark: str) -> dict[str, Any]:
    """The keys of the table `kind` of which `about` says `mark`, and what it says."""
    said = {field.name: notes(field.type)[1] for field in msgspec.structs.fields(kind)}
    return {name: more[mark] for name, more in said.items() if mark in more}


def decode_secret(kind: type, value: Any) -> Any:
    """For msgspec: a Secret from the text in a file. Raises TypeError or ValueError without showing the value."""
    if kind is not Secret or not isinstance(value, str):
        raise TypeError("Expected `str`")
    if not value.isprintable() or value != value.strip():
        raise ValueError("expected one line without spaces around it")
    return Secret(value)


def encode_secret(value: Any) -> str:
    """For msgspec: a Secret as text, on its way to the child that needs it."""
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(type(value).__name__)
