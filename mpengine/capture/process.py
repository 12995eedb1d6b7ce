"""The capture process's work loop: source -> sample clock -> window -> PUSH, and the supervisor's commands.

The main thread owns every socket, the window and the source. Capture reads a microphone even when nobody takes the
audio. The audio stays in the window then; a full window drops the oldest blocks, which are reported as a gap. A device
that is lost is opened again by this process, as soon as it is back.
"""

import importlib
import logging
import os
import time
from collections.abc import Callable, Sequence

import zmq

from mpengine.capture.anchoring import Anchoring
from mpengine.capture.clock import Placed, SampleClock
from mpengine.capture.device_wait import DeviceWait
from mpengine.capture.gating import Gating
from mpengine.capture.level import LevelMeter
from mpengine.capture.pusher import Pusher
from mpengine.capture.source import Source, SourceInfo
from mpengine.capture.window import Losses, Window
from mpengine.processes.beginning import NOTES_FD, CaptureSettings
from mpengine.processes.loop import ChildLoop
from mpengine.shared import control
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.door import Stranger
from mpengine.shared.doorkeeper import Doorkeeper
from mpengine.shared.errors import DeviceError, ExitCode, MpengineError
from mpengine.shared.logs import Event
from mpengine.shared.messages import ErrorCode, GapReason
from mpengine.shared.ranges import Range
from mpengine.shared.window_layout import Slot

log = logging.getLogger(__name__)

_BEAT_S = 1.0
_EARLY_S = 0.2
_LEVELS_PER_S = 4
_LONGEST_WAIT_S = 1.0
_BEHIND_WAIT_S = 0.02
# A file does not wait any longer for the results of a full window, all of which has been sent.
_AWAITS_RESULTS_S = 10.0
_UNLIMITED = 1 << 30
_CODES = {ExitCode.DEVICE: ErrorCode.DEVICE, ExitCode.CONFIG: ErrorCode.CONFIG}


class Capture:
    """One life of the capture process."""

    def __init__(self, settings: CaptureSettings, loop: ChildLoop, source: Source) -> None:
        """Open the window as the process before left it, and bind PUSH. Raises WindowError, ConfigError."""
        audio = settings.audio
        self._loop = loop
        self._control = loop.control
        self._source = source
        self._waits, self._is_seekable, self._ends = audio.kind
        self._sample_bytes = sample_bytes = 2 * audio.channels
        run = bytes.fromhex(settings.run)
        self._window = Window(
            settings.window_path,
            run=run,
            sample_rate=audio.sample_rate,
            channels=audio.channels,
            block_samples=audio.block_samples,
            seconds=settings.buffer.seconds,
        )
        self._audio = audio
        self._clock = self._clock_from(max(self._window.end_sample, settings.captured))
        self._doors = Doorkeeper(loop.context)
        self._pusher = Pusher(
            loop.context,
            settings.frames,
            self._window,
            run=run,
            block_s=audio.block_samples / audio.sample_rate,
            sample_bytes=sample_bytes,
            missing=self._tell_lost,
            doors=self._doors,
            supervisor_pid=settings.supervisor_pid,
        )
        self._gating = Gating(audio, hang_over_s=settings.hang_over_s, pusher=self._pusher, channel=loop.control)
        self._meter = LevelMeter(audio.sample_rate * audio.channels // _LEVELS_PER_S)
        self._is_open = False
        self._opened: SourceInfo | None = None  # until the first block comes: only then the device delivers
        self._device_wait = DeviceWait(loop, source, self._try_to_open)
        self._fed_by: str | None = None
        source.remember(settings.remembered)
        self._waits_for_device = settings.waits_for_device
        self._is_behind = False  # whether the disk was, at the last look
        self._awaits_room = False  # whether the frames socket was full at the last send
        self._open_wanted = settings.open_device
        self._awaits_first = False  # the first audio since the device was opened
        self._has_ended = False
        self._captured_before = settings.captured_before  # a file that is read again gave audio up to here
        self._finishes = False
        self._lost_reason = settings.lost_reason
        self._losses = Losses()
        self._anchoring = Anchoring(loop.control)
        self._next_beat = 0.0
        # The supervisor does not look at a window that may be on a disk.
        self._is_elsewhere = settings.buffer.directory is not None
        self._has_told = False  # the level, since the last look at the beat
        self._let_go_at = time.monotonic() + _AWAITS_RESULTS_S

    def run(self) -> None:
        """Work until the loop says to leave. Raises DeviceError when a device is missing that is not waited for."""
        last = self._window.last()
        if not self._waits and last is not None:
            self._clock.continue_from(self._window.end_sample, last.arrival_ns)
        self._loop.watch(self._control.socket, self._on_commands)
        if self._open_wanted:
            self._try_to_open()
        while not self._loop.leaving:
            self._loop.wait(self._timeout_s())
            if self._is_behind or self._source.fileno() is None:  # no descriptor wakes the loop then
                self._capture()
            self._device_wait.tick(time.monotonic())
            self._tick(time.monotonic())
        self._close_device()
        self._control.tell(self._beat())

    def close(self) -> None:
        """Close the device, the socket and the window."""
        if self._is_open:
            self._source.close()
        self._doors.close()
        self._pusher.socket.close(linger=0)
        self._window.close()

    def _clock_from(self, sample: int) -> SampleClock:
        return SampleClock(
            sample_rate=self._audio.sample_rate,
            sample_bytes=self._sample_bytes,
            block_samples=self._audio.block_samples,
            next_sample=sample,
            keeps_time=not self._waits,
        )

    def _timeout_s(self) -> float:
        now = time.monotonic()
        timeout = min(_LONGEST_WAIT_S, self._next_beat - now, self._device_wait.next_try_at - now)
        if self._is_behind:
            timeout = min(timeout, _BEHIND_WAIT_S)
        if self._is_open and self._source.fileno() is None and not self._has_ended and self._room > 0:
            due = self._source.due_s(time.monotonic_ns())
            if due is not None:
                timeout = min(timeout, due)
        return timeout

    def _push(self, latest: Sequence[Slot] = ()) -> None:
        """Send the waiting audio, now or as soon as the socket has room."""
        awaits_room = self._pusher.pump(latest)
        if awaits_room is self._awaits_room:
            return
        self._awaits_room = awaits_room
        if awaits_room:
            self._loop.watch(self._pusher.socket, self._push, zmq.POLLOUT)
        else:
            self._loop.unwatch(self._pusher.socket)

    # The device

    def _try_to_open(self) -> None:
        """Open the device. While it is missing, wait for it and try again. Raises DeviceError at the first start."""
        try:
            self._open()
        except DeviceError as error:
            if not self._is_waited_for:
                raise
            self._device_wait.failed(str(error))

    @property
    def _is_waited_for(self) -> bool:
        return self._waits_for_device or self._source.awaited() is not None

    def _open(self) -> None:
        self._device_wait.tries()
        info = self._source.open(self._clock.next_sample)
        self._is_open = self._awaits_first = True
        self._gating.begin(self._clock.next_sample)
        if not self._waits:
            self._clock.interrupted(self._lost_reason)
        fd = self._source.fileno()
        if fd is not None:
            self._loop.watch(fd, self._capture)
        self._opened = info
        if self._waits:
            self._tell_opened()

    def _tell_opened(self) -> None:
        """The device has delivered: from now on it is waited for when it goes."""
        info, self._opened, self._fed_by = self._opened, None, None
        if info is None:
            return
        self._device_wait.ended()
        self._waits_for_device = not self._waits
        self._control.tell(
            control.DeviceOpened(
                name=info.name,
                sample_rate=self._audio.sample_rate,
                channels=self._audio.channels,
                latency_s=info.latency_s,
                device_rate_hz=info.device_rate_hz,
                identity=info.identity,
                samples=info.samples,
            )
        )

    def _lose(self, error: DeviceError) -> None:
        """The device is gone. Keep what it had delivered, and wait for it. Raises DeviceError at the first start."""
        self._capture_rest()
        if not self._is_waited_for:
            raise error
        self._lost_reason = GapReason.DEVICE
        self._device_wait.failed(str(error))  # before the device is closed: that may end the process
        self._release()

    def _ask_feeding(self) -> None:
        """Tell which source of the sound server feeds the device, when it is another one than before."""
        try:
            source = self._source.feeding()
        except DeviceError as error:
            self._lose(error)
            return
        if source is not None and source != self._fed_by:
            self._fed_by = source
            self._control.tell(control.DeviceFed(source=source))

    def _close_device(self) -> None:
        if not self._is_open and not self._device_wait.lasts:
            return
        if self._is_open and not self._waits:
            self._read_source()  # before the device is closed: that may end the process
        self._device_wait.ended()
        self._release()
        self._capture_rest()
        self._lost_reason = GapReason.PAUSED
        self._control.tell(control.DeviceClosed())

    def _release(self) -> None:
        if not self._is_open:
            return
        fd = self._source.fileno()
        if fd is not None:
            self._loop.unwatch(fd)
        self._is_open = self._is_behind = False
        self._source.close()

    @property
    def _room(self) -> int:
        """How many blocks may be read from the source now. While the disk is behind, they wait in the source."""
        if self._is_behind:
            return 0
        if not (self._waits or self._source.is_file()) or self._may_let_go:
            return _UNLIMITED
        return self._window.room

    @property
    def _may_let_go(self) -> bool:
        """Whether the window may forget what was sent longest ago, though it has no results yet.

        Results may come only with audio that does not fit: recognisers say nothing in a long silence.
        """
        if self._window.room > 0 or time.monotonic() < self._let_go_at:
            return False
        return self._pusher.has_pushed_all

    def _capture(self) -> None:
        """Read the source once, and see whether it has ended."""
        if not self._is_open or self._has_ended:
            return
        self._read_source()
        if self._source.is_file():
            self._clock.ignore_time()
        if self._ends and self._source.has_ended():
            self._keep_held()
            self._end()
        elif self._finishes:
            self._finish()

    def _read_source(self) -> None:
        """Keep what the source has. From a source that waits, read no more than the window has room for."""
        self._is_behind = self._window.is_behind
        room = self._room
        if not room and self._waits:
            return
        try:
            blocks = self._source.read(time.monotonic_ns(), room)
        except DeviceError as error:
            self._lose(error)
            return
        if blocks and self._opened is not None:
            self._tell_opened()
        kept: list[Slot] = []
        for block in blocks:
            for placed in self._clock.add(block):
                kept.append(self._keep(placed))  # noqa: PERF401  a comprehension costs another call, 28 times a second
        if kept and not self._awaits_room:
            self._push(kept)
        if kept and self._awaits_first:
            self._awaits_first = False
            self._control.tell(self._beat())  # the connection is made behind the first audio

    def _capture_rest(self) -> None:
        """After the device was closed or lost: keep the blocks that wait in the source and in the clock."""
        if not self._waits:
            for block in self._source.read(time.monotonic_ns(), _UNLIMITED):
                for placed in self._clock.add(block):
                    self._keep(placed)
        self._keep_held()
        self._gating.end(self._clock.next_sample)
        self._push()

    def _keep_held(self) -> None:
        """Place the blocks that the clock holds; no later block will help it."""
        for placed in self._clock.settle():
            self._keep(placed)
        self._push()

    def _keep(self, placed: Placed) -> Slot:
        if placed.missing is not None:
            self._control.tell(
                control.SamplesMissing(
                    first=placed.missing.first,
                    end=placed.missing.end,
                    reason=placed.missing.reason,
                    uncertainty=placed.missing.uncertainty,
                )
            )
        block = placed.block
        oldest = self._window.tail
        # The time by the envelope, for the next process measures its gap from here; chance delays would add up.
        end = placed.first_sample + len(block.pcm) // self._sample_bytes
        arrival_ns = self._clock.arrival_ns(end) or block.arrival_ns
        forgotten = self._window.append(placed.first_sample, block.pcm, arrival_ns)
        if forgotten is not None and not self._pusher.has_pushed(oldest):
            self._tell_dropped(self._losses.dropped(forgotten))
        self._gating.judge(placed.first_sample, block.pcm, self._clock.next_sample)
        loudness = self._meter.add(block.pcm)
        if loudness is not None:
            first = end - self._meter.measured // self._audio.channels
            self._control.mention(control.LevelHeard(first=first, end=end, **loudness._asdict()))
            self._has_told = True
        return Slot(placed.first_sample, arrival_ns, block.pcm)

    def _end(self) -> None:
        """The audio has ended: send the end mark after the last sample."""
        self._has_ended = True
        self._gating.end(self._clock.next_sample)
        self._pusher.end(self._clock.next_sample)
        self._push()
        self._control.tell(control.SourceEnded(end=self._clock.next_sample))

    def _finish(self) -> None:
        """Close the device, and send the end mark. A file that is read again first gets as far as it was."""
        is_as_far = self._clock.next_sample >= self._captured_before
        if self._is_seekable and not (self._has_ended or is_as_far):
            if not self._is_open:
                self._reopen()
            return
        self._close_device()
        if not self._has_ended:
            self._end()

    def _read_again_from(self, sample: int) -> None:
        """The window has let go of `sample`, which is needed again: read the file again from there."""
        self._captured_before = max(self._captured_before, self._clock.next_sample)
        self._window.forget_all(sample)
        self._clock = self._clock_from(sample)
        self._pusher.end(None)
        self._has_ended = False
        self._reopen()

    def _reopen(self) -> None:
        """Read the file from the clock's next sample on."""
        if self._is_open:
            self._source.close()
        self._source.open(self._clock.next_sample)
        self._is_open = True
        self._gating.begin(self._clock.next_sample)

    # Reports

    def _tell_dropped(self, ranges: list[Range]) -> None:
        for dropped in ranges:
            self._tell_lost(dropped, GapReason.WINDOW_FULL)

    def _tell_lost(self, lost: Range, reason: str) -> None:
        self._control.tell(control.SamplesMissing(first=lost.first, end=lost.end, reason=reason))

    def _tick(self, now: float) -> None:
        self._control.flush()
        # A beat that is nearly due goes out with the level, so that the supervisor is woken once.
        early_s = _EARLY_S if self._has_told else 0.0
        self._has_told = False
        if now < self._next_beat - early_s:
            return
        self._next_beat = now + _BEAT_S
        self._tell_dropped(self._losses.flush())
        for news in self._doors.news():
            if isinstance(news, Stranger):
                log.warning(Event("stranger_refused", endpoint=news.endpoint, pid=news.pid))
        if self._is_elsewhere:
            self._make_again(self._window.make_again)
        if self._gating.is_closed:
            self._gating.tell(self._clock.next_sample)  # before the beat, which counts these samples as captured
            if not self._awaits_room:
                self._push()
        self._control.mention(self._beat())
        if self._has_ended:
            self._pusher.repeat_end()
            self._push()
        if self._is_open and self._opened is None:
            self._ask_feeding()
        if self._is_open:
            self._anchoring.tell(self._clock, now)

    def _beat(self) -> control.CaptureBeat:
        is_waiting = self._window.is_behind or (self._is_open and self._room == 0)
        return control.CaptureBeat(captured=self._clock.next_sample, is_waiting=is_waiting)

    # Commands

    def _make_again(self, make: Callable[[], None]) -> None:
        """Call `make`. If that fails, there will be another try: names are looked at again and again."""
        try:
            make()
        except MpengineError as error:
            log.warning(Event("not_made_again", reason=error))

    def _on_commands(self) -> None:  # noqa: C901  a table, one case a command
        for command in self._control.receive():
            match command:
                case control.Grant(connection=number, sample=sample, skipped=skipped, attempt=attempt):
                    if self._is_seekable and sample < self._window.first_sample:
                        self._read_again_from(sample)
                    self._let_go_at = time.monotonic() + _AWAITS_RESULTS_S
                    self._pusher.granted(number, sample, skipped, attempt)
                    self._push()
                case control.Acknowledge(sample=sample):
                    if self._window.acknowledge(sample):
                        self._let_go_at = time.monotonic() + _AWAITS_RESULTS_S
                case control.MakeAgain():
                    self._make_again(self._window.make_again)
                    self._make_again(self._pusher.make_again)
                case control.OpenDevice():
                    if not self._is_open and not self._has_ended:
                        self._try_to_open()
                case control.CloseDevice():
                    self._close_device()
                case control.Finish():
                    self._finishes = True
                    self._finish()


def run(settings: CaptureSettings) -> ExitCode:
    """Be the capture process. The exit code says how it ended."""
    loop = ChildLoop(settings)
    capture: Capture | None = None
    try:
        loop.control.tell(control.Hello(pid=os.getpid()))
        source = source_of(settings.audio)
        if settings.has_notes:
            source.keep_notes(NOTES_FD)
        capture = Capture(settings, loop, source)
        capture.run()
    except MpengineError as error:
        code = _CODES.get(error.exit_code, ErrorCode.WINDOW)
        loop.control.tell(control.Fault(code=code, message=str(error), exit_code=int(error.exit_code)))
        return error.exit_code
    finally:
        if capture is not None:
            capture.close()
        loop.close()
    return ExitCode.OK


def source_of(audio: AudioConfig) -> Source:
    """The source that `audio` names, not opened. Only its module is loaded: each may load a library."""
    module, _, class_name = audio.home.name.partition(".")
    source: Source = getattr(importlib.import_module(f"mpengine.capture.{module}"), class_name)(audio)
    return source
