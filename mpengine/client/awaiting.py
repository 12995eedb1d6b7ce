"""Waiting for ZeroMQ sockets in asyncio. Loaded on first use."""

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import zmq


async def readable(sockets: "Sequence[zmq.Socket[bytes]]", deadline: float) -> None:
    """Return when one of `sockets` may have something, or at `deadline` (monotonic).

    A socket's descriptor announces only what came after the socket was last found empty, and any other call on the
    socket may take the announcement: to be called right behind a look that found all of them empty.
    """
    loop = asyncio.get_running_loop()
    woken = loop.create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    descriptors = [socket.fileno() for socket in sockets]
    for descriptor in descriptors:
        loop.add_reader(descriptor, wake)
    rest_s = deadline - time.monotonic()
    timer = loop.call_later(rest_s, wake) if rest_s < float("inf") else None
    try:
        await woken
    finally:
        for descriptor in descriptors:
            loop.remove_reader(descriptor)
        if timer is not None:
            timer.cancel()
