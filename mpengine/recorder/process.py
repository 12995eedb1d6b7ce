"""The recorder's process: the window, the bus, the files, the signals. It owns all of them, in one thread.

It takes from the window only as much as the disk takes. While a file cannot be written, the audio stays in the window
until new audio takes its place there.
"""

import collections
import logging
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

from mpengine.client.finding import window_of
from mpengine.client.subscriber import Subscriber
from mpengine.recorder.encoders import Encoder
from mpengine.recorder.recording import Missing, Recording, ToldGap, file_name, in_words, missing_of, seconds
from mpengine.recorder.segment import Segment
from mpengine.recorder.shelf import Shelf
from mpengine.recorder.tape import LONGEST_SILENCE_S, Action, Audio, Begin, Cause, End, Lack, Silence, Tape
from mpengine.recorder.window_reader import Look, WindowReader
from mpengine.shared.errors import ExitCode, MpengineError
from mpengine.shared.logs import Event
from mpengine.shared.messages import OVER, Gap, Status
from mpengine.shared.ranges import Range
from mpengine.shared.window_layout import Shape

log = logging.getLogger(__name__)

_LOOK_S = 1.0
# Where one look has found so much of the window, the next look comes soon: a file that is not paced fills it quickly.
_MUCH, _SOON_S = 0.1, 0.02
_SWEEP_S = 600.0
_LAST_LOOKS = 50
# A window that is being made has no header for a moment.
_STRANGE_LOOKS = 10
_MOST_GAPS = 10_000


class Options(NamedTuple):
    """What to record, and into which folder. Without endpoints the engine is found by its name.

    `segment_s`: the longest file. None for `keep_days` and `keep_mb`: keep all.
    """

    name: str
    output: str
    encoder: type[Encoder]
    segment_s: float
    keep_days: float | None = None
    keep_mb: float | None = None
    publish: str | None = None
    query: str | None = None
    server_key: str | None = None
    client_key: str | None = None


def record(options: Options) -> int:
    """Record until SIGINT or SIGTERM; a second one ends this process at once.

    Raises ConfigError for an invalid name, endpoint or key, MpengineError where the folder cannot be used.
    """
    subscriber = Subscriber(
        options.name,
        publish=options.publish,
        query=options.query,
        topics=("gap", "status"),
        server_key=options.server_key,
        client_key=options.client_key,
    )
    with subscriber:
        shelf = Shelf(options.output, options.name)
        try:
            return Recorder(options, shelf, subscriber).run()
        finally:
            shelf.close()


class Recorder:
    """One life of the recorder."""

    def __init__(self, options: Options, shelf: Shelf, subscriber: Subscriber) -> None:
        self._options = options
        self._shelf = shelf
        self._bus = subscriber
        self._reader = WindowReader(lambda: window_of(options.name))
        self._shape: Shape | None = None
        self._tape: Tape | None = None
        self._segment: Segment | None = None
        self._lacks: list[Lack] = []  # of the open file
        self._arrival_ns = 0  # of its first sample
        self._actions: collections.deque[Action] = collections.deque()  # decided, and not done
        self._gaps: collections.deque[Gap] = collections.deque(maxlen=_MOST_GAPS)
        self._is_over = False  # what the engine said last
        self._ends = False
        self._troubles: dict[str, str] = {}  # those that were told, and are not over
        self._written_ns = self._strange_looks = 0
        self._is_mended = self._waits = False
        self._last_audio_at = time.monotonic()
        self._sweep_at = 0.0

    def run(self) -> int:
        """Record until a signal comes. The exit code is 1 where the last audio could not be written."""
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, self._end)
        log.info(Event("recording", engine=self._options.name, output=self._options.output))
        wait_s = 0.0
        while not self._ends:
            self._listen(wait_s)
            wait_s = self._step()
        for _ in range(_LAST_LOOKS):
            if self._step():
                break
        self._actions += self._tape.end() if self._tape is not None else []
        is_done = self._try("waiting_for_the_disk", self._work)
        self._reader.close()
        return int(ExitCode.OK if is_done else ExitCode.CRASH)

    def _end(self, _number: int, _frame: object) -> None:
        self._ends = True
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)

    # The bus

    def _listen(self, wait_s: float) -> None:
        give_up = time.monotonic() + wait_s
        while not self._ends and self._bus.poll(max(0.0, min(_LOOK_S, give_up - time.monotonic()))):
            message = self._bus.receive(0)
            if isinstance(message, Gap):
                self._gaps.append(message)
            elif isinstance(message, Status):
                self._is_over = message.state in OVER
                return  # the engine has changed: perhaps its window, too
            if time.monotonic() >= give_up:
                return

    def _told(self, run: str, sample_rate: int) -> list[ToldGap]:
        """The gaps that the engine has told of `run`."""
        gaps = [(gap, gap.start_s * sample_rate, gap.end_s * sample_rate) for gap in self._gaps if gap.run == run]
        return [ToldGap(Range(round(first), round(end)), gap.reason) for gap, first, end in gaps]

    # The window

    def _step(self) -> float:
        """Record what has come. Returns in how many seconds to look again."""
        if not self._is_mended:
            self._mend()
        if not self._try("waiting_for_the_disk", self._work):
            return _LOOK_S
        try:
            look = self._reader.look()
        except OSError as error:
            self._say("window_unreadable", f"{self._reader.path}: {error.strerror}")
            return _LOOK_S
        self._tell_of_window(look)
        now = time.monotonic()
        if look is not None and look.slots:
            self._last_audio_at, self._written_ns = now, look.written_ns
            self._take(look)
        elif self._tape is not None and (self._is_over or now - self._last_audio_at > LONGEST_SILENCE_S):
            self._actions += self._tape.end()
            if self._reader.is_nameless:
                self._reader.close()
        self._try("waiting_for_the_disk", self._work)
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_S
            self._mend()
            self._sweep()
        if look is None or not (look.more or look.turned > _MUCH):
            return _LOOK_S
        return 0.0 if look.more else _SOON_S

    def _take(self, look: Look) -> None:
        if self._tape is None or self._shape is None or look.shape[:3] != self._shape[:3]:
            self._begin_run(look.shape)
        assert self._tape is not None
        for slot in look.slots:
            self._actions += self._tape.take(slot.first_sample, slot.pcm, slot.arrival_ns, follows=slot.follows)

    def _begin_run(self, shape: Shape) -> None:
        self._actions += self._tape.end() if self._tape is not None else []
        self._shape = shape
        wanted = max(1, round(self._options.segment_s * shape.sample_rate))
        most = min(wanted, self._options.encoder.most_bytes // shape.frame_bytes)
        position = self._shelf.position_in(shape.run)
        self._tape = Tape(sample_rate=shape.sample_rate, channels=shape.channels, most_samples=most, position=position)
        log.info(Event("run", run=shape.run, rate_hz=shape.sample_rate, channels=shape.channels, position=position))

    # The files

    def _work(self) -> None:
        """Do what was decided. Raises OSError; what is left then waits for the next call."""
        if self._segment is not None and self._segment.is_gone:
            self._lose(self._segment)
        while self._actions:
            match self._actions[0]:
                case Begin(first=first, arrival_ns=arrival_ns, before=before):
                    self._begin(first, arrival_ns, before)
                case Silence(lack=lack) if self._segment is not None:
                    self._lacks = [*(each for each in self._lacks if each != lack), lack]
                    self._segment.tell(self._missing(self._segment.recording, self._lacks))
                    self._tell_lack(lack)
                    samples = lack.lost.end - lack.lost.first
                    self._segment.write(bytes(samples * 2 * self._segment.recording.channels))
                case Audio(pcm=pcm) if self._segment is not None:
                    self._segment.write(pcm)
                case End() if self._segment is not None:
                    self._finish(self._segment)
            self._actions.popleft()
        if self._segment is not None:
            self._segment.flush()

    def _begin(self, first: int, arrival_ns: int, before: Lack | None) -> None:
        shape, options = self._shape, self._options
        assert shape is not None
        ago_ns = max(0, time.monotonic_ns() - arrival_ns)
        # The times in a window of an earlier boot are of a clock that has begun anew since.
        time_ns = min(time.time_ns() - ago_ns, self._written_ns)
        start_s = seconds(first, shape.sample_rate)
        self._shelf.make()
        found = Recording(
            engine=options.name,
            run=shape.run,
            file=f"{file_name(options.name, time_ns)}.{options.encoder.ending}",
            sample_rate=shape.sample_rate,
            channels=shape.channels,
            first_sample=first,
            end_sample=first,
            start_s=start_s,
            end_s=start_s,
            start_time_ns=time_ns,
            start=in_words(time_ns),
        )
        lacks = [] if before is None else [before]
        found.missing = self._missing(found, lacks)
        self._segment, self._lacks = Segment(self._shelf, found, options.encoder), lacks
        self._arrival_ns = arrival_ns
        if before is not None:
            self._tell_lack(before)

    def _finish(self, segment: Segment) -> None:
        segment.finish(self._missing(segment.recording, self._lacks))
        self._segment = None
        found = segment.recording
        log.info(Event("recorded", file=found.file, seconds=round(found.end_s - found.start_s, 3)))
        self._sweep_at = 0.0

    def _lose(self, segment: Segment) -> None:
        """Somebody has removed or moved the open file: the next one begins where this one ends. Raises OSError."""
        found = segment.recording
        self._shelf.forget(found)
        log.warning(Event("file_removed", file=found.file))
        segment.give_up()
        self._segment = None
        if self._actions:  # they waited for the disk
            if not isinstance(self._actions[0], Begin | End):
                after_ns = (found.end_sample - found.first_sample) * 1_000_000_000 // found.sample_rate
                self._actions.appendleft(Begin(found.end_sample, self._arrival_ns + after_ns, None))
        elif self._tape is not None:
            self._tape.end()

    def _mend(self) -> None:
        """Make whole what a recorder before this one has left."""
        done, failures = self._shelf.mend()
        self._is_mended = True
        for each in done:
            log.info(Event("mended", file=each.file, seconds=round(each.end_s - each.start_s, 3)))
        self._tell("cannot_mend", failures)

    def _sweep(self) -> None:
        days, megabytes = self._options.keep_days, self._options.keep_mb
        done, failures = self._shelf.sweep(now_ns=time.time_ns(), keep_days=days, keep_mb=megabytes)
        for each in done:
            log.info(Event("removed", file=each.file))
        self._tell("cannot_remove", failures)

    def _missing(self, found: Recording, lacks: list[Lack]) -> list[Missing]:
        told = self._told(found.run, found.sample_rate)
        return [missing_of(each, found.sample_rate, told) for each in lacks]

    # Reports

    def _tell_of_window(self, look: Look | None) -> None:
        self._strange_looks = self._strange_looks + 1 if look is None and self._reader.is_open else 0
        if self._strange_looks >= _STRANGE_LOOKS:
            self._say("window_unreadable", f"{self._reader.path}: no window of this version of mpengine")
        else:
            self._well("window_unreadable")
        if look is None and self._shape is None and not self._waits:
            self._waits = True
            log.info(Event("waiting_for_the_engine", window=self._reader.path))

    def _tell_lack(self, lack: Lack) -> None:
        assert self._shape is not None
        (first, end), cause = lack
        rate = self._shape.sample_rate
        event = Event("missing", start_s=seconds(first, rate), end_s=seconds(end, rate), cause=str(cause))
        log.log(logging.WARNING if cause is Cause.NOT_READ else logging.INFO, event)

    def _try(self, trouble: str, work: Callable[[], None]) -> bool:
        """Do `work`. False where the disk refuses; this is told once, as `trouble`, until it works again."""
        try:
            work()
        except OSError as error:
            self._say(trouble, f"{error.filename or self._options.output}: {error.strerror}; trying again")
            return False
        except MpengineError as error:
            self._say(trouble, str(error))
            return False
        self._well(trouble)
        return True

    def _tell(self, trouble: str, failures: list[str]) -> None:
        if failures:
            more = f", and {len(failures) - 1} more" if failures[1:] else ""
            self._say(trouble, f"{failures[0]}{more}; trying again later")
        else:
            self._well(trouble)

    def _say(self, event: str, reason: str) -> None:
        if self._troubles.get(event) != reason:
            self._troubles[event] = reason
            log.warning(Event(event, reason=reason))

    def _well(self, event: str) -> None:
        if self._troubles.pop(event, None) is not None:
            log.info(Event(f"{event}_is_over"))
