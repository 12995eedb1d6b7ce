"""A program with an engine inside, to be killed: `python -m tests.rig.gui_program MODULE CLASS HOW CONFIG`.

It prints one JSON line once it records, and then ends as HOW says: `wait` does not, `fork` neither, but a process that
it has forked holds all its descriptors; `return` leaves the interpreter without a stop; `drop` lets go of the engine
and waits; `record` forks a process that records too, and stops.
"""

import gc
import importlib
import json
import os
import sys
import time

WAIT_S = 60


def main(module: str, name: str, how: str, config: str) -> None:
    """Record, then end."""
    engine = getattr(importlib.import_module(module), name)(json.loads(config))
    is_started = engine.initialize() and engine.start_recording()
    forked = 0
    if how == "fork":
        forked = os.fork()
        if not forked:
            time.sleep(WAIT_S)
            os._exit(0)
        inheritor = os.fork()  # it ends as programs do, which must not touch what its parent has
        if not inheritor:
            sys.exit()
        os.waitpid(inheritor, 0)
        is_started = engine.is_recording_active()
    if how == "record":
        reader, writer = os.pipe()
        if not os.fork():
            os.write(writer, json.dumps(_record_again(engine)).encode())
            os._exit(0)
        print(
            json.dumps(
                {
                    "name": engine.name,
                    "forked": json.loads(os.read(reader, 4096)),
                    "started": engine.is_recording_active(),
                }
            ),
            flush=True,
        )
        engine.stop()
        return
    print(json.dumps({"started": is_started, "name": engine.name, "forked": forked}), flush=True)
    match how:
        case "drop":
            del engine
            gc.collect()
            time.sleep(WAIT_S)
        case "wait" | "fork":
            time.sleep(WAIT_S)


def _record_again(engine):
    """What an engine that records is to a process that was forked."""
    told = {"before": engine.is_recording_active()}
    engine.stop()
    told |= {"started": engine.initialize() and engine.start_recording(), "name": engine.name}
    engine.stop()
    return told | {"after": engine.is_recording_active()}


if __name__ == "__main__":
    main(*sys.argv[1:])
