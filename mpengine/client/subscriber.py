"""Results of engines as typed messages, for any other process. This imports neither numpy nor audio nor TLS."""

import collections
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import zmq

from mpengine.client.ask import ask
from mpengine.client.feed import Endpoints, Feed
from mpengine.client.finding import Found, find, noted, require_name
from mpengine.client.follow import LookClock, Since
from mpengine.client.position import Hole, Received, decode
from mpengine.shared.config_tables import USUAL_NAME
from mpengine.shared.deciding import NEVER
from mpengine.shared.errors import ConfigError, RuntimeDirError
from mpengine.shared.messages import Published

_QUEUED_MESSAGES = 10_000


class Subscriber:
    """Iterates over the messages of engines. It may start before them, and survives their restarts.

    Finals, gaps and errors come once and in order, by default also those from before the start. Lost messages come from
    the engine's history; those that cannot be had any more are reported as a `Hole`. Messages of unknown types are
    skipped. Threads and tasks must not share a Subscriber. It makes progress only while one of its methods runs.
    """

    def __init__(
        self,
        name: str | Iterable[str] = USUAL_NAME,
        *,
        publish: str | None = None,
        query: str | None = None,
        topics: str | Iterable[str] = "",
        since: Since | Mapping[str, Since] = "start",
        server_key: str | None = None,
        client_key: str | None = None,
        queued_messages: int = _QUEUED_MESSAGES,
    ) -> None:
        """`name`: one engine, or several of this user. `receive_named` says whose a message is.

        `publish`, `query`: the endpoints of one engine. Without them an engine is found by its name, again and again:
        it may be started with other endpoints. With `publish` alone the engine is not asked: `since` counts as None,
        and lost messages are only reported. `topics`: a prefix, or several, of topics without the engine's name, as
        ``("transcript.final", "gap")``.

        `since`: where to begin. "start": with all that the engine's history has. None: from now on. ``(run, seq)``:
        after that message, for a program that was restarted and has noted its last final (`seq` alone, if the run
        cannot have changed). Of several engines each may have its own, by its name. If the engine's last `seq` is
        lower, you get everything it has. The status and the open interim always come.

        `server_key`: the engine's public CURVE key, if the engine has one and is not found by its name. `client_key`: a
        secret CURVE key of your own, for an engine that lists its clients. `queued_messages`: how many wait at most for
        a program that does not take them. Raises ConfigError for an invalid name, endpoint or key.
        """
        names = _several(name)
        if not names or (len(names) > 1 and (publish or query)):
            raise ConfigError("engine.name", "expected one name with bus.publish and bus.query, otherwise one or more")
        wanted = _several(topics)
        self._looks = LookClock(time.monotonic())
        self._ready: collections.deque[Received] = collections.deque()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._feeds: list[Feed] = []
        try:
            for each in names:
                endpoints = _endpoints(each, publish, query, server_key, client_key)
                is_named = publish is None and query is None
                after = since.get(each) if isinstance(since, Mapping) else since
                feed = Feed(
                    self._context,
                    each,
                    endpoints,
                    find_again=functools.partial(_noted, each, server_key, client_key) if is_named else None,
                    topics=wanted,
                    since=after if endpoints.query is not None else None,
                    queued_messages=queued_messages,
                )
                self._feeds.append(feed)
        except BaseException:
            self.close()
            raise

    # Blocking

    def wait_live(self, timeout_s: float) -> bool:
        """Wait until every engine has confirmed the subscription: all that it publishes after that will come.

        Call this before a command whose effect you want to hear. False after `timeout_s`, and for an engine that is not
        asked (`publish` alone, or `topics` that need no asking).
        """
        return self._wait_for(lambda: all(feed.is_live for feed in self._feeds), time.monotonic() + timeout_s)

    def receive(self, timeout_s: float | None = None) -> Published | Hole | None:
        """The next message or hole; None when none came within `timeout_s`."""
        named = self.receive_named(timeout_s)
        return None if named is None else named[1]

    def receive_named(self, timeout_s: float | None = None) -> tuple[str, Published | Hole] | None:
        """The engine's name, and its next message or hole; None when none came within `timeout_s`."""
        give_up = _deadline(timeout_s)
        while self._wait(give_up):
            received = self._ready.popleft()
            message = received.message
            if message is not None:
                return received.name, message
        return None

    def receive_any(self, timeout_s: float | None = None) -> Received | None:
        """The next message of any type as it came, or hole; None when none came within `timeout_s`."""
        return self._ready.popleft() if self._wait(_deadline(timeout_s)) else None

    def receive_raw(self, timeout_s: float | None = None) -> tuple[str, bytes] | None:
        """The topic (without the engine's name) and the JSON of the next message of any type.

        A hole has the topic "hole". None when no message came within `timeout_s`.
        """
        received = self.receive_any(timeout_s)
        return None if received is None else (received.topic, received.body)

    def poll(self, timeout_s: float | None = 0.0) -> bool:
        """Whether a message comes within `timeout_s`. Then `receive_any` returns it at once."""
        return self._wait(_deadline(timeout_s))

    def __iter__(self) -> Iterator[Published | Hole]:
        while True:
            message = self.receive()
            if message is not None:
                yield message

    # In asyncio

    async def receive_async(self) -> Published | Hole:
        """The next message or hole. It may be cancelled, as by `asyncio.timeout`, without losing anything."""
        return (await self.receive_named_async())[1]

    async def receive_named_async(self) -> tuple[str, Published | Hole]:
        """The engine's name, and its next message or hole."""
        while True:
            await self._wait_async()
            received = self._ready.popleft()
            message = received.message
            if message is not None:
                return received.name, message

    async def receive_any_async(self) -> Received:
        """The next message of any type as it came, or hole."""
        await self._wait_async()
        return self._ready.popleft()

    async def __aiter__(self) -> AsyncIterator[Published | Hole]:
        while True:
            yield await self.receive_async()

    # Ending

    def close(self) -> None:
        """Close the sockets."""
        self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # Waiting

    @property
    def _sockets(self) -> "list[zmq.Socket[bytes]]":
        return [socket for feed in self._feeds for socket in feed.sockets]  # others, once an engine is elsewhere

    @property
    def _poller(self) -> zmq.Poller:
        poller = zmq.Poller()
        for socket in self._sockets:
            poller.register(socket, zmq.POLLIN)
        return poller

    @property
    def _deadline(self) -> float:
        return self._looks.clock(min(feed.deadline for feed in self._feeds))

    def _look(self) -> bool:
        """Take what has come. Returns whether messages are ready; if not, all sockets were empty."""
        now = self._looks.waited(time.monotonic())
        for feed in self._feeds:
            self._ready += feed.take(now)
        return bool(self._ready)

    @contextlib.contextmanager
    def _looking(self) -> Iterator[None]:
        """`_looks` hardly counts the time outside of this context."""
        self._looks.back(time.monotonic())
        try:
            yield
        finally:
            self._looks.leave(time.monotonic())

    def _wait(self, give_up: float) -> bool:
        """Wait until a message is ready; False at `give_up`."""
        return bool(self._ready) or self._wait_for(lambda: bool(self._ready), give_up)

    def _wait_for(self, is_there: Callable[[], bool], give_up: float) -> bool:
        """Look until `is_there` is true; False at `give_up`."""
        with self._looking():
            while True:
                self._look()
                if is_there():
                    return True
                rest_s = give_up - time.monotonic()
                if rest_s <= 0:
                    return False
                rest_s = min(rest_s, max(0.0, self._deadline - time.monotonic()))
                self._poller.poll(None if rest_s == NEVER else int(rest_s * 1000) + 1)

    async def _wait_async(self) -> None:
        if self._ready:
            return
        with self._looking():
            while not self._look():
                await _readable(self._sockets, self._deadline)


def _several(given: str | Iterable[str]) -> tuple[str, ...]:
    """`given` as a tuple without repetitions."""
    return (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))


def _endpoints(
    name: str, publish: str | None, query: str | None, server_key: str | None, client_key: str | None
) -> Endpoints:
    """Those that are given, and the others where the engine called `name` is. With `publish` alone it is not asked."""
    require_name(name)
    if publish is not None:
        return Endpoints(publish, query, server_key, client_key)
    found = find(name)
    if query is not None:
        return Endpoints(found.publish, query, server_key, client_key)
    return _known(found, server_key, client_key)


def _known(found: Found, server_key: str | None, client_key: str | None) -> Endpoints:
    return Endpoints(found.publish, found.query, found.server_key if server_key is None else server_key, client_key)


def _noted(name: str, server_key: str | None, client_key: str | None) -> Endpoints | None:
    """Where the engine called `name` says that it is; None if it says nothing."""
    with contextlib.suppress(RuntimeDirError):
        found = noted(name)
        return None if found is None else _known(found, server_key, client_key)
    return None


def _deadline(timeout_s: float | None) -> float:
    return NEVER if timeout_s is None else time.monotonic() + timeout_s


async def _readable(sockets: "Sequence[zmq.Socket[bytes]]", deadline: float) -> None:
    """Return when one of `sockets` may have a message, or at `deadline` (monotonic).

    Call this right after a look that found all sockets empty: a descriptor announces only messages that come after its
    socket was found empty, and any other call on the socket may consume the announcement.
    """
    import asyncio  # noqa: PLC0415  other programs do not load it

    loop = asyncio.get_running_loop()
    woken = loop.create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    descriptors = [socket.fileno() for socket in sockets]
    for descriptor in descriptors:
        loop.add_reader(descriptor, wake)
    rest_s = deadline - time.monotonic()
    timer = loop.call_later(rest_s, wake) if rest_s < NEVER else None
    try:
        await woken
    finally:
        for descriptor in descriptors:
            loop.remove_reader(descriptor)
        if timer is not None:
            timer.cancel()


__all__ = ["Hole", "Received", "Subscriber", "ask", "decode"]
