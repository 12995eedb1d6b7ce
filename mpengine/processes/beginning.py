"""A child's settings, and how a child begins: the parent's pipe and its end, signals, standard error.

The supervisor writes the settings into a pipe: they may hold secrets, and other users can read arguments and the
environment. Only the supervisor has the write end, and keeps it open: when the pipe closes, the parent has ended.
"""

import contextlib
import ctypes
import faulthandler
import os
import resource
import signal
import sys
from typing import TypeVar

import msgspec

from mpengine.shared.config_tables import AudioConfig, BufferConfig, decode_secret, encode_secret

# The directory that has the package `mpengine`.
PACKAGE_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PIPE_FD = 3
LISTENER_FD = 4
NOTES_FD = 4
"""Capture has no listener. See `CaptureSettings.has_notes`."""

_LENGTH_BYTES = 4
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # prctl(2)


class Parent(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the zygote: the parent, with which it ends."""

    parent_pid: int
    dies_with_thread: bool = True


class ChildSettings(Parent, frozen=True, kw_only=True):
    """The settings of every child. `identity` is its ``NAME.TOKEN`` on the control channel; nobody else is told."""

    identity: str
    control: str
    log_level: str
    log_format: str = "text"


class CaptureSettings(ChildSettings, frozen=True, kw_only=True):
    """The settings of capture."""

    run: str
    """The id of the sample clock, 16 hex digits."""
    frames: str
    """The endpoint of the frames socket."""
    audio: AudioConfig
    buffer: BufferConfig
    window_path: str
    open_device: bool
    lost_reason: str = "capture_restart"
    """The reason of a gap before its first sample."""
    captured: int = 0
    """The sample at which the clock stood, used if the window has less."""
    captured_before: int = 0
    """The end of all samples that were captured."""
    remembered: str = ""
    """The identity of the device that this run had open last, see `control.DeviceOpened`; empty: none yet."""
    waits_for_device: bool = False
    """Whether capture waits inside for a device that is missing, see `control.DeviceLost`; otherwise it ends. It always
    waits for a device that this process has had open."""
    hang_over_s: float = 1.0
    """How long the silence gate stays open after the last sound, where `audio.gate` is on."""
    supervisor_pid: int = 0
    """The supervisor need not be the parent: see the zygote."""
    has_notes: bool = False
    """Whether the descriptor `NOTES_FD` has what one capture process leaves for the next one: its source is a pipe."""


class StreamingSettings(ChildSettings, frozen=True, kw_only=True):
    """The settings of streaming. `run`, `frames` and `audio` are those of capture."""

    run: str
    frames: str
    remote: msgspec.Raw
    """The recogniser's table, packed by `mpengine.dialects`."""
    audio: AudioConfig
    first_connection: int
    """The number of its first connection."""
    pace: float | None
    """How fast waiting audio is sent, in times real time; None: without limit."""
    sent_before: int = 0
    """Samples before it were sent by an earlier process."""
    expects_audio: bool = True
    """See `control.Expect`."""
    refusals_end: bool = True
    """Whether a refusal may end the process."""
    secret_path: str | None = None
    """The file that the recogniser's secret was read from, if any: it may be mended there."""


class RecogniserSettings(ChildSettings, frozen=True, kw_only=True):
    """The settings of the local recogniser, which accepts on the descriptor `LISTENER_FD`."""

    token: str


_Kind = TypeVar("_Kind", bound=Parent)


def payload(settings: Parent) -> bytes:
    """The bytes of `settings` for the pipe."""
    body = msgspec.msgpack.encode(settings, enc_hook=encode_secret)
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


def leave_no_core() -> None:
    """From now on, no core file of this process and its children has a secret in it.

    The limit alone is not enough: Linux ignores it where cores go to a program. The filter leaves all memory of the
    process's own out of them. (PR_SET_DUMPABLE would do the same, but the user could not look at the process any more.)
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # not Linux, or a sandbox without /proc
        fd = os.open("/proc/self/coredump_filter", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"0")
        finally:
            os.close(fd)


def receive(kind: type[_Kind], name: str) -> _Kind:
    """Begin as the child `name`: read the settings, arrange to die with the parent, and set up signals.

    Ends the process if the parent has ended. SIGINT, which a terminal sends to the whole group, is for the supervisor
    alone. The spawn has blocked it, so that it cannot end the imports.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # with `stty tostop`, a log line must not stop the process
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    faulthandler.enable()
    leave_no_core()
    os.set_inheritable(PIPE_FD, False)
    length = int.from_bytes(_read_exactly(_LENGTH_BYTES), "little")
    settings = msgspec.msgpack.decode(_read_exactly(length), type=kind, dec_hook=decode_secret)
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_NAME, f"mpe-{name}".encode())  # for ps and top
        if settings.dies_with_thread:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != settings.parent_pid:
        raise SystemExit(1)
    return settings


def silence_native_stderr() -> None:
    """Give Python's standard error a descriptor of its own, and send descriptor 2 to /dev/null.

    The C code of ALSA, JACK and PortAudio writes to descriptor 2 when a device is probed or goes away, and no option
    silences all of it. Tracebacks, logs and faulthandler's dumps still reach the terminal.
    """
    saved = os.dup(2)
    sys.stderr = os.fdopen(saved, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    faulthandler.enable(file=saved)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)


def _read_exactly(length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = os.read(PIPE_FD, length - len(data))
        if not piece:
            raise SystemExit(1)
        data += piece
    return data
