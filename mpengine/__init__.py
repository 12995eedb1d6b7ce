"""Streams a microphone to a speech recogniser and delivers typed transcripts to local programs, losing no word."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpengine.client.position import Hole as Hole
    from mpengine.client.subscriber import Subscriber as Subscriber
    from mpengine.embedded.engine import Engine as Engine
    from mpengine.embedded.engine import TranscriptionResult as TranscriptionResult
    from mpengine.shared.config import Config as Config
    from mpengine.supervisor.process import Supervisor as Supervisor

__all__ = ["Config", "Engine", "Hole", "Subscriber", "Supervisor", "TranscriptionResult"]
__version__ = "0.2.0"

_HOMES = {
    "Config": "mpengine.shared.config",
    "Hole": "mpengine.client.position",
    "Engine": "mpengine.embedded.engine",
    "Subscriber": "mpengine.client.subscriber",
    "Supervisor": "mpengine.supervisor.process",
    "TranscriptionResult": "mpengine.embedded.engine",
}


def __getattr__(name: str) -> Any:
    # Public names load on use: child processes import this package too, and each must hold only its own modules.
    if name in _HOMES:
        import importlib  # noqa: PLC0415

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
