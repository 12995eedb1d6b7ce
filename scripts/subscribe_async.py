#!/usr/bin/env python3
"""Prints what one or more engines hear, in asyncio, beside other work of the program.

Usage: subscribe_async.py [NAME ...] (of engines on this machine; default: "default").
"""

import asyncio
import os
import sys

from mpengine import ConfigError, Hole, Subscriber, Transcript


async def follow(names: list[str]) -> None:
    """Print finals, also those from before the start, until this is cancelled."""
    with Subscriber(names, topics=("transcript.final",)) as subscriber:
        while True:
            name, message = await subscriber.receive_named_async()
            match message:
                case Transcript(text=text):
                    # The text comes from a network, and must not control the terminal.
                    plain = "".join(character if character.isprintable() else " " for character in text)
                    print(f"{name}: {plain}", flush=True)
                case Hole():
                    print(f"{name}: [finals were lost]", flush=True)


async def main(names: list[str]) -> None:
    """Follow the engines `names`, and show that the loop is free for other work."""
    following = asyncio.create_task(follow(names))
    while not (await asyncio.wait([following], timeout=60))[0]:
        print("[a minute has passed]", file=sys.stderr, flush=True)
    await following


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1:] or ["default"]))
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:  # at its exit Python would write the rest, and fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ConfigError as error:
        print(f"subscribe_async.py: {error}", file=sys.stderr)
        sys.exit(2)
