"""One directory for all that a test run writes outside of its clone: it begins and ends with the run.

Temporary files, the home and the runtime directory of everything that tests start lie in it. So a run needs no home
that can be written, meets no engine and no sound server of the user's, and leaves nothing behind, however it ends: a
small process of its own outlives it and removes the directory.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

# Paths of ipc endpoints have 107 bytes at most, and the names of engines and tests need most of them.
_LONGEST_PARENT = 20
_PR_SET_PDEATHSIG = 1  # prctl(2)
# What is still being killed may write once more.
_REMOVER = 'while read -r _; do :; done; for _ in 1 2 3; do rm -rf "$1"; sleep 1; done'
# PortAudio makes every program a client of JACK for a moment, and JACK's library keeps a database for each user.
_JACK_FILES = Path(f"/dev/shm/jack_db-{os.getuid()}")


class Scratch:
    """The directory, from `begin` to `end`, in the process that the user started; others find it in the environment."""

    def __init__(self) -> None:
        parent = tempfile.gettempdir()
        parent = parent if len(parent) <= _LONGEST_PARENT else "/tmp"
        self.directory = Path(tempfile.mkdtemp(prefix="mpe-", dir=parent))
        self._had_jack_files = _JACK_FILES.exists()
        self._remover = subprocess.Popen(
            ["sh", "-c", _REMOVER, "sh", str(self.directory)],
            stdin=subprocess.PIPE,  # nobody but this process holds the other end
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for variable, name in (("TMPDIR", "t"), ("HOME", "h"), ("XDG_RUNTIME_DIR", "r")):
            path = self.directory / name
            path.mkdir(mode=0o700)
            os.environ[variable] = str(path)
        for variable in ("CACHE_HOME", "CONFIG_HOME", "DATA_HOME", "STATE_HOME"):
            os.environ.pop(f"XDG_{variable}", None)
        tempfile.tempdir = None  # found anew

    def end(self) -> None:
        """Remove it."""
        shutil.rmtree(self.directory, ignore_errors=True)
        if not self._had_jack_files:
            shutil.rmtree(_JACK_FILES, ignore_errors=True)
        self._remover.kill()
        self._remover.wait()
        assert self._remover.stdin is not None
        self._remover.stdin.close()


def end_with_parent() -> None:
    """Have this process, and with it what it has started, end with the one that started it, however that ends."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
