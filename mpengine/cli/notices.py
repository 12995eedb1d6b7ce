"""What `listen` tells the person at its terminal about the engines, beside their words. Pure."""

from collections.abc import Sequence

from mpengine.shared import messages
from mpengine.shared.messages import EngineState, Published
from mpengine.shared.text import harmless


class Notices:
    """Turns messages about engines into notices of one line. With several `names`, each begins with its engine's."""

    def __init__(self, names: Sequence[str]) -> None:
        self._is_alone = len(names) == 1
        self._told: dict[str, str] = {}  # of each engine, the last notice about its state

    def waiting(self, name: str) -> str:
        """The engine called `name` is not there, or not any more; empty if that was told."""
        return self._news(name, f'waiting for "{name}"…')

    def about(self, name: str, message: Published) -> str:
        """The notice about `message`; empty for one that needs none."""
        match message:
            case messages.Status():
                return self._state(name, message)
            case messages.Error(message=text):
                # The reason of a state is often an error that is told already, or the other way round.
                return "" if text in self._told.get(name, "") else self._labelled(name, f"[{harmless(text)}]")
            case messages.CreditsLow(seconds_remaining=seconds):
                return self._labelled(name, f"[the account has {seconds:.0f} s left]")
        return ""

    def _state(self, name: str, status: messages.Status) -> str:
        reason = f": {harmless(status.reason)}" if status.reason else ""
        match status.state:
            case EngineState.RUNNING if status.reason == "paused":
                return self._news(name, "[paused]")
            case EngineState.RUNNING:
                was_told = name in self._told
                return self._news(name, "[running]") if was_told else ""
            case EngineState.STARTING | EngineState.CONNECTING:
                return self._news(name, "[connecting]")
            case EngineState.DEGRADED if status.device is None:
                return self._news(name, f"[no microphone{reason}]")
            case EngineState.DEGRADED:
                return self._news(name, f"[reconnecting{reason}]")
            case EngineState.STOPPED:
                return self._news(name, "[engine stopped]")
            case EngineState.FAILED:
                return self._news(name, f"[engine failed{reason}]")
        return ""

    def _news(self, name: str, text: str) -> str:
        if self._told.get(name) == text:
            return ""
        self._told[name] = text
        return self._labelled(name, text)

    def _labelled(self, name: str, text: str) -> str:
        return text if self._is_alone or text.startswith("waiting") else f"{name}: {text}"
