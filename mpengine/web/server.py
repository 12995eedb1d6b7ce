"""The server's process: the socket, the subscriber, the signals. It owns them; the application owns its readers.

All of it is one thread. The engine sees one more subscriber, and waits for none of this.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

import uvicorn

from mpengine.client.subscriber import Subscriber
from mpengine.shared import descriptor_limit
from mpengine.shared.addresses import Place
from mpengine.shared.errors import ExitCode, MpengineError
from mpengine.shared.loopback import is_loopback
from mpengine.shared.standard_streams import write_text
from mpengine.web.access import Access
from mpengine.web.app import App
from mpengine.web.connections import Links, most_of
from mpengine.web.hub import Hub

# What the kernel holds for a connection whose other end stands still.
_SEND_BUFFER_BYTES = 1 << 17
_TICK_S = 1.0
# Where this process itself stood still for so long, it reads what came meanwhile before an engine counts as absent.
_LATE_S = 2.0
# At the end answers may go out for so long.
_END_S = 1.0
_BACKLOG = 128
_EVERY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104  these are looked for, not bound


class Options(NamedTuple):
    """What to serve, and where. None for an endpoint means the one in the engine's runtime directory."""

    names: tuple[str, ...]
    place: Place
    version: str
    token: str | None = None
    hosts: tuple[str, ...] = ()
    publish: str | None = None
    query: str | None = None
    server_key: str | None = None
    client_key: str | None = None


def serve(options: Options) -> int:
    """Serve until SIGINT or SIGTERM; a second one ends this process at once.

    Raises ConfigError for an invalid name, endpoint or key, MpengineError where the place cannot be listened at.
    """
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # what clients do wrong is no news
    # It prints a traceback for each connection that it cannot accept.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    with contextlib.closing(_listening(options.place)) as listener:
        return asyncio.run(_serve(options, listener))


class _Server(uvicorn.Server):
    """uvicorn without its own ways with signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See `_serve`."""
        yield


async def _serve(options: Options, listener: socket.socket) -> int:
    loop = asyncio.get_running_loop()
    hub = Hub(options.names)
    links = Links(most_of(descriptor_limit.raised(), engines=len(options.names)))
    app = App(hub, Access(token=options.token, hosts=options.hosts), links, version=options.version)
    config = uvicorn.Config(
        app,
        http=links.protocol(),
        ws="none",
        lifespan="off",
        loop="asyncio",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        backlog=_BACKLOG,
        h11_max_incomplete_event_size=1 << 14,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)

    def end() -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)
        app.end()
        loop.call_later(_END_S, links.abort_all)
        server.should_exit = True

    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, end)
    with _subscriber(options) as subscriber:
        _say(options, listener)
        work = [_follow(subscriber, hub, app), _tick(hub, app), links.watch()]
        tasks = [loop.create_task(server.serve(sockets=[listener])), *map(loop.create_task, work)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks[1:], return_exceptions=True)
    return int(ExitCode.OK)


def _subscriber(options: Options) -> Subscriber:
    return Subscriber(
        options.names,
        publish=options.publish,
        query=options.query,
        server_key=options.server_key,
        client_key=options.client_key,
    )


async def _follow(subscriber: Subscriber, hub: Hub, app: App) -> None:
    while True:
        hub.take(await subscriber.receive_any_async(), time.monotonic())
        app.wake()
        await asyncio.sleep(0)  # an engine's whole history may be there at once


async def _tick(hub: Hub, app: App) -> None:
    while True:
        before = time.monotonic()
        await asyncio.sleep(_TICK_S)
        now = time.monotonic()
        if now - before < _TICK_S + _LATE_S and hub.tick(now):
            app.wake()


def _say(options: Options, listener: socket.socket) -> None:
    """Print the page's address: from now on it is served."""
    host, port = listener.getsockname()[:2]
    host = socket.gethostname() if host in _EVERY_ADDRESS else host
    link = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    link += "" if options.token is None else "?token=TOKEN, once in each browser"
    write_text(f"captions of {', '.join(options.names)}: {link}\n")


def _listening(place: Place) -> socket.socket:
    """A socket that listens there. Raises MpengineError."""
    where = f"{place.host}:{place.port}"
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise MpengineError(f"cannot listen at {where}: {error.strerror}") from None
    family, kind, protocol, _, address = found[0]
    if is_loopback(place.host) and not is_loopback(str(address[0])):
        raise MpengineError(f"cannot listen at {where}: this name is not of this machine alone here")
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)  # accepted ones inherit it
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise MpengineError(f"cannot listen at {where}: {error.strerror}; choose another place with --listen") from None
    return listener
