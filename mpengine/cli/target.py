"""The engine that a command means, and how to reach it."""

from typing import NamedTuple

import msgspec

from mpengine.client.ask import ask
from mpengine.client.follow import Since
from mpengine.client.subscriber import Subscriber
from mpengine.shared import messages
from mpengine.shared.errors import EngineUnreachable
from mpengine.shared.messages import UNREADABLE, StatusAnswer

_decoder: msgspec.json.Decoder[StatusAnswer] = msgspec.json.Decoder(StatusAnswer)


class Target(NamedTuple):
    """An engine, as a command's arguments name it. None for an endpoint means the one in the runtime directory."""

    name: str
    publish: str | None = None
    query: str | None = None
    server_key: str | None = None

    @property
    def is_here(self) -> bool:
        """Whether the engine runs on this machine, as far as its endpoint shows."""
        return self.query is None or self.query.startswith("ipc:")

    def subscriber(self, *topics: str, since: Since = None) -> Subscriber:
        """A subscriber to `topics` (default: all) after the position `since` (default: from now on).

        With `publish` alone, without `query`, it cannot ask the engine for earlier or lost messages.
        """
        key, wanted = self.server_key, topics or ("",)
        return Subscriber(self.name, publish=self.publish, query=self.query, topics=wanted, since=since, server_key=key)

    def ask(self, question: messages.Command) -> bytes:
        """The engine's answer, as JSON. Raises EngineUnreachable."""
        return ask(question, name=self.name, query=self.query, server_key=self.server_key)

    def answers(self) -> bool:
        """Whether the engine is there."""
        try:
            self.ask(messages.StatusQuery())
        except EngineUnreachable:
            return False
        return True


def read_status(answer: bytes) -> StatusAnswer:
    """Decode the answer to a status query. Raises EngineUnreachable when it is no such answer."""
    try:
        return _decoder.decode(answer)
    except UNREADABLE:
        raise EngineUnreachable("the endpoint answered, but not as an engine of this version does") from None
