"""Every message between an engine and other programs: published messages, questions and answers. Pure.

Each message is one JSON object (UTF-8); `type` names its kind. Units stand in the names: ``_s`` seconds, on the run's
sample clock, ``_time_ns`` UTC in nanoseconds. New fields get defaults, and readers ignore unknown fields and types: so
old and new versions understand each other.
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

    `counts`: a lost message is reported as a hole; without it each message replaces the one before it. `is_kept`: the
    history has the last ones. `is_lasting`: the transcript file has them. `is_fleeting`: they are published only after
    a program has subscribed to them.
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
    """The state of the engine, in `Status.state`."""

    STARTING = "starting"
    CONNECTING = "connecting"
    RUNNING = "running"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


OVER = frozenset({EngineState.STOPPED, EngineState.FAILED})
"""The last states of an engine. After one of them it publishes no other status."""


class GapReason(enum.StrEnum):
    """Why samples are missing, in `Gap.reason`."""

    OVERFLOW = "overflow"  # the audio driver lost samples, the device stalled, or a disk was stuck too long
    DEVICE = "device"  # the device went away; the gap lasts until it was back
    CAPTURE_RESTART = "capture_restart"  # capture, or the engine, ended and was started again
    WINDOW_FULL = "window_full"  # the window was full, and its oldest part was dropped
    WINDOW_DAMAGED = "window_damaged"  # a part of the window could not be read back
    PAUSED = "paused"  # somebody paused the engine
    STOPPED = "stopped"  # no engine ran


NO_LOSS = frozenset({GapReason.PAUSED, GapReason.STOPPED})
"""The reasons of gaps in which the engine was not to capture anything."""


class ErrorCode(enum.StrEnum):
    """The codes of `Error.code` that mpengine itself gives. Recognisers have further codes of their own."""

    # From the supervisor
    BAD_COMMAND = "bad_command"
    COMMANDS_ELSEWHERE = "commands_elsewhere"
    JOURNAL_FULL = "journal_full"
    RUN_ABANDONED = "run_abandoned"
    NAMES_VANISHED = "names_vanished"
    UNREACHABLE_ENGINE = "unreachable_engine"
    TRANSCRIPT_STUCK = "transcript_stuck"
    TRANSCRIPT_AGAIN = "transcript_again"
    CLOCK_STEPPED = "clock_stepped"
    TOO_MANY_CLIENTS = "too_many_clients"
    CLIENTS_AGAIN = "clients_again"
    # From any child
    CRASH = "crash"
    HUNG = "hung"
    CONFIG = "config"
    # From capture
    DEVICE = "device"
    WINDOW = "window"
    DIGITAL_SILENCE = "digital_silence"
    DIGITAL_SILENCE_OVER = "digital_silence_over"
    NEARLY_SILENT = "nearly_silent"
    NEARLY_SILENT_OVER = "nearly_silent_over"
    CLIPPING = "clipping"
    CLIPPING_OVER = "clipping_over"
    DC_OFFSET = "dc_offset"
    DC_OFFSET_OVER = "dc_offset_over"
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
    FRAMES_MISSED = "frames_missed"
    # From a command
    UNREACHABLE = "unreachable"


NO_TROUBLE = frozenset(
    {
        ErrorCode.TRANSCRIPT_AGAIN,
        ErrorCode.CLOCK_STEPPED,
        ErrorCode.CLIENTS_AGAIN,
        ErrorCode.DIGITAL_SILENCE_OVER,
        ErrorCode.NEARLY_SILENT_OVER,
        ErrorCode.CLIPPING_OVER,
        ErrorCode.DC_OFFSET_OVER,
    }
)
"""The codes that tell the end of a trouble, or something that is no trouble."""
NO_OBSTACLE = NO_TROUBLE | {
    ErrorCode.DIGITAL_SILENCE,
    ErrorCode.NEARLY_SILENT,
    ErrorCode.CLIPPING,
    ErrorCode.DC_OFFSET,
}
"""The codes of errors that keep no engine from its work."""


# All that decoding a message from outside can raise: for bad syntax or types, for bad UTF-8 and numbers that are too
# large, and for nesting that is too deep.
UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)


class Stamped(msgspec.Struct, tag_field="type", frozen=True, kw_only=True):
    """The fields of every published message; the bus fills them in.

    `v`: version of the format. `run`: id of the sample clock. `boot`: id of the supervisor process. `seq` counts all
    messages of a run. `prev` is the `seq` of the previous message of the same topic and boot (0: none), so that a
    reader of some topics sees what it has lost. `time_ns`: UTC of the publication.
    """

    v: int = VERSION
    run: str = ""
    boot: str = ""
    seq: int = 0
    prev: int = 0
    time_ns: int = 0


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One recognised word, with its place on the run's sample clock.

    A word to which the recogniser gives no times is placed between its neighbours. `speaker`: a number or a name, as
    the recogniser says. `language`: of this word, where the recogniser says it.
    """

    word: str
    start_s: float
    end_s: float
    confidence: float | None = None
    punctuated_word: str | None = None
    speaker: int | str | None = None
    language: str | None = None


class Transcript(Stamped, tag="transcript", frozen=True, kw_only=True):
    """Recognised speech. An interim replaces the one before it on its `channel`; a final stays.

    An interim without text ends the one before it: the recogniser has taken back its words. `speech_final`: the
    recogniser heard a silence after it. `estimated`: the recogniser gives no times that can be true, so these are
    guessed from the audio that was sent. `replayed`: the audio had been sent before, on a connection that was lost.
    `interrupted`: this interim's connection was lost, and its audio is sent again: no final will follow as it stands.
    `entities`: names, dates and the like that the recogniser has found in the text, as received.
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
    entities: tuple[dict[str, Any], ...] = ()
    user_name: str = ""
    connection: int = 0
    estimated: bool = False
    replayed: bool = False
    interrupted: bool = False


class SpeechStarted(Stamped, tag="speech_started", frozen=True, kw_only=True):
    """The recogniser hears speech, or what it takes for speech."""

    at_s: float
    channel: int = 0


class UtteranceEnd(Stamped, tag="utterance_end", frozen=True, kw_only=True):
    """The recogniser heard a silence between words; `at_s` is the end of the last word."""

    at_s: float
    channel: int = 0


class Gap(Stamped, tag="gap", frozen=True, kw_only=True):
    """Samples that no recogniser will hear: never captured (as in a pause), dropped by a full window, or damaged in it.

    `reason` is a word of `GapReason`; later versions may have more of them.
    """

    start_s: float
    end_s: float
    samples: int
    reason: str
    uncertainty_s: float = 0.0

    @property
    def is_loss(self) -> bool:
        """Whether audio is missing that the engine was to capture."""
        return self.reason not in NO_LOSS


class ChildStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One child process. States: STOPPED STARTING RUNNING STOPPING BACKOFF FATAL."""

    state: str
    pid: int | None = None
    restarts: int = 0
    next_try_in_s: float | None = None
    reason: str = ""


class Status(Stamped, tag="status", frozen=True, kw_only=True):
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
    """The origin of an error."""

    ENGINE = "engine"  # mpengine itself has found the error
    CONNECTION = "connection"  # the connection to the recogniser was refused, closed or lost
    HANDSHAKE = "handshake"  # the connection is open, but the recogniser does not accept the engine
    SERVICE = "service"  # the recogniser reports the error, with a code and words of its own


class Error(Stamped, tag="error", frozen=True, kw_only=True):
    """Something went wrong. `fatal`: the engine ends because of it. `request_id`: for the recogniser's support.

    `kind` is a word of `ErrorKind`; later versions may have more of them. `step_ns`: by how much the wall clock was set
    (`clock_stepped`); the `start_time_ns` of messages with a lower `seq` are right when this is added to them.
    """

    source: str
    code: str
    message: str
    fatal: bool = False
    request_id: str | None = None
    kind: str = ErrorKind.ENGINE
    step_ns: int | None = None


# A peer's words may have a megabyte. The history keeps errors in memory.
_LONGEST_WORDS = 500


def brief(words: str) -> str:
    """A peer's `words`, cut to what an error may have."""
    return words if len(words) <= _LONGEST_WORDS else f"{words[:_LONGEST_WORDS]}…"


class CreditsLow(Stamped, tag="credits_low", frozen=True, kw_only=True):
    """The managed proxy warns that the account is nearly used up."""

    seconds_remaining: float


class SessionEnd(Stamped, tag="session_end", frozen=True, kw_only=True):
    """The managed proxy, or the local recogniser, has closed its session."""

    seconds_used: float


class Metadata(Stamped, tag="metadata", frozen=True, kw_only=True):
    """The recogniser's data about the connection, as received."""

    data: dict[str, Any]


class Level(Stamped, tag="level", frozen=True, kw_only=True):
    """Loudness of the last quarter of a second, in dB below full scale; floor -120.

    `clipped`: the share of samples at full scale, 0 to 1.
    """

    rms_dbfs: float
    peak_dbfs: float
    digital_silence: bool
    clipped: float = 0.0


class ChildMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """CPU time and memory of one process; None where the system does not report it."""

    cpu_s: float | None = None
    rss_mb: float | None = None


class Metrics(Stamped, tag="metrics", frozen=True, kw_only=True):
    """Positions on the run's sample clock, and counters, about once a second.

    `sent_s`: sent on the current connection. `backlog_s`: captured but not sent (again). `catch_up_s`: how long sending
    the backlog will take at the configured pace (None without one). `lag_s`: sent but not transcribed. `withheld`: how
    many finals were not published, or not whole, because their words were published before. `last` maps each topic to
    its last `seq`, so that a reader sees when it has missed the last message of a topic. `refused_s`: for how long the
    recogniser, or somebody on the way, has refused the engine. `gated_s`: silence that was not sent. `source_s`: how
    long the file is that is read; None for a source without a known end.
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
    withheld: int = 0
    last: dict[str, int]
    children: dict[str, ChildMetrics]
    uptime_s: float
    refused_s: float = 0.0
    gated_s: float = 0.0
    source_s: float | None = None


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
"""The types of messages whose topic is fleeting."""


def topic_of(name: str, message: Stamped) -> str:
    """The topic under which the engine called `name` publishes `message`."""
    if isinstance(message, Transcript):
        return f"{name}.{FINALS if message.is_final else INTERIMS}"
    return f"{name}.{type(message).__struct_config__.tag}"


# Questions, commands and their answers. `Error` is an answer too.


class StatusQuery(msgspec.Struct, tag_field="type", tag="status", frozen=True):
    """Asks for `StatusAnswer`."""


class SnapshotQuery(msgspec.Struct, tag_field="type", tag="snapshot", frozen=True):
    """Asks for `SnapshotAnswer`: the messages after the one with the `seq` `since`, of topics that begin so.

    Without `topics`, those of all topics.
    """

    since: int = 0
    topics: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET

    @property
    def beginnings(self) -> tuple[str, ...]:
        """`topics`; without them the empty one, with which all begin."""
        return ("",) if self.topics is msgspec.UNSET else self.topics


class Stop(msgspec.Struct, tag_field="type", tag="stop", frozen=True):
    """Stops the engine cleanly: it still transcribes and publishes all captured audio."""


class Pause(msgspec.Struct, tag_field="type", tag="pause", frozen=True):
    """Closes the device until `Resume`."""


class Resume(msgspec.Struct, tag_field="type", tag="resume", frozen=True):
    """Opens the device again."""


class SetUserName(msgspec.Struct, tag_field="type", tag="set_user_name", frozen=True):
    """Sets the speaker's name in transcripts from now on."""

    user_name: UserName


Command = StatusQuery | SnapshotQuery | Stop | Pause | Resume | SetUserName
QUESTIONS = (StatusQuery, SnapshotQuery)
"""These change nothing. All others are commands."""


class Done(msgspec.Struct, tag_field="type", tag="ok", frozen=True):
    """The command was accepted."""


class ChildAnswer(ChildStatus, frozen=True, kw_only=True):
    """One child in a `StatusAnswer`. `up_s`: how long its process has existed. `last_end`: why the last one ended."""

    up_s: float | None = None
    last_end: str = ""
    last_end_ago_s: float | None = None


class StatusAnswer(Status, tag="status", frozen=True, kw_only=True):
    """A `status` with all further facts for one screen.

    `level`: the last one of the open device; None when none has come for 1.5 s. `last_disconnect`: why the last
    connection was lost. `not_running_s`: for how long the state has been another one than `running`, which counts once
    its connection was accepted. `buffer_s`: how much audio the window holds; 0: the engine does not say it.
    """

    children: Mapping[str, ChildAnswer] = {}
    name: str = ""
    pid: int = 0
    mode: str = ""
    publish: str = ""
    query: str = ""
    command: str = ""
    paused: bool = False
    level: Level | None = None
    last_disconnect: str = ""
    last_disconnect_ago_s: float | None = None
    not_running_s: float = 0.0
    buffer_s: float = 0.0
    metrics: Metrics | None = None


class SnapshotAnswer(msgspec.Struct, tag_field="type", tag="snapshot", frozen=True, kw_only=True):
    """The history for a program that comes late or has lost messages: the answer to `SnapshotQuery`.

    `seq`: the engine's last one. `messages`: as they were published, all after `since`, in order of `seq`. `more`: ask
    again after the last of them. `complete` maps each kept topic to a `seq`: all its messages after that one are there.
    `status`: the last one. `interims`: those that have no final yet, at most one of each channel. `interim`: the last
    of them. `status` and `interim` may be null.
    """

    v: int = VERSION
    run: str = ""
    boot: str = ""
    seq: int = 0
    status: msgspec.Raw = NOTHING
    interim: msgspec.Raw = NOTHING
    interims: list[msgspec.Raw] = []
    messages: list[msgspec.Raw] = []
    complete: dict[str, int] = {}
    more: bool = False


class SyncAnswer(msgspec.Struct, tag_field="type", tag="sync", frozen=True, kw_only=True):
    """The answer to a subscription to a sync topic. `seq`: the engine's last one.

    `began`: the last `seq` that an earlier supervisor of this run may have used; 0 in a new run. None: not known.
    """

    run: str = ""
    boot: str = ""
    seq: int = 0
    began: int | None = None


class Stamp(msgspec.Struct, frozen=True):
    """The fields that the bus fills in. `seq` is 0 in a message that did not come from a bus."""

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
read_sync = msgspec.json.Decoder(SyncAnswer).decode
read_answer = msgspec.json.Decoder(SnapshotAnswer).decode
