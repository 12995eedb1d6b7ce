"""The engine that a command means, and how to reach it."""

from typing import NamedTuple

import msgspec

from mpengine.client.ask import ask, endpoint_of
from mpengine.client.follow import Since
from mpengine.client.subscriber import Subscriber
from mpengine.shared import messages
from mpengine.shared.errors import ConfigError, EngineUnreachable, MpengineError
from mpengine.shared.messages import UNREADABLE, StatusAnswer
from mpengine.shared.secret import read_secret

_decoder: msgspec.json.Decoder[StatusAnswer] = msgspec.json.Decoder(StatusAnswer)
_refusals: msgspec.json.Decoder[messages.Error] = msgspec.json.Decoder(messages.Error)
_EVERY_ADDRESS = {"*", "0.0.0.0", "[::]"}  # noqa: S104  nothing is bound here


class Target(NamedTuple):
    """An engine, as a command's arguments name it. None for an endpoint means the one in the runtime directory."""

    name: str
    publish: str | None = None
    query: str | None = None
    server_key: str | None = None
    command: str | None = None
    client_key: str | None = None

    @property
    def is_here(self) -> bool:
        """Whether the engine runs on this machine, as far as its endpoint shows."""
        return self.query is None or self.query.startswith("ipc:")

    def subscriber(self, *topics: str, since: Since = None) -> Subscriber:
        """A subscriber to `topics` (default: all) after the position `since` (default: from now on).

        With `publish` alone, without `query`, it cannot ask the engine for earlier or lost messages.
        """
        return Subscriber(
            self.name,
            publish=self.publish,
            query=self.query,
            topics=topics or ("",),
            since=since,
            server_key=self.server_key,
            client_key=self.client_key,
        )

    def ask(self, question: messages.Command) -> bytes:
        """The engine's answer, as JSON. Raises EngineUnreachable."""
        return ask(
            question,
            name=self.name,
            query=self.query,
            command=self.command,
            server_key=self.server_key,
            client_key=self.client_key,
        )

    def tell(self, command: messages.Command) -> None:
        """Give the engine a command. Raises EngineUnreachable, and MpengineError with the engine's words if it refuses.

        Where `command` is not set, the engine says where it takes commands.
        """
        target = self
        if self.command is None:
            said = read_status(self.ask(messages.StatusQuery())).command
            if not said:  # an engine of an earlier version
                target = self._replace(command=endpoint_of(self.query, self.name, "query"))
            elif self.query is not None or said.startswith("tcp:"):
                target = self._replace(command=reachable(said, self.query))
        answer = target.ask(command)
        try:
            refusal = _refusals.decode(answer)
        except UNREADABLE:
            return
        raise MpengineError(refusal.message)

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


def reachable(endpoint: str, query: str | None) -> str:
    """Where to connect to when the engine binds `endpoint`: for "every address", with the host of `query`."""
    scheme, _, address = endpoint.partition("://")
    host, _, port = address.rpartition(":")
    if scheme != "tcp" or host not in _EVERY_ADDRESS:
        return endpoint
    known = query if query is not None and query.startswith("tcp://") else "tcp://127.0.0.1:"
    return f"{known.rpartition(':')[0]}:{port}"


def read_key(path: str) -> str:
    """The secret CURVE key in the file at `path`. Raises ConfigError."""
    try:
        return read_secret(path)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError("client_key", f"cannot read {path}: {why}") from None
