"""The files of an Engine's child. Nobody uses its engine name again, so they are removed when the child ends.

The name is `gui-PID-RANDOM`, with the program's pid. The next Engine removes the files that a killed program left.
"""

import contextlib
import os
import re
import shutil

from mpengine.client.finding import is_running
from mpengine.shared import runtime
from mpengine.shared.errors import RuntimeDirError

_NAME = re.compile(r"gui-(\d+)-[0-9a-f]+")


def new_name() -> str:
    """A new engine name for an Engine of this process."""
    return f"gui-{os.getpid()}-{os.urandom(4).hex()}"


def remove(name: str, buffer_directory: str | None) -> None:
    """Remove the runtime directory and the window of the engine `name`, if they are there."""
    with contextlib.suppress(RuntimeDirError):  # no place for it
        shutil.rmtree(runtime.runtime_path(name), ignore_errors=True)
    if buffer_directory is not None:
        with contextlib.suppress(OSError):
            os.unlink(runtime.window_path(buffer_directory, name))


def remove_left(buffer_directory: str | None) -> None:
    """Remove the files of Engines whose program was killed together with its child."""
    with contextlib.suppress(RuntimeDirError):
        for name in runtime.names():
            found = _NAME.fullmatch(name)
            if found and not _lives(int(found[1])) and not is_running(name):
                remove(name, buffer_directory)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
