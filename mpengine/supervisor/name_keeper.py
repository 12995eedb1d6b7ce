"""Looks at the engine's names in the file system, keeps them young, and makes again what has vanished.

The supervisor's main thread owns this object, as it owns the sockets.
"""

import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mpengine.shared import control, doorkeeper, sockets, whereabouts
from mpengine.shared.doorkeeper import Doorkeeper
from mpengine.shared.errors import AlreadyRunning, MpengineError, RuntimeDirError
from mpengine.shared.file_id import FileId, find
from mpengine.shared.messages import Error, ErrorCode
from mpengine.shared.runtime import RuntimeDir
from mpengine.shared.whereabouts import Whereabouts
from mpengine.supervisor.bus.journal import Journal
from mpengine.supervisor.decide.actions import Action, Child, Send, report
from mpengine.supervisor.decide.names import LOOK_S, TOUCH_S, Lost, Name, Names

if TYPE_CHECKING:
    import zmq


class NameKeeper:
    """`bound` has the sockets that are bound by now, with their endpoints; those without a path have no name."""

    def __init__(
        self,
        directory: RuntimeDir,
        journal: Journal,
        *,
        window_path: str,
        bound: "dict[Name, tuple[zmq.Socket[bytes], str]]",
        says: Whereabouts,
        doors: Doorkeeper | None = None,
        now: float,
    ) -> None:
        """Write the file that `says` where the engine is. Raises RuntimeDirError if that cannot be done."""
        self._directory, self._journal, self._bound, self._doors = directory, journal, bound, doors
        self._says = says
        inside = {name: os.path.join(directory.path, name) for name in (Name.FRAMES, Name.ENDPOINTS)}
        inside[Name.JOURNAL] = journal.path
        sockets_at = {name: path for name, (_, at) in bound.items() if (path := sockets.path_of(at)) is not None}
        self._paths = {Name.DIRECTORY: directory.path, Name.LOCK: directory.lock_path, **inside, **sockets_at}
        # A window elsewhere stands on a disk, which may be stuck: nobody here must wait for it.
        if os.path.dirname(window_path) == directory.path:
            self._paths[Name.WINDOW] = window_path
        self._names = Names()
        self._files: dict[Name, FileId] = {}  # of the sockets, and the file that says where they are
        for name in sockets_at:
            self._note(name)
        try:
            self._write_whereabouts()
        except OSError as error:
            raise RuntimeDirError(f"cannot write {self._paths[Name.ENDPOINTS]}: {error.strerror}") from None
        self._look_at, self._touch_at = now + LOOK_S, now + TOUCH_S
        self.are_ours = True
        """Whether others reach the engine, as far as the last look shows."""

    def look(self, now: float, *, capture: int | None) -> list[Action]:
        """Look if it is time, and make again what has vanished. `capture`: the pid of a capture process that works.

        Raises MpengineError, with what to do, when nobody can reach the engine any more.
        """
        if now < self._look_at:
            return []
        self._look_at = now + LOOK_S
        found = {name: self._find(name) for name in self._paths}
        directory, lock = self._directory.held()
        own = {Name.DIRECTORY: directory, Name.LOCK: lock, Name.JOURNAL: self._journal.file_id, **self._files}
        lost = self._names.looked(own, found, capture=capture)
        if now >= self._touch_at:
            self._touch_at = now + TOUCH_S
            self._touch()
        return [] if lost is None else self._mend(lost)

    def close(self) -> None:
        """Remove the file that says where the engine is, if it is ours."""
        path = self._paths[Name.ENDPOINTS]
        if find(path) == self._files.get(Name.ENDPOINTS):
            with contextlib.suppress(OSError):
                os.unlink(path)

    def _write_whereabouts(self) -> None:
        whereabouts.write(self._directory.path, self._says)
        self._note(Name.ENDPOINTS)

    def _mend(self, lost: Lost) -> list[Action]:
        self.are_ours = False
        what = f"vanished from {self._directory.path}: {', '.join(lost.names)}"
        if lost.is_too_often:
            raise RuntimeDirError(f"{what}, once more; the engine ends. Find out who removes them")
        try:
            self._directory.lock_again()
            self._bind_again(lost)
        except AlreadyRunning:
            raise RuntimeDirError(f"{what}; by now another engine of this name has taken its place") from None
        except MpengineError as error:
            advice = "after a logout, `loginctl enable-linger` keeps it" if Name.DIRECTORY in lost.names else ""
            raise RuntimeDirError("; ".join(filter(None, [what, str(error), advice]))) from None
        self.are_ours = True
        outcome = self._write_again(lost.names)
        actions: list[Action] = []
        if lost.new:
            text = f"{what}. {outcome}"
            actions += report(Error(source="supervisor", code=ErrorCode.NAMES_VANISHED, message=text))
        if {Name.FRAMES, Name.WINDOW} & set(lost.names):
            actions.append(Send(Child.CAPTURE, control.MakeAgain()))
        return actions

    def _bind_again(self, lost: Lost) -> None:
        if self._doors is not None:
            self._doors.catch_up()
        for name, (socket, endpoint) in self._bound.items():
            if name in lost.names:
                sockets.bind(socket, endpoint)
                self._note(name)

    def _write_again(self, names: Sequence[Name]) -> str:
        """Write the lost files again. Returns, in words, what has become of them."""
        outcome = "All is made again, and who was connected still is"
        if Name.ENDPOINTS in names:
            try:
                self._write_whereabouts()
            except OSError as error:  # the next look tries again
                outcome = f"Made again but for the file with the endpoints ({error.strerror})"
        if Name.JOURNAL in names:
            try:
                self._journal.write_again()
            except OSError as error:
                outcome = f"Made again but for the journal ({error.strerror}): a kill may cost results"
        return outcome

    def _note(self, name: Name) -> None:
        found = self._find(name)
        if found is not None:
            self._files[name] = found

    def _find(self, name: Name) -> FileId | None:
        path = self._paths[name]
        return doorkeeper.find_socket(path) if name is Name.FRAMES or name in self._bound else find(path)

    def _touch(self) -> None:
        for path in (os.path.dirname(self._directory.path), *self._paths.values()):
            with contextlib.suppress(OSError):
                os.utime(path, follow_symlinks=False)
