"""The public side: PUB for results and status, ROUTER for questions. The supervisor's main thread owns both sockets.

A slow subscriber costs the others nothing: messages that do not fit its queue are dropped for it alone. It sees that by
`prev` and `seq`, and asks the history. Answers to a client that does not read them are dropped, too.
"""

import time
from collections.abc import Sequence

import msgspec
import zmq

from mpengine.shared import messages, sockets
from mpengine.shared.config_tables import Secret
from mpengine.shared.errors import ConfigError, MpengineError
from mpengine.shared.messages import TOPICS, Message
from mpengine.supervisor.bus.journal import Final, Journal, Note, ToldGap
from mpengine.supervisor.bus.transcript_file import TranscriptFile

# About three minutes of speech. They wait in the supervisor's memory for a subscriber that does not read; the history
# has those that count.
_QUEUED_MESSAGES = 2000
# An answer may be a large page of the history.
_QUEUED_ANSWERS = 16
_LINGER_MS = 1000
_SUBSCRIBED = 1
_QUESTIONS_AT_ONCE = 100
_JOURNAL_FULL = messages.Error(
    source="supervisor",
    code=messages.ErrorCode.JOURNAL_FULL,
    message="the journal cannot be written (disk full): results go on, but a kill of the supervisor may cost one",
)


class Bus:
    """Numbers and publishes messages, and receives questions."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        *,
        name: str,
        publish: str,
        query: str,
        curve_secret_key: Secret,
        run: str,
        boot: str,
        journal: Journal,
        seq: int,
        again: Sequence[Final] = (),
        transcript: TranscriptFile | None = None,
    ) -> None:
        """`seq`: the last one that an earlier supervisor of this run may have used. `again`: its finals to repeat.

        Messages of the run that the `transcript` file lacks are written to it now.

        Raises MpengineError when an endpoint cannot be bound, ConfigError for an invalid key.
        """
        self.run, self.boot = run, boot
        self.publish_endpoint, self.query_endpoint = publish, query
        self._is_journal_full = self._was_journal_full = False
        self.last: dict[str, int] = {}
        self.public_key: str | None = None
        self._name = name
        self._sync_prefix = f"{name}.sync.".encode()
        self._seq = seq
        self._marked = 0
        self._unheard = messages.FLEETING  # most messages are fleeting, and often nobody wants them
        self._again = list(again)
        self._transcript = transcript
        self._journal = journal
        if transcript is not None:
            last = transcript.last.seq if transcript.last.run == run else 0
            for entry in journal.history.entries(last):
                if TOPICS[entry.topic].is_lasting:
                    transcript.write(entry.body)
        self._publisher = sockets.make(context, zmq.XPUB, send_hwm=_QUEUED_MESSAGES, linger_ms=_LINGER_MS)
        self.subscriptions = self._publisher  # readable when there is a new subscription
        self.queries = sockets.make(
            context,
            zmq.ROUTER,
            send_hwm=_QUEUED_ANSWERS,
            linger_ms=_LINGER_MS,
            max_bytes=sockets.MAX_MESSAGE_BYTES,
        )
        # Report every subscription, not only the first to a topic: each one to a sync topic gets an answer.
        self._publisher.setsockopt(zmq.XPUB_VERBOSE, 1)
        try:
            for socket, endpoint in ((self._publisher, publish), (self.queries, query)):
                if curve_secret_key:
                    self.public_key = _encrypt(socket, curve_secret_key)
                sockets.bind(socket, endpoint)
        except MpengineError:
            self.close()
            raise

    def publish(self, message: Message, *, covers: int = 0) -> None:
        """Number `message` and give it to all subscribers, if it `is_heard`.

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
        if isinstance(message, messages.Transcript) and message.is_final:
            self.publish_again()
        kind = topic.partition(".")[2]
        if not TOPICS[kind].is_fleeting:
            self._remember(kind, stamped, body, covers)
        sockets.try_send(self._publisher, [topic.encode(), body])

    def _remember(self, topic: str, message: Message, body: bytes, covers: int) -> None:
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

    def snapshot(self, since: int) -> bytes:
        """One page of the messages after the seq `since` that are still kept, as JSON."""
        history, now = self._journal.history, time.monotonic()
        return messages.encode(history.answer(since, run=self.run, boot=self.boot, seq=self._seq, now=now))

    @property
    def has_to_publish_again(self) -> bool:
        """Whether finals of the supervisor before this one wait to be published again."""
        return bool(self._again)

    def publish_again(self) -> None:
        """Publish the last finals of the supervisor before this one again, with their old `seq`: they may be lost.

        Call it when subscribers had time to connect again, and before newer finals.
        """
        again, self._again = self._again, []
        for final in again:
            transcript = final.transcript()
            if transcript is None:
                continue
            topic = messages.topic_of(self._name, transcript).encode()
            body = messages.encode(msgspec.structs.replace(transcript, boot=self.boot))
            sockets.try_send(self._publisher, [topic, body])

    def mark_published(self) -> None:
        """Note that messages from before the last call have left the socket's queue. Call it about once a second."""
        if self._again:  # these are older, and still wait
            return
        self._journal.published(self._marked)
        self._marked = self._seq

    def keep(self, entry: Final | ToldGap | Note) -> None:
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
        """Answer subscriptions to `NAME.sync.TOKEN`: the proof that all earlier ones of that socket are live."""
        for parts in sockets.receive_all(self._publisher):
            data = parts[0]
            if data[:1] != bytes([_SUBSCRIBED]):
                continue
            topic = data[1:]
            tags = {kind: kind.__struct_config__.tag for kind in self._unheard}
            self._unheard -= {kind for kind, tag in tags.items() if f"{self._name}.{tag}".encode().startswith(topic)}
            if topic.startswith(self._sync_prefix):
                body = msgspec.json.encode({"type": "sync", "run": self.run, "boot": self.boot, "seq": self._seq})
                sockets.try_send(self._publisher, [topic, body])

    def is_heard(self, kind: type[Message]) -> bool:
        """False for fleeting messages that nobody has ever subscribed to: they are not published."""
        return kind not in self._unheard

    def questions(self) -> list[tuple[list[bytes], bytes]]:
        """The questions that wait, each with the envelope for its answer."""
        return [(parts[:-1], parts[-1]) for parts in sockets.receive_all(self.queries, limit=_QUESTIONS_AT_ONCE)]

    def reply(self, envelope: list[bytes], body: bytes) -> None:
        """Answer the question that came in `envelope`."""
        sockets.try_send(self.queries, [*envelope, body])

    def close(self) -> None:
        """Close both sockets. The last messages still go out, within a second."""
        self._publisher.close()
        self.queries.close()


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
