"""Why a child is silent, by two looks at what the scheduler shows of it. Pure.

A silent child may hang, or it may only wait for its turn or for another process. To kill one that starves makes the
load worse. `verdict` gives the first line of this table that fits. The letters are the states of proc_pid_stat(5).

    TRACED       a thread is traced (t)
    STOPPED      the main thread is stopped (T) in both looks
    SPINNING     its threads used half of the time or more
    STARVED      a thread is runnable (R)
    IN_KERNEL    the main thread cannot be interrupted (D); no signal helps
    BLOCKED      the main thread slept (S) all the time
    SLOW         anything else

`mpengine.shared.logs.sentences` says in words what each line means.

Only STOPPED and BLOCKED are certain, and only on a machine with processors to spare: a main thread that waits for an
answer of a starving process (a sound server, say) sleeps all the time, too.
"""

import enum
from typing import NamedTuple

# From so many runnable tasks a processor on, processes starve.
_LOADED = 2.0
_SPINNING_SHARE = 0.5


class Seen(enum.StrEnum):
    """As in the table above."""

    TRACED = "TRACED"
    STOPPED = "STOPPED"
    SPINNING = "SPINNING"
    STARVED = "STARVED"
    IN_KERNEL = "IN_KERNEL"
    BLOCKED = "BLOCKED"
    SLOW = "SLOW"


class Look(NamedTuple):
    """One look at a process and its machine."""

    at_s: float
    """When, on the monotonic clock."""
    cpu_s: float
    """The processor time of all threads since the start of the process."""
    states: str
    """The state of each thread, one letter each, the main thread's first."""
    switches: int
    """How often the main thread was switched away from its processor, by its own will or not."""
    runnable_per_processor: float
    """The runnable tasks of the whole machine for each of its processors."""


def verdict(before: Look, after: Look) -> Seen:
    """What two looks show, of which `after` came a second or more later."""
    states = before.states + after.states
    mains = before.states[0] + after.states[0]
    if "t" in states:
        return Seen.TRACED
    if mains == "TT":
        return Seen.STOPPED
    if after.cpu_s - before.cpu_s >= _SPINNING_SHARE * (after.at_s - before.at_s):
        return Seen.SPINNING
    if "R" in states:
        return Seen.STARVED
    if after.states[0] == "D":
        return Seen.IN_KERNEL
    return Seen.BLOCKED if mains == "SS" and before.switches == after.switches else Seen.SLOW


def is_loaded(before: Look, after: Look) -> bool:
    """Whether processes may starve on this machine."""
    return max(before.runnable_per_processor, after.runnable_per_processor) >= _LOADED
