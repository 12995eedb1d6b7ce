"""The engine as its users start it: the real command, a runtime directory of its own, nothing left behind."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

import zmq

from tests.rig.listener import Listener
from tests.rig.processes import (
    ProcessInfo,
    all_processes,
    descendants,
    kill_all,
    marked,
    process_info,
    spawn,
)
from tests.rig.server import Server
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

RUNNING: list["EngineProcess"] = []
"""Those not yet closed, so that a failing test can show their logs."""

SECRETS = ("MPENGINE_AUTH_TOKEN", "DEEPGRAM_API_KEY")


class EngineProcess:
    """`mpengine run --config FILE`. As a context manager it starts at once and ends with every process.

    config       {"remote": {"mode": ...}, ...}, written as TOML; `engine.name` is filled in
    environment  the microphone's, the server's (for wss), and whatever else
    arguments    put behind `run --config FILE`
    command      what to start instead of `python -m mpengine run`
    is_reachable False where this process cannot reach its bus: then there is no `bus`
    stdin        its standard input

    `start()` may be called again after `stop()` or `kill()`: runtime directory, window and journal stay."""

    def __init__(
        self,
        config: Mapping[str, Mapping[str, Any]],
        *,
        environment: Mapping[str, str] | None = None,
        name: str = "rig",
        arguments: tuple[str, ...] = (),
        command: tuple[str, ...] = (sys.executable, "-m", "mpengine", "run"),
        is_reachable: bool = True,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
    ) -> None:
        self.config = {"engine": {"name": name}} | {table: dict(keys) for table, keys in config.items()}
        self.config["engine"].setdefault("name", name)
        self.name: str = self.config["engine"]["name"]
        self.arguments, self.command, self.is_reachable, self.stdin = arguments, command, is_reachable, stdin
        # Short, because ipc paths are limited to 107 bytes; pytest's tmp_path often is not.
        self.directory = Path(tempfile.mkdtemp(prefix="e-"))
        self.mark = f"MPENGINE_RIG={secrets.token_hex(8)}"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MPENGINE_") and k not in SECRETS}
        marker, _, value = self.mark.partition("=")
        self.environment = clean | dict(environment or {})
        self.environment |= {"XDG_RUNTIME_DIR": str(self.directory), "PYTHONWARNINGS": "error", marker: value}
        self.process: subprocess.Popen[bytes] | None = None
        self._context: zmq.Context[Any] | None = None
        self._listeners: list[Listener] = []
        self._bus: Listener | None = None
        self._bus_is_live = False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Start and end.

    def start(self, terminal: int | None = None) -> Self:
        """Start the command; `wait_for_state("running")` or a listener tells how far it has come.

        `terminal` is a descriptor of the terminal that it shall have as a user's shell gives it one."""
        assert self.process is None or self.process.poll() is not None, "it is running"
        if self._bus is None and self.is_reachable:
            self._bus = self.subscriber(sync=False)
        self._bus_is_live = False
        if self not in RUNNING:
            RUNNING.append(self)
        config = self.directory / "config.toml"
        config.write_text(toml(self.config))
        config.chmod(0o600)
        with self.log_file.open("ab") as log:
            self.process = spawn(
                [*(["setsid", "--ctty"] if terminal else []), *self.command, "--config", config, *self.arguments],
                env=self.environment,
                stdin=terminal or self.stdin,
                stdout=log,
                stderr=log,
                start_new_session=not terminal,  # setsid makes it one then
            )
        return self

    def wait(self, timeout: float = 35) -> int:
        """Wait for the end of the supervisor, and for its last words; returns its exit code."""
        assert self.process is not None
        try:
            code = self.process.wait(scaled(timeout))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {scaled(timeout):g} s: {self.process_tree()}") from None
        if self._bus is not None:
            self._bus.hear_out()
        return code

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = 35) -> int:
        """Ask the supervisor to end (SIGTERM or SIGINT), wait for it; returns its exit code."""
        self.send_signal(how)
        return self.wait(timeout)

    def send_signal(self, how: signal.Signals) -> None:
        """Send the supervisor a signal."""
        assert self.process is not None
        self.process.send_signal(how)

    def repeat_signal(self, how: signal.Signals, timeout: float = 5) -> None:
        """Send the supervisor a signal again and again until it has ended, as an impatient user does."""

        def ended() -> bool:
            assert self.process is not None
            if self.process.poll() is None:
                self.process.send_signal(how)
            return self.process.poll() is not None

        wait_until(ended, timeout, f"the end after {how.name}", every=0.1)

    def kill(self) -> None:
        """SIGKILL to the supervisor alone: its children must notice by themselves."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Kill whatever is left, close the sockets, remove the directory."""
        if self in RUNNING:
            RUNNING.remove(self)
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
        kill_all(info.pid for info in self.process_tree())
        for listener in self._listeners:
            listener.close()
        if self._context is not None:
            self._context.term()
        shutil.rmtree(self.directory, ignore_errors=True)

    # What it says.

    @property
    def runtime(self) -> Path:
        """The engine's runtime directory: endpoints, lock, window, journal."""
        return self.directory / "mpengine" / self.name

    @property
    def log_file(self) -> Path:
        """What it wrote to stdout and stderr, over all starts."""
        return self.directory / "log"

    def log_text(self) -> str:
        """The same as text."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def log_tail(self, lines: int = 60) -> str:
        """Its end."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    def subscriber(self, *, sync: bool = True, timeout: float = PATIENCE_S) -> Listener:
        """A new listener; with `sync` it is live when this returns (the engine has to be up by then)."""
        endpoint = self._endpoint("publish", "results")
        listener = Listener(self._zmq, endpoint, self.name, trouble=self._trouble)
        self._listeners.append(listener)
        if sync:
            listener.sync(timeout)
        return listener

    @property
    def bus(self) -> Listener:
        """A listener of the rig's own, made before the start; a status it missed is asked for."""
        assert self._bus is not None, "start() first"
        if not self._bus_is_live:
            self._bus.sync()
            before = len(self._bus.messages)
            answer = self.query({"type": "status"})
            status = answer.get("status", answer)
            if "children" in status:
                self._bus.received.insert(before, status | {"type": "status"})
            self._bus_is_live = True
        return self._bus

    def told(self, kind: str) -> list[dict[str, Any]]:
        """The messages of this type, also those that a supervisor told before our plain subscription to it was live:
        its history has them, while it runs.
        """
        told = {message["seq"]: message for message in self.bus.of_type(kind)}
        since, more = 0, self.process is not None and self.process.poll() is None
        while more:
            answer = self.query({"type": "snapshot", "since": since})
            told |= {each["seq"]: each for each in answer["messages"] if each["type"] == kind}
            more = answer["more"]
            since = answer["messages"][-1]["seq"] if more else since
        return [told[seq] for seq in sorted(told)]

    def query(self, request: Mapping[str, Any] | bytes, timeout: float = PATIENCE_S) -> dict[str, Any]:
        """Ask on `bus.query` (bytes are sent as they are) and return the answer."""
        with self._zmq.socket(zmq.REQ) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.RECONNECT_IVL, 10)
            socket.connect(self._endpoint("query", "query"))
            socket.send(request if isinstance(request, bytes) else json.dumps(request).encode())
            if not socket.poll(int(scaled(timeout) * 1000)):
                raise AssertionError(f"no answer to {request!r} within {scaled(timeout):g} s\n{self.log_tail()}")
            answer = json.loads(socket.recv())
        assert isinstance(answer, dict)
        return answer

    def wait_for_state(self, state: str, timeout: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until the latest published status has that state; returns the status."""

        def latest(messages: list[dict[str, Any]]) -> dict[str, Any] | None:
            statuses = [message for message in messages if message["type"] == "status"]
            return statuses[-1] if statuses and statuses[-1]["state"] == state else None

        return dict(self.bus.wait_until(latest, timeout, f"state {state}"))

    # Its processes.

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self.process is not None
        return self.process.pid

    def child_pid(self, child: str, timeout: float = PATIENCE_S, other_than: int = 0) -> int:
        """The pid of `capture`, `streaming` or `recogniser` as last published, once such a process runs;
        with `other_than`, that of its successor."""

        def living(messages: list[dict[str, Any]]) -> int:
            for message in reversed(messages):
                if message["type"] == "status" and child in message["children"]:
                    pid = message["children"][child].get("pid") or 0
                    info = process_info(pid) if pid != other_than else None
                    return pid if info is not None and info.running else 0
            return 0

        return int(self.bus.wait_until(living, timeout, f"a living {child}"))

    def zygote_pid(self, timeout: float = PATIENCE_S) -> int:
        """The pid of the process that the children are forked from; they go by the same command."""

        def living() -> int:
            tree = self.process_tree()
            return next((p.pid for p in tree if p.parent == self.pid and "mpengine.processes.zygote" in p.command), 0)

        return wait_until(living, timeout, "a zygote")

    def signal_child(self, child: str, how: signal.Signals = signal.SIGKILL) -> int:
        """Send a child a signal (SIGKILL, SIGSTOP, ...); returns its pid."""
        pid = 0
        while True:
            pid = self.child_pid(child, other_than=pid)
            with contextlib.suppress(ProcessLookupError):  # it had just been killed: its successor is meant
                os.kill(pid, how)
                return pid

    def process_tree(self) -> list[ProcessInfo]:
        """Its running processes, orphans included: found by descent and by a mark in the environment."""
        processes = all_processes()
        roots = marked(self.mark) | ({self.process.pid} if self.process and self.process.poll() is None else set())
        tree = descendants(roots, processes)
        return [info for info in processes if info.pid in tree and info.running]

    def assert_nothing_left(self, timeout: float = 5) -> None:
        """Fail unless every process of the engine is gone within `timeout`."""
        try:
            wait_until(lambda: not self.process_tree(), timeout, "the end of all processes")
        except AssertionError:
            raise AssertionError(f"left running: {self.process_tree()}") from None

    def __repr__(self) -> str:
        code = self.process.poll() if self.process else None
        return f"<engine {self.name!r} in {self.directory}, exit code {code}>"

    def _trouble(self) -> str:
        """Why waiting is in vain: the supervisor has ended."""
        code = self.process.poll() if self.process else None
        return "" if code is None else f"the engine has ended with {code}:\n{self.log_tail(20)}"

    @property
    def _zmq(self) -> zmq.Context[Any]:
        if self._context is None:
            self._context = zmq.Context()
        return self._context

    def _endpoint(self, key: str, file: str) -> str:
        configured = self.config.get("bus", {}).get(key)
        return configured or f"ipc://{self.runtime}/{file}"


def listen_first(engine: EngineProcess, server: Server) -> None:
    """Have an engine whose upgrade is held go on when `engine.bus` is live: it may have few words before its end."""
    assert engine.bus.received
    server.answer_upgrades()


def toml(config: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables of strings, numbers, booleans, lists and sub-tables as TOML; None leaves a key out."""
    lines: list[str] = []
    for table, keys in config.items():
        lines.append(f"[{table}]")
        plain = {k: v for k, v in keys.items() if v is not None and not isinstance(v, Mapping)}
        lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in plain.items()]
        subtables = {f"{table}.{key}": value for key, value in keys.items() if isinstance(value, Mapping)}
        lines.append(toml(subtables))
    return "\n".join(lines) + "\n"
