#!/usr/bin/env python3
"""Prints what one or more engines hear, in asyncio, beside whatever else the program does.

Usage: subscribe_async.py [NAME ...] (of engines on this machine; "default" if none is given).
"""

import asyncio
import contextlib
import sys

from mpengine import Hole, Subscriber
from mpengine.shared.messages import Transcript


async def follow(names: list[str]) -> None:
    """Print finals, also those from before the start, until cancelled."""
    with Subscriber(names, topics=("transcript.final",)) as subscriber:
        while True:
            name, message = await subscriber.receive_named_async()
            match message:
                case Transcript(text=text):
                    print(f"{name}: {text}", flush=True)
                case Hole():
                    print(f"{name}: [something was missed]", flush=True)


async def main(names: list[str]) -> None:
    """Follow, and show that the loop is free for other work."""
    following = asyncio.create_task(follow(names))
    while not following.done():
        await asyncio.wait([following], timeout=60)
        print("[a minute has passed]", file=sys.stderr, flush=True)
    await following


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1:] or ["default"]))
