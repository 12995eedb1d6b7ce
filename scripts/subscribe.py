#!/usr/bin/env python3
"""Prints what an engine hears, with nothing but pyzmq: programs in any language can do this.

Usage: subscribe.py [NAME] (the engine's name; default: "default"). On a terminal each result overwrites the interim.
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
            # It must fit on one row, because two rows could not be overwritten.
            print(f"\r\033[K{fitting(text, max(1, shutil.get_terminal_size().columns - 5))} ...", end="", flush=True)


def harmless(text: str) -> str:
    """`text` without control characters: it comes from a network, and must not control the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def fitting(text: str, columns: int) -> str:
    """The end of `text`, with the newest words, that fits into `columns`; a Chinese character takes two."""
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
