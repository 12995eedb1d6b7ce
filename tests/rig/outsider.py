"""What a program can do with an engine's sockets, as another user or on another host: run as a process of its own.

`tried(...)` starts it and returns what went through. The process loads everything as the user of the tests, and then
becomes the other user, who may have no right to read this Python's folder.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from typing import Any

from mpengine.client.ask import ask
from mpengine.client.subscriber import Subscriber
from mpengine.shared import messages
from mpengine.shared.errors import EngineUnreachable
from tests.rig.waiting import scaled

STRANGER = 12345
"""A user id that nobody has."""
# How long to wait for what is refused: nothing tells a refusal from silence.
_REFUSED_S = 2.0


def tried(*, inside: tuple[str, ...] = (), **what: Any) -> dict[str, str]:
    """Each attempt with "yes", or why not. `inside`: a command that runs another one elsewhere (nsenter)."""
    words = [*inside, sys.executable, "-m", __name__, json.dumps(what)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=scaled(120), check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def yes(found: dict[str, str]) -> set[str]:
    """What went through."""
    return {name for name, answer in found.items() if answer == "yes"}


def _try(
    *,
    name: str,
    publish: str,
    query: str,
    command: str,
    uid: int | None = None,
    internal: tuple[str, ...] = (),
    expected: tuple[str, ...] = (),
    **keys: str,
) -> dict[str, str]:
    """`expected`: what must go through gets more time."""
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)

    def limit_s(what: str) -> float:
        return scaled(30) if what in expected else _REFUSED_S

    found = {}
    with Subscriber(name, publish=publish, query=query, **keys) as subscriber:
        found["read"] = "yes" if subscriber.wait_live(limit_s("read")) else "silence"
    attempts = {
        "ask": (messages.StatusQuery(), {"query": query}),
        "command by query": (messages.Resume(), {"query": query}),
        "command": (messages.Resume(), {"command": command}),
    }
    for what, (question, where) in attempts.items():
        found[what] = "silence"
        with contextlib.suppress(EngineUnreachable):
            answer = json.loads(ask(question, **where, **keys, timeout_s=limit_s(what)))
            found[what] = answer.get("code") or "yes"
    for path in internal:
        with socket.socket(socket.AF_UNIX) as raw:
            error = raw.connect_ex(path)
            found[os.path.basename(path)] = os.strerror(error) if error else "yes"
    return found


if __name__ == "__main__":
    print(json.dumps(_try(**json.loads(sys.argv[1]))))
