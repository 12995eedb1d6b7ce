#!/usr/bin/env python3
"""Prints what an engine hears, with nothing but pyzmq: any program in any language can listen like this.

Usage: subscribe.py [NAME] (of the engine; "default" if none is given). Interims are overwritten on a terminal.
"""

import json
import os
import sys
import tempfile

import zmq


def main(name: str = "default") -> None:
    """Subscribe to the transcripts of the engine called `name` and print them until Ctrl-C."""
    session = os.environ.get("XDG_RUNTIME_DIR")
    base = f"{session}/mpengine" if session else f"{tempfile.gettempdir()}/mpengine-{os.getuid()}"
    socket = zmq.Context().socket(zmq.SUB)
    socket.connect(f"ipc://{base}/{name}/results")
    socket.subscribe(f"{name}.transcript.")
    while True:
        _topic, body = socket.recv_multipart()
        result = json.loads(body)
        if result["is_final"]:
            print(f"\r\033[K{result['text']}" if sys.stdout.isatty() else result["text"], flush=True)
        elif sys.stdout.isatty():
            print(f"\r\033[K{result['text']} ...", end="", flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:2])
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
