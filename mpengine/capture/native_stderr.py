"""Keeps ALSA, JACK and PortAudio off the terminal.

Their C code writes to descriptor 2 whenever a device is probed or goes away, and no option silences all of it.
"""

import faulthandler
import os
import sys


def silence_native_stderr() -> None:
    """Give Python's standard error a descriptor of its own, and send descriptor 2 to /dev/null.

    Tracebacks, logs and faulthandler's dumps still reach the terminal.
    """
    saved = os.dup(2)
    sys.stderr = os.fdopen(saved, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    faulthandler.enable(file=saved)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
