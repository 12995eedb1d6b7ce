"""Every message that leaves the engine: what PUB publishes, what the query endpoint takes and answers. Pure.

One JSON object each (UTF-8), told apart by `type`. Units stand in the names: ``_s`` seconds on the run's
sample clock, ``_time_ns`` UTC in nanoseconds. New fields get defaults, so that old readers and new writers
understand each other; readers ignore fields and types they do not know.
"""

import enum
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from mpengine.shared.config_tables import UserName

VERSION = 1
NOTHING = msgspec.Raw(b"null")
INTERIMS, FINALS = "transcript.interim", "transcript.final"


class Topic(NamedTuple):
    """How the messages of one topic are treated.

    `counts`: a lost one is told as a hole; of all others each message replaces the one before it. `is_kept`: the
    history has the last ones. `is_lasting`: the transcript file has them. `is_fleeting`: they are published only after
    somebody has subscribed to them.
    """

    counts: bool = False
    is_kept: bool = False
    is_lasting: bool = False
    is_fleeting: bool = False


TOPICS = {
    INTERIMS: Topic(),
    FINALS: Topic(counts=True, is_kept=True, is_lasting=True),
    "gap": Topic(counts=True, is_kept=True, is_lasting=True),
    "error": Topic(counts=True, is_kept=True),
    "speech_started": Topic(counts=True),
    "utterance_end": Topic(counts=True),
    "credits_low": Topic(counts=True),
    "session_end": Topic(counts=True),
    "metadata": Topic(counts=True),
    "status": Topic(),
    "level": Topic(is_fleeting=True),
    "metrics": Topic(is_fleeting=True),
}
KEPT = tuple(name for name, topic in TOPICS.items() if topic.is_kept)


class EngineState(enum.StrEnum):
    """How the engine is, in `Status.state`."""

    STARTING = "starting"
    CONNECTING = "connecting"
    RUNNING = "running"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


OVER = frozenset({EngineState.STOPPED, EngineState.FAILED})
"""The states after which an engine says nothing more."""


class GapReason(enum.StrEnum):
    """Why samples are missing, in `Gap.reason`."""

    OVERFLOW = "overflow"
    DEVICE = "device"
    CAPTURE_RESTART = "capture_restart"
    WINDOW_FULL = "window_full"
    WINDOW_DAMAGED = "window_damaged"
    PAUSED = "paused"


class ErrorCode(enum.StrEnum):
    """The codes of `Error.code` that mpengine itself gives. Recognisers have codes of their own besides."""

    # From the supervisor
    BAD_COMMAND = "bad_command"
    JOURNAL_FULL = "journal_full"
    RUN_ABANDONED = "run_abandoned"
    TRANSCRIPT_STUCK = "transcript_stuck"
    TRANSCRIPT_AGAIN = "transcript_again"
    # From any child
    CRASH = "crash"
    HUNG = "hung"
    CONFIG = "config"
    # From capture
    DEVICE = "device"
    WINDOW = "window"
    DIGITAL_SILENCE = "digital_silence"
    # From streaming
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECTION_LOST = "connection_lost"
    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    PAYMENT_REQUIRED = "payment_required"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    NOT_ALLOWED = "not_allowed"
    PROTOCOL_ERROR = "protocol_error"
    UNSUPPORTED_DATA = "unsupported_data"
    INVALID_DATA = "invalid_data"
    POLICY_VIOLATION = "policy_violation"
    MALFORMED_MESSAGE = "malformed_message"
    UNCONFIRMED_END = "unconfirmed_end"
    # From a command
    UNREACHABLE = "unreachable"


# What decoding a message from outside can raise; whoever decodes one catches all of it. Bad syntax or types; bad UTF-8
# (and numbers that no type holds); nesting as deep as it gets.
UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)


class Message(msgspec.Struct, tag_field="type", frozen=True, kw_only=True):
    """What every published object carries; the bus fills it in (see `stamped`).

    `seq` counts all messages of a run, `prev` is the `seq` of the previous message of the same topic (0: none),
    so that a reader of some topics only sees what it lost. `run` names the sample clock, `boot` the supervisor
    process.
    """

    v: int = VERSION
    run: str = ""
    boot: str = ""
    seq: int = 0
    prev: int = 0
    time_ns: int = 0


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One recognised word, with its place on the run's sample clock."""

    word: str
    start_s: float
    end_s: float
    confidence: float | None = None
    punctuated_word: str | None = None
    speaker: int | None = None


class Transcript(Message, tag="transcript", frozen=True, kw_only=True):
    """Recognised speech. An interim replaces the one before it; a final stays.

    `speech_final`: the recogniser heard a pause after it. `estimated`: the recogniser gives no times, these were
    guessed from what had been sent. `replayed`: the audio was sent once before, on a connection that was lost.
    `interrupted`: an interim that no final will follow as it stands, its connection was lost; its audio is sent again.
    """

    text: str
    is_final: bool
    speech_final: bool = False
    start_s: float = 0.0
    end_s: float = 0.0
    start_time_ns: int | None = None
    confidence: float | None = None
    words: tuple[Word, ...] = ()
    channel: int = 0
    language: str | None = None
    user_name: str = ""
    connection: int = 0
    estimated: bool = False
    replayed: bool = False
    interrupted: bool = False


class SpeechStarted(Message, tag="speech_started", frozen=True, kw_only=True):
    """The recogniser hears speech (it may turn out to be none)."""

    at_s: float


class UtteranceEnd(Message, tag="utterance_end", frozen=True, kw_only=True):
    """The recogniser found a gap between words; `at_s` is the end of the last word."""

    at_s: float


class Gap(Message, tag="gap", frozen=True, kw_only=True):
    """Samples that no recogniser will hear: never captured, or dropped because the window was full.

    `reason` is a word of `GapReason`; later versions may have more of them.
    """

    start_s: float
    end_s: float
    samples: int
    reason: str
    uncertainty_s: float = 0.0


class ChildStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One child process. States: STOPPED STARTING RUNNING STOPPING BACKOFF FATAL."""

    state: str
    pid: int | None = None
    restarts: int = 0
    next_try_in_s: float | None = None
    reason: str = ""


class Status(Message, tag="status", frozen=True, kw_only=True):
    """The engine as a whole, published at every change.

    `state` is a word of `EngineState`; `reason` says why the engine is in this one.
    """

    state: str
    reason: str = ""
    unacknowledged_s: float = 0.0
    children: Mapping[str, ChildStatus] = {}
    device: str | None = None
    endpoint: str | None = None
    connection: int = 0


class ErrorKind(enum.StrEnum):
    """Who says that something is wrong, and of what."""

    ENGINE = "engine"  # mpengine itself has found it
    CONNECTION = "connection"  # the way to the recogniser: refused, closed or lost
    HANDSHAKE = "handshake"  # the connection is open, but the recogniser does not take us
    SERVICE = "service"  # the recogniser, with a code and words of its own


class Error(Message, tag="error", frozen=True, kw_only=True):
    """Something went wrong. `fatal`: the engine ends for it. `request_id`: to quote to the recogniser's support.

    `kind` is a word of `ErrorKind`; later versions may have more of them.
    """

    source: str
    code: str
    message: str
    fatal: bool = False
    request_id: str | None = None
    kind: str = ErrorKind.ENGINE


class CreditsLow(Message, tag="credits_low", frozen=True, kw_only=True):
    """The managed proxy warns that the account runs dry."""

    seconds_remaining: float


class SessionEnd(Message, tag="session_end", frozen=True, kw_only=True):
    """The managed proxy closed the account's session."""

    seconds_used: float


class Metadata(Message, tag="metadata", frozen=True, kw_only=True):
    """What the recogniser said of the connection, as received."""

    data: dict[str, Any]


class Level(Message, tag="level", frozen=True, kw_only=True):
    """Loudness of the last quarter of a second, in dB below full scale; floor -120."""

    rms_dbfs: float
    peak_dbfs: float
    digital_silence: bool


class ChildMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What one process has used; None where the system does not tell."""

    cpu_s: float | None = None
    rss_mb: float | None = None


class Metrics(Message, tag="metrics", frozen=True, kw_only=True):
    """Cursors on the run's sample clock and counters, about once a second.

    `sent_s` is what the current connection was sent, `backlog_s` is captured but not sent (again), `catch_up_s` how
    long sending it will take at the configured pace (None without one), `lag_s` is sent but not transcribed, `last`
    maps each topic to its last `seq` (whoever missed the last message of a topic sees it here).
    """

    captured_s: float
    sent_s: float
    acknowledged_s: float
    transcribed_s: float
    backlog_s: float
    catch_up_s: float | None
    lag_s: float
    reconnects: int
    restarts: int
    dropped_s: float
    replayed_s: float
    last: dict[str, int]
    children: dict[str, ChildMetrics]
    uptime_s: float


Published = (
    Transcript
    | SpeechStarted
    | UtteranceEnd
    | Gap
    | Status
    | Error
    | CreditsLow
    | SessionEnd
    | Metadata
    | Level
    | Metrics
)

FLEETING = frozenset(
    kind for kind in Published.__args__ if TOPICS.get(kind.__struct_config__.tag, TOPICS[INTERIMS]).is_fleeting
)
"""The messages that are of use only to a program that is there when they are published."""


def topic_of(name: str, message: Message) -> str:
    """The topic under which the engine called `name` publishes `message`."""
    if isinstance(message, Transcript):
        return f"{name}.{FINALS if message.is_final else INTERIMS}"
    return f"{name}.{type(message).__struct_config__.tag}"


# Query endpoint: what is asked, and what is answered. A published `status` and `error` are answers too.


class StatusQuery(msgspec.Struct, tag_field="type", tag="status", frozen=True):
    """Asks for `StatusAnswer`."""


class SnapshotQuery(msgspec.Struct, tag_field="type", tag="snapshot", frozen=True):
    """Asks for what was published behind the message with the seq `since`: see `snapshot.SnapshotAnswer`."""

    since: int = 0


class Stop(msgspec.Struct, tag_field="type", tag="stop", frozen=True):
    """Ends the engine cleanly: what was captured is still transcribed and published."""


class Pause(msgspec.Struct, tag_field="type", tag="pause", frozen=True):
    """Closes the device until `Resume`."""


class Resume(msgspec.Struct, tag_field="type", tag="resume", frozen=True):
    """Opens the device again."""


class SetUserName(msgspec.Struct, tag_field="type", tag="set_user_name", frozen=True):
    """Names the speaker in the transcripts from now on."""

    user_name: UserName


Command = StatusQuery | SnapshotQuery | Stop | Pause | Resume | SetUserName


class Done(msgspec.Struct, tag_field="type", tag="ok", frozen=True):
    """The command was taken."""


class ChildAnswer(ChildStatus, frozen=True, kw_only=True):
    """One child process, for who asks: also how long its process has existed, and why the last one ended."""

    up_s: float | None = None
    last_end: str = ""
    last_end_ago_s: float | None = None


class StatusAnswer(Status, tag="status", frozen=True, kw_only=True):
    """A `status` with all that a person wants to see on one screen.

    `level` is the last one of the open device; `last_disconnect` says why the last connection was lost.
    """

    children: Mapping[str, ChildAnswer] = {}
    name: str = ""
    pid: int = 0
    mode: str = ""
    publish: str = ""
    query: str = ""
    paused: bool = False
    level: Level | None = None
    last_disconnect: str = ""
    last_disconnect_ago_s: float | None = None
    metrics: Metrics | None = None


class SnapshotAnswer(msgspec.Struct, tag_field="type", tag="snapshot", frozen=True, kw_only=True):
    """What somebody who comes late, or has lost something, can still get: the answer to a `snapshot` question.

    Messages as they were published, none before `since`, in order of `seq`; with `more`, ask again from the last.

    `complete` maps each topic that is kept to a `seq`: all its messages behind that one, up to `seq`, are there.
    `status` is the last one, `interim` the one that has no final yet, or null.
    """

    v: int = VERSION
    run: str = ""
    boot: str = ""
    seq: int = 0
    status: msgspec.Raw = NOTHING
    interim: msgspec.Raw = NOTHING
    messages: list[msgspec.Raw] = []
    complete: dict[str, int] = {}
    more: bool = False


class Stamp(msgspec.Struct, frozen=True):
    """What the bus wrote into a message; `seq` is 0 in what did not come from a bus."""

    type: str = ""
    is_final: bool = False
    run: str = ""
    boot: str = ""
    seq: int = 0
    prev: int = 0
    time_ns: int = 0

    @property
    def topic(self) -> str:
        """The topic without the engine's name."""
        if self.type != "transcript":
            return self.type
        return FINALS if self.is_final else INTERIMS


encode = msgspec.json.Encoder().encode
read_stamp = msgspec.json.Decoder(Stamp).decode
read_answer = msgspec.json.Decoder(SnapshotAnswer).decode
