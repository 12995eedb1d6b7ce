"""A subscriber as any other program would write it: plain pyzmq and JSON."""

import json
import secrets
import time
from collections.abc import Callable
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from tests.rig.waiting import PATIENCE_S, scaled

Message = dict[str, Any]


class Listener:
    """All that the engine `name` publishes, from the moment `sync()` has returned.

    It may be made before the engine runs, and it survives the engine's restarts. No thread: messages queue up
    in the socket (without a limit) and are taken out by the methods here."""

    def __init__(self, context: zmq.Context[Any], endpoint: str, name: str, trouble: Callable[[], str] = str) -> None:
        self.name, self._trouble = name, trouble
        self.received: list[Message] = []
        self._socket = context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 10)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 100)
        self._synced: set[str] = set()
        self._status: Any = None  # of the last status: boot and seq
        self._socket.subscribe(f"{name}.")
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._connections = 0
        self._socket.connect(endpoint)

    def hear_out(self, timeout: float = PATIENCE_S) -> None:
        """Return when nothing more can come of an engine that has ended: its connection is read to its end."""
        deadline = time.monotonic() + scaled(timeout)
        while self._monitor.poll(0) or self._connections:
            rest_s = max(0.0, deadline - time.monotonic())
            assert self._monitor.poll(int(rest_s * 1000)), "the connection of an engine stays"
            has_come = recv_monitor_message(self._monitor)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self._connections = max(0, self._connections + (1 if has_come else -1))  # some break before they are made

    def sync(self, timeout: float = PATIENCE_S) -> None:
        """Return when the subscription is live: nothing published from now on is missed."""
        token = f"{self.name}.sync.{secrets.token_hex(8)}"
        self._socket.subscribe(token)
        deadline = time.monotonic() + scaled(timeout)
        while token not in self._synced:
            self._receive(deadline, "the engine's answer to a sync subscription")
        self._socket.unsubscribe(token)

    @property
    def messages(self) -> list[Message]:
        """Every message so far, in the order of arrival."""
        while self._socket.poll(0):
            self._take()
        return self.received

    def wait_for(self, predicate: Callable[[Message], Any], timeout: float = PATIENCE_S, what: str = "") -> Message:
        """The first message, old or new, for which `predicate` is true."""
        deadline = time.monotonic() + scaled(timeout)
        seen = 0
        while True:
            for message in self.messages[seen:]:
                seen += 1
                if predicate(message):
                    return message
            self._receive(deadline, what or "a message")

    def wait_until(self, condition: Callable[[list[Message]], Any], timeout: float = PATIENCE_S, what: str = "") -> Any:
        """Wait until `condition(all messages)` is true; returns its answer."""
        deadline = time.monotonic() + scaled(timeout)
        while not (answer := condition(self.messages)):
            self._receive(deadline, what or "messages")
        return answer

    def wait_for_state(self, state: str, timeout: float = PATIENCE_S, since: int = 0) -> Message:
        """The first `status` with that state, among the messages from index `since` on."""
        found: Message = self.wait_until(
            lambda all_: next((m for m in all_[since:] if m["type"] == "status" and m["state"] == state), None),
            timeout,
            f"state {state}",
        )
        return found

    def of_type(self, kind: str) -> list[Message]:
        """The messages of one type so far."""
        return [message for message in self.messages if message["type"] == kind]

    def finals(self) -> list[Message]:
        """The final transcripts so far."""
        return [message for message in self.of_type("transcript") if message["is_final"]]

    def close(self) -> None:
        """Close the socket, perhaps once more; what was received stays."""
        if not self._socket.closed:
            self._socket.disable_monitor()
            self._monitor.close()
            self._socket.close()

    def _receive(self, deadline: float, what: str) -> None:
        """Take one more message; in vain when the deadline is past, or when whoever sends has ended."""
        trouble = ""
        while not (trouble or time.monotonic() > deadline):
            trouble = self._trouble()  # asked before the last look, so that last words are heard
            if self._socket.poll(100):
                return self._take()
        raise AssertionError(f"waited in vain for {what}; {trouble or 'time is up'}; {self.describe()}")

    def _take(self) -> None:
        topic, *body = self._socket.recv_multipart()
        if topic.startswith(f"{self.name}.sync.".encode()):
            self._synced.add(topic.decode())  # somebody else's answers pass here too
            return
        assert len(body) == 1, f"{len(body) + 1} parts under {topic!r}"
        message = json.loads(body[0])
        key = (message.get("boot"), message.get("seq"))
        if message.get("type") == "status" and key == self._status:
            return  # the last status answers new subscriptions, and may come again
        self._status = key if message.get("type") == "status" else self._status
        self.received.append(message)

    def describe(self) -> str:
        """What came last, for a failure's message."""
        kept = [m for m in self.received if m.get("type") not in ("level", "metrics")]
        return f"{len(self.received)} messages, the last that count: {kept[-5:]}"
