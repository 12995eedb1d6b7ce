"""The sound server's own sources, and which of them feeds this process: PulseAudio, or PipeWire by its protocol.

ALSA shows a sound server as one device, "pulse" or "default". Only the server knows the microphones behind it, and it
moves a stream to another one without a word. The library libpulse is there wherever ALSA's plugin for the server is.

Whoever makes a `SoundServer` owns it; all calls come from one thread. Nothing starts a thread, and nothing hangs:
libpulse works only within the calls of this module, each of which has a deadline.
"""

import ctypes
import os
import select
import time
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_int, c_short, c_uint8, c_uint32, c_uint64, c_ulong, c_void_p
from typing import Any, NamedTuple

from mpengine.capture.inventory import ServerSource
from mpengine.shared.errors import DeviceError

_LIBRARY = "libpulse.so.0"
ANSWER_S = 1.0
"""How long an answer of the server may take."""
_NOTHING = 0xFFFFFFFF
_NO_AUTOSPAWN = 1
_READY, _FAILED, _TERMINATED = 4, 5, 6
_BRIEFLY_S = 0.01
_PROCESS_ID = b"application.process.id"
_SOURCE_OUTPUTS = 0x0008
# PulseAudio tells each change, and is asked again after this time only to be sure. PipeWire may not tell all.
_ASK_AGAIN_S = 30.0
_ASK_PIPEWIRE_S = 1.0


class ServerError(Exception):
    """The sound server cannot be asked. The text says where it was looked for."""


class ServerHangs(ServerError):
    """The sound server is there and does not answer."""


def check() -> None:
    """Raise DeviceError where the sound server hangs. PortAudio's start would wait as long as it does."""
    try:
        server = SoundServer()
    except ServerError:
        return
    try:
        server.sources()
    except ServerHangs as error:
        raise DeviceError(f"{error}: restart it") from None
    except ServerError:
        pass
    finally:
        server.close()


class _Format(ctypes.Structure):
    _fields_ = (("format", c_int), ("rate_hz", c_uint32), ("channels", c_uint8))


class _Map(ctypes.Structure):
    _fields_ = (("channels", c_uint8), ("positions", c_int * 32))


class _Volume(ctypes.Structure):
    _fields_ = (("channels", c_uint8), ("values", c_uint32 * 32))


class _Server(ctypes.Structure):  # pa_server_info
    _fields_ = (
        ("user", c_char_p),
        ("host", c_char_p),
        ("version", c_char_p),
        ("name", c_char_p),
        ("format", _Format),
        ("default_sink", c_char_p),
        ("default_source", c_char_p),
    )


class _Source(ctypes.Structure):  # pa_source_info, up to the last part that is needed
    _fields_ = (
        ("name", c_char_p),
        ("index", c_uint32),
        ("description", c_char_p),
        ("format", _Format),
        ("map", _Map),
        ("module", c_uint32),
        ("volume", _Volume),
        ("mute", c_int),
        ("monitor_of", c_uint32),
        ("monitor_of_name", c_char_p),
        ("latency_us", c_uint64),
        ("driver", c_char_p),
        ("flags", c_int),
        ("properties", c_void_p),
    )


class _Output(ctypes.Structure):  # pa_source_output_info: a stream that records
    _fields_ = (
        ("index", c_uint32),
        ("name", c_char_p),
        ("module", c_uint32),
        ("client", c_uint32),
        ("source", c_uint32),
        ("format", _Format),
        ("map", _Map),
        ("buffer_us", c_uint64),
        ("source_us", c_uint64),
        ("resampler", c_char_p),
        ("driver", c_char_p),
        ("properties", c_void_p),
    )


class _Client(ctypes.Structure):  # pa_client_info
    _fields_ = (
        ("index", c_uint32),
        ("name", c_char_p),
        ("module", c_uint32),
        ("driver", c_char_p),
        ("properties", c_void_p),
    )


class _PollFd(ctypes.Structure):
    _fields_ = (("fd", c_int), ("events", c_short), ("revents", c_short))


_OnPoll = ctypes.CFUNCTYPE(c_int, POINTER(_PollFd), c_ulong, c_int, c_void_p)
_OnServer = ctypes.CFUNCTYPE(None, c_void_p, POINTER(_Server), c_void_p)
_OnSource = ctypes.CFUNCTYPE(None, c_void_p, POINTER(_Source), c_int, c_void_p)
_OnClient = ctypes.CFUNCTYPE(None, c_void_p, POINTER(_Client), c_int, c_void_p)
_OnOutput = ctypes.CFUNCTYPE(None, c_void_p, POINTER(_Output), c_int, c_void_p)
_OnEvent = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_uint32, c_void_p)

# Results and arguments of the functions that are used; all pointers are opaque.
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "pa_mainloop_new": (c_void_p, ()),
    "pa_mainloop_free": (None, (c_void_p,)),
    "pa_mainloop_set_poll_func": (None, (c_void_p, _OnPoll, c_void_p)),
    "pa_mainloop_get_api": (c_void_p, (c_void_p,)),
    "pa_mainloop_prepare": (c_int, (c_void_p, c_int)),
    "pa_mainloop_poll": (c_int, (c_void_p,)),
    "pa_mainloop_dispatch": (c_int, (c_void_p,)),
    "pa_context_new": (c_void_p, (c_void_p, c_char_p)),
    "pa_context_connect": (c_int, (c_void_p, c_char_p, c_int, c_void_p)),
    "pa_context_get_state": (c_int, (c_void_p,)),
    "pa_context_disconnect": (None, (c_void_p,)),
    "pa_context_unref": (None, (c_void_p,)),
    "pa_context_get_server_info": (c_void_p, (c_void_p, _OnServer, c_void_p)),
    "pa_context_get_source_info_list": (c_void_p, (c_void_p, _OnSource, c_void_p)),
    "pa_context_get_source_info_by_index": (c_void_p, (c_void_p, c_uint32, _OnSource, c_void_p)),
    "pa_context_get_client_info_list": (c_void_p, (c_void_p, _OnClient, c_void_p)),
    "pa_context_get_source_output_info_list": (c_void_p, (c_void_p, _OnOutput, c_void_p)),
    "pa_context_set_subscribe_callback": (None, (c_void_p, _OnEvent, c_void_p)),
    "pa_context_subscribe": (c_void_p, (c_void_p, c_int, c_void_p, c_void_p)),
    "pa_operation_unref": (None, (c_void_p,)),
    "pa_proplist_gets": (c_char_p, (c_void_p, c_char_p)),
}


class _Info(NamedTuple):
    """What the server says of itself."""

    name: str
    default_source: str


class SoundServer:
    """One connection to the sound server of this user."""

    def __init__(self) -> None:
        """Begin to connect. Raises ServerError where the library is missing."""
        self._pulse = _library()
        self._poll = _libc_poll()
        self._descriptors: list[int] = []  # that libpulse waited for last
        self._waiting = select.poll()
        self._on_poll = _OnPoll(self._wait)
        self._loop = self._pulse.pa_mainloop_new()
        self._pulse.pa_mainloop_set_poll_func(self._loop, self._on_poll, None)
        self._context = self._pulse.pa_context_new(self._pulse.pa_mainloop_get_api(self._loop), b"mpengine")
        self._pulse.pa_context_connect(self._context, None, _NO_AUTOSPAWN, None)
        self._pid = str(os.getpid()).encode()
        self._feeding: str | None = None
        self._feeding_index = _NOTHING
        self._found_index = _NOTHING
        self._own_clients: set[int] = set()
        self._is_watching = self._has_news = self._is_asking = False
        self._info: _Info | None = None
        self._ask_at = 0.0
        # libpulse keeps no reference to Python's functions, so they live as long as the connection.
        self._on_server = _OnServer(self._about)
        self._on_event = _OnEvent(self._event)
        self._on_client = _OnClient(self._client)
        self._on_output = _OnOutput(self._output)
        self._on_feeding_source = _OnSource(self._feeding_source)
        self._answers: list[Any] = []

    def close(self) -> None:
        """Disconnect. The object is of no use after this."""
        if self._context:
            self._pulse.pa_context_disconnect(self._context)
            self._pulse.pa_context_unref(self._context)
            self._pulse.pa_mainloop_free(self._loop)
        self._descriptors, self._waiting = [], select.poll()
        self._context = self._loop = None

    def sources(self) -> list[ServerSource]:
        """All sources, monitors too. Raises ServerError when the server does not answer within `ANSWER_S`."""
        deadline = time.monotonic() + ANSWER_S
        self._connected(deadline)
        info = self._ask_info(deadline)
        found: list[ServerSource] = []

        def one(entry: Any) -> None:
            found.append(self._source(entry, info.default_source))

        self._ask_list("pa_context_get_source_info_list", _OnSource, one, deadline)
        return found

    def has_news(self) -> bool:
        """Whether the server has said something that `feeding` would take. This costs 1 µs."""
        return bool(self._waiting.poll(0))

    def feeding(self) -> str | None:
        """The source that feeds the stream of this process now; None while that is unknown.

        Call it about once a second, and when there is news: it takes what the server has said since, and waits for an
        answer at most 10 ms, if there was news. Raises ServerError when the connection has ended.
        """
        self._turn(0.0)
        state = self._pulse.pa_context_get_state(self._context)
        if state in (_FAILED, _TERMINATED):
            raise ServerError(_unreachable())
        if state != _READY:
            return None
        if not self._is_watching:
            self._watch()
        now = time.monotonic()
        if (self._has_news or now >= self._ask_at) and not self._is_asking:
            self._has_news, self._is_asking, self._found_index = False, True, _NOTHING
            is_pipewire = self._info is None or "pipewire" in self._info.name.lower()
            self._ask_at = now + (_ASK_PIPEWIRE_S if is_pipewire else _ASK_AGAIN_S)
            self._own_clients.clear()
            self._forget(self._pulse.pa_context_get_client_info_list(self._context, self._on_client, None))
            self._forget(self._pulse.pa_context_get_source_output_info_list(self._context, self._on_output, None))
            # An answer takes about 1 ms. What comes later is taken at the next call.
            while self._is_asking and (left_s := now + _BRIEFLY_S - time.monotonic()) > 0:
                self._turn(left_s)
        return self._feeding

    def settle(self, limit_s: float) -> None:
        """Wait until it is known what feeds this process, or that no source of this server does. Raises ServerError."""
        deadline = time.monotonic() + limit_s
        while self.feeding() is None and (self._is_asking or not self._is_watching):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            self._turn(left_s)

    # Inside

    def _watch(self) -> None:
        """Have the server tell when a recording stream has come, gone or moved."""
        self._is_watching = self._has_news = True
        self._pulse.pa_context_set_subscribe_callback(self._context, self._on_event, None)
        self._forget(self._pulse.pa_context_subscribe(self._context, _SOURCE_OUTPUTS, None, None))
        self._forget(self._pulse.pa_context_get_server_info(self._context, self._on_server, None))

    def _about(self, _context: int, entry: Any, _data: int) -> None:
        server = entry.contents if entry else _Server()
        self._info = _Info(_decoded(server.name), _decoded(server.default_source))

    def _event(self, _context: int, _kind: int, _index: int, _data: int) -> None:
        self._has_news = True

    def _client(self, _context: int, entry: Any, end: int, _data: int) -> None:
        """One client, or the end of their list. The server answers in order: the streams come after the clients."""
        if end == 0 and self._property(entry.contents.properties, _PROCESS_ID) == self._pid:
            self._own_clients.add(entry.contents.index)

    def _output(self, _context: int, entry: Any, end: int, _data: int) -> None:
        """One recording stream, or the end of their list."""
        if end == 0:
            output = entry.contents
            # A stream that speaks PipeWire's own protocol does not name its process. Its client does.
            of_process = self._property(output.properties, _PROCESS_ID)
            if of_process == self._pid or (not of_process and output.client in self._own_clients):
                self._found_index = output.source
            return
        self._is_asking = False
        if self._found_index == _NOTHING:
            self._feeding, self._feeding_index = None, _NOTHING
        elif self._found_index != self._feeding_index:
            self._is_asking = True
            ask = self._pulse.pa_context_get_source_info_by_index
            self._forget(ask(self._context, self._found_index, self._on_feeding_source, None))

    def _feeding_source(self, _context: int, entry: Any, end: int, _data: int) -> None:
        if end == 0:
            self._feeding, self._feeding_index = _decoded(entry.contents.name), entry.contents.index
            return
        self._is_asking = False
        if end < 0:  # it has gone meanwhile
            self._has_news = True

    def _wait(self, entries: Any, count: int, limit_ms: int, _data: int) -> int:
        """poll(2) for libpulse, which notes the descriptors. An interrupted one is one that has seen nothing."""
        descriptors = [entries[number].fd for number in range(count)]
        if descriptors != self._descriptors:
            self._descriptors, self._waiting = descriptors, select.poll()
            for descriptor in descriptors:
                self._waiting.register(descriptor, select.POLLIN)
        ready: int = self._poll(entries, count, limit_ms)
        return max(0, ready)

    def _turn(self, limit_s: float) -> None:
        """Let libpulse work until nothing is left to do, and wait at most `limit_s` for the first thing."""
        limit_us = int(limit_s * 1e6)
        while self._pulse.pa_mainloop_prepare(self._loop, limit_us) >= 0:
            if self._pulse.pa_mainloop_poll(self._loop) < 0 or self._pulse.pa_mainloop_dispatch(self._loop) <= 0:
                return
            limit_us = 0

    def _connected(self, deadline: float) -> None:
        self._until(lambda: self._pulse.pa_context_get_state(self._context) == _READY, deadline)

    def _until(self, is_done: Callable[[], bool], deadline: float) -> None:
        while not is_done():
            left_s = deadline - time.monotonic()
            if self._pulse.pa_context_get_state(self._context) in (_FAILED, _TERMINATED):
                raise ServerHangs(_unreachable("does not answer")) if _is_crowded() else ServerError(_unreachable())
            if left_s <= 0:
                raise ServerHangs(_unreachable("does not answer"))
            self._turn(left_s)

    def _ask_info(self, deadline: float) -> _Info:
        self._info = None
        self._forget(self._pulse.pa_context_get_server_info(self._context, self._on_server, None))
        self._until(lambda: self._info is not None, deadline)
        return self._info or _Info("", "")

    def _ask_list(self, function: str, kind: Any, take: Callable[[Any], None], deadline: float) -> None:
        ends: list[int] = []

        def answer(_context: int, entry: Any, end: int, _data: int) -> None:
            if end == 0:
                take(entry.contents)
            else:
                ends.append(end)

        callback = kind(answer)
        self._answers.append(callback)  # a late answer must still find it
        self._forget(getattr(self._pulse, function)(self._context, callback, None))
        self._until(lambda: bool(ends), deadline)

    def _source(self, entry: Any, default: str) -> ServerSource:
        name = _decoded(entry.name)
        card = _decoded(self._property(entry.properties, b"alsa.card"))
        return ServerSource(
            name=name,
            description=_decoded(entry.description) or name,
            channels=entry.format.channels,
            rate_hz=entry.format.rate_hz,
            is_monitor=entry.monitor_of != _NOTHING,
            is_default=name == default,
            card=int(card) if card.isdigit() else None,
        )

    def _property(self, properties: int | None, key: bytes) -> bytes:
        return (self._pulse.pa_proplist_gets(properties, key) or b"") if properties else b""

    def _forget(self, operation: int | None) -> None:
        if operation:
            self._pulse.pa_operation_unref(operation)


def _library() -> Any:
    try:
        pulse = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise ServerError(f"no sound server was asked, because {_LIBRARY} is not installed") from None
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(pulse, name)
        function.restype, function.argtypes = result, arguments
    return pulse


def _libc_poll() -> Any:
    poll = ctypes.CDLL(None).poll
    poll.restype, poll.argtypes = c_int, (POINTER(_PollFd), c_ulong, c_int)
    return poll


def _decoded(text: bytes | None) -> str:
    return (text or b"").decode("utf-8", "backslashreplace")


def _unreachable(what: str = "cannot be reached") -> str:
    """Where the server was looked for."""
    if server := os.environ.get("PULSE_SERVER"):
        return f"the sound server at PULSE_SERVER={server} {what}"
    if path := _socket_path():
        return f"the sound server at {path} {what}"
    return f"the sound server {what}: XDG_RUNTIME_DIR, which a session of this user sets, is not set"


def _socket_path() -> str:
    """The server's socket, as libpulse finds it; empty if it is none of this machine, or not known."""
    if server := os.environ.get("PULSE_SERVER"):
        path = server.removeprefix("unix:")
        return path if path.startswith("/") else ""
    if folder := os.environ.get("PULSE_RUNTIME_PATH"):
        return f"{folder}/native"
    if folder := os.environ.get("XDG_RUNTIME_DIR"):
        return f"{folder}/pulse/native"
    return ""


def _is_crowded() -> bool:
    """Whether connections wait at the server's socket until there is no room for one more: a server that hangs.

    Each connection that was given up waits there, too. To libpulse a socket without room is like one of no server.
    """
    import socket  # noqa: PLC0415  hardly ever needed

    path = _socket_path()
    if not path:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except BlockingIOError:
            return True
        except OSError:
            pass
    return False
