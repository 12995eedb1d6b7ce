"""Streams a microphone to a speech recogniser and delivers typed transcripts to local programs, losing no word."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpengine.client.ask import ask
    from mpengine.client.position import Hole
    from mpengine.client.subscriber import Subscriber
    from mpengine.embedded.engine import Engine, TranscriptionResult
    from mpengine.shared.config import Config
    from mpengine.shared.errors import ConfigError, EngineUnreachable, MpengineError
    from mpengine.shared.messages import (
        CreditsLow,
        EngineState,
        Error,
        ErrorCode,
        ErrorKind,
        Gap,
        GapReason,
        Level,
        Metadata,
        Metrics,
        Pause,
        Resume,
        SessionEnd,
        SetUserName,
        SpeechStarted,
        Status,
        StatusAnswer,
        StatusQuery,
        Stop,
        Transcript,
        UtteranceEnd,
        Word,
    )
    from mpengine.shared.messages import Published as Message
    from mpengine.supervisor.process import Supervisor

__all__ = [
    "Config",
    "ConfigError",
    "CreditsLow",
    "Engine",
    "EngineState",
    "EngineUnreachable",
    "Error",
    "ErrorCode",
    "ErrorKind",
    "Gap",
    "GapReason",
    "Hole",
    "Level",
    "Message",
    "Metadata",
    "Metrics",
    "MpengineError",
    "Pause",
    "Resume",
    "SessionEnd",
    "SetUserName",
    "SpeechStarted",
    "Status",
    "StatusAnswer",
    "StatusQuery",
    "Stop",
    "Subscriber",
    "Supervisor",
    "Transcript",
    "TranscriptionResult",
    "UtteranceEnd",
    "Word",
    "ask",
]
__version__ = "0.2.0"

# The modules of the public names. A name that has no line here stands in `_MESSAGES`.
_MESSAGES = "mpengine.shared.messages"
_HOMES = {
    "ask": "mpengine.client.ask",
    "Hole": "mpengine.client.position",
    "Subscriber": "mpengine.client.subscriber",
    "Engine": "mpengine.embedded.engine",
    "TranscriptionResult": "mpengine.embedded.engine",
    "Config": "mpengine.shared.config",
    "ConfigError": "mpengine.shared.errors",
    "EngineUnreachable": "mpengine.shared.errors",
    "MpengineError": "mpengine.shared.errors",
    "Supervisor": "mpengine.supervisor.process",
}
_ALIASES = {"Message": "Published"}


def __getattr__(name: str) -> Any:
    # Public names load on use: child processes import this package too, and each must hold only its own modules.
    if name in __all__:
        import importlib  # noqa: PLC0415

        return getattr(importlib.import_module(_HOMES.get(name, _MESSAGES)), _ALIASES.get(name, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
