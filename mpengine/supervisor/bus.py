"""The public side: PUB for results and status, ROUTER for questions. The supervisor's main thread owns both sockets.

A slow subscriber costs nobody else anything: what does not fit its queue is dropped for it alone, and it sees that by
`prev` and `seq`.
"""

import msgspec
import zmq

from mpengine.shared import messages, sockets
from mpengine.shared.config import Secret
from mpengine.shared.errors import ConfigError
from mpengine.shared.messages import Message

_QUEUED_MESSAGES = 10_000
_LINGER_MS = 1000
_SUBSCRIBED = 1


class Bus:
    """Numbers and publishes messages, and hands over commands."""

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
    ) -> None:
        """Raises MpengineError when an endpoint cannot be bound, ConfigError for a key that is none."""
        self._name = name
        self._run, self._boot = run, boot
        self._seq = 0
        self.last: dict[str, int] = {}
        self._publisher = sockets.make(context, zmq.XPUB, send_hwm=_QUEUED_MESSAGES, linger_ms=_LINGER_MS)
        self.queries = sockets.make(context, zmq.ROUTER, linger_ms=_LINGER_MS)
        # Every subscription is wanted, not only the first to a topic: the sync topics answer each of them.
        self._publisher.setsockopt(zmq.XPUB_VERBOSE, 1)
        for socket, endpoint in ((self._publisher, publish), (self.queries, query)):
            if curve_secret_key:
                _encrypt(socket, curve_secret_key)
            sockets.bind(socket, endpoint)
        self._sync_prefix = f"{name}.sync.".encode()

    @property
    def subscriptions(self) -> "zmq.Socket[bytes]":
        """Readable when somebody has subscribed."""
        return self._publisher

    def publish(self, message: Message, time_ns: int) -> None:
        """Number `message` and give it to all subscribers. `time_ns` is UTC."""
        topic = messages.topic_of(self._name, message)
        self._seq += 1
        stamped = msgspec.structs.replace(
            message,
            run=self._run,
            boot=self._boot,
            seq=self._seq,
            prev=self.last.get(topic, 0),
            time_ns=time_ns,
        )
        self.last[topic] = self._seq
        sockets.try_send(self._publisher, [topic.encode(), messages.encode(stamped)])

    def answer_subscriptions(self) -> None:
        """Answer subscriptions to `NAME.sync.TOKEN`: proof that all earlier ones of that socket are live."""
        for parts in sockets.receive_all(self._publisher):
            data = parts[0]
            if data[:1] == bytes([_SUBSCRIBED]) and data[1:].startswith(self._sync_prefix):
                body = msgspec.json.encode({"type": "sync", "run": self._run, "boot": self._boot, "seq": self._seq})
                sockets.try_send(self._publisher, [data[1:], body])

    def reply(self, envelope: list[bytes], body: bytes) -> None:
        """Answer the question that came in `envelope`."""
        sockets.try_send(self.queries, [*envelope, body])

    def close(self) -> None:
        """Close both sockets; what was published last still goes out, within a second."""
        self._publisher.close()
        self.queries.close()


def _encrypt(socket: "zmq.Socket[bytes]", secret: Secret) -> None:
    try:
        key = secret.reveal().encode("ascii")
        socket.setsockopt(zmq.CURVE_SECRETKEY, key)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, zmq.curve_public(key))
    except (zmq.ZMQError, ValueError):
        raise ConfigError("bus.curve_secret_key", "expected a CURVE secret key of 40 characters (Z85)") from None
    socket.setsockopt(zmq.CURVE_SERVER, 1)
