"""The tables of the configuration: each key with its range, its choices and its meaning. Pure.

`mpengine.shared.config` reads and checks them. The table [remote] is with the recognisers, in `mpengine.dialects`. The
supervisor sends whole tables to its children over a pipe.

`about` describes a key. Its keyword arguments may say:
    unit         the unit of a number, in words
    values       the possible values in words, where the type does not say them
    default      the default in words, where the value does not say it
    path         that the value is a path; a relative one starts at the file's folder
    endpoint     that the value is an endpoint; the path of ipc://PATH is treated like other paths
    environment  that the value is a secret, and the variable for it
    example      a value as TOML, for a key without a default; for a secret, the path of its file
"""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mpengine.shared.keys import mended
from mpengine.shared.sources import DEFAULT, Home, SourceKind, home_of

NAME = re.compile(r"\A[A-Za-z0-9_-]{1,32}\Z")
NAME_VALUES = "1 to 32 of A-Z a-z 0-9 _ -"
USUAL_NAME = "default"
"""The name of an engine that has none of its own."""
# The name stands in every transcript, and the room of the history is counted in bytes.
LONGEST_USER_NAME = 200
UserName = Annotated[str, Meta(max_length=LONGEST_USER_NAME)]


def name_option(name: str) -> str:
    """The option that names the engine `name` in a command, with a space before it; empty for the usual name."""
    return "" if name == USUAL_NAME else f" --name {name}"


class Secret:
    """A key or token. Only `reveal` shows it; repr and tracebacks have stars instead.

    `path`: the file that it was read from, and may be read from again; None if there is none. `variable`: the variable
    of the environment that it was read from, if any.
    """

    __slots__ = ("_value", "path", "variable")

    def __init__(self, value: str = "", path: str | None = None, variable: str | None = None) -> None:
        self._value = value
        self.path = path
        self.variable = variable

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
    """A table of the file. Unknown keys are errors."""


def about(description: str, **more: Any) -> Meta:
    """The description of a key for the reference, and further facts: see the top of this module."""
    return Meta(description=description, extra=more)


class EngineConfig(Section, frozen=True, kw_only=True):
    """Which engine it is, and who speaks."""

    name: Annotated[
        str,
        Meta(pattern=NAME.pattern),
        about("the engine's name, in topics and in the path of the runtime directory", values=NAME_VALUES),
    ] = USUAL_NAME
    user_name: Annotated[
        UserName, about("the speaker's name, in transcripts; the command `set_user_name` has the same limit")
    ] = "User"


_Microphone = Annotated[str, Meta(min_length=1)] | int

# Each block costs CPU time, and recognisers take blocks of this length.
_UNPACED_BLOCK_MS = 200


class AudioConfig(Section, frozen=True, kw_only=True):
    """The source of the audio."""

    device: Annotated[
        _Microphone | Annotated[tuple[_Microphone, ...], Meta(min_length=1, max_length=32)] | None,
        about(
            "a microphone's name, a part that only one name has, an ALSA name, or a number (`mpengine devices`), or a "
            "list of these in order of preference, see the page [microphones](microphones.md)",
            values="text, a whole number, or a list of up to 32 of these",
            default="the system's default",
            example='"USB"',
        ),
    ] = None
    sample_rate: Annotated[
        int,
        Meta(ge=8000, le=192000),
        about(
            "the rate that is sent, as 16-bit samples; audio of another rate or format is converted once. A device is "
            "tried at this rate first",
            unit="Hz",
        ),
    ] = 16000
    channels: Annotated[
        int, Meta(ge=1, le=8), about("how many channels are sent: the first ones of several channels")
    ] = 1
    channel: Annotated[
        Annotated[int, Meta(ge=0, le=127)] | Literal["mix"] | None,
        about(
            "the channel of the source that is sent alone, where `channels` is 1; `mix`: the mean of all",
            values='0 (the first) to 127, or "mix"',
            default="the mean of two, otherwise the first",
            example="0",
        ),
    ] = None
    block_ms: Annotated[
        int,
        Meta(ge=5, le=250),
        about(
            f"length of a block, a whole number of samples; an unpaced file has at least {_UNPACED_BLOCK_MS} ms",
            unit="ms",
        ),
    ] = 20
    latency: Annotated[
        float,
        Meta(gt=0, le=2),
        about(
            "the length of the device's buffer: so long a delay of this machine loses nothing. It delays no audio",
            unit="seconds",
        ),
    ] = 1.0
    quiet_ms: Annotated[
        int,
        Meta(ge=5, le=1000),
        about(
            "how far apart the reads of a device are while nobody speaks. It is the delay of the first word after a "
            "pause. At most a third of `latency`",
            unit="ms",
        ),
    ] = 200
    start: Annotated[
        Literal["immediate", "connected"],
        about(
            "when the device is opened. `immediate`: at the start; audio waits in the window; `connected`: when the "
            "recogniser is ready, and the first words may be lost"
        ),
    ] = "immediate"
    source: Annotated[
        str,
        Meta(min_length=1),
        about(
            "a microphone; standard input; or a file or a FIFO: WAV with PCM of 8 to 32 bit or floating point, any "
            "rate and number of channels. Standard input and a FIFO may also have raw 16-bit samples",
            values='"portaudio", "-", or a path of a WAV file or a FIFO',
            path=True,
        ),
    ] = DEFAULT
    command: Annotated[
        Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)] | None,
        about(
            "a program and its arguments, which writes live audio to its standard output, raw 16-bit samples or WAV; "
            "instead of `source`",
            values="a list of texts",
            example='["arecord", "-q", "-t", "raw", "-f", "S16_LE", "-r", "16000"]',
        ),
    ] = None
    gate: Annotated[
        Literal["off", "energy", "vad"],
        about(
            "`energy`: what is hardly louder than the room is not sent; `vad`: nor is what has no voice, such as music "
            "and keys; see [silence gate](recognisers.md#silence-gate)"
        ),
    ] = "off"
    paced: Annotated[
        bool,
        about(
            "a file, and standard input: `true` reads it at the pace of speech, `false` as fast as the recogniser "
            "takes it"
        ),
    ] = True

    @property
    def block_samples(self) -> int:
        """Samples per channel in one block. An unpaced source has longer blocks."""
        block_ms = max(self.block_ms, _UNPACED_BLOCK_MS) if self.is_unpaced else self.block_ms
        return self.sample_rate * block_ms // 1000

    @property
    def home(self) -> Home:
        """The implementation of the source."""
        return home_of(self.source, self.command, paced=self.paced)

    @property
    def kind(self) -> SourceKind:
        """The properties of the source."""
        return self.home.kind

    @property
    def is_unpaced(self) -> bool:
        """Whether the source is read as fast as possible. A source that does not wait sets the pace itself."""
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
            "how much faster than real time waiting audio is sent; Deepgram allows 1.25. Local mode and unpaced files "
            "have no limit"
        ),
    ] = 1.25
    directory: Annotated[
        str | None,
        about(
            "a directory for the window; it must exist. A disk has room for hours. A thread writes the window, so that "
            "a slow disk delays nothing",
            default="the runtime directory",
            example='"/var/tmp"',
            path=True,
        ),
    ] = None


_Endpoint = Annotated[str, Meta(pattern=r"\A(ipc|tcp)://.")]
_ENDPOINT = {
    "values": "ipc://PATH or tcp://ADDRESS:PORT",
    "default": "a socket in the runtime directory",
    "endpoint": True,
}


# Z85, see RFC 32 of ZeroMQ.
_PUBLIC_KEY = r"\A[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}\Z"


class BusConfig(Section, frozen=True, kw_only=True):
    """Where results are published, and how many are kept."""

    publish: Annotated[
        _Endpoint | None, about("the endpoint for published messages", example='"tcp://127.0.0.1:5555"', **_ENDPOINT)
    ] = None
    query: Annotated[
        _Endpoint | None,
        about(
            "the endpoint for questions; not that of `publish`. It takes commands too, but only where it is a socket "
            "in the runtime directory",
            example='"tcp://127.0.0.1:5556"',
            **_ENDPOINT,
        ),
    ] = None
    command: Annotated[
        _Endpoint | None,
        about(
            "the endpoint for commands (stop, pause, resume, set_user_name): who reaches it may stop the engine; "
            "beyond this machine it needs `curve_clients`",
            example='"tcp://127.0.0.1:5557"',
            **_ENDPOINT,
        ),
    ] = None
    clients: Annotated[
        int,
        Meta(ge=8, le=10_000),
        about(
            "how many programs may be connected to each endpoint at once; no more than an eighth of the descriptors "
            "that the system allows",
            unit="connections",
        ),
    ] = 128
    curve_secret_key: Annotated[
        Secret,
        about(
            "secret CURVE key of the bus, 40 characters (`mpengine keys`); required for `tcp://` beyond this machine",
            environment="MPENGINE_CURVE_SECRET_KEY",
            example='"server.key"',
        ),
    ] = Secret()
    curve_clients: Annotated[
        tuple[Annotated[str, Meta(pattern=_PUBLIC_KEY)], ...],
        about(
            "the public keys of the clients that are let in; without it, all that know the engine's public key",
            values="a list of public keys of 40 characters (`mpengine keys`)",
            example='["rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"]',
        ),
    ] = ()
    history: Annotated[
        int, Meta(ge=100, le=100_000), about("how many finals are kept for programs that come late", unit="finals")
    ] = 1000
    history_s: Annotated[float, Meta(ge=1, le=31_536_000), about("how long they are kept", unit="seconds")] = 86400.0
    transcript: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        about(
            "a file to which finals and gaps are appended as lines of JSON (mode 0600); it outlives the run. Other "
            "programs may rename or remove it",
            path=True,
            example='"said.jsonl"',
        ),
    ] = None
    transcript_mb: Annotated[
        float,
        Meta(ge=0.01, le=100_000),
        about("the file is rotated at this size (`FILE.1`, `FILE.2`, …)", unit="MB"),
    ] = 10.0
    transcript_files: Annotated[
        int, Meta(ge=1, le=1000), about("how many files are kept, the current one included", unit="files")
    ] = 5


_AboveZero = Annotated[float, Meta(gt=0, le=86400)]
# A child beats once a second. The limit must leave room for a busy machine.
_HangLimit = Annotated[float, Meta(ge=3, le=86400)]


class SupervisorConfig(Section, frozen=True, kw_only=True):
    """Restart policy of the children, limits of silence, and how long a clean stop may take."""

    backoff_s: Annotated[
        _AboveZero,
        about(
            "a child that ends again and again without having worked for `stable_after_s` is first started again at "
            "once; the second restart waits a random share of this, each further one of twice as much as before",
            unit="seconds",
        ),
    ] = 0.5
    backoff_ceiling_s: Annotated[_AboveZero, about("the most of which a share is waited", unit="seconds")] = 30.0
    stable_after_s: Annotated[
        _AboveZero,
        about(
            "a child that had worked this long (the device delivered, or the recogniser was connected) is restarted at "
            "once, ten times a minute; after that it waits as the others",
            unit="seconds",
        ),
    ] = 2.0
    hang_limit_s: Annotated[
        _HangLimit,
        about(
            "how long a child may be silent, or its work stand still, before it is killed. On Linux a stopped or "
            "blocked child is found within 3 s, while the machine has processors to spare",
            unit="seconds",
        ),
    ] = 20.0
    first_frame_limit_s: Annotated[
        _HangLimit, about("the same limit while a child starts or opens a device", unit="seconds")
    ] = 60.0
    wait: Annotated[
        bool,
        about(
            "wait and try again where the engine would end before its first result, because the recogniser refuses it "
            "or there is no device. `mpengine run --wait` sets this"
        ),
    ] = False
    patience: Annotated[float, Meta(ge=1, le=1000), about("multiplies these limits of silence; 3 for a slow board")] = (
        1.0
    )
    stop_limit_s: Annotated[
        _AboveZero, about("how long a clean stop may take; it may take 6 s in any case", unit="seconds")
    ] = 30.0


def notes(annotation: Any) -> tuple[list[Meta], dict[str, Any]]:
    """The notes at the field of a key, and the further facts that its `about` has."""
    found = [note for note in getattr(annotation, "__metadata__", ()) if isinstance(note, Meta)]
    return found, {key: value for note in found for key, value in (note.extra or {}).items()}


def marked(kind: type[Section], mark: str) -> dict[str, Any]:
    """The keys of the table `kind` whose `about` has `mark`, each with its value."""
    said = {field.name: notes(field.type)[1] for field in msgspec.structs.fields(kind)}
    return {name: more[mark] for name, more in said.items() if mark in more}


def decode_secret(kind: type, value: Any) -> Any:
    """For msgspec: a Secret from text, or one from a file. Raises TypeError or ValueError without showing the value."""
    secret = Secret(value) if isinstance(value, str) else value
    if kind is not Secret or not isinstance(secret, Secret):
        raise TypeError("Expected `str`")
    given = secret.reveal()
    if not given.isprintable() or given != given.strip():
        raise ValueError("expected one line without spaces around it")
    key = mended(given)
    return secret if key == given else Secret(key, secret.path, secret.variable)


def encode_secret(value: Any) -> str:
    """For msgspec: a Secret as text, for the child that needs it."""
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(type(value).__name__)
