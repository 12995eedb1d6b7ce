"""Deadlines of the rig: one unit for all of them, so that a slow board needs one variable and no edits."""

import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FACTOR = float(os.environ.get("MPENGINE_TEST_TIMEOUT_FACTOR", "1"))
MS = 0.001 * FACTOR
"""A millisecond of patience: `500 * MS` is half a second, or more where the factor says so."""

PATIENCE_S = 30.0
"""How long what has no limit of its own is waited for: nothing comes near it, except on a very busy machine."""

_SAMPLE_S = 0.1

PREFIX = "rig-"
"""Every thread of the rig carries it, so that a test which leaves one running is found out."""


def scaled(seconds: float) -> float:
    """A limit in seconds, stretched by MPENGINE_TEST_TIMEOUT_FACTOR. Every `timeout` here goes through it."""
    return seconds * FACTOR


def promised(seconds: float) -> float:
    """How long a thing that the engine promises within `seconds` may take here and now: as long, on a machine at rest;
    on a busy one so many times longer as a process waits for its share of a processor. Ask before it begins.
    """
    began, used = time.monotonic(), time.thread_time()
    while time.thread_time() - used < _SAMPLE_S:
        pass
    return seconds * max(1.0, (time.monotonic() - began) / _SAMPLE_S)


def wait_until(probe: Callable[[], T], timeout: float, what: str, *, every: float = 0.01) -> T:
    """Ask `probe` until its answer is true, and return that. For what announces nothing: /proc, pactl."""
    deadline = time.monotonic() + scaled(timeout)
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {scaled(timeout):g} s in vain for {what}")
        time.sleep(every)
    return answer


def rig_threads() -> list[threading.Thread]:
    """The threads of the rig that are running now."""
    return [thread for thread in threading.enumerate() if thread.name.startswith(PREFIX)]
