"""Which engine a command means, and the ways to it."""

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
    """An engine, as a command's arguments name it. An endpoint that is None is the one in the runtime directory."""

    name: str
    publish: str | None = None
    query: str | None = None
    server_key: str | None = None

    @property
    def is_here(self) -> bool:
        """Whether the engine runs on this machine, so far as one can tell from its endpoint."""
        return self.query is None or self.query.startswith("ipc:")

    def subscriber(self, *topics: str, since: Since = None) -> Subscriber:
        """Follows the engine's results from there on, by default from now; all of them if no topic is given.

        With `publish` alone it is not asked for what was before, or was lost.
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
    """The answer to a status query. Raises EngineUnreachable when it is not what an engine says."""
    try:
        return _decoder.decode(answer)
    except UNREADABLE:
        raise EngineUnreachable("what answers there is no engine, or one of another version") from None
