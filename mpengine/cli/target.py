"""The engine that a command means, and how to reach it."""

import os
import time
from collections.abc import Callable
from typing import NamedTuple, Self

import msgspec
import zmq

from mpengine.client.ask import ask
from mpengine.client.finding import find, found_at, is_noted, reachable, require_name
from mpengine.client.follow import Since
from mpengine.client.subscriber import Subscriber
from mpengine.shared import messages
from mpengine.shared.config import Config
from mpengine.shared.config_tables import BusConfig, Secret
from mpengine.shared.errors import ConfigError, EngineUnreachable, MpengineError
from mpengine.shared.messages import UNREADABLE, StatusAnswer

# So often an engine is asked whether it has done as it was told.
_LOOK_S = 0.1
_decoder: msgspec.json.Decoder[StatusAnswer] = msgspec.json.Decoder(StatusAnswer)
_refusals: msgspec.json.Decoder[messages.Error] = msgspec.json.Decoder(messages.Error)


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

    def ask(self, question: messages.Command, *, timeout_s: float = 3.0) -> bytes:
        """The engine's answer, as JSON. Raises EngineUnreachable when none comes within `timeout_s`."""
        return ask(
            question,
            name=self.name,
            query=self.query,
            command=self.command,
            server_key=self.server_key,
            client_key=self.client_key,
            timeout_s=timeout_s,
        )

    def tell(self, command: messages.Command) -> None:
        """Give the engine a command. Raises EngineUnreachable, and MpengineError with the engine's words if it refuses.

        Where `command` is not set, the engine says where it takes commands.
        """
        target = self if self.command is not None else self.as_said(read_status(self.ask(messages.StatusQuery())))
        answer = target.ask(command)
        try:
            refusal = _refusals.decode(answer)
        except UNREADABLE:
            return
        raise MpengineError(refusal.message)

    def as_said(self, status: StatusAnswer) -> Self:
        """The same engine at all of the endpoints that it says itself, as they are reached from here."""
        query, key = self.query, self.server_key
        if query is None:
            found = find(self.name)
            query, key = found.query, key or found.server_key
        said = status.command
        # An engine of an earlier version says no such endpoint: it takes commands where it takes questions.
        command = reachable(said, self.query) if said else query
        publish = reachable(status.publish, self.query)
        return self._replace(publish=publish, query=query, command=command, server_key=key)

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


def wait_for_status(target: Target, is_reached: Callable[[StatusAnswer], bool], limit_s: float) -> StatusAnswer:
    """Ask until `is_reached`, or until `limit_s` are over; the last answer. Raises EngineUnreachable."""
    give_up = time.monotonic() + limit_s
    while True:
        status = read_status(target.ask(messages.StatusQuery()))
        if is_reached(status) or time.monotonic() > give_up:
            return status
        time.sleep(_LOOK_S)


def of_config(path: str | os.PathLike[str], name: str | None) -> Target:
    """The engine that runs, or will run, with the configuration at `path`, as `name` if that is given.

    Where it runs, it says itself where it is. Otherwise the configuration does. Raises ConfigError.
    """
    engine, bus = Config.load_bus(path)
    name = engine.name if name is None else name
    require_name(name)
    return of_bus(name, bus)


def of_bus(name: str, bus: BusConfig) -> Target:
    """The engine called `name` that runs, or will run, with `bus`. See `of_config`."""
    ends = (bus.publish, bus.query, bus.command)
    if not any(ends) or is_noted(name):
        return Target(name)
    publish, query, command, _ = found_at(name, *ends)
    return Target(name, publish, query, _public(bus.curve_secret_key), command)


def _public(secret: Secret) -> str | None:
    """The public half of the engine's CURVE key; None where it has none, or this user may not read it."""
    try:
        return zmq.curve_public(secret.reveal().encode("ascii")).decode("ascii") if secret else None
    except (zmq.ZMQError, ValueError):
        text = "expected a CURVE secret key of 40 characters (Z85)"
        raise ConfigError("bus.curve_secret_key", text) from None
