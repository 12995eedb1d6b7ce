"""Capture's microphone and sample clock in a process of their own, which records until it is told to end.

`python -m tests.rig.recorder` is that process. It writes each sample at the place of its index into a file, so a gap is
a hole of zeros there. It opens a lost device again, as capture does, and says on standard output what happens.

SIGUSR1 has it close the device, and the next one open it again.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from tests.rig.processes import spawn
from tests.rig.waiting import PATIENCE_S, PREFIX, scaled, wait_until


class Recorder:
    """Context manager. `events` are what the process has said: "opened", "closed", "lost", "absent", "missing"."""

    def __init__(self, environment: Mapping[str, str], **audio: Any) -> None:
        self._environment, self._audio = environment, audio
        self.events: list[dict[str, Any]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread(target=self._hear, name=f"{PREFIX}recorder")

    def __enter__(self) -> Self:
        descriptor, path = tempfile.mkstemp(prefix="mprec-")
        os.close(descriptor)
        self._path = Path(path)
        self._process = spawn(
            [sys.executable, "-m", "tests.rig.recorder", path, json.dumps(self._audio)],
            env=os.environ | dict(self._environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._reader.start()
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._path.unlink()

    @property
    def pid(self) -> int:
        """The process's."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def said(self, kind: str) -> list[dict[str, Any]]:
        """The events of this kind."""
        return [event for event in list(self.events) if event["event"] == kind]

    def wait_for(self, kind: str, count: int = 1, timeout: float = PATIENCE_S) -> dict[str, Any]:
        """Wait for the `count`th event of this kind, and return it."""
        wait_until(lambda: len(self.said(kind)) >= count or self.exit_code is not None, timeout, f"{count} x {kind}")
        return self.said(kind)[count - 1]

    def wait_for_samples(self, samples: int, timeout: float = PATIENCE_S) -> None:
        """Wait until so many more samples than now have been placed."""
        end = self.samples + samples
        wait_until(lambda: self.samples >= end, timeout, f"sample {end}")

    @property
    def samples(self) -> int:
        """Where the clock stands."""
        return self._path.stat().st_size // 2

    def stop(self, timeout: float = PATIENCE_S) -> bytes:
        """Have it close the device and end. Returns what it recorded, with zeros where samples are missing."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(scaled(timeout)) == 0
        return self._path.read_bytes()

    def _hear(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.events.append(json.loads(line))


def main() -> None:
    """Record until standard input ends."""
    from mpengine.capture.absence import Absence  # noqa: PLC0415  only here, as in the process that captures
    from mpengine.capture.clock import SampleClock  # noqa: PLC0415
    from mpengine.capture.microphone import Microphone  # noqa: PLC0415
    from mpengine.shared.config_tables import AudioConfig  # noqa: PLC0415
    from mpengine.shared.errors import DeviceError  # noqa: PLC0415
    from mpengine.shared.wake import Wake  # noqa: PLC0415

    audio = AudioConfig(**json.loads(sys.argv[2]))
    microphone, absence = Microphone(audio), Absence()
    clock = SampleClock(sample_rate=audio.sample_rate, sample_bytes=2, block_samples=audio.block_samples)
    file = os.open(sys.argv[1], os.O_WRONLY)
    is_open = False

    def say(event: str, **fields: Any) -> None:
        used = {"at_ns": time.monotonic_ns(), "cpu_s": time.process_time()}
        print(json.dumps({"event": event, **used, **fields}), flush=True)

    def keep(placed: Iterator[Any]) -> None:
        for each in placed:
            if each.missing is not None:
                say("missing", first=each.missing.first, end=each.missing.end, reason=each.missing.reason)
            os.pwrite(file, each.block.pcm, each.first_sample * 2)

    def take() -> None:
        keep(placed for block in microphone.read(time.monotonic_ns(), 1 << 30) for placed in clock.add(block))

    def try_to_open() -> bool:
        absence.tries()
        try:
            info = microphone.open(0)
        except DeviceError as error:
            absence.failed(time.monotonic())
            say("absent", reason=str(error))
            return False
        clock.interrupted("device")
        say("opened", **info._asdict())
        return True

    signals = Wake()
    signal.set_wakeup_fd(signals.signal_fd)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    is_open = try_to_open()
    while True:
        wait_s = max(0.0, min(1.0, absence.next_try_at - time.monotonic()))
        ready, _, _ = select.select([0, microphone.fileno(), signals.fileno()], [], [], wait_s)
        if 0 in ready:
            break
        if signals.fileno() in ready:
            signals.drain()
            if is_open:
                microphone.close()
                take()
                is_open = False
                say("closed")
            else:
                is_open = try_to_open()
        if is_open:
            try:
                take()
            except DeviceError as error:
                take()
                keep(iter(clock.settle()))
                absence.failed(time.monotonic())
                say("lost", reason=str(error))
                microphone.close()
                is_open = False
        elif absence.is_due(time.monotonic()):
            is_open = try_to_open()
    microphone.close()
    take()
    keep(iter(clock.settle()))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
