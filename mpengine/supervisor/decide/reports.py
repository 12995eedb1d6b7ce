"""Reports of children and of endpoints' doors that change no decision: published, logged, or noted. Pure."""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from mpengine.shared import control, messages
from mpengine.shared.door import Crowd, Stranger
from mpengine.shared.logs.repeats import Due, Repeats
from mpengine.shared.messages import ErrorCode, brief
from mpengine.shared.ranges import Ranges
from mpengine.supervisor.decide.actions import Action, Child, KeepDevice, KeepGap, Log, Publish, report
from mpengine.supervisor.decide.child_life import Life
from mpengine.supervisor.decide.level_notices import LevelNotices
from mpengine.supervisor.decide.results import Results
from mpengine.supervisor.decide.status import Situation

# While a device is lost, capture may say in ever new words why. One of them a minute is logged, beside the error.
_LOST_LINES_S = 60.0
_DAY_S = 86400.0
ROUTINE = frozenset(
    {
        control.LevelHeard,
        control.CaptureBeat,
        control.Gated,
        control.StreamBeat,
        control.RecogniserBeat,
        control.Anchor,
        control.Result,
        control.Said,
    }
)
"""Messages that children send all the time. While the child works, such a message moves a position or is passed on: it
changes no status, and nothing becomes due by it for seconds."""


class _Told(NamedTuple):
    """The last published fault of a child."""

    error: messages.Error
    at: float


class Reports:
    """Turns reports into actions.

    Of a child's faults, 20 with different words are published in a minute. Those beyond are counted.
    """

    def __init__(self, results: Results, situation: Situation) -> None:
        self._results = results
        self._situation = situation
        self._faults: dict[Child, str] = {}
        self._told: dict[Child, _Told] = {}
        self._repeats: Repeats[messages.Error] = Repeats()
        self._numbers = itertools.count()
        self._gaps = Ranges()  # published; another capture process, or a replay, may report them again
        self._levels = LevelNotices(results.sample_rate)
        self._lost_line_at = -_DAY_S  # the last line about a device that stays away

    def continues(self, gaps: Iterable[tuple[int, int]]) -> None:
        """A supervisor before this one has published these `gaps`: samples [first, end) each."""
        self._gaps = Ranges(gaps)

    @property
    def has_unheard(self) -> bool:
        """Whether audio from before the silence of now may have words, and has no final. Gaps have no audio."""
        return any(self._gaps.cut(*part) for part in self._results.unheard)

    def works(self, child: Child) -> None:
        """`child` does its work: should an old fault come back, it is published again."""
        self._faults.pop(child, None)

    def has_told(self, child: Child, words: str) -> bool:
        """Whether `words` are the fault of `child` that was published last, since it worked."""
        return self._faults.get(child) == brief(words)

    def fault(self, child: Child, fault: control.Fault, life: Life, now: float) -> list[Action]:
        """Publish `fault`; one that repeats is published once until the child works again."""
        if fault.exit_code is not None:
            life.complained(fault.message)
        is_fatal = fault.exit_code is not None and life.is_permanent(fault.exit_code)
        error = messages.Error(
            source=child,
            code=brief(fault.code),
            message=brief(fault.message),
            fatal=is_fatal,
            request_id=fault.request_id,
            kind=fault.kind,
        )
        is_news = self._faults.get(child) != error.message
        self._faults[child] = error.message
        if is_fatal:
            return _published(error)
        return self._tell(child, error, now) if is_news else []

    def _tell(self, child: Child, error: messages.Error, now: float) -> list[Action]:
        self._told[child] = _Told(error, now)
        # Each one has a key of its own: what matters here is how many there are.
        return self._due(self._repeats.came(next(self._numbers), error, now, event=child))

    def tick(self, now: float) -> list[Action]:
        """Publish the number of faults that were left out, and once a day again the fault that somebody has to mend."""
        actions = self._due(self._repeats.overdue(now))
        for child, (error, at) in self._told.items():
            stands = self._situation.is_refused(now) if child is Child.STREAMING else child in self._faults
            if stands and now >= at + _DAY_S:
                self._told[child] = _Told(error, now)
                actions += _published(error)
        return actions

    def rest(self, now: float) -> list[Action]:
        """Publish the number of faults that were left out until now: the engine ends."""
        return self._due(self._repeats.rest(now))

    def _due(self, due: list[Due[messages.Error]]) -> list[Action]:
        actions: list[Action] = []
        for error, repeated in due:
            text = f"{error.message} ({repeated} other errors of {error.source} are left out)" if repeated else ""
            actions += _published(msgspec.structs.replace(error, message=text) if text else error)
        return actions

    def from_capture(self, message: control.Up, now: float) -> list[Action]:
        """The actions for a report of the device, its level, or lost samples."""
        match message:
            case control.DeviceOpened():
                return self._opened(message, now)
            case control.DeviceLost():
                return self._lost(message, now)
            case control.DeviceFed(source=source) if source != self._situation.fed_by:
                self._situation.fed_by = source
                return [Log("info", "device_fed", {"source": source})]
            case control.DeviceClosed():
                self._situation.closed()
            case control.Anchor(sample=sample, utc_ns=utc_ns, clocks=clocks):
                return _stepped(self._results.anchors.add(sample, utc_ns, clocks))
            case control.LevelHeard():
                return self.level(message, now)
            case control.Gated(first=first, end=end, is_closed=is_closed):
                self._situation.gate(first, end, is_closed=is_closed)
                return self._results.gated(first, end)
            case control.SamplesMissing():
                return self._missing(message)
        return []

    def _opened(self, opened: control.DeviceOpened, now: float) -> list[Action]:
        self.works(Child.CAPTURE)
        away_s = self._situation.opened(opened, now)
        self._results.silence.opened()
        self._levels.opened()
        fields = {"name": opened.name, "rate_hz": opened.sample_rate, "channels": opened.channels}
        fields |= {"latency_s": opened.latency_s}
        if opened.device_rate_hz and opened.device_rate_hz != opened.sample_rate:
            fields["device_rate_hz"] = opened.device_rate_hz
        if away_s is not None:
            fields["away_s"] = round(away_s, 3)
        actions: list[Action] = [Log("info", "device_opened", fields)]
        if opened.identity and opened.identity != self._situation.remembered:
            self._situation.remembered = opened.identity
            actions.append(KeepDevice(opened.identity))
        return actions

    def _lost(self, lost: control.DeviceLost, now: float) -> list[Action]:
        """Publish one error a loss. That capture has another reason later is only logged, and not each time."""
        situation = self._situation
        was_lost, is_news = situation.is_lost, lost.reason != situation.lost_why
        situation.lost(lost, now)
        if not was_lost:
            self._lost_line_at = now - _LOST_LINES_S
            message = brief(lost.reason)
            self._faults[Child.CAPTURE] = message
            error = messages.Error(source=Child.CAPTURE, code=ErrorCode.DEVICE, message=message)
            return self._tell(Child.CAPTURE, error, now)
        if not is_news or now < self._lost_line_at + _LOST_LINES_S:
            return []
        self._lost_line_at = now
        return [Log("warning", "device_lost", {"reason": brief(lost.reason)})]

    def level(self, heard: control.LevelHeard, now: float) -> list[Action]:
        """Publish how loud it is, and once each what is wrong with it, and that it is over."""
        self._results.silence.level(heard)
        level = messages.Level(
            rms_dbfs=heard.rms_dbfs,
            peak_dbfs=heard.peak_dbfs,
            digital_silence=heard.digital_silence,
            clipped=heard.clipped,
        )
        self._situation.heard(level, now)
        actions: list[Action] = [Publish(level)]
        for notice in self._levels.heard(heard):
            text = f"{self._situation.device} {notice.words}"
            error = messages.Error(source=Child.CAPTURE, code=notice.code, message=text)
            actions += report(error, "info" if notice.is_over else "warning")
        return actions

    def connect_timed_out(self, limit_s: float) -> list[Action]:
        """No connection was made in the first `limit_s`."""
        situation = self._situation
        situation.connect_timed_out = True
        why = f": {situation.connection_reason}" if situation.connection_reason else ""
        text = f"Timed out connecting to {situation.endpoint or 'the recogniser'} after {limit_s:.0f} s{why}; retrying"
        return report(messages.Error(source=Child.STREAMING, code=ErrorCode.CONNECT_TIMEOUT, message=text))

    def _missing(self, message: control.SamplesMissing) -> list[Action]:
        """Publish a gap, without the parts that are published already."""
        ledger = self._results.ledger
        self._gaps.forget_before(ledger.acknowledged)  # nothing before that is sent again
        actions: list[Action] = []
        # Audio with a result is not missing, though the window dropped it.
        needed = ledger.uncovered(message.first, message.end)
        parts = [part for each in needed for part in self._gaps.cut(*each)]
        for part in parts:
            self._gaps.join(*part)
            news = msgspec.structs.replace(message, first=part.first, end=part.end)
            self._situation.missing(news)
            gap = self._results.gap(news)
            fields = {"start_s": gap.start_s, "end_s": gap.end_s, "reason": gap.reason}
            actions += [Log("warning", "gap", fields), Publish(gap), KeepGap(part.first, part.end)]
        return actions


def told_of_door(news: Crowd | Stranger) -> list[Action]:
    """The actions that tell `news`."""
    if isinstance(news, Stranger):
        return [Log("warning", "stranger_refused", {"endpoint": news.endpoint, "pid": news.pid})]
    if news.is_over:
        text = f"{news.endpoint} takes new connections again; {news.refused} were ended"
        return report(messages.Error(source="supervisor", code=ErrorCode.CLIENTS_AGAIN, message=text))
    whose = f"; process {news.pid} has {news.most} of them" if news.pid else ""
    text = f"{news.endpoint} has {news.limit} connections (bus.clients) and takes no more for now{whose}"
    return report(messages.Error(source="supervisor", code=ErrorCode.TOO_MANY_CLIENTS, message=text))


def _stepped(step_ns: int) -> list[Action]:
    """The wall clock was set by `step_ns`, if that is not 0: readers can repair the times that they have."""
    if not step_ns:
        return []
    way, times = ("forward", "early") if step_ns > 0 else ("back", "late")
    text = (
        f"the clock of this machine was set {way} by {abs(step_ns) / 1e9:.3f} s; start_time_ns of the messages before "
        f"this one is too {times} by as much"
    )
    return report(messages.Error(source="supervisor", code=ErrorCode.CLOCK_STEPPED, message=text, step_ns=step_ns))


def _published(error: messages.Error) -> list[Action]:
    fields = {"source": error.source, "code": error.code, "message": error.message, "request_id": error.request_id}
    return [Log("error" if error.fatal else "warning", "fault", fields), Publish(error)]
