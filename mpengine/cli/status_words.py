"""The words of a status, for people. Pure."""

from mpengine.shared import messages
from mpengine.shared.text import counted

# Longer times are shown in hours and minutes.
_LONG_S = 600.0


def causes(answer: messages.StatusAnswer) -> list[tuple[str, str, str]]:
    """The troubles of now and the last ones before: each as its process, how long ago, and the reason."""
    found = []
    for name, child in answer.children.items():
        if child.reason and child.reason != child.last_end:
            found.append((name, "now", _reason(child)))
        if child.last_end:
            text = _reason(child) if child.reason == child.last_end else child.last_end
            found.append((name, _ago(child.last_end_ago_s), text))
    if answer.last_disconnect:
        found.append(("connection", _ago(answer.last_disconnect_ago_s), answer.last_disconnect))
    return found


def remarks(reason: str, *, paused: bool) -> str:
    """What is said behind a state: in brackets, why the engine is in it; or nothing."""
    said = [reason] if reason else []
    if paused and reason != "paused":
        said.insert(0, "paused")
    return f" ({'; '.join(said)})" if said else ""


def level(heard: messages.Level | None) -> str:
    """How loud it is."""
    if heard is None:
        return "-"
    if heard.digital_silence:
        return "digital silence"
    return f"{heard.rms_dbfs:.1f} dBFS (peak {heard.peak_dbfs:.1f} dBFS)"


def audio(metrics: messages.Metrics) -> str:
    """How far the audio has come."""
    return (
        f"captured {span(metrics.captured_s)}, sent {span(metrics.sent_s)}, "
        f"transcribed {span(metrics.transcribed_s)}, acknowledged {span(metrics.acknowledged_s)}"
    )


def waiting(metrics: messages.Metrics, unacknowledged_s: float) -> str:
    """What is not done yet."""
    backlog = f"backlog {span(metrics.backlog_s)}"
    if metrics.backlog_s and metrics.catch_up_s is not None:
        backlog += f" (to catch up takes {span(metrics.catch_up_s)})"
    return f"{backlog}, lag {span(metrics.lag_s)}, unacknowledged {span(unacknowledged_s)}"


def trouble(metrics: messages.Metrics) -> str:
    """How often something went wrong, and what it cost."""
    return (
        f"{counted(metrics.reconnects, 'reconnect')}, {counted(metrics.restarts, 'restart')}, "
        f"lost {span(metrics.dropped_s)}, replayed {span(metrics.replayed_s)}"
    )


def _reason(child: messages.ChildStatus) -> str:
    if child.next_try_in_s is None:
        return child.reason
    return f"{child.reason} (next try in {child.next_try_in_s:.1f} s)"


def _ago(seconds: float | None) -> str:
    return "-" if seconds is None else span(seconds)


def figure(value: float | None) -> str:
    """A number with one decimal, or a dash."""
    return "-" if value is None else f"{value:.1f}"


def span(seconds: float) -> str:
    """A short time in seconds, a long one as a clock."""
    return f"{seconds:.1f} s" if seconds < _LONG_S else clock(seconds)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02}:{minutes:02}:{rest:02}" if days else f"{hours:02}:{minutes:02}:{rest:02}"
