"""The names of signals, for messages. Pure."""

import signal


def signal_name(number: int) -> str:
    """The name of the signal `number`, as in "SIGKILL"."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
