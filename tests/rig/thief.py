"""The streaming process with a second reader on the frames socket: `tests.rig.bad_engine` starts it as kind STEALS.

The thief is a thread of this process, because capture ends the connections of strangers. What it takes, nobody else
gets. At the end the process notes on standard error how many frames were taken.
"""

import sys
import threading

import zmq

from mpengine.processes import beginning
from mpengine.shared import logs
from mpengine.streaming.process import run

STEALS = "steals"


def take(endpoint: str, taken: list[bytes], has_ended: threading.Event) -> None:
    """Read frames as fast as they come."""
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.setsockopt(zmq.LINGER, 0)
        pull.setsockopt(zmq.RECONNECT_IVL, 10)
        pull.connect(endpoint)
        while not has_ended.is_set():
            if pull.poll(50):
                taken.append(pull.recv())


def main() -> None:
    """Be the streaming process, and steal from it."""
    settings = beginning.receive(beginning.StreamingSettings, "streaming")
    logs.setup("streaming", settings.log_level, settings.log_format)
    taken: list[bytes] = []
    has_ended = threading.Event()
    thread = threading.Thread(target=take, args=(settings.frames, taken, has_ended))
    thread.start()
    try:
        code = run(settings)
    finally:
        has_ended.set()
        thread.join()
        print(f"rig: taken {len(taken)}", file=sys.stderr, flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
