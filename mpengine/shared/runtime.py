"""The runtime directory: its path, its access rights and its lock.

An engine takes `RuntimeDir.lock` before it binds a socket, and holds it for life. Only this lock keeps two engines of
one name apart: a second bind on a live ipc endpoint succeeds and steals the endpoint.

The directory itself is locked, and a file in it, which has the holder's pid. Programs that clean up temporary
directories leave a locked directory alone; for that they lock each directory themselves, for a moment.
"""

import contextlib
import os
import stat
import time

from mpengine.shared import one_writer
from mpengine.shared.errors import AlreadyRunning, RuntimeDirError
from mpengine.shared.file_id import FileId, file_id, find

# sun_path has 108 bytes on Linux (unix(7)) and 104 on macOS, the terminating zero included.
_SOCKET_PATH_LIMIT = 103 if os.uname().sysname == "Darwin" else 107
_LONGEST_SOCKET = "/control"
# How long a program that cleans up may hold the directory's lock.
_CLEANER_S = 2.0
_TRY_AGAIN_S = 0.05
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108  the directory below is this user's alone
_ADVICE = "set XDG_RUNTIME_DIR to a directory that you may write to"


def runtime_path(name: str) -> str:
    """The directory of the engine called `name`. Raises RuntimeDirError as `base_path` does."""
    return os.path.join(base_path(), name)


def names() -> list[str]:
    """The names in `base_path`, in order: of engines that run, and of those that have left something there."""
    try:
        return sorted(os.listdir(base_path()))
    except OSError:  # there never was an engine
        return []


def base_path() -> str:
    """The directory of this user's engines: below $XDG_RUNTIME_DIR, otherwise below the temporary directory.

    Raises RuntimeDirError when there is no temporary directory to write to. A relative path counts as none: engine and
    listener may have different working directories.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base):
        return os.path.join(base, "mpengine")
    places = [*filter(None, map(os.environ.get, ("TMPDIR", "TEMP", "TMP"))), *_TEMPORARY]
    for place in places:
        if os.path.isabs(place) and os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK):
            return os.path.join(place, f"mpengine-{os.getuid()}")
    raise RuntimeDirError(f"there is no place for the engine's sockets ({', '.join(places)}): {_ADVICE}")


def endpoint(path: str, socket: str) -> str:
    """The ipc endpoint of `socket` (results, query, command, frames, control) in the runtime directory `path`."""
    return f"ipc://{path}/{socket}"


def lock_path(path: str) -> str:
    """The file in the runtime directory `path` that a living engine has locked."""
    return os.path.join(path, "lock")


def journal_path(path: str) -> str:
    """The journal of an engine whose runtime directory is `path`."""
    return os.path.join(path, "journal")


def window_path(directory: str, name: str) -> str:
    """The replay window of the engine called `name`, in the `directory` for it."""
    return os.path.join(directory, f"{name}.window")


def is_inside(path: str, endpoint: str) -> bool:
    """Whether `endpoint` is an ipc socket in the runtime directory `path`: only its user reaches it."""
    scheme, _, place = endpoint.partition("://")
    return scheme == "ipc" and os.path.dirname(os.path.realpath(place)) == os.path.realpath(path)


class RuntimeDir:
    """An engine's runtime directory and its locks. The directory is made if it is missing."""

    def __init__(self, name: str) -> None:
        """Raises RuntimeDirError when the directory cannot be made, or belongs to another user."""
        self.path = runtime_path(name)
        self.lock_path = lock_path(self.path)
        self._name = name
        self._directory_fd = self._lock_fd = -1
        if len(os.fsencode(self.path + _LONGEST_SOCKET)) > _SOCKET_PATH_LIMIT:
            raise RuntimeDirError(f"{self.path}: too long for a socket; set XDG_RUNTIME_DIR to a shorter path")
        self._make()

    def lock(self) -> None:
        """Hold the directory until the process ends. Raises AlreadyRunning, with the holder's pid."""
        self._hold()
        self._remove_dead_sockets()

    def _hold(self) -> None:
        give_up = time.monotonic() + _CLEANER_S
        while not self._try_lock():
            # Only an engine holds the lock's file; another one that starts may hold it for microseconds, to look.
            is_engine = self._directory_fd < 0 and one_writer.is_held(self.lock_path)
            if is_engine or time.monotonic() > give_up:
                self._let_go()
                raise AlreadyRunning(
                    f'an engine called "{self._name}" is running already (pid {self._holder()}); '
                    f"stop it with: mpengine stop --name {self._name}"
                )
            time.sleep(_TRY_AGAIN_S)
        os.ftruncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, f"{os.getpid()}\n".encode(), 0)

    def holder(self) -> str | None:
        """The pid of the engine that holds the directory, as text; None if no other engine does."""
        return self._holder() if self._lock_fd < 0 and one_writer.is_held(self.lock_path) else None

    def lock_again(self) -> None:
        """Make and hold again what was removed or replaced: the directory, or the file in it.

        Raises RuntimeDirError when it cannot be made, AlreadyRunning when another engine has it by now.
        """
        self._make()
        directory, lock = self.held()
        if find(self.path) != directory:
            self._let_go()
            self.lock()
            return
        if find(self.lock_path) == lock:
            return
        os.close(self._lock_fd)
        self._lock_fd = -1
        with contextlib.suppress(OSError):  # no other engine can hold the directory, and so that file
            os.unlink(self.lock_path)
        self._hold()

    def held(self) -> tuple[FileId, FileId]:
        """Which directory is held, and which file in it."""
        return file_id(os.fstat(self._directory_fd)), file_id(os.fstat(self._lock_fd))

    def unlock(self) -> None:
        """Give up the directory. Its sockets must be closed by now."""
        if self._lock_fd >= 0 and self.held() == (find(self.path), find(self.lock_path)):
            self._remove_dead_sockets()
        self._let_go()

    def _make(self) -> None:
        for path in (os.path.dirname(self.path), self.path):
            _make_private(path)

    def _try_lock(self) -> bool:
        """Take what is not held yet, the directory first. False: another process has it."""
        try:
            if self._directory_fd < 0:
                self._directory_fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    one_writer.lock(self._directory_fd, is_optional=True)
                except BlockingIOError:
                    os.close(self._directory_fd)
                    self._directory_fd = -1
                    return False
            self._lock_fd = one_writer.open_file(self.lock_path, os.O_RDWR | os.O_CREAT)
            one_writer.lock(self._lock_fd)
        except BlockingIOError:
            os.close(self._lock_fd)
            self._lock_fd = -1
            return False
        except OSError as error:
            self._let_go()
            raise RuntimeDirError(f"cannot lock {self.lock_path}: {error.strerror}") from None
        return True

    def _holder(self) -> str:
        """The pid in the lock's file."""
        with contextlib.suppress(OSError):
            fd = one_writer.open_file(self.lock_path, os.O_RDONLY)
            try:
                return os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            finally:
                os.close(fd)
        return "unknown"

    def _let_go(self) -> None:
        for fd in (self._lock_fd, self._directory_fd):
            if fd >= 0:
                os.close(fd)
        self._lock_fd = self._directory_fd = -1

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
        raise RuntimeDirError(f"cannot make the runtime directory {path}: {error.strerror}; {_ADVICE}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise RuntimeDirError(f"{path} is not a directory of this user; remove it or set XDG_RUNTIME_DIR")
    if found.st_mode & 0o077:
        os.chmod(path, 0o700)
