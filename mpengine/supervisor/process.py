"""The supervisor's loop: signals, children's messages, their ends, questions, time; each goes to the coordinator.

One thread, the main one, owns all sockets. Signals (SIGCHLD among them, so that a child's end is seen at once) only
write to a descriptor that the loop waits for.
"""

import contextlib
import logging
import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import zmq

from mpengine.shared import control, messages, runtime, sockets
from mpengine.shared.boot import Boot, CaptureBoot, RecogniserBoot, StreamingBoot
from mpengine.shared.config import Config, RemoteConfig, Secret
from mpengine.shared.errors import ExitCode
from mpengine.shared.logs import Event
from mpengine.shared.messages import ChildMetrics
from mpengine.shared.runtime import RuntimeDir
from mpengine.supervisor.actions import Action, Child, Exit, Kill, Log, Publish, Send, Spawn
from mpengine.supervisor.bus import Bus
from mpengine.supervisor.children import Process
from mpengine.supervisor.coordinator import Coordinator
from mpengine.supervisor.usage import usage_of

log = logging.getLogger("mpengine.supervisor")

_METRICS_S = 1.0
_LONGEST_WAIT_S = 1.0
# A turn of the loop that took this much longer than asked for: the supervisor was stopped, or the machine slept.
_OVERSLEPT_S = 1.0
_DRAIN_LIMIT_S = 1.0
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Supervisor:
    """An engine. `run` blocks until it has ended and returns the exit code; call it from the main thread."""

    def __init__(self, config: Config, *, log_level: str = "info") -> None:
        self._config = config
        self._log_level = log_level
        self._directory = RuntimeDir(config.engine.name)
        self._run = os.urandom(8).hex()
        self._boot = os.urandom(8).hex()
        self._processes: dict[Child, Process] = {}
        self._incarnations = 0
        self._identities: dict[Child, str] = {}
        self._signals: list[int] = []
        self._exit_code: ExitCode | None = None
        self._last_status: messages.Status | None = None
        self._listener: socket.socket | None = None
        self._token = Secret(os.urandom(16).hex())

    def run(self) -> int:
        """Start everything, work, stop cleanly. Raises AlreadyRunning, RuntimeDirError, MpengineError."""
        self._directory.lock()
        try:
            with self._signal_descriptor() as wake, zmq.Context() as context, self._sockets(context):
                self._loop(wake)
        finally:
            for process in self._processes.values():
                process.kill()
            if self._listener is not None:
                self._listener.close()
            self._directory.unlock()
        assert self._exit_code is not None
        return int(self._exit_code)

    # Preparing

    @contextlib.contextmanager
    def _signal_descriptor(self) -> Iterator[socket.socket]:
        """Signals wake the loop; what was set before comes back afterwards."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        before = {number: signal.signal(number, self._on_signal) for number in (*_STOP_SIGNALS, signal.SIGCHLD)}
        wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            reader.close()
            writer.close()

    def _on_signal(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self._signals.append(number)

    @contextlib.contextmanager
    def _sockets(self, context: "zmq.Context[zmq.Socket[bytes]]") -> Iterator[None]:
        config, path = self._config, self._directory.path
        publish = config.bus.publish or runtime.endpoint(path, "results")
        query = config.bus.query or runtime.endpoint(path, "query")
        self._endpoints = publish, query
        self._control_endpoint = runtime.endpoint(path, "control")
        self._control = sockets.make(context, zmq.ROUTER, receive_hwm=20_000)
        self._control.setsockopt(zmq.ROUTER_MANDATORY, 1)
        sockets.bind(self._control, self._control_endpoint)
        try:
            self._bus = Bus(
                context,
                name=config.engine.name,
                publish=publish,
                query=query,
                curve_secret_key=config.bus.curve_secret_key,
                run=self._run,
                boot=self._boot,
            )
        except BaseException:
            self._control.close()
            raise
        log.info(Event("publishing", results=publish, query=query))
        try:
            yield
        finally:
            self._control.close()
            self._bus.close()

    # Working

    def _loop(self, wake: socket.socket) -> None:
        if self._config.remote.mode == "local":
            self._listener = socket.create_server(("127.0.0.1", 0))
        now = time.monotonic()
        self._coordinator = Coordinator(self._config, chance=random.random, now=now)
        poller = zmq.Poller()
        for source in (self._control, self._bus.queries, self._bus.subscriptions, wake.fileno()):
            poller.register(source, zmq.POLLIN)
        next_metrics = now + _METRICS_S
        while self._exit_code is None:
            now = time.monotonic()
            wait_s = max(0.0, min(_LONGEST_WAIT_S, self._coordinator.deadline - now, next_metrics - now))
            ready = dict(poller.poll(int(wait_s * 1000) + (wait_s > 0)))
            woken = time.monotonic()
            if woken > now + wait_s + _OVERSLEPT_S:
                self._coordinator.overslept(woken)
            if wake.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    wake.recv(4096)
            self._hear()
            self._take_signals()
            self._reap()
            self._bus.answer_subscriptions()
            self._answer()
            self._perform(self._coordinator.tick(time.monotonic()))
            self._publish_status()
            if woken >= next_metrics:
                next_metrics = woken + _METRICS_S
                self._publish_metrics()
        self._publish_status()

    def _hear(self) -> None:
        """Read all that the children have sent, before anyone is judged."""
        for identity, *parts in sockets.receive_all(self._control, limit=20_000):
            child = Child(identity.decode().partition(".")[0])
            if self._identities.get(child) != identity.decode():
                continue  # of an incarnation that is gone
            try:
                message = control.decode_up.decode(parts[-1])
            except msgspec.DecodeError as error:
                log.warning(Event("malformed_control_message", child=child, why=error))
                continue
            self._perform(self._coordinator.heard(child, message, time.monotonic()))

    def _take_signals(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if self._coordinator.picture.stop_reason and number != signal.SIGHUP:
                log.warning(Event("stopping_at_once", signal=signal.Signals(number).name))
                self._stop_at_once()
                return
            self._perform(self._coordinator.stop(time.monotonic(), signal.Signals(number).name))

    def _stop_at_once(self) -> None:
        """The second signal: nothing is waited for. What is in the window stays there."""
        for process in self._processes.values():
            process.kill()
        self._exit_code = ExitCode.CRASH

    def _reap(self) -> None:
        for child, process in list(self._processes.items()):
            status = process.reap()
            if status is None:
                continue
            self._read_to_the_end(child)
            del self._processes[child], self._identities[child]
            self._perform(self._coordinator.exited(child, status, time.monotonic()))

    def _read_to_the_end(self, child: Child) -> None:
        """Read what a dead child had sent. libzmq forgets its identity only when all of it was handed out."""
        identity = self._identities[child].encode()
        give_up = time.monotonic() + _DRAIN_LIMIT_S
        while time.monotonic() < give_up:
            self._hear()
            if not sockets.try_send(self._control, [identity, b""]):
                return
            self._control.poll(1)

    # Performing

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Spawn(child=child):
                    self._spawn(child)
                case Send(child=child, message=message):
                    if child in self._identities:
                        parts = [self._identities[child].encode(), control.encode(message)]
                        sockets.try_send(self._control, parts)
                case Kill(child=child):
                    log.warning(Event("killing", child=child))
                    if child in self._processes:
                        self._processes[child].kill()
                case Publish(message=published):
                    self._bus.publish(published, time.time_ns())
                case Log(level=level, event=event, fields=fields):
                    log.log(logging.getLevelNamesMapping()[level.upper()], Event(event, **fields))
                case Exit(exit_code=exit_code):
                    self._exit_code = exit_code

    def _spawn(self, child: Child) -> None:
        now = time.monotonic()
        self._incarnations += 1
        identity = f"{child}.{self._incarnations}"
        listener = self._listener.fileno() if child is Child.RECOGNISER and self._listener else None
        try:
            process = Process(child.value, self._settings(child, identity), inherit_fd=listener)
        except OSError as error:
            self._perform(self._coordinator.spawn_failed(child, str(error), now))
            return
        self._processes[child] = process
        self._identities[child] = identity
        self._coordinator.spawned(child, process.pid, now)

    def _settings(self, child: Child, identity: str) -> Boot:
        config, coordinator, path = self._config, self._coordinator, self._directory.path
        common: dict[str, Any] = {
            "identity": identity,
            "control": self._control_endpoint,
            "log_level": self._log_level,
            "parent_pid": os.getpid(),
        }
        frames = runtime.endpoint(path, "frames")
        match child:
            case Child.RECOGNISER:
                return RecogniserBoot(**common, token=self._token.reveal())
            case Child.CAPTURE:
                return CaptureBoot(
                    **common,
                    run=self._run,
                    frames=frames,
                    audio=config.audio,
                    window_path=os.path.join(config.buffer.directory or path, f"{config.engine.name}.window"),
                    window_seconds=config.buffer.seconds,
                    open_device=coordinator.may_open_device,
                    lost_reason=coordinator.lost_reason,
                )
            case Child.STREAMING:
                waits = config.remote.mode != "local" and (config.audio.paced or not config.audio.is_file)
                return StreamingBoot(
                    **common,
                    run=self._run,
                    frames=frames,
                    remote=self._remote(),
                    sample_rate=config.audio.sample_rate,
                    channels=config.audio.channels,
                    first_connection=coordinator.connection + 1,
                    pace=config.buffer.catch_up if waits else None,
                    sent_before=coordinator.picture.sent,
                )

    def _remote(self) -> RemoteConfig:
        """The recogniser to connect to; in local mode the one that we started."""
        remote = self._config.remote
        if self._listener is None:
            return remote
        port = self._listener.getsockname()[1]
        return msgspec.structs.replace(
            remote, mode="managed", server_url=f"ws://127.0.0.1:{port}", auth_token=self._token
        )

    # Telling

    def _status(self) -> messages.Status:
        coordinator = self._coordinator
        return coordinator.picture.status(coordinator.lives, coordinator.phase.name, time.monotonic())

    def _publish_status(self) -> None:
        """Publish the status when it has changed, but for figures that change all the time."""
        status = self._status()
        steady = msgspec.structs.replace(
            status,
            unacknowledged_s=0.0,
            children={
                name: msgspec.structs.replace(child, next_try_in_s=child.next_try_in_s and 1.0)
                for name, child in status.children.items()
            },
        )
        if steady != self._last_status:
            self._last_status = steady
            self._bus.publish(status, time.time_ns())

    def _metrics(self) -> messages.Metrics:
        usage: dict[str, ChildMetrics] = {child: usage_of(process.pid) for child, process in self._processes.items()}
        usage["supervisor"] = usage_of(os.getpid())
        coordinator = self._coordinator
        return coordinator.picture.metrics(coordinator.lives, usage, self._bus.last, time.monotonic())

    def _publish_metrics(self) -> None:
        self._bus.publish(self._metrics(), time.time_ns())

    # Answering

    def _answer(self) -> None:
        for parts in sockets.receive_all(self._bus.queries, limit=100):
            *envelope, body = parts
            self._bus.reply(envelope, messages.encode(self._take_command(body)))

    def _take_command(self, body: bytes) -> object:
        coordinator = self._coordinator
        try:
            command = msgspec.json.decode(body, type=messages.Command)
        except msgspec.DecodeError as error:
            return messages.Error(source="supervisor", code="bad_command", message=str(error))
        match command:
            case messages.StatusQuery():
                return self._status_answer()
            case messages.Stop():
                self._perform(coordinator.stop(time.monotonic(), "stop command"))
            case messages.Pause():
                self._perform(coordinator.pause())
            case messages.Continue():
                self._perform(coordinator.unpause())
            case messages.SetUserName(user_name=user_name):
                coordinator.results.user_name = user_name
        return messages.Done()

    def _status_answer(self) -> messages.StatusAnswer:
        status = msgspec.structs.asdict(self._status()) | {"run": self._run, "boot": self._boot}
        publish, query = self._endpoints
        return messages.StatusAnswer(
            **status,
            name=self._config.engine.name,
            pid=os.getpid(),
            mode=self._config.remote.mode,
            publish=publish,
            query=query,
            paused=self._coordinator.is_paused,
            metrics=self._metrics(),
        )
