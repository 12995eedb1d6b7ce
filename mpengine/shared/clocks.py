"""The clocks of the machine against each other: steps of the wall clock, and suspensions. Pure.

The monotonic clock runs evenly: it is never set, and stands still while the machine is suspended. NTP slows or speeds
it as it does the wall clock. So the distance of both changes by a step of the wall clock, or by a suspension, and the
clock that goes on while the machine is suspended tells one from the other.
"""

import msgspec

# What is less can be a late reading on a busy machine. NTP programs correct less than 128 ms without a step.
LEAST_STEP_NS = 50_000_000


class Clocks(msgspec.Struct, frozen=True, gc=False):
    """A reading of all clocks. `utc_ahead_ns`: UTC minus the monotonic time; `suspended_ns`: all suspensions so far."""

    utc_ahead_ns: int = 0
    suspended_ns: int = 0

    def suspended_since(self, before: "Clocks") -> int:
        """For how many nanoseconds the machine was suspended since the reading `before`."""
        return _if_real(self.suspended_ns - before.suspended_ns)

    def stepped_since(self, before: "Clocks") -> int:
        """By how many nanoseconds the wall clock was set since the reading `before`: forward above zero, else back."""
        moved_ns = self.utc_ahead_ns - before.utc_ahead_ns
        return _if_real(moved_ns - (self.suspended_ns - before.suspended_ns))

    def jumped_since(self, before: "Clocks") -> bool:
        """Whether UTC is not to be interpolated from the reading `before` to this one."""
        return bool(self.stepped_since(before) or self.suspended_since(before))


def _if_real(nanoseconds: int) -> int:
    return nanoseconds if abs(nanoseconds) >= LEAST_STEP_NS else 0
