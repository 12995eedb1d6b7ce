"""The files of the run that this supervisor serves: a new run, or one that was killed or has stopped with audio left.

A run goes on if its journal is there and machine boot, source, rate, channels and window are the same. Otherwise a new
run begins, and `abandoned` says how much audio of the old one has no result. A file can be read again from any sample
on: its run needs no window, and goes on after a restart of the machine, too.
"""

import contextlib
import os
import shlex
import time

from mpengine.shared import one_writer, runtime
from mpengine.shared.config import Config
from mpengine.shared.errors import RuntimeDirError
from mpengine.shared.sources import is_path
from mpengine.shared.window_layout import left_in
from mpengine.supervisor.bus.history import History
from mpengine.supervisor.bus.journal import Identity, Journal, Recovered

_ANY_BOOT = "any"


class RunFiles:
    """The journal of a run, and the path of the window that capture writes.

    `recovered` is the content of a journal that goes on; None in a new run. `abandoned` is the message about an old run
    that lost audio; empty if none did. `wanted_device` is `audio.device` as text.
    """

    def __init__(self, config: Config, runtime_path: str, journal_path: str | None = None) -> None:
        """Open the journal of the run that goes on, or make a new one; at `journal_path`, or in the runtime directory.

        Raises RuntimeDirError (disk full, or something else in the place of the journal or the window).
        """
        rate = config.audio.sample_rate
        self.window_path = window_path(config, runtime_path)
        _require_file(self.window_path)
        self.recovered: Recovered | None = None
        self.abandoned = ""
        source, command = config.audio.source, config.audio.command
        self.wanted_device = repr(config.audio.device)
        shape = f"{config.buffer.seconds} s of {config.audio.block_samples} samples"
        is_read_again = config.audio.kind.seekable
        wanted = Identity(
            run=os.urandom(8).hex(),
            machine_boot=_ANY_BOOT if is_read_again else _machine_boot(),
            sample_rate=rate,
            channels=config.audio.channels,
            source=shlex.join(command) if command else os.path.abspath(source) if is_path(source) else source,
            window="" if is_read_again else f"{os.path.abspath(self.window_path)} {shape}",
        )
        path = journal_path or runtime.journal_path(runtime_path)
        bus = config.bus
        history = History(finals=bus.history, age_s=bus.history_s)
        try:
            found = Journal.recover(path, history, now=time.monotonic(), utc_ns=time.time_ns())
        except OSError as error:
            raise RuntimeDirError(f"cannot open the journal {path}: {error.strerror}") from None
        if found is not None:
            self.journal, recovered = found
            if wanted.machine_boot and recovered.identity.continues(wanted):
                self.recovered = recovered
                self.run = recovered.identity.run
                return
            self.journal.close(remove=True)
            left_s = max(0, recovered.captured - recovered.acknowledged) / recovered.identity.sample_rate
            self.abandoned = _abandoned(recovered.identity.run, left_s, "with another audio source, block or buffer")
        else:
            self.abandoned = self._left_without_journal(path)
        self.run = wanted.run
        try:
            self.journal = Journal.create(path, wanted, History(finals=bus.history, age_s=bus.history_s))
        except OSError as error:
            raise RuntimeDirError(f"cannot write the journal {path}: {error.strerror}") from None

    @property
    def remembered(self) -> str:
        """The identity of the device that this run had open; empty if none, or if another one is wanted now."""
        device = self.recovered.device if self.recovered else None
        return device.identity if device is not None and device.wanted == self.wanted_device else ""

    def _left_without_journal(self, path: str) -> str:
        """The message about a window without a readable journal: a window on a disk outlives the machine's restart."""
        left = left_in(self.window_path)
        if os.path.exists(path):
            seconds = "" if left is None else f", {left.seconds:.1f} s,"
            return (
                f"the journal of the run before this one is damaged, or another version wrote it: it cannot be read, "
                f"and the audio{seconds} without a result is lost"
            )
        return "" if left is None else _abandoned(left.run, left.seconds, "without its journal")

    def close(self, *, is_done: bool) -> None:
        """Close the journal. `is_done`: all audio has its result, so no file is needed any more."""
        self.journal.close(remove=is_done)
        if is_done:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.window_path)


def window_path(config: Config, runtime_path: str) -> str:
    """Where the replay window stands."""
    return runtime.window_path(config.buffer.directory or runtime_path, config.engine.name)


def _require_file(path: str) -> None:
    """Raise RuntimeDirError if the window cannot be at `path`. Without a file there, capture makes one."""
    try:
        os.close(one_writer.open_file(path, os.O_RDONLY))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RuntimeDirError(f"cannot open the replay window {path}: {error.strerror}") from None


def _abandoned(run: str, left_s: float, why: str) -> str:
    """The message about a run that does not go on; empty if none of its audio is lost."""
    if not left_s:
        return ""
    return (
        f"the run before this one ({run}) had {left_s:.1f} s of audio without a result; "
        f"it cannot go on after a restart of the machine, or {why}"
    )


def _machine_boot() -> str:
    """The id of the machine's boot; empty on a system without one."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
