"""`python -m mpengine.embedded.child`: the supervisor as the child of a program with an Engine.

This process ends when the program ends, in whatever way. A thread of its own waits for that, so that no state of the
supervisor can delay it. The supervisor's children end with it. SIGTERM is a clean stop.
"""

import contextlib
import os
import select
import sys
import threading

from mpengine.embedded import files
from mpengine.embedded.gui_config import EngineSettings
from mpengine.processes import beginning
from mpengine.shared import logs
from mpengine.shared.config import Config
from mpengine.shared.errors import MpengineError
from mpengine.shared.standard_streams import complain, ensure_standard_streams

# How long the last words of an engine that ends at once wait for the Engine's subscription.
_SUBSCRIBER_LIMIT_S = 2.0
# The microphone must be free soon, even if removing files takes long.
_REMOVAL_LIMIT_S = 0.3


def main() -> int:
    """Run the engine with the settings that the parent sends; returns the exit code."""
    _take_streams()
    settings = beginning.receive(EngineSettings, "engine")
    config = Config.unpacked(settings.config)
    name, buffer_directory = config.engine.name, config.buffer.directory
    watch = (settings.parent_pid, name, buffer_directory)
    threading.Thread(target=_end_with_parent, args=watch, name="parent", daemon=True).start()
    logs.setup("supervisor", settings.log_level)
    from mpengine.supervisor.process import Supervisor  # noqa: PLC0415  loaded once this process ends with its parent

    files.remove_left(buffer_directory)
    try:
        return Supervisor(
            config,
            log_level=settings.log_level,
            awaits_subscriber_s=_SUBSCRIBER_LIMIT_S,
            journal_path=settings.journal_path,
        ).run()
    except MpengineError as error:
        complain(str(error))
        return int(error.exit_code)
    finally:
        files.remove(name, buffer_directory)


def _take_streams() -> None:
    """Share the program's standard error, but not its standard input and output."""
    ensure_standard_streams()
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _end_with_parent(parent_pid: int, name: str, buffer_directory: str | None) -> None:
    poll = select.poll()
    poll.register(beginning.PIPE_FD, select.POLLIN)
    # The pipe alone is not enough: a process that the parent has forked may hold its other end too.
    with contextlib.suppress(AttributeError, OSError):
        poll.register(os.pidfd_open(parent_pid), select.POLLIN)
    while not poll.poll(60_000):
        pass
    removal = threading.Thread(target=files.remove, args=(name, buffer_directory), daemon=True)
    removal.start()
    removal.join(_REMOVAL_LIMIT_S)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
