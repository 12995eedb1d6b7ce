"""The sockets to one engine, driven by a Follower.

The engine answers each subscription to a sync topic. The one with number 0 stays subscribed: libzmq subscribes again at
every reconnect, so that the answer shows every reconnect. The others are subscribed one at a time: the answer proves
that all earlier subscriptions are live.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import zmq

from mpengine.client.ask import connect
from mpengine.client.follow import Action, Ask, Follower, Since, Sync
from mpengine.client.position import HOLE, Deliver, Received, Report, loss
from mpengine.shared import messages, sockets
from mpengine.shared.deciding import NEVER
from mpengine.shared.errors import MpengineError
from mpengine.shared.messages import KEPT, UNREADABLE, SnapshotAnswer, SyncAnswer, read_answer, read_sync

# The most messages that one look takes from a socket.
_AT_ONCE = 100
# A peer on another machine may vanish silently. After this limit the connection is made again.
_HEARTBEAT_MS, _HEARTBEAT_LIMIT_MS = 5000, 15_000
# So often an engine that is known by its name is looked for: it may be started again with other endpoints.
_FIND_S = 2.0


class Endpoints(NamedTuple):
    """The endpoints of an engine. Without `query` the engine is not asked."""

    publish: str
    query: str | None
    server_key: str | None = None
    client_key: str | None = None


class Feed:
    """Follows the engine called `name`, and hands over its messages and holes."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        name: str,
        endpoints: Endpoints,
        *,
        find_again: Callable[[], Endpoints | None] | None = None,
        topics: tuple[str, ...],
        since: Since,
        queued_messages: int,
    ) -> None:
        """`find_again` says where the engine is by now, None if that is unknown. Without it, that never changes.

        Raises ConfigError for an invalid endpoint or key.
        """
        self.name = name
        self._context, self._endpoints, self._queued_messages = context, endpoints, queued_messages
        self._find_again = find_again
        self._find_at = NEVER if find_again is None else 0.0
        self._follower = Follower(
            wants=lambda topic: topic.startswith(topics), since=since, can_ask=endpoints.query is not None
        )
        self._sync_prefix = f"{name}.sync.{os.urandom(8).hex()}."
        self._syncs = 0
        self.is_live = False
        """Whether the engine has confirmed the subscriptions: all that it publishes after that comes."""
        kept = tuple(topic for topic in KEPT if topic.startswith(topics))
        self._kept_topics = msgspec.UNSET if kept == KEPT else kept
        self._topics = dict.fromkeys([*topics, *(["metrics"] if self._follower.asks else [])])
        self._results, self._questions = self._connected(endpoints)

    def _connected(self, endpoints: Endpoints) -> "tuple[zmq.Socket[bytes], zmq.Socket[bytes] | None]":
        """Sockets that are connected to `endpoints`, the first one with all subscriptions. Raises ConfigError."""
        publish, query, server_key, client_key = endpoints
        results = sockets.make(self._context, zmq.SUB, receive_hwm=self._queued_messages)
        if publish.startswith("tcp:"):
            results.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
            results.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_LIMIT_MS)
        for topic in self._topics:
            results.setsockopt(zmq.SUBSCRIBE, f"{self.name}.{topic}".encode())
        questions = None
        if self._follower.asks and query is not None:
            for number in sorted({0, self._syncs}):
                results.setsockopt(zmq.SUBSCRIBE, f"{self._sync_prefix}{number}".encode())
            questions = sockets.make(self._context, zmq.DEALER)
        try:
            if questions is not None and query is not None:
                connect(questions, query, "bus.query", server_key, client_key)
            connect(results, publish, "bus.publish", server_key, client_key)
        except MpengineError:
            for socket in filter(None, (results, questions)):
                socket.close()
            raise
        return results, questions

    def _look_for_it(self, find_again: Callable[[], Endpoints | None]) -> None:
        """Connect anew if the engine is elsewhere by now. What it has published meanwhile is asked for, as ever."""
        endpoints = find_again()
        if endpoints is None or endpoints == self._endpoints:
            return
        try:
            others = self._connected(endpoints)
        except MpengineError:  # no such endpoints can be: they may be mended, and nothing changes until then
            return
        for socket in self.sockets:
            socket.close()
        self._endpoints, self.is_live = endpoints, False
        self._results, self._questions = others

    @property
    def sockets(self) -> "list[zmq.Socket[bytes]]":
        """The sockets to wait for. A descriptor announces only messages that came after its socket was found empty."""
        return [self._results, *([self._questions] if self._questions is not None else [])]

    @property
    def deadline(self) -> float:
        """The time of the next `take` if no message comes before, on the clock of `take`."""
        return min(self._follower.deadline, self._find_at)

    def take(self, now: float) -> list[Received]:
        """The messages that are there. If this is empty, both sockets were empty when it returned."""
        received: list[Received] = []
        is_empty = False
        while not (received or is_empty):
            published = sockets.receive_all(self._results, limit=_AT_ONCE)
            answers = sockets.receive_all(self._questions, limit=_AT_ONCE) if self._questions is not None else []
            for parts in published:
                self._perform(self._published(parts), received)
            for parts in answers:
                self._perform(self._answered(parts), received)
            if not (published or answers):
                if self._find_again is not None and now >= self._find_at:
                    self._find_at = now + _FIND_S
                    self._look_for_it(self._find_again)
                actions = self._follower.tick(now)
                self._perform(actions, received)
                is_empty = not actions
        return received

    def _published(self, parts: list[bytes]) -> list[Action]:
        topic = parts[0].decode(errors="replace")
        if len(parts) != 2:
            return []
        if topic.startswith(self._sync_prefix):
            self.is_live = True
            number, answer = int(topic.removeprefix(self._sync_prefix)), _sync(parts[1])
            return self._follower.synced(number, answer.run, answer.boot, answer.seq, answer.began)
        topic = topic.partition(".")[2]
        # Engines up to 0.2 send us the answers to the sync subscriptions of others, too. No engine publishes holes.
        return [] if topic.startswith("sync.") or topic == HOLE else self._follower.heard(topic, parts[1])

    def _answered(self, parts: list[bytes]) -> list[Action]:
        try:
            number = int(parts[0])
        except ValueError:
            return []
        return self._follower.answered(number, _answer(parts[-1]))

    def _perform(self, actions: list[Action], received: list[Received]) -> None:
        for action in actions:
            match action:
                case Deliver(topic=topic, body=body):
                    received.append(Received(self.name, topic, body))
                case Report(hole=hole):
                    received.append(loss(self.name, hole))
                case Sync(number=number):
                    if self._syncs:
                        self._results.setsockopt(zmq.UNSUBSCRIBE, f"{self._sync_prefix}{self._syncs}".encode())
                    self._results.setsockopt(zmq.SUBSCRIBE, f"{self._sync_prefix}{number}".encode())
                    self._syncs = number
                case Ask(number=number, since=since) if self._questions is not None:
                    # The number comes back in the answer's envelope.
                    question = messages.encode(messages.SnapshotQuery(since, self._kept_topics))
                    sockets.try_send(self._questions, [str(number).encode(), question])


def _sync(body: bytes) -> SyncAnswer:
    try:
        return read_sync(body)
    except UNREADABLE:
        return SyncAnswer()


def _answer(body: bytes) -> SnapshotAnswer | None:
    """The snapshot in `body`; None for an error, as from an engine that knows no snapshots."""
    try:
        return read_answer(body)
    except UNREADABLE:
        return None
