"""The common part of each child's work loop: the control socket, waiting, and the reasons to leave.

The main thread owns the context and all sockets. Signals and other threads wake it through descriptors.
"""

import collections
import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import TypeAlias

import zmq

from mpengine.processes import beginning
from mpengine.processes.beginning import ChildSettings
from mpengine.processes.freed_memory import FreedMemory
from mpengine.shared import control, sockets
from mpengine.shared.messages import UNREADABLE
from mpengine.shared.wake import Wake

Source: TypeAlias = "zmq.Socket[bytes] | int"

# Messages in the socket: the longest, a result, has about 300 kB.
_QUEUED_MESSAGES = 100
_KEPT_MESSAGES, _KEPT_BYTES = 10_000, 4 << 20
# With more than that, a child is to make no more of them if it can.
_MANY_BYTES = 1 << 20
_LINGER_MS = 1000


class ControlChannel:
    """The child's end of the control channel, which never blocks.

    While the socket is full, messages that must arrive (finals, gaps, faults) wait here in order, at most
    `_KEPT_MESSAGES` and `_KEPT_BYTES`; the oldest are dropped beyond that. Beats, levels and interims are dropped
    while any wait.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, identity: str) -> None:
        self.socket = sockets.make(
            context, zmq.DEALER, send_hwm=_QUEUED_MESSAGES, linger_ms=_LINGER_MS, identity=identity
        )
        self.socket.connect(endpoint)
        self._kept: collections.deque[bytes] = collections.deque()
        self._kept_bytes = 0

    @property
    def has_many(self) -> bool:
        """Whether much waits: the supervisor does not keep up."""
        return self._kept_bytes > _MANY_BYTES

    def tell(self, message: control.Up) -> None:
        """Send a message that must arrive."""
        data = control.encode(message)
        self._kept.append(data)
        self._kept_bytes += len(data)
        self.flush()
        while len(self._kept) > _KEPT_MESSAGES or self._kept_bytes > _KEPT_BYTES:
            self._forget_first()

    def mention(self, message: control.Up) -> None:
        """Send a message that may be dropped."""
        if not self._kept:
            sockets.try_send(self.socket, [control.encode(message)])

    def flush(self) -> bool:
        """Send the waiting messages. False: some still wait."""
        while self._kept and sockets.try_send(self.socket, [self._kept[0]]):
            self._forget_first()
        return not self._kept

    def _forget_first(self) -> None:
        self._kept_bytes -= len(self._kept.popleft())

    def receive(self) -> list[control.Down]:
        """The waiting commands."""
        commands = []
        for parts in sockets.receive_all(self.socket):
            try:
                commands.append(control.decode_down.decode(parts[-1]))
            except UNREADABLE:  # sent by another version
                continue
        return commands


class ChildLoop:
    """Waits for sockets, descriptors and deadlines. `leaving` says that the child has to end.

    The supervisor ends a child by SIGTERM. The signal handler sets `leaving` and calls `on_terminate`, which is to end
    a wait. When the parent has ended, the process ends at once.
    """

    def __init__(self, settings: ChildSettings) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.control = ControlChannel(self.context, settings.control, settings.identity)
        self.leaving = False
        self.on_terminate: Callable[[], None] | None = None
        self._freed_memory = FreedMemory(time.monotonic())
        self._watched: dict[Source, tuple[Callable[[], None], int]] = {}
        self._polled: list[tuple[Source, int]] = []  # the same, as zmq_poll wants it: its Poller is Python code
        self._wake = Wake()
        signal.set_wakeup_fd(self._wake.signal_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        self.watch(self._wake.fileno(), self._wake.drain)
        self.watch(beginning.PIPE_FD, self._parent_gone)

    def watch(self, source: Source, ready: Callable[[], None], events: int = zmq.POLLIN) -> None:
        """Call `ready` in `wait` whenever `source` has `events`."""
        if self._watched.get(source) != (ready, events):
            self._watched[source] = (ready, events)
            self._list_polled()

    def unwatch(self, source: Source) -> None:
        """Watch `source` no longer."""
        if self._watched.pop(source, None) is not None:
            self._list_polled()

    def wait(self, timeout_s: float) -> None:
        """Wait for the sources, at most `timeout_s`, and call `ready` of each that has events."""
        self._freed_memory.look(time.monotonic())
        timeout_ms = max(0, min(int(timeout_s * 1000) + 1, 60_000)) if timeout_s > 0 else 0
        for source, _ in zmq.zmq_poll(self._polled, timeout_ms):
            watched = self._watched.get(source)
            if watched is not None:
                watched[0]()

    def close(self) -> None:
        """Send the last messages, at most for a second, and close the control socket and the context."""
        self.control.flush()
        self.context.destroy(linger=_LINGER_MS)
        signal.set_wakeup_fd(-1)
        self._wake.close()

    def _list_polled(self) -> None:
        self._polled = [(source, events) for source, (_, events) in self._watched.items()]

    def _on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        self.leaving = True
        if self.on_terminate is not None:
            self.on_terminate()

    def _parent_gone(self) -> None:
        if not os.read(beginning.PIPE_FD, 64):
            os._exit(1)
