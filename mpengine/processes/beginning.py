"""What a child is told when it is spawned, and how it begins: the parent's pipe, its death, signals, errors.

The supervisor writes the payload into a pipe and keeps the write end open, which nobody else holds: the payload may
hold secrets (argv and the environment can be read by others), and the end of the pipe is the end of the parent.
"""

import ctypes
import faulthandler
import os
import signal
import sys
from typing import TypeVar

import msgspec

from mpengine.shared.config_tables import AudioConfig, BufferConfig, decode_secret, encode_secret

# The directory in which `mpengine` is found.
PACKAGE_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PIPE_FD = 3
LISTENER_FD = 4

_LENGTH_BYTES = 4
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # prctl(2)


class Parent(msgspec.Struct, frozen=True, kw_only=True):
    """Whose child it is, and with whom it ends. All that the zygote is told."""

    parent_pid: int
    dies_with_thread: bool = True


class ChildSettings(Parent, frozen=True, kw_only=True):
    """What every child is told. `identity` is ``NAME.INCARNATION`` on the control channel."""

    identity: str
    control: str
    log_level: str
    log_format: str = "text"


class CaptureSettings(ChildSettings, frozen=True, kw_only=True):
    """For capture. `run`: id of the sample clock, 16 hex digits.

    `lost_reason`: why there may be a gap before it. `captured`: where the clock stood, should the window not know.
    """

    run: str
    frames: str
    audio: AudioConfig
    buffer: BufferConfig
    window_path: str
    open_device: bool
    lost_reason: str = "capture_restart"
    captured: int = 0


class StreamingSettings(ChildSettings, frozen=True, kw_only=True):
    """For streaming. `remote`: the recogniser's table, as `mpengine.dialects` has packed it.

    `pace`: times real time at which waiting audio is sent, None without limit.

    `first_connection`: number of its first connection. `sent_before`: samples before it went out in an earlier life.
    `expects_audio`: see `control.Expect`.
    """

    run: str
    frames: str
    remote: msgspec.Raw
    audio: AudioConfig
    first_connection: int
    pace: float | None
    sent_before: int = 0
    expects_audio: bool = True


class RecogniserSettings(ChildSettings, frozen=True, kw_only=True):
    """For the local recogniser, which accepts on the descriptor `LISTENER_FD`."""

    token: str


_Kind = TypeVar("_Kind", bound=Parent)


def payload(settings: Parent) -> bytes:
    """`settings` as they go through the pipe."""
    body = msgspec.msgpack.encode(settings, enc_hook=encode_secret)
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


def receive(kind: type[_Kind], name: str) -> _Kind:
    """Begin as the child `name`: read the payload, arrange to die with the parent, and set up signals.

    Ends the process when the parent is gone already. SIGINT is for the supervisor alone (a terminal sends it to the
    whole group); it was blocked by the spawn, so that it cannot hit the imports.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # a log line must not stop us where `stty tostop` is set
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    faulthandler.enable()
    os.set_inheritable(PIPE_FD, False)
    length = int.from_bytes(_read_exactly(_LENGTH_BYTES), "little")
    settings = msgspec.msgpack.decode(_read_exactly(length), type=kind, dec_hook=decode_secret)
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_NAME, f"mpe-{name}".encode())  # in ps and top: all are forked from one command
        if settings.dies_with_thread:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != settings.parent_pid:
        raise SystemExit(1)
    return settings


def silence_native_stderr() -> None:
    """Give Python's standard error a descriptor of its own, and send descriptor 2 to /dev/null.

    The C code of ALSA, JACK and PortAudio writes to descriptor 2 whenever a device is probed or goes away, and no
    option silences all of it. Tracebacks, logs and faulthandler's dumps still reach the terminal.
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
