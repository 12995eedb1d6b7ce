"""A GUI as the origin engine knew it: a configuration with `get`, callbacks that note what came, buttons."""

import threading
import time
from collections.abc import Callable
from typing import Any, Self

from tests.rig.configs import Tables
from tests.rig.server import Server
from tests.rig.waiting import PATIENCE_S, scaled

Call = tuple[Any, ...]


class Gui:
    """`engine_class` is the class under test, ours or the origin's; `engine` its object.

    `calls` are ("interim", text, user_name), ("final", text, user_name), ("error", text) and ("credits_low", seconds);
    what is not as it should be in a result stands behind these."""

    def __init__(
        self, engine_class: Callable[..., Any], tables: Tables, *, user_name: str = "Ann", device: Any = None
    ) -> None:
        self.calls: list[Call] = []
        self.threads: set[int] = set()
        self.on_call: Callable[[Call], None] = lambda _call: None
        """what a callback does besides noting that it was called"""
        self._changed = threading.Condition()
        self.engine = engine_class(flat(tables), user_name, device)
        self.engine.set_callbacks(
            realtime_callback=lambda result: self._called("interim", *self._parts(result, is_final=False)),
            final_callback=lambda result: self._called("final", *self._parts(result, is_final=True)),
        )
        self.engine.set_error_callback(lambda text: self._called("error", text))
        self.engine.set_credits_low_callback(lambda seconds: self._called("credits_low", seconds))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.engine.stop()

    def start(self, server: Server | None = None, n_bytes: int = 3200) -> bool:
        """Press record; with a server, wait until it has some audio."""
        if server is not None:
            n_bytes += sum(connection.audio_bytes for connection in server.connections)
        self.engine.initialize()
        is_started = bool(self.engine.start_recording())
        if is_started and server is not None:
            server.wait_for_audio(n_bytes)
        return is_started

    def wait_for(self, *calls: Call, timeout: float = PATIENCE_S) -> None:
        """Wait until all these calls have come."""
        with self._changed:
            in_time = self._changed.wait_for(lambda: set(calls) <= set(self.calls), scaled(timeout))
        assert in_time, f"waited in vain for {set(calls) - set(self.calls)}; there were {self.calls}"

    def of_kind(self, kind: str) -> list[Call]:
        """The calls of one callback so far."""
        with self._changed:
            return [call for call in self.calls if call[0] == kind]

    def _called(self, *call: Any) -> None:
        with self._changed:
            self.calls.append(call)
            self.threads.add(threading.get_ident())
            self._changed.notify_all()
        self.on_call(call)

    @staticmethod
    def _parts(result: Any, *, is_final: bool) -> tuple[Any, ...]:
        odd = []
        if type(result).__name__ != "TranscriptionResult" or result.is_final is not is_final:
            odd.append(repr(result))
        if result.timestamp.tzinfo is not None or abs(result.timestamp.timestamp() - time.time()) > scaled(5):
            odd.append(f"at {result.timestamp}")
        return result.text, result.user_name, *odd


def flat(tables: Tables) -> dict[str, Any]:
    """A GUI's configuration: keys with a dot."""
    return {f"{table}.{key}": value for table, keys in tables.items() for key, value in keys.items()}
