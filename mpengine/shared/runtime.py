"""The runtime directory: its path, its access rights and its lock.

An engine takes `RuntimeDir.lock` before it binds a socket, and holds it for life. Only this lock keeps two engines of
one name apart: a second bind on a live ipc endpoint succeeds and steals the endpoint.
"""

import contextlib
import os
import stat

from mpengine.shared import one_writer
from mpengine.shared.errors import AlreadyRunning, RuntimeDirError

# sun_path has 108 bytes on Linux (unix(7)) and 104 on macOS, the terminating zero included.
_SOCKET_PATH_LIMIT = 103 if os.uname().sysname == "Darwin" else 107
_LONGEST_SOCKET = "/control"


def runtime_path(name: str) -> str:
    """The directory of the engine called `name`: below $XDG_RUNTIME_DIR, otherwise below the temporary directory."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base:
        return os.path.join(base, "mpengine", name)
    import tempfile  # noqa: PLC0415  it takes half a megabyte, and most systems have the variable

    return os.path.join(tempfile.gettempdir(), f"mpengine-{os.getuid()}", name)


def endpoint(path: str, socket: str) -> str:
    """The ipc endpoint of `socket` (results, query, command, frames, control) in the runtime directory `path`."""
    return f"ipc://{path}/{socket}"


def is_inside(path: str, endpoint: str) -> bool:
    """Whether `endpoint` is an ipc socket in the runtime directory `path`: only its user reaches it."""
    scheme, _, place = endpoint.partition("://")
    return scheme == "ipc" and os.path.dirname(os.path.realpath(place)) == os.path.realpath(path)


class RuntimeDir:
    """An engine's runtime directory and its lock. The directory is made if it is missing."""

    def __init__(self, name: str) -> None:
        """Raises RuntimeDirError when the directory cannot be made, or belongs to another user."""
        self.path = runtime_path(name)
        self._name = name
        self._lock_fd = -1
        if len(os.fsencode(self.path + _LONGEST_SOCKET)) > _SOCKET_PATH_LIMIT:
            raise RuntimeDirError(f"{self.path}: too long for a socket; set XDG_RUNTIME_DIR to a shorter path")
        for path in (os.path.dirname(self.path), self.path):
            _make_private(path)

    def lock(self) -> None:
        """Hold the directory until the process ends. Raises AlreadyRunning, with the holder's pid."""
        fd = os.open(os.path.join(self.path, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            one_writer.lock(fd)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise AlreadyRunning(
                f'an engine called "{self._name}" is running already (pid {holder}); '
                f"stop it with: mpengine stop --name {self._name}"
            ) from None
        except OSError as error:
            os.close(fd)
            raise RuntimeDirError(f"cannot lock the runtime directory {self.path}: {error.strerror}") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock_fd = fd
        self._remove_dead_sockets()

    def unlock(self) -> None:
        """Give up the directory. Its sockets must be closed by now."""
        if self._lock_fd >= 0:
            self._remove_dead_sockets()
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _remove_dead_sockets(self) -> None:
        for entry in os.scandir(self.path):
            if stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)


def _make_private(path: str) -> None:
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        found = os.stat(path, follow_symlinks=False)
    except OSError as error:
        raise RuntimeDirError(f"cannot make the runtime directory {path}: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise RuntimeDirError(f"{path} is not a directory of this user; remove it or set XDG_RUNTIME_DIR")
    if found.st_mode & 0o077:
        os.chmod(path, 0o700)
