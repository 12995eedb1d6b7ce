#!/usr/bin/env python3
"""Prints what an engine hears, with nothing but pyzmq: any program in any language can listen like this.

Usage: subscribe.py [NAME] (of the engine; "default" if none is given). Interims are overwritten on a terminal.
"""

import json
import os
import re
import shutil
import sys
import tempfile
import unicodedata

import zmq


def main(name: str = "default") -> None:
    """Subscribe to the transcripts of the engine called `name` and print them until Ctrl-C."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name):
        print("subscribe.py: a name has 1 to 32 of A-Z a-z 0-9 _ -", file=sys.stderr)
        sys.exit(2)
    session = os.environ.get("XDG_RUNTIME_DIR")
    base = f"{session}/mpengine" if session else f"{tempfile.gettempdir()}/mpengine-{os.getuid()}"
    socket = zmq.Context().socket(zmq.SUB)
    socket.connect(f"ipc://{base}/{name}/results")
    socket.subscribe(f"{name}.transcript.")
    while True:
        _topic, body = socket.recv_multipart()
        result = json.loads(body)
        text = harmless(result["text"])
        if result["is_final"]:
            print(f"\r\033[K{text}" if sys.stdout.isatty() else text, flush=True)
        elif sys.stdout.isatty():
            # One that took two rows could not be overwritten.
            print(f"\r\033[K{fitting(text, max(1, shutil.get_terminal_size().columns - 5))} ...", end="", flush=True)


def harmless(text: str) -> str:
    """Speech is plain text, but it comes from a network: nothing in it shall steer the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def fitting(text: str, columns: int) -> str:
    """The end of `text`, where the newest words are; a Chinese character takes two columns."""
    text = text[-columns:]
    while sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text) > columns:
        text = text[1:]
    return text


if __name__ == "__main__":
    try:
        main(*sys.argv[1:2])
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
