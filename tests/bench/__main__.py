"""`scripts/bench`: measure the parts that are named, print a table, write JSON."""

import argparse
import atexit
import compileall
import contextlib
import datetime as dt
import importlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.common import Bench
from tests.bench.figures import BASELINE, ENGINE
from tests.bench.server import ROOT
from tests.bench.subjects import compile_floor
from tests.bench.table import table

USUAL = ("cpu", "quiet", "memory", "start", "delay", "hops", "restarts", "file", "outage")
LONG = ("growth", "tricks", "fan_out", "hour", "gate", "web", "sidecars", "fleet")
PARTS = f"{' '.join(USUAL)} (all: these, as if none is named), {' '.join(LONG)}"
DRAW = "draw one FILE.svg, or several into a directory; without PARTs from the last figures"
RESULTS = ROOT / ".cache" / "bench"


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Costs of the engine, beside a single process.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=PARTS)
    parser.add_argument("--rounds", type=int, default=3, help="of cpu, quiet, memory, file, growth, tricks (default 3)")
    parser.add_argument("--seconds", type=float, default=30.0, help="a window lasts (default 30)")
    parser.add_argument("--tries", type=int, default=12, help="starts, kills (default 12)")
    parser.add_argument("--minutes", type=float, default=60.0, help="of hour (default 60)")
    parser.add_argument("--boxes", type=int, default=10_000, help="of fleet, at most (default 10000)")
    parser.add_argument("--device", metavar="NAME", help="a real microphone instead of the virtual one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where figures go (default .cache/bench/latest.json)")
    parser.add_argument("--plot", type=Path, metavar="PATH", help=DRAW)
    chosen = parser.parse_args()
    if "all" in chosen.parts:
        chosen.parts = [*USUAL, *(part for part in chosen.parts if part in LONG)]
    if unknown := set(chosen.parts) - {*USUAL, *LONG}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if chosen.rounds < 1 or chosen.seconds < 1 or chosen.tries < 2 or chosen.minutes <= 1 or chosen.boxes < 1:
        parser.error("--rounds from 1, --seconds from 1, --tries from 2, --minutes above 1, --boxes from 1")
    return chosen


def prepare(chosen: argparse.Namespace) -> Bench:
    """The floor compiled, bytecode written as an installation does."""
    bench = Bench(
        rounds=chosen.rounds,
        seconds=chosen.seconds,
        tries=chosen.tries,
        minutes=chosen.minutes,
        boxes=chosen.boxes,
        device=chosen.device,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends all as Ctrl-C does
    # All temporary files below one directory, which goes even when a second Ctrl-C cuts its owners short.
    tempfile.tempdir = tempfile.mkdtemp(prefix="mpbench-")
    atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)
    # Nor shall any start compile: the subjects inherit this environment.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    compileall.compile_dir(str(ROOT / "mpengine"), quiet=2)
    compileall.compile_dir(str(ROOT / "tests" / "bench"), quiet=2)
    if reason := compile_floor():
        bench.kinds = (ENGINE, BASELINE)
        bench.note(f"the floor is left out: {reason} (apt-get install build-essential portaudio19-dev)")
    return bench


def machine() -> dict[str, Any]:
    """On what it was measured."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=20
    )
    return {
        "commit": described.stdout.strip(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "time": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "load": os.getloadavg(),
    }


def measure(bench: Bench, chosen: argparse.Namespace, file: Path) -> bool:
    """All parts in turn; what was measured is written behind each. Returns whether all went well."""
    about = machine() | {"rounds": chosen.rounds, "seconds": chosen.seconds, "device": chosen.device or "virtual"}
    well = True
    for part in chosen.parts or USUAL:
        began, load = time.monotonic(), os.getloadavg()[0]
        try:
            importlib.import_module(f"tests.bench.{part}").measure(bench)
        except (AssertionError, OSError, subprocess.SubprocessError) as problem:
            well = False
            bench.note(f"{part}: stopped: {problem}")
        bench.say(f"{part}: {time.monotonic() - began:.0f} s; load {load:.2f} before, {os.getloadavg()[0]:.2f} behind")
        content = {"about": about, "notes": bench.notes, "figures": bench.figures.plain(), "samples": bench.samples}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content) + "\n")
    return well


def main() -> int:
    """Do it."""
    chosen = arguments()
    file = chosen.json or RESULTS / "latest.json"
    if chosen.plot and not chosen.parts and not file.exists():
        print(f"scripts/bench: nothing measured yet ({file}); scripts/bench all --plot {chosen.plot}", file=sys.stderr)
        return 2
    well = True
    if chosen.parts or not chosen.plot:
        bench = prepare(chosen)
        well = measure(bench, chosen, file)
        print(table(bench.figures, bench.notes))
        bench.say(f"all values: {file}")
    if chosen.plot:
        # Not before: what this process has loaded, numpy above all, would be split with the baseline's.
        plot = importlib.import_module("tests.bench.plot")
        for drawn in plot.draw(json.loads(file.read_text()), chosen.plot):
            print(drawn, file=sys.stderr)
    return 0 if well else 1


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
