"""`mpengine record` as its users start it, and what it has written: read again by soundfile and by `flac -t`."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.rig.processes import spawn
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

_BEGUN = re.compile(r" (?:run|waiting_for_the_engine) ")


class Recording:
    """`mpengine record --output DIR ARGUMENTS`, with the environment of an engine."""

    def __init__(self, directory: Path, environment: dict[str, str], *arguments: str) -> None:
        self.directory = directory
        self._environment = environment
        self._command = [sys.executable, "-m", "mpengine", "record", "--output", str(directory), *arguments]
        self._log = directory.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def start(self) -> Self:
        """Start it; it holds the folder, and has seen whether there is a window, when this returns."""
        before = len(_BEGUN.findall(self.log_text()))
        with self._log.open("ab") as log:
            self._process = spawn(self._command, env=self._environment, stdin=subprocess.DEVNULL, stderr=log)
        self.wait_for(lambda: len(_BEGUN.findall(self.log_text())) > before, "its first lines")
        return self

    def wait_for(self, probe: Any, what: str) -> None:
        """Wait until `probe` is true; fail if the process has ended."""
        process = self._process
        assert process is not None

        def asked() -> bool:
            if probe():
                return True
            assert process.poll() is None, f"it has ended: {self.log_text()}"
            return False

        wait_until(asked, PATIENCE_S, what, every=0.05)

    def log_text(self) -> str:
        """What it has said, over all starts."""
        return self._log.read_text() if self._log.exists() else ""

    def kill(self) -> None:
        """End it without a word."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit code."""
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(scaled(PATIENCE_S))

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process."""
        assert self._process is not None
        return self._process


class Taped(NamedTuple):
    """A file, its JSON and its audio."""

    path: Path
    about: dict[str, Any]
    pcm: bytes

    @property
    def first(self) -> int:
        """Its first sample."""
        return int(self.about["first_sample"])

    @property
    def end(self) -> int:
        """Its end."""
        return int(self.about["end_sample"])

    def missing(self) -> list[tuple[int, int]]:
        """The ranges of samples that are told to be missing."""
        return [(each["first_sample"], each["end_sample"]) for each in self.about["missing"]]


def taped(directory: Path) -> list[Taped]:
    """What is in the folder, in the order of the samples."""
    found = []
    for path in directory.glob("*.json"):
        about = json.loads(path.read_text())
        found.append(Taped(directory / about["file"], about, decoded(directory / about["file"])))
    return sorted(found, key=lambda each: (each.about["run"], each.first, each.end))


def decoded(path: Path) -> bytes:
    """All samples that soundfile reads in a file, also in one that does not tell its length."""
    import soundfile  # noqa: PLC0415  only the tests of recordings need it

    pieces = []
    with soundfile.SoundFile(str(path)) as file:
        while piece := bytes(file.buffer_read(1 << 16, "int16")):
            pieces.append(piece)
    return b"".join(pieces)


def faults_of_flac(paths: Iterable[Path]) -> dict[str, str]:
    """What `flac -t` says of those files that are not valid. Empty too where there is no flac: see `has_flac`."""
    found = {}
    for path in paths:
        done = subprocess.run(["flac", "-ts", str(path)], capture_output=True, text=True, check=False)
        if done.returncode:
            found[path.name] = done.stderr
    return found


def has_flac() -> bool:
    """Whether Debian's package flac is there."""
    return shutil.which("flac") is not None


def modes(directory: Path) -> set[int]:
    """The rights of the files in the folder."""
    return {os.stat(path).st_mode & 0o777 for path in directory.iterdir()}
