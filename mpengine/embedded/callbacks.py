"""What an engine's messages mean to a GUI: which callbacks to call, whether recording has begun, why it ended. Pure.

The texts are the origin engine's where it had any.
"""

from typing import NamedTuple

from mpengine.client.position import Hole
from mpengine.shared import messages
from mpengine.shared.messages import EngineState, ErrorCode, ErrorKind, Published


class Words(NamedTuple):
    """For the callbacks of results."""

    text: str
    is_final: bool
    time_ns: int


class Trouble(NamedTuple):
    """For the error callback."""

    text: str


class CreditsLow(NamedTuple):
    """For the callback of that name."""

    seconds_remaining: int


Call = Words | Trouble | CreditsLow


class RecordingState:
    """One recording, as far as it is told."""

    def __init__(self) -> None:
        self.has_started = False  # connected, and the device is open
        self.is_over = False
        self.failure = ""  # why it ended by itself
        self.trouble = ""  # what keeps it from starting
        self.unacknowledged_s = 0.0
        self._is_failure_reported = False

    def read(self, message: Published | Hole) -> list[Call]:
        """What to call for `message`. Words that were lost on the way to us could not be had any more."""
        match message:
            case messages.Transcript(interrupted=False) if message.text.strip():
                return [Words(message.text, message.is_final, message.time_ns)]
            case messages.CreditsLow(seconds_remaining=seconds):
                return [CreditsLow(int(seconds))]
            case messages.Error():
                return self._error(message)
            case messages.Status():
                return self._status(message)
            case Hole():
                return [Trouble("results were lost on the way to this program")]
        return []

    def ended(self, how: str) -> list[Call]:
        """Its process has ended; nobody had asked for it."""
        self.is_over = True
        self.failure = self.failure or f"The engine has ended: {how}"
        return self._report_failure()

    def _error(self, error: messages.Error) -> list[Call]:
        text = _wording(error)
        if not self.has_started and error.code != ErrorCode.DIGITAL_SILENCE:  # a silent device is open all the same
            self.trouble = text
        if not error.fatal:
            return [Trouble(text)]
        self.failure = self.failure or text
        if error.source == "capture" and not self.has_started:
            self._is_failure_reported = True  # the origin engine left that to what start_recording returns
        return self._report_failure()

    def _status(self, status: messages.Status) -> list[Call]:
        self.unacknowledged_s = status.unacknowledged_s
        match status.state:
            case EngineState.RUNNING:
                self.has_started = True
            case EngineState.STOPPED:
                self.is_over = True
            case EngineState.FAILED:
                self.is_over = True
                self.failure = self.failure or status.reason or "failed"
                return self._report_failure()
        return []

    def _report_failure(self) -> list[Call]:
        if self._is_failure_reported:
            return []
        self._is_failure_reported = True
        return [Trouble(self.failure)]


def _wording(error: messages.Error) -> str:
    """The text of an error as the origin engine's users know it."""
    match error.source, error.kind:
        case "capture", _:
            return f"Audio stream error: {error.message}"
        case "streaming", ErrorKind.CONNECTION:
            return f"WebSocket error: {error.message}"
        case "streaming", ErrorKind.SERVICE if error.code:
            return f"[{error.code}] {error.message}"
    return error.message
