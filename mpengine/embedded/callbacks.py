"""From an engine's messages to a GUI's callbacks, and to the state of the recording. Pure.

Where the origin engine had a text for an event, this is its text.
"""

from typing import NamedTuple

from mpengine.client.position import Hole
from mpengine.shared import messages
from mpengine.shared.messages import NO_OBSTACLE, NO_TROUBLE, EngineState, ErrorKind, Published


class Words(NamedTuple):
    """A call of the callback for interims or finals. `time_ns`: UTC of the publication."""

    text: str
    is_final: bool
    time_ns: int


class Trouble(NamedTuple):
    """A call of the error callback."""

    text: str


class CreditsLow(NamedTuple):
    """A call of the callback for low credits."""

    seconds_remaining: int


Call = Words | Trouble | CreditsLow


class RecordingState:
    """The state of one recording, as its engine's messages show it."""

    def __init__(self) -> None:
        self.has_started = False  # the recogniser is connected, and the device is open
        self.is_over = False
        self.failure = ""  # the reason why the recording ended by itself
        self.trouble = ""  # the last obstacle to the start
        self.unacknowledged_s = 0.0
        self._is_failure_reported = False

    def read(self, message: Published | Hole) -> list[Call]:
        """The calls that `message` leads to."""
        match message:
            case messages.Transcript(interrupted=False) if message.text.strip():
                return [Words(message.text, message.is_final, message.time_ns)]
            case messages.CreditsLow(seconds_remaining=seconds):
                return [CreditsLow(int(seconds))]
            case messages.Error(code=code) if code in NO_TROUBLE:
                return []
            case messages.Error():
                return self._error(message)
            case messages.Status():
                return self._status(message)
            case Hole():
                return [Trouble("results were lost on the way to this program")]
        return []

    def ended(self, how: str) -> list[Call]:
        """The calls after the recording's process has ended unasked; `how` it ended, in words."""
        self.is_over = True
        self.failure = self.failure or f"The engine has ended: {how}"
        return self._report_failure()

    def _error(self, error: messages.Error) -> list[Call]:
        text = _wording(error)
        if not self.has_started and error.code not in NO_OBSTACLE:
            self.trouble = text
        if not error.fatal:
            return [Trouble(text)]
        self.failure = self.failure or text
        if error.source == "capture" and not self.has_started:
            self._is_failure_reported = True  # as in the origin engine, only start_recording reports this one
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
