"""A limit for calls into C that may hang: the process ends, and the supervisor starts another one.

Each call has a thread of its own for that, which owns nothing and only waits.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator

from mpengine.shared.errors import ExitCode
from mpengine.shared.logs import Event

log = logging.getLogger(__name__)


@contextlib.contextmanager
def ends_within(limit_s: float, call: str) -> Iterator[None]:
    """End this process with the exit code of a lost device, unless the block ends within `limit_s`.

    No Python code can end a call into C: PortAudio's stop waits for a sound server that hangs, as long as it hangs.
    """
    watch = threading.Timer(limit_s, _give_up, (call, limit_s))
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


def _give_up(call: str, limit_s: float) -> None:
    log.warning(Event("device_hangs", call=call, limit_s=limit_s))
    os._exit(ExitCode.DEVICE)
