"""From the start of the program to the first audio at the server: each subject alone, in turn."""

import time

from tests.bench.common import Bench
from tests.bench.server import SinkServer
from tests.bench.subjects import wait_for_audio

FIRST_BYTE = "to the first audio at the server"


def measure(bench: Bench) -> None:
    """Add the figures."""
    with bench.places("bench") as (place,), SinkServer() as server:
        for turn in range(bench.tries):
            bench.say(f"start: {turn + 1} of {bench.tries}")
            for kind in bench.order(turn):
                subject = bench.subject(kind, place, server)
                began_ns = time.monotonic_ns()
                with subject:
                    first_ns = wait_for_audio(subject, 0.02).first_ns
                bench.figures.add("start", FIRST_BYTE, "s", (first_ns - began_ns) / 1e9, subject=kind)
