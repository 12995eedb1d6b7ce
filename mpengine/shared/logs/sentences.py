"""What an event of the log says to a person at a terminal, as one sentence. Pure.

An event that is missing here is shown with its name and its fields.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mpengine.shared.config_tables import name_option
from mpengine.shared.errors import ExitCode
from mpengine.shared.text import counted

Fields = Mapping[str, Any]

_LEFT_S = 0.05  # less is nothing
_SOON_S = 0.5


def sentence(event: str, fields: Fields) -> str:
    """What `event` says. The text may have any characters in it."""
    tell = _SENTENCES.get(event)
    try:
        text = tell(fields) if tell is not None else _other(event, fields)
    except (KeyError, TypeError, ValueError):  # it comes with other fields than it has today
        text = _other(event, fields)
    repeated = fields.get("repeated")
    return f"{text} (and {repeated} more like this)" if repeated else text


def listening(name: str, public_key: str | None = None) -> str:
    """The command that shows the captions of the engine called `name`."""
    key = f" --server-key={public_key}" if public_key else ""
    return f"mpengine listen{name_option(name)}{key}"


def _other(event: str, fields: Fields) -> str:
    """The words of an event as they are: its message or reason, and whatever else it has."""
    words = event.replace("_", " ")
    rest = [f"{key} {value}" for key, value in fields.items() if key not in {"message", "reason", "repeated"}]
    said = fields.get("message") or fields.get("reason")
    if fields.get("message"):
        return str(said)
    more = f" ({', '.join(rest)})" if rest else ""
    return f"{words}{more}: {said}" if said else f"{words}{more}"


# Parts


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def is_late(fields: Fields) -> bool:
    """Whether the next try is so late that a person wants to know when."""
    return float(fields.get("next_try_in_s") or 0.0) >= _SOON_S


def _in_time(fields: Fields) -> str:
    return f" in {_seconds(fields['next_try_in_s'])}" if is_late(fields) else ""


def _connection_down(fields: Fields) -> str:
    reason = f"{fields['reason']}; " if fields.get("reason") else ""
    return f"recogniser: {reason}trying again{_in_time(fields)}"


def _sound(fields: Fields) -> str:
    channels = {1: "mono", 2: "stereo"}.get(fields["channels"], f"{fields['channels']} channels")
    read = fields.get("device_rate_hz")
    at = f", read at {read / 1000:g} kHz" if read else ""
    return f"{fields['rate_hz'] / 1000:g} kHz {channels}{at}"


# Sentences


def _device_opened(fields: Fields) -> str:
    away_s = fields.get("away_s")
    back = f" is back after {_seconds(away_s)}" if away_s is not None else ""
    return f"audio: {fields['name']}{back} ({_sound(fields)})"


def _connected(fields: Fields) -> str:
    again = " again" if fields["connection"] > 1 else ""
    return f"recogniser: connected{again} to {fields['endpoint']}"


def _gap(fields: Fields) -> str:
    span, reason = _seconds(fields["end_s"] - fields["start_s"]), fields["reason"]
    match reason:
        case "paused":
            return f"paused for {span}"
        case "stopped":
            return f"no engine ran for {span}"
    return f"{span} of audio lost: {str(reason).replace('_', ' ')}"


def _fault(fields: Fields) -> str:
    request = f" (request {fields['request_id']})" if fields.get("request_id") else ""
    whose = {"streaming": "recogniser: ", "capture": "audio: "}.get(str(fields.get("source")), "")
    return f"{whose}{fields['message']}{request}"


def _run_continued(fields: Fields) -> str:
    waiting = fields["unacknowledged_s"]
    rest = f"; {_seconds(waiting)} of audio wait for their words" if waiting > _LEFT_S else ""
    return f"going on where the engine before this one ended{rest}"


def _child_ended(fields: Fields) -> str:
    why = f": {fields['reason']}" if fields.get("reason") else f" ({fields['how']})"
    return f"the process {fields['child']} ended{why}; starting it again{_in_time(fields)}"


def _by(reason: Any) -> str:
    return " by Ctrl-C" if reason == "SIGINT" else f" ({reason})"


def _ended(fields: Fields) -> str:
    finals, left_s = fields["finals"], fields["unacknowledged_s"]
    said = counted(finals, "final") if finals else "no finals"
    waiting = f"{_seconds(left_s)} of audio have no words yet: the next start goes on with them"
    left = waiting if left_s > _LEFT_S else "nothing is left"
    code = fields["exit_code"]
    how = f"ended with exit code {code}" if code else "stopped"
    mending = "; mpengine check, with the same options, says what would mend it" if code in _CHECKED else ""
    return f"{how}: {said}, {left}{mending}"


# The exit codes of a device and of an account: the causes of both can be looked for without an engine.
_CHECKED = (ExitCode.DEVICE, ExitCode.ACCOUNT)


# What two looks at a silent process show. `mpengine.supervisor.decide.hangs` tells these cases apart.
_SEEN = {
    "TRACED": "is held by a debugger",
    "STOPPED": "is stopped: somebody sent it SIGSTOP",
    "SPINNING": "is busy and says nothing",
    "STARVED": "waits for a processor: this machine is overloaded",
    "IN_KERNEL": "waits for a disk or a driver",
    "BLOCKED": "waits for a call that does not come back",
    "SLOW": "is slow to answer",
}

_SENTENCES: dict[str, Callable[[Fields], str]] = {
    # The beginning
    "publishing": lambda fields: f"captions in another terminal: {listening(fields['name'], fields.get('public_key'))}",
    "run_continued": _run_continued,
    "device_opened": _device_opened,
    "device_fed": lambda fields: f"audio: the sound server takes it from {fields['source']}",
    "connected": _connected,
    "proxy_used": lambda fields: f"recogniser: by way of the proxy {fields['proxy']}",
    # On the way
    "connection_down": _connection_down,
    "closed_in_silence": lambda fields: f"recogniser: {fields['reason']}, in a silence; connecting again when needed",
    "resting": lambda _: "recogniser: no connection while nobody speaks",
    "secret_changed": lambda fields: f"recogniser: trying the new key in {fields['path']}",
    "device_lost": lambda fields: f"audio: still away: {fields['reason']}",
    "gap": _gap,
    "fault": _fault,
    "frames_missed": lambda _: "audio went astray inside of the engine and is sent again",
    "unknown_message": lambda fields: f"recogniser: a message of an unknown type: {fields['kind']}",
    "withheld": lambda fields: f"words left out, {fields['reason']}: {fields['words']}",
    "paused": lambda _: "paused: the microphone is closed",
    "resumed": lambda _: "resumed",
    "command_says": lambda fields: f"{fields['command']}: {fields['line']}",
    "command_lines_left_out": lambda fields: f"{fields['command']}: {fields['lines']} more lines",
    "transcript_reopened": lambda fields: f"another transcript file begins at {fields['path']}",
    # Processes
    "child_ended": _child_ended,
    "hung": lambda fields: f"the process {fields['child']} hangs ({fields['reason']}); it is started again",
    "killing": lambda fields: f"the process {fields['child']} does not end and is killed",
    "spawn_failed": lambda fields: f"the process {fields['child']} cannot be started: {fields['reason']}",
    "silent": lambda fields: f"the process {fields['child']} {_SEEN.get(str(fields['seen']), _SEEN['SLOW'])}",
    "cannot_be_killed": lambda fields: f"these processes do not end, though they were killed: {fields['children']}",
    "zygote_failed": lambda fields: f"{fields['reason']}; starting {fields['starting']}",
    "malformed_control_message": lambda fields: f"the process {fields['child']} sent nonsense; please report this bug",
    "uncaught_exception": lambda fields: f"a bug, please report it: {fields['exception']}",
    # Other programs
    "client_refused": lambda fields: f"a client at {fields['address']} has a key that is not in bus.curve_clients",
    "reload_refused": lambda fields: str(fields["reason"]),
    "lines_dropped": lambda fields: f"{fields['lines']} lines of this log had no room",
    # The end
    "stopping": lambda fields: f"stopping{_by(fields['reason'])}: waiting for the last words",
    "stopping_at_once": lambda fields: f"stopping at once ({fields['signal']})",
    "ended": _ended,
}
