"""Sends the window over PUSH: nothing before it is told to, then everything from that sample on, in order.

The main thread owns the socket. A successful send says nothing (what the consumer had not read dies with it), so
nothing is forgotten for having been sent: only an acknowledgement moves the window's tail.
"""

from collections.abc import Callable

import zmq

from mpengine.capture.window import Range, Slot, Window
from mpengine.shared import frames, sockets
from mpengine.shared.frames import Frame

# The window is the buffer; the socket holds about a second.
_QUEUED_S = 0.5
_FRAMES_AT_ONCE = 100


class Pusher:
    """The sending end of the frames socket, and the place in the window up to which it has sent."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        endpoint: str,
        window: Window,
        *,
        run: bytes,
        block_s: float,
        sample_bytes: int,
        hole: Callable[[Range, str], None],
    ) -> None:
        """`hole` is called with samples that the window does not have (any more), and why."""
        self._window = window
        self._run = run
        self._sample_bytes = sample_bytes
        self._hole = hole
        self._expected = 0
        self._has_skipped = False
        hwm = max(4, int(_QUEUED_S / block_s))
        self.socket = sockets.make(context, zmq.PUSH, send_hwm=hwm, linger_ms=1000)
        sockets.bind(self.socket, endpoint)
        self._session: int | None = None
        self._sequence = 0
        self._from_sample = 0
        self._end_mark: int | None = None
        self._end_sent_in: int | None = None

    @property
    def is_blocked(self) -> bool:
        """Whether frames wait for room in the socket: call `pump` when it is writable."""
        if self._session is None:
            return False
        return self._sequence < self._window.head or self._owes_end_mark

    @property
    def _owes_end_mark(self) -> bool:
        return self._end_mark is not None and self._end_sent_in != self._session

    def resume(self, session: int, sample: int) -> None:
        """Send from `sample` on, marked with `session`."""
        self._session = session
        self._sequence = self._window.find(sample)
        self._from_sample = self._expected = sample
        self._has_skipped = False

    def end(self, sample: int) -> None:
        """Mark the end of the stream at `sample`, behind the last frame of every session from now on."""
        self._end_mark = sample

    def pump(self, latest: Slot | None = None) -> None:
        """Send what the socket takes. `latest` is the youngest slot, if it is at hand: it need not be read again."""
        if self._session is None:
            return
        window = self._window
        self._sequence = max(self._sequence, window.tail)
        for _ in range(_FRAMES_AT_ONCE):
            if self._sequence >= window.head:
                self._send_end_mark()
                return
            is_latest = latest is not None and self._sequence == window.head - 1
            slot = latest if is_latest else window.read(self._sequence)
            if slot is None:
                self._has_skipped = True
            elif self._send(slot):
                self._expected = slot.first_sample + len(slot.pcm) // self._sample_bytes
            else:
                return
            self._sequence += 1

    def has_pushed(self, sequence: int) -> bool:
        """Whether the slot `sequence` went out in this session."""
        return self._session is not None and sequence < self._sequence

    def _send(self, slot: Slot) -> bool:
        assert self._session is not None
        if slot.first_sample > self._expected:
            reason = "window_damaged" if self._has_skipped else "window_full"
            self._hole(Range(self._expected, slot.first_sample), reason)
            self._expected = slot.first_sample
        self._has_skipped = False
        skipped = max(0, self._from_sample - slot.first_sample)
        pcm = memoryview(slot.pcm)[skipped * self._sample_bytes :] if skipped else slot.pcm
        if len(pcm) == 0:
            return True
        frame = Frame(self._run, self._session, slot.first_sample + skipped, pcm)
        return sockets.try_send(self.socket, [frames.pack(frame)])

    def _send_end_mark(self) -> None:
        """Once a session: `resume` begins another, which gets the mark again behind its own frames."""
        if self._session is None or self._end_mark is None or not self._owes_end_mark:
            return
        mark = Frame(self._run, self._session, self._end_mark, b"", is_last=True)
        if sockets.try_send(self.socket, [frames.pack(mark)]):
            self._end_sent_in = self._session
