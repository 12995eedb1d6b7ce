"""`mpengine stop`: asks an engine to stop and waits until it has."""

import time

import msgspec

from mpengine.shared import messages
from mpengine.shared.errors import EngineUnreachable, ExitCode
from mpengine.subscriber import Subscriber, ask


def stop(name: str, query: str | None, *, timeout_s: float) -> int:
    """Stop the engine; 0 once it has ended cleanly, 1 when it has not by then."""
    answer = msgspec.json.decode(ask(messages.StatusQuery(), name=name, query=query), type=messages.StatusAnswer)
    with Subscriber(name, publish=answer.publish, topics=("status",)) as subscriber:
        ask(messages.Stop(), name=name, query=query)
        give_up = time.monotonic() + timeout_s
        while time.monotonic() < give_up:
            message = subscriber.receive(timeout_s=0.5)
            if isinstance(message, messages.Status) and message.state in {"stopped", "failed"}:
                print(
                    f"stopped; {message.unacknowledged_s:.1f} s without a result"
                    if message.unacknowledged_s
                    else "stopped"
                )
                return int(ExitCode.OK)
            if message is None and not _answers(name, query):
                print("stopped")
                return int(ExitCode.OK)
    raise EngineUnreachable(f'the engine called "{name}" (pid {answer.pid}) has not stopped within {timeout_s:.0f} s')


def _answers(name: str, query: str | None) -> bool:
    try:
        ask(messages.StatusQuery(), name=name, query=query, timeout_s=1.0)
    except EngineUnreachable:
        return False
    return True
