"""What is measured: this engine, the baseline, the floor; each one started, told apart, and ended in the same way."""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, Self

from tests.bench import usage
from tests.bench.figures import BASELINE, ENGINE, FLOOR
from tests.bench.server import ROOT, Connection, SinkServer
from tests.rig.engine import EngineProcess
from tests.rig.microphone import VirtualMicrophone
from tests.rig.processes import spawn

FLOOR_SOURCE = Path(__file__).with_name("floor.c")
FLOOR_PROGRAM = ROOT / ".cache" / "bench" / "floor"
FLOOR_LATENCY_S = 0.04  # two blocks: the least that PortAudio can promise to keep
BLOCK_SAMPLES = 320
MEMORY = Path("/dev/shm")

# In `ps -o comm` the engine's other processes carry their own.
PROCESS_NAMES = {"mpe-capture": "capture", "mpe-streaming": "streaming", "mpe-zygote": "zygote"}


class Place(NamedTuple):
    """Where to record: a device, the variables that lead there, and what plays into it unless it is a real one."""

    device: str
    environment: Mapping[str, str]
    microphone: VirtualMicrophone | None = None


class Subject(Protocol):
    """One that runs. Context manager: it has been started inside, and is gone with all its processes behind."""

    kind: str
    server: SinkServer
    port: int

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
    def processes(self) -> dict[int, str]:
        """Pids and names of all its processes."""

    def trouble(self) -> str:
        """Why waiting for it is in vain, "" as long as it is not."""


class Started:
    """What the subjects have in common. `tls` is what they use to speak to the server."""

    kind = ""

    def __init__(self, place: Place, server: SinkServer, *, tls: bool = True) -> None:
        self.place, self.server, self.tls = place, server, tls
        self.port = server.listen(tls=tls)
        self.environment = clean_environment() | dict(place.environment)
        self.environment |= {"SSL_CERT_FILE": server.ca_file, "WEBSOCKET_CLIENT_CA_BUNDLE": server.ca_file}

    @property
    def address(self) -> str:
        """Of the server, as this subject knows it."""
        return f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self.port}"


class Engine(Started):
    """`mpengine run` with `changes` to the default configuration, and one subscriber to all it says."""

    kind = ENGINE

    def __init__(
        self,
        place: Place,
        server: SinkServer,
        *,
        tls: bool = True,
        changes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(place, server, tls=tls)
        config: dict[str, dict[str, Any]] = {
            "remote": {"mode": "byok", "byok_url": f"{self.address}/v1/listen", "byok_api_key": "a-key"},
            "audio": {"device": place.device or None},
        }
        for table, keys in (changes or {}).items():
            config[table] = config.get(table, {}) | dict(keys)
        self.running = EngineProcess(config, environment=self.environment, name=f"bench-{self.port}")
        # The rig turns warnings into errors, which loads a module more.
        del self.running.environment["PYTHONWARNINGS"]
        in_memory(self.running)

    def __enter__(self) -> Self:
        self.running.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.running.close()

    def trouble(self) -> str:
        """See Subject."""
        code = self.running.process.poll() if self.running.process else None
        return "" if code is None else f"the engine has ended with {code}:\n{self.running.log_tail(5)}"

    def processes(self) -> dict[int, str]:
        """See Subject."""
        named = usage.tree(self.running.pid)
        return {
            pid: "supervisor" if pid == self.running.pid else PROCESS_NAMES.get(name, name)
            for pid, name in named.items()
        }


class Program(Started):
    """A subject that is one process."""

    def __init__(self, place: Place, server: SinkServer, *, tls: bool = True) -> None:
        super().__init__(place, server, tls=tls)
        self.process: subprocess.Popen[bytes] | None = None
        self._words: IO[bytes] | None = None

    @property
    def command(self) -> list[str | Path]:
        """What is started."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        # ALSA and JACK talk on standard error; what is said there counts only if the program ends.
        self._words = tempfile.TemporaryFile()
        self.process = spawn(
            self.command,
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stderr=self._words,
            start_new_session=True,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        if self._words is not None:
            self._words.close()

    def trouble(self) -> str:
        """See Subject."""
        if self.process is None or self._words is None or (code := self.process.poll()) is None:
            return ""
        self._words.seek(0)
        words = self._words.read().decode(errors="replace").strip().splitlines() or [""]
        return f"{self.kind} has ended with {code}: {words[-1]}"

    def processes(self) -> dict[int, str]:
        """See Subject."""
        assert self.process is not None
        return dict.fromkeys(usage.tree(self.process.pid), self.kind)


class Baseline(Program):
    """The origin engine's design: see `tests.bench.baseline`."""

    kind = BASELINE

    @property
    def command(self) -> list[str | Path]:
        return [sys.executable, "-m", "tests.bench.baseline", self.address, self.place.device]


class Floor(Program):
    """PortAudio and a WebSocket in C, always without TLS: see floor.c."""

    kind = FLOOR

    def __init__(
        self,
        place: Place,
        server: SinkServer,
        *,
        latency_s: float = FLOOR_LATENCY_S,
        mark: Path | None = None,
        block_samples: int = BLOCK_SAMPLES,
    ) -> None:
        super().__init__(place, server, tls=False)
        self._options = [str(block_samples), str(latency_s), *([] if mark is None else [str(mark)])]

    @property
    def command(self) -> list[str | Path]:
        return [FLOOR_PROGRAM, "127.0.0.1", str(self.port), self.place.device, *self._options]


def clean_environment() -> dict[str, str]:
    """This one's, without what would lead the subjects elsewhere or change their Python."""
    unwanted = ("MPENGINE_", "DEEPGRAM_", "PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONMALLOC")
    return {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}


def in_memory(running: EngineProcess) -> EngineProcess:
    """Give an engine that is not started yet a runtime directory in memory, as $XDG_RUNTIME_DIR is one."""
    running.directory.rmdir()
    running.directory = Path(tempfile.mkdtemp(prefix="mpe-", dir=memory_files()))
    running.environment["XDG_RUNTIME_DIR"] = str(running.directory)
    return running


@functools.cache
def memory_files() -> Path:
    """A directory in memory, removed at the end of the program however impatiently that is asked for."""
    directory = Path(tempfile.mkdtemp(prefix="mpbench-", dir=MEMORY if MEMORY.is_dir() else None))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def compile_floor() -> str:
    """Make floor's program unless it is there; returns why there will be none, "" when there is one."""
    if FLOOR_PROGRAM.exists() and FLOOR_PROGRAM.stat().st_mtime > FLOOR_SOURCE.stat().st_mtime:
        return ""
    if (compiler := shutil.which("cc")) is None:
        return "no C compiler"
    FLOOR_PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(FLOOR_PROGRAM), str(FLOOR_SOURCE), "-lportaudio"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else "floor.c did not compile: " + (done.stderr.strip().splitlines() or ["?"])[0]


def wait_for_audio(subject: Subject, seconds: float = 0.5, timeout: float = 40) -> Connection:
    """Until so much of its audio is at the server."""
    count = int(seconds * 32000)
    return subject.server.wait_for_audio(subject.port, subject.trouble, count=count, timeout=timeout)
