"""The public side: XPUB for results and status, ROUTERs for questions and for commands.

The supervisor's main thread owns all sockets.

The bus is closed at first: messages are numbered and kept, but held back, so that programs which waited for this engine
can connect. The status alone goes out, since who subscribes later is answered with the last one.

A slow subscriber costs the others nothing: messages that do not fit its queue are dropped for it alone. It sees that by
`prev` and `seq`, and asks the history. Answers to a client that does not read them are dropped, too.
"""

import contextlib
import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import zmq

from mpengine.shared import doorkeeper, messages, sockets
from mpengine.shared.config_tables import Secret
from mpengine.shared.deciding import NEVER
from mpengine.shared.doorkeeper import Doorkeeper
from mpengine.shared.errors import ConfigError, MpengineError
from mpengine.shared.logs import Event
from mpengine.shared.messages import INTERIMS, OVER, TOPICS, Stamped
from mpengine.supervisor.bus.journal import Final, Journal, Note, OpenDevice, ToldGap, stamp_of
from mpengine.supervisor.bus.topics import Topics, Verdict
from mpengine.supervisor.bus.transcript_file import TranscriptFile
from mpengine.supervisor.bus.unread import LOOK_BYTES, Unread

log = logging.getLogger("mpengine.supervisor")

# About three minutes of speech. They wait in the supervisor's memory for a subscriber that does not read; the history
# has those that count.
_QUEUED_MESSAGES = 2000
# An answer may be a large page of the history.
_QUEUED_ANSWERS = 16
# What waits in libzmq before a turn takes it, for each peer.
_QUEUED_SUBSCRIPTIONS, _QUEUED_QUESTIONS = 100, 16
# Of a subscription libzmq drops the connection only beyond this: CURVE's own messages need some 300 bytes.
_SUBSCRIPTION_FRAME_BYTES = 1024
_QUESTION_BYTES = 4096
# An envelope of REQ and of a DEALER, and of one relay between.
_MOST_PARTS = 4
_LINGER_MS = 1000
_QUESTIONS_AT_ONCE = 100
# The first byte of a message on an XPUB socket; the rest is the topic (zmq_socket(3)).
_SUBSCRIBED, _UNSUBSCRIBED = b"\x01", b"\x00"
# Each one costs some 20 µs: a peer that makes many of them must not stop the loop.
_SUBSCRIPTIONS_AT_ONCE = 50
# Of one peer. `Subscriber` has a topic for each kind of message, and two to sync.
_MOST_TOPICS, _LONGEST_TOPIC = 64, 256
_MOST_TOLD = 100
# A closed bus holds back so much, of an unpaced file for example. With more it opens early.
_MOST_HELD_BYTES = 1 << 20
# An open interim is repeated so often at most, and only at this age: a younger one is likely to be replaced soon.
_REPEAT_S, _REPEATED_AGE_S = 0.25, 0.3
_JOURNAL_FULL = messages.Error(
    source="supervisor",
    code=messages.ErrorCode.JOURNAL_FULL,
    message="the journal cannot be written (disk full): results go on, but a kill of the supervisor may cost one",
)


class Question(NamedTuple):
    """A question or a command. `envelope`: for its answer, on `socket`. `may_command`: whether a command is obeyed."""

    envelope: list[bytes]
    body: bytes
    socket: "zmq.Socket[bytes]"
    may_command: bool


class Bus:
    """Numbers and publishes messages, and receives questions."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        *,
        name: str,
        publish: str,
        query: str,
        command: str,
        takes_commands_by_query: bool = True,
        curve_secret_key: Secret,
        run: str,
        boot: str,
        journal: Journal,
        seq: int,
        again: Sequence[Final] = (),
        transcript: TranscriptFile | None = None,
        doors: Doorkeeper | None = None,
        clients: int = 128,
    ) -> None:
        """`seq`: the last one that an earlier supervisor of this run may have used.

        `again`: finals of that supervisor which perhaps did not go out; they are published again, with their old `seq`.
        Messages of the run that the `transcript` file lacks are written to it now.

        `doors` lets so many `clients` connect to each socket. Without it nobody counts them.

        Raises MpengineError when an endpoint cannot be bound, ConfigError for an invalid key.
        """
        self.run, self.boot = run, boot
        self.publish_endpoint, self.query_endpoint, self.command_endpoint = publish, query, command
        self._takes_commands_by_query = takes_commands_by_query
        self._is_journal_full = self._was_journal_full = False
        self.last: dict[str, int] = {}
        self.public_key: str | None = None
        self.joined_at = NEVER
        """When somebody first subscribed, in monotonic time."""
        self._name = name
        self._sync_prefix = f"{name}.sync.".encode()
        self._status_topic, self._interim_topic = f"{name}.status".encode(), f"{name}.{INTERIMS}".encode()
        self._status: Sequence[bytes] | None = None  # the last one that went out
        self._seq = self._began = seq
        self._marked = 0
        self._lasting = 0  # the last message for the transcript file
        self._unheard = messages.FLEETING  # most messages are fleeting, and often nobody wants them
        finals = (final.transcript() for final in again)  # None: another version wrote it
        repeated = (msgspec.structs.replace(final, boot=boot) for final in finals if final is not None)
        self._held: list[list[bytes]] | None = [  # None: the bus is open
            [messages.topic_of(name, final).encode(), messages.encode(final)] for final in repeated
        ]
        self._held_bytes = sum(len(body) for _, body in self._held)
        self._repeat_at = NEVER
        self._repeated_at = 0.0
        self._joined_seq = 0  # the last message before the last subscription to interims
        self._is_shifted = False
        self._transcript = transcript
        self._journal = journal
        if transcript is not None:
            # Of a file that was renamed or removed, the journal knows how far it went.
            last = transcript.last.seq if transcript.last.run == run else journal.transcribed
            for entry in journal.history.entries(last):
                if TOPICS[entry.topic].is_lasting:
                    transcript.write(entry.body)
        self._publisher = sockets.make(
            context,
            zmq.XPUB,
            send_hwm=_QUEUED_MESSAGES,
            receive_hwm=_QUEUED_SUBSCRIPTIONS,
            linger_ms=_LINGER_MS,
            max_bytes=_SUBSCRIPTION_FRAME_BYTES,
        )
        self.subscriptions = self._publisher  # readable when there is a new subscription
        self.queries, self.commands = (
            sockets.make(
                context,
                zmq.ROUTER,
                send_hwm=_QUEUED_ANSWERS,
                receive_hwm=_QUEUED_QUESTIONS,
                linger_ms=_LINGER_MS,
                max_bytes=_QUESTION_BYTES,
            )
            for _ in range(2)
        )
        self._told: set[tuple[str, str, str]] = set()
        self._topics = Topics(most=_MOST_TOPICS, longest=_LONGEST_TOPIC)
        self._published_bytes = self._answered_bytes = 0  # since the last look
        self._published_unread = Unread(self._publisher, doors)
        self._answers_unread = {socket: Unread(socket, doors) for socket in (self.queries, self.commands)}
        # Subscriptions are ours to take, so that an answer can go to the subscriber alone.
        self._publisher.setsockopt(zmq.XPUB_MANUAL, 1)
        try:
            for socket, endpoint in ((self._publisher, publish), (self.queries, query), (self.commands, command)):
                self._open(socket, endpoint, curve_secret_key, doors, clients)
        except MpengineError:
            self.close()
            raise

    def _open(
        self,
        socket: "zmq.Socket[bytes]",
        endpoint: str,
        curve_secret_key: Secret,
        doors: Doorkeeper | None,
        clients: int,
    ) -> None:
        if curve_secret_key:
            self.public_key = _encrypt(socket, curve_secret_key)
        sockets.make_public(socket)
        if doors is not None:
            doors.watch(socket, endpoint, clients)
        sockets.bind(socket, endpoint)

    def publish(self, message: Stamped, *, covers: int = 0) -> None:
        """Number `message` and give it to all subscribers, if it `is_heard`. A closed bus holds it back.

        A final goes into the journal first. All samples before `covers` have their finals then.
        """
        if type(message) in self._unheard:
            return
        topic = messages.topic_of(self._name, message)
        self._seq += 1
        self._journal.reserve(self._seq)
        stamped = msgspec.structs.replace(
            message,
            run=self.run,
            boot=self.boot,
            seq=self._seq,
            prev=self.last.get(topic, 0),
            time_ns=time.time_ns(),
        )
        self.last[topic] = self._seq
        body = messages.encode(stamped)
        kind = topic.partition(".")[2]
        if not TOPICS[kind].is_fleeting:
            self._remember(kind, stamped, body, covers)
        parts = [topic.encode(), body]
        if self._held is None or (isinstance(message, messages.Status) and message.state not in OVER):
            self._send(parts)
            return
        self._held.append(parts)
        self._held_bytes += len(body)
        if self._held_bytes > _MOST_HELD_BYTES:
            log.warning(Event("published_early", reason="too much to hold it back until all subscribers are there"))
            self.open()

    @property
    def is_open(self) -> bool:
        """Whether messages go out as they are made."""
        return self._held is None

    def open(self) -> None:
        """Publish what was held back, in order. From now on messages go out as they are made."""
        held, self._held = self._held or [], None
        for parts in held:
            self._send(parts)

    def _send(self, parts: list[bytes]) -> None:
        """Give a message to all subscribers now."""
        if parts[0] == self._status_topic:
            self._status = parts
        sockets.try_send(self._publisher, parts)
        self._published_bytes += len(parts[1])
        if self._published_bytes >= LOOK_BYTES:
            self._published_bytes = 0
            self._published_unread.look()

    def _remember(self, topic: str, message: Stamped, body: bytes, covers: int) -> None:
        """Keep `message` for late subscribers, and for a supervisor that may have to go on after this one."""
        history = self._journal.history
        if isinstance(message, messages.Transcript):
            is_open = bool(message.text) and not (message.is_final or message.interrupted)
            history.interim(message.channel, body if is_open else None)
        history.add(topic, message.seq, message.prev, body, time.monotonic())
        if isinstance(message, messages.Transcript) and message.is_final:
            self.keep(Final(message.seq, body, covers))
        elif TOPICS[topic].is_kept:
            self.keep(Note(topic, body))
        if TOPICS[topic].is_lasting and self._transcript is not None:
            self._transcript.write(body)
            self._lasting = message.seq

    def snapshot(self, since: int, topics: tuple[str, ...] = ("",)) -> bytes:
        """One page of the messages after the seq `since` that are still kept, of topics that begin so, as JSON."""
        history, now = self._journal.history, time.monotonic()
        answer = history.answer(since, topics, run=self.run, boot=self.boot, seq=self._seq, now=now)
        return messages.encode(answer)

    def mark_published(self) -> None:
        """Note that messages from before the last call have left the socket's queue. Call it about once a second."""
        if self._held is not None:
            return
        self._journal.published(self._marked)
        self._marked = self._seq
        if self._transcript is not None and self._transcript.all_written():
            self._journal.has_transcribed(self._lasting)

    def keep(self, entry: Final | ToldGap | Note | OpenDevice) -> None:
        """Put `entry` into the journal. On a full disk, `notices` has an error."""
        try:
            self._journal.append(entry)
            self._is_journal_full = False
        except OSError:
            self._is_journal_full = True

    def notices(self) -> list[messages.Error]:
        """The errors of the run's journal and of the transcript file since the last call, to be published."""
        notices = [] if self._transcript is None else self._transcript.notices()
        if self._is_journal_full and not self._was_journal_full:
            notices.append(_JOURNAL_FULL)
        self._was_journal_full = self._is_journal_full
        return notices

    def answer_subscriptions(self) -> None:
        """Take subscriptions and their ends, a bounded number at once, and answer those that have an answer.

        One that takes in the status is answered with the last one. One to `NAME.sync.TOKEN` is answered as well: that
        proves that all earlier ones of its socket are live.
        """
        for _ in range(_SUBSCRIPTIONS_AT_ONCE):
            if not sockets.is_readable(self._publisher):
                self._is_shifted = False
                return
            frame = self._publisher.recv(zmq.NOBLOCK, copy=False)
            kind, topic = frame.bytes[:1], frame.bytes[1:]
            # A message that is no subscription makes libzmq (4.3.5) take each one that waits after it for the next
            # peer's. These peers have to connect again.
            self._is_shifted |= kind not in {_SUBSCRIBED, _UNSUBSCRIBED}
            if self._is_shifted:
                self._disconnect(frame, "it, or one at the same moment, sent more than subscriptions")
            elif kind == _SUBSCRIBED:
                self._take(topic, frame)
            else:
                self._topics.ended(_peer_of(frame), topic)
                with contextlib.suppress(zmq.ZMQError):  # the connection has ended, or the topic was not taken
                    self._publisher.setsockopt(zmq.UNSUBSCRIBE, topic)

    def _take(self, topic: bytes, frame: zmq.Frame) -> None:
        """Take a subscription, if its peer may have it."""
        peer = _peer_of(frame)
        match self._topics.wanted(peer, topic):
            case Verdict.TAKEN:
                self._subscribed(topic)
            case Verdict.TOO_LONG:
                self._tell("subscription_refused", f"longer than {_LONGEST_TOPIC} bytes", _who(frame))
            case Verdict.TOO_MANY:
                self._disconnect(frame, f"more than {_MOST_TOPICS} subscriptions")

    def _disconnect(self, frame: zmq.Frame, why: str) -> None:
        """End the connection by which `frame` came, if it is still there."""
        fd, inode = _peer_of(frame)
        if inode:
            who = _who(frame)
            self._tell("subscriber_disconnected", why, who)
            doorkeeper.end_connection(fd, inode, pid=sockets.pid_of(who))

    def _tell(self, event: str, why: str, peer: str) -> None:
        """Log it, once for each peer."""
        told = (event, why, peer)
        if told not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(told)
            log.warning(Event(event, reason=why, peer=peer))

    def _subscribed(self, topic: bytes) -> None:
        self._publisher.setsockopt(zmq.SUBSCRIBE, topic)
        self.joined_at = min(self.joined_at, time.monotonic())
        tags = {kind: kind.__struct_config__.tag for kind in self._unheard}
        self._unheard -= {kind for kind, tag in tags.items() if f"{self._name}.{tag}".encode().startswith(topic)}
        if self._status_topic.startswith(topic) and self._status is not None:
            self._answer(self._status)
        elif topic.startswith(self._sync_prefix):
            answer = messages.SyncAnswer(run=self.run, boot=self.boot, seq=self._seq, began=self._began)
            self._answer([topic, messages.encode(answer)])
        if self._interim_topic.startswith(topic):
            self._joined_seq = self._seq
            self._repeat_at = min(self._repeat_at, self._repeated_at + _REPEAT_S)

    def _answer(self, parts: Sequence[bytes]) -> None:
        """Send a message to the subscriber whose subscription was taken last.

        With XPUB_MANUAL_LAST_VALUE libzmq sends the next message to that peer alone, whatever the message is: so the
        option is set for this one message. To unset it unsets XPUB_MANUAL, too. Where another connection ends at this
        very moment, libzmq forgets the peer, and all who have subscribed get the message.
        """
        self._publisher.setsockopt(zmq.XPUB_MANUAL_LAST_VALUE, 1)
        sockets.try_send(self._publisher, parts)
        self._publisher.setsockopt(zmq.XPUB_MANUAL_LAST_VALUE, 0)
        self._publisher.setsockopt(zmq.XPUB_MANUAL, 1)

    @property
    def deadline(self) -> float:
        """The time of the next `repeat_interims`, in monotonic time."""
        return NEVER if self._held is not None else self._repeat_at

    def repeat_interims(self, now: float) -> None:
        """Publish the open interims again, with their old `seq`, if somebody has subscribed to them since.

        An interim replaces itself, so that a repetition harms nobody.
        """
        if now < self.deadline:
            return
        wait_s = NEVER
        for body in map(bytes, self._journal.history.interims):
            stamp = stamp_of(body)
            if stamp.seq > self._joined_seq:  # all have heard it
                continue
            age_s = max(0.0, (time.time_ns() - stamp.time_ns) / 1e9)  # a clock may be set back
            if age_s < _REPEATED_AGE_S:
                wait_s = min(wait_s, max(_REPEATED_AGE_S - age_s, _REPEAT_S))
            else:
                self._repeated_at = now
                self._send([self._interim_topic, body])
        self._repeat_at = now + wait_s

    def is_heard(self, kind: type[Stamped]) -> bool:
        """False for fleeting messages that nobody has ever subscribed to: they are not published."""
        return kind not in self._unheard

    @property
    def sources(self) -> "list[zmq.Socket[bytes]]":
        """The sockets to wait for. When one is readable, call `answer_subscriptions` and `questions`."""
        return [self.queries, self.commands, self.subscriptions]

    def questions(self) -> list[Question]:
        """The questions and commands that wait."""
        return [
            Question(parts[:-1], parts[-1], socket, may_command)
            for socket, may_command in ((self.commands, True), (self.queries, self._takes_commands_by_query))
            for parts in sockets.receive_all(socket, limit=_QUESTIONS_AT_ONCE, most_parts=_MOST_PARTS)
            if parts
        ]

    def reply(self, question: Question, body: bytes) -> None:
        """Answer `question`."""
        sockets.try_send(question.socket, [*question.envelope, body])
        self._answered_bytes += len(body)
        if self._answered_bytes >= LOOK_BYTES:
            self._answered_bytes = 0
            self._answers_unread[question.socket].look()

    def close(self) -> None:
        """Close all sockets. The last messages still go out, within a second."""
        self._publisher.close()
        self.queries.close()
        self.commands.close()


def _peer_of(frame: zmq.Frame) -> tuple[int, int]:
    """The descriptor of the connection by which `frame` came, and what tells it from later ones; 0 if it has ended.

    Many frames of a connection that has ended may still wait, and another process's connection may have its descriptor.
    """
    try:
        fd = int(frame.get("__fd"))
    except (zmq.ZMQError, TypeError, ValueError):  # an end that libzmq itself tells has none
        return -1, 0
    return fd, doorkeeper.connection_of(fd, sockets.pid_of(_who(frame)))


def _who(frame: zmq.Frame) -> str:
    """The peer that sent `frame`, for the log: of an ipc endpoint, its uid, gid and pid."""
    try:
        return str(frame.get("Peer-Address"))
    except zmq.ZMQError:
        return "unknown"


def _encrypt(socket: "zmq.Socket[bytes]", secret: Secret) -> str:
    """Let in only clients that know the public key, which is returned."""
    try:
        key = secret.reveal().encode("ascii")
        public = zmq.curve_public(key)
        socket.setsockopt(zmq.CURVE_SECRETKEY, key)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
    except (zmq.ZMQError, ValueError):
        raise ConfigError("bus.curve_secret_key", "expected a CURVE secret key of 40 characters (Z85)") from None
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    return public.decode("ascii")
