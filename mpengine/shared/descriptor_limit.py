"""How many descriptors this process may have."""

import contextlib
import resource

# More is of no use, and some systems allow a billion: programs that close all of them would take minutes.
_MOST = 65_536


def raised() -> int:
    """Allow this process, and those that it starts, as many descriptors as the system does. Returns the number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return _MOST if soft == resource.RLIM_INFINITY else soft
