"""Sends the window over PUSH: nothing before the first grant, then everything from the granted sample on, in order.

Where the silence gate has closed, the pusher holds: it sends what is before, then a quiet mark. It skips what the gate
has judged silent, and goes on when the gate opens.

The main thread owns the socket. A successful send proves nothing: frames that streaming has not read are lost with its
process. Therefore only an acknowledgement moves the window's tail.
"""

import functools
from collections.abc import Callable, Iterable, Sequence

import zmq

from mpengine.capture.window import Window
from mpengine.shared import doorkeeper, frames, sockets
from mpengine.shared.doorkeeper import Doorkeeper
from mpengine.shared.frames import Frame
from mpengine.shared.messages import GapReason
from mpengine.shared.ranges import Range, Ranges
from mpengine.shared.window_layout import Slot

# The window is the buffer. The socket holds about half a second of the longest frames.
_QUEUED_S = 0.5
# Waiting blocks go out together, up to this duration: a message costs time, its bytes hardly any.
_JOINED_S = 0.1
_FRAMES_AT_ONCE = 100
# One streaming process, and those of a moment ago.
_MOST_CONNECTIONS = 32
# Knuth's multiplier: the upper bits of its multiples look like numbers by chance.
_SCATTER = 2_654_435_761


class Pusher:
    """The sending end of the frames socket. It remembers up to which slot of the window it has sent."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        endpoint: str,
        window: Window,
        *,
        run: bytes,
        block_s: float,
        sample_bytes: int,
        missing: Callable[[Range, str], None],
        doors: Doorkeeper | None = None,
        supervisor_pid: int = 0,
    ) -> None:
        """`missing` is called with granted samples that the window does not have, and the reason of their gap.

        `doors` ends connections of processes that are not of the engine with this `supervisor_pid`.
        """
        self._window = window
        self._run = run
        self._sample_bytes = sample_bytes
        self._missing = missing
        self._expected = 0
        self._is_damaged = False  # the slot before the next one
        self._skipped = Ranges()  # under this grant
        self._gated = Ranges()  # under all grants
        self._held_at: int | None = None  # where the gate has closed
        self._held_from = 0  # the first slot that is held then
        self._quiet_mark_sent: int | None = None  # the last one of this attempt: its place
        self._most_together = max(1, int(_JOINED_S / block_s))
        hwm = max(4, int(_QUEUED_S / max(_JOINED_S, block_s)))
        self.socket = sockets.make(context, zmq.PUSH, send_hwm=hwm, linger_ms=1000)
        sockets.make_public(self.socket)
        if doors is not None:
            is_ours = functools.partial(doorkeeper.is_of_engine, supervisor_pid=supervisor_pid)
            doors.watch(self.socket, endpoint, _MOST_CONNECTIONS, is_ours=is_ours)
        self._endpoint, self._doors = endpoint, doors
        self._bind()
        self._grant: int | None = None
        self._attempt = self._number = 0  # of the next frame
        self._sequence = 0
        self._from_sample = 0
        self._end_mark: int | None = None
        self._is_end_sent = False

    def make_again(self) -> None:
        """Bind again if the socket's name has vanished. Connections go on. Raises MpengineError."""
        path = sockets.path_of(self._endpoint)
        if path is not None and doorkeeper.find_socket(path) != self._file:
            if self._doors is not None:
                self._doors.catch_up()
            self._bind()

    def _bind(self) -> None:
        sockets.bind(self.socket, self._endpoint)
        path = sockets.path_of(self._endpoint)
        self._file = None if path is None else doorkeeper.find_socket(path)

    def granted(self, grant: int, sample: int, skipped: Iterable[Range] = (), attempt: int = 0) -> None:
        """Send from `sample` on, in frames with the numbers `grant` and `attempt`; of slots in `skipped`, nothing."""
        is_again, self._grant = grant == self._grant, grant
        self._attempt, self._number = attempt, 0
        self._is_end_sent, self._quiet_mark_sent = False, None
        if is_again:
            self._change_turn()
        self._skipped = Ranges([*skipped, *self._gated])
        self._sequence = self._window.find(sample)
        self._from_sample = self._expected = sample
        self._is_damaged = False

    def hold(self, sample: int) -> None:
        """The gate has closed: send nothing from `sample` on, before `release`."""
        self._held_at, self._held_from = sample, self._window.find(sample)

    def gated(self, silent: Range) -> None:
        """The gate has judged these samples silent: they are not sent, under no grant."""
        self._gated.forget_before(self._window.first_sample)
        self._gated.join(*silent)
        self._skipped.forget_before(self._expected)
        self._skipped.join(*silent)
        self._held_from = self._window.find(silent.end)

    def release(self) -> None:
        """The gate is open: send what has waited."""
        self._held_at = None

    def end(self, sample: int | None) -> None:
        """Send an end mark at `sample` after the last frame of this grant and of each later one. None: send none."""
        self._end_mark = sample
        self._is_end_sent = False

    def repeat_end(self) -> None:
        """Send the end mark again with the next `pump`: it may have gone astray, and no frame follows to show that."""
        self._is_end_sent = False

    def pump(self, latest: Sequence[Slot] = ()) -> bool:
        """Send as many frames as the socket takes. True: call again when the socket is writable.

        `latest`: the youngest slots, if the caller has them; they are not read from the window then.
        """
        if self._grant is None:
            return False
        window = self._window
        self._sequence = max(self._sequence, window.tail)
        for _ in range(_FRAMES_AT_ONCE):
            if self._sequence >= self._stop:
                return not self._send_mark()
            if not self._send_next(latest):
                break
        return True

    def has_pushed(self, sequence: int) -> bool:
        """Whether the slot `sequence` has been sent under this grant."""
        return self._grant is not None and sequence < self._sequence

    def _change_turn(self) -> None:
        """Send some empty frames, stale ones, because this grant was given before: frames have gone astray.

        PUSH serves its readers in turn. If each attempt sent as many frames as the one before, then the first one would
        go to the same reader each time, and that is the wrong one.
        """
        stale = frames.pack(Frame(self._run, self._grant or 0, 0, b"", attempt=self._attempt - 1))
        for _ in range(self._attempt * _SCATTER >> 30 & 3):
            sockets.try_send(self.socket, [stale])

    @property
    def has_pushed_all(self) -> bool:
        """Whether everything that may be sent has been, under this grant."""
        return self._grant is not None and self._sequence >= self._stop

    @property
    def _stop(self) -> int:
        """The first slot that may not be sent yet."""
        head = self._window.head
        return head if self._held_at is None else min(head, self._held_from)

    def _send_next(self, latest: Sequence[Slot]) -> bool:
        """Send the next adjoining slots as one frame. False: the socket has no room for it."""
        together, sequence = self._next_together(latest)
        if together:
            first_sample = max(together[0].first_sample, self._from_sample)
            self._expect(first_sample)
            pcm: bytes | memoryview = b"".join([slot.pcm for slot in together])
            before = first_sample - together[0].first_sample
            if before:
                pcm = memoryview(pcm)[before * self._sample_bytes :]
            # A damaged slot may have misled `find` to slots that end before the granted sample: `pcm` is empty then.
            if len(pcm) and not self._send(first_sample, pcm):
                return False
            self._expected = first_sample + len(pcm) // self._sample_bytes
        self._sequence = sequence
        return True

    def _next_together(self, latest: Sequence[Slot]) -> tuple[list[Slot], int]:
        """The next slots without a gap between them, and the sequence after them.

        No slots: the next one is damaged, or not sent.
        """
        window, sequence, stop, end = self._window, self._sequence, self._stop, 0
        first_at_hand = window.head - len(latest)
        together: list[Slot] = []
        while sequence < stop and len(together) < self._most_together:
            slot = latest[sequence - first_at_hand] if sequence >= first_at_hand else window.read(sequence)
            if slot is None and not together:
                self._is_damaged = True
                return together, sequence + 1
            if slot is None or (together and slot.first_sample != end):
                break
            slot_end = slot.first_sample + len(slot.pcm) // self._sample_bytes
            if self._skipped and self._skipped.end_of(slot.first_sample) >= slot_end:
                return together, sequence if together else self._skip(sequence, slot.first_sample)
            together.append(slot)
            end = slot_end
            sequence += 1
        return together, sequence

    def _skip(self, sequence: int, sample: int) -> int:
        """Send nothing of the slots that are skipped with `sample`, from `sequence` on. Returns the sequence after."""
        skipped = self._skipped.around(sample)
        assert skipped is not None
        self._expect(skipped.first)
        self._expected = max(self._expected, skipped.end)
        return max(sequence + 1, self._window.find(skipped.end))

    def _expect(self, sample: int) -> None:
        """The next sample is `sample`: tell of those that are missing before it."""
        if sample > self._expected:
            reason = GapReason.WINDOW_DAMAGED if self._is_damaged else GapReason.WINDOW_FULL
            for missing in self._skipped.cut(self._expected, sample):
                self._missing(missing, reason)
            self._expected = sample
        self._is_damaged = False

    def _send_mark(self) -> bool:
        """Send the mark that is due, if it is not sent. False: the socket has no room for it."""
        if self._held_at is not None:
            if self._quiet_mark_sent != self._held_at:
                if not self._send(self._held_at, b"", is_quiet=True):
                    return False
                self._quiet_mark_sent = self._held_at
        elif self._end_mark is not None and not self._is_end_sent:
            self._is_end_sent = self._send(self._end_mark, b"", is_last=True)
            return self._is_end_sent
        return True

    def _send(
        self, first_sample: int, pcm: bytes | memoryview, *, is_last: bool = False, is_quiet: bool = False
    ) -> bool:
        """Send the next frame of this attempt. False: the socket has no room for it."""
        assert self._grant is not None
        frame = Frame(self._run, self._grant, first_sample, pcm, is_last, is_quiet, self._attempt, self._number)
        if not sockets.try_send(self.socket, [frames.pack(frame)]):
            return False
        self._number += 1
        return True
