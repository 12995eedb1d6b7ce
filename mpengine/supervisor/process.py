"""The supervisor's loop: children's messages, signals, their ends, questions, time; each goes to the coordinator.

One thread, the main one, owns all sockets and spawns all processes.
"""

import contextlib
import logging
import os
import random
import socket
import time

import zmq

from mpengine.processes import tricks
from mpengine.shared import control, messages, runtime
from mpengine.shared.config import Config
from mpengine.shared.config_tables import Secret
from mpengine.shared.errors import ExitCode
from mpengine.shared.logs import Event
from mpengine.shared.runtime import RuntimeDir
from mpengine.shared.waiting import NEVER
from mpengine.supervisor.bus.answers import Desk
from mpengine.supervisor.bus.bus import Bus
from mpengine.supervisor.bus.journal import ToldGap
from mpengine.supervisor.bus.transcript_file import TranscriptFile
from mpengine.supervisor.children.channel import ChildChannel
from mpengine.supervisor.children.process import ChildProcess
from mpengine.supervisor.children.settings_for import Settings
from mpengine.supervisor.children.spawner import Spawner
from mpengine.supervisor.decide.actions import (
    Abort,
    Acknowledge,
    Action,
    Child,
    Exit,
    KeepGap,
    Kill,
    Log,
    Publish,
    Send,
    Spawn,
    Terminate,
)
from mpengine.supervisor.decide.coordinator import Coordinator
from mpengine.supervisor.host.signals import StopSignals
from mpengine.supervisor.host.systemd import Service
from mpengine.supervisor.run_files import RunFiles

log = logging.getLogger("mpengine.supervisor")

# So often the metrics are told and everything is looked at, news or none. Early is good enough if we are awake anyway:
# children speak once a second or more often, and hardly ever is this a wake of its own.
_METRICS_S = 1.1
_EARLY_S = 0.2
_STARTED_S = 3.0  # then what only the start needed is given back to the system
# A turn of the loop that took this much longer than asked for: the supervisor was stopped, or the machine slept.
_OVERSLEPT_S = 1.0
_DRAIN_LIMIT_S = 1.0
# What subscribers need to connect again to a supervisor that was killed and started again.
_RECONNECT_S = 0.5
# What killed processes may take to be gone; one in uninterruptible sleep is left to the kernel.
_GONE_LIMIT_S = 2.0


class Supervisor:
    """An engine. `run` blocks until it has ended and returns the exit code; call it from the main thread."""

    def __init__(
        self,
        config: Config,
        *,
        log_level: str = "info",
        log_format: str = "text",
        spawner: Spawner | None = None,
        awaits_subscriber_s: float = 0.0,
        ends_process: bool = False,
    ) -> None:
        """`spawner`: how children come to be, if not in the usual way. `awaits_subscriber_s`: how long to wait for a
        first subscriber at the start, so that it misses nothing. `ends_process`: whether the process ends with `run`.

        Raises RuntimeDirError when the runtime directory cannot be used.
        """
        self._config = config
        self._directory = RuntimeDir(config.engine.name)
        self._boot = os.urandom(8).hex()
        self._log_level = log_level
        self._log_format = log_format
        self._token = Secret(os.urandom(16).hex())
        self._processes: dict[Child, ChildProcess] = {}
        self._poller = zmq.Poller()
        self._spawner = spawner or Spawner()
        self._awaits_subscriber_s = awaits_subscriber_s
        self._ends_process = ends_process
        self._exit_code: ExitCode | None = None
        self._has_stop_signal = False
        self._tell_at = NEVER
        self._service = Service(config.supervisor.stop_limit_s)

    def run(self) -> int:
        """Start everything, work, stop cleanly. Raises AlreadyRunning, RuntimeDirError, MpengineError."""
        self._directory.lock()
        with contextlib.ExitStack() as stack:
            stack.callback(self._directory.unlock)
            self._files = RunFiles(self._config, self._directory.path)
            stack.callback(lambda: self._files.close(is_done=self._is_done))
            # With the terminal that it was started from, it ends; else SIGHUP asks a daemon to read its files anew.
            has_terminal = any(os.isatty(fd) for fd in range(3))
            self._signals = stack.enter_context(StopSignals(hangup_stops=has_terminal, ends_process=self._ends_process))
            context: zmq.Context[zmq.Socket[bytes]] = stack.enter_context(zmq.Context())
            self._open_sockets(context, stack)
            self._bus.subscriptions.poll(int(self._awaits_subscriber_s * 1000))
            self._listener = stack.enter_context(self._recogniser_listener())
            self._settings = Settings(
                self._config,
                path=self._directory.path,
                run=self._files.run,
                window_path=self._files.window_path,
                log_level=self._log_level,
                log_format=self._log_format,
                listener=self._listener,
                token=self._token,
            )
            stack.callback(self._spawner.close)
            stack.callback(self._kill_all)
            self._begin()
            self._loop()
        assert self._exit_code is not None
        return int(self._exit_code)

    @property
    def _is_done(self) -> bool:
        """Whether nothing is left for another supervisor to go on with."""
        return self._exit_code == ExitCode.OK and self._coordinator.is_done

    # Preparing

    def _open_sockets(self, context: "zmq.Context[zmq.Socket[bytes]]", stack: contextlib.ExitStack) -> None:
        config, path, recovered = self._config, self._directory.path, self._files.recovered
        self._channel = ChildChannel(context, runtime.endpoint(path, "control"), self._boot)
        stack.callback(self._channel.close)
        self._transcript = None
        if config.bus.transcript is not None:
            most_bytes = int(config.bus.transcript_mb * 1e6)
            self._transcript = TranscriptFile(
                config.bus.transcript, most_bytes=most_bytes, files=config.bus.transcript_files
            )
            stack.callback(self._transcript.close)
        self._bus = Bus(
            context,
            name=config.engine.name,
            publish=config.bus.publish or runtime.endpoint(path, "results"),
            query=config.bus.query or runtime.endpoint(path, "query"),
            curve_secret_key=config.bus.curve_secret_key,
            run=self._files.run,
            boot=self._boot,
            journal=self._files.journal,
            seq=recovered.seq if recovered else 0,
            again=recovered.unpublished if recovered else (),
            transcript=self._transcript,
        )
        stack.callback(self._bus.close)
        bus = self._bus
        where = {"results": bus.publish_endpoint, "query": bus.query_endpoint, "public_key": bus.public_key}
        log.info(Event("publishing", **where))

    def _recogniser_listener(self) -> contextlib.AbstractContextManager[socket.socket | None]:
        """The socket on which the local recogniser accepts: ours, so that its port survives the recogniser."""
        if not self._config.remote.starts_recogniser:
            return contextlib.nullcontext()
        return socket.create_server(("127.0.0.1", 0))

    def _begin(self) -> None:
        """Start anew, or where the supervisor before us was killed."""
        now = time.monotonic()
        self._coordinator = Coordinator(self._config, chance=random.random, now=now)
        self._desk = Desk(self._config, self._coordinator, self._bus, self._processes)
        recovered = self._files.recovered
        if recovered is not None:
            self._coordinator.continues(
                acknowledged=recovered.acknowledged,
                captured=recovered.captured,
                sent=recovered.sent,
                connection=recovered.connection,
                gaps=recovered.gaps,
                finals=list(filter(None, (final.transcript() for final in recovered.recent))),
            )
            rest_s = (recovered.captured - recovered.acknowledged) / recovered.identity.sample_rate
            log.info(Event("run_continued", run=self._files.run, unacknowledged_s=rest_s))

    # Working

    def _loop(self) -> None:
        """Most turns only hear what children say all the time, and end there: the rest costs several times as much."""
        for source in (self._channel.socket, self._bus.queries, self._bus.subscriptions, self._signals.fileno()):
            self._poller.register(source, zmq.POLLIN)
        awake_at = due_at = time.monotonic()
        self._next_metrics = awake_at + _METRICS_S
        self._give_back_at = awake_at + _STARTED_S
        self._tell_at = awake_at + _RECONNECT_S
        while self._exit_code is None:
            wait_s = max(0.0, due_at - time.monotonic())
            wait_ms = int(wait_s * 1000) + 1 if wait_s > 0 else 0
            is_called = False
            for source, _ in self._poller.poll(wait_ms):
                is_called |= source is not self._channel.socket
            has_heard = self._hear()
            now = time.monotonic()
            # What is nearly due is done now, if we are awake anyway.
            early_s = _EARLY_S if has_heard else 0.0
            if is_called or self._coordinator.has_news or now >= due_at - early_s:
                now = self._attend(awake_at + wait_s, is_called=is_called, early_s=early_s)
                due_at = min(self._coordinator.deadline, self._next_metrics, self._tell_at)
            awake_at = now
        self._tell_of_before()
        self._desk.publish_metrics()  # its `last` shows who missed the end
        self._desk.publish_status()

    def _attend(self, expected_at: float, *, is_called: bool, early_s: float) -> float:
        """Look after everything, and tell the metrics if they are due within `early_s`.

        We meant to be awake at `expected_at`. Returns the time at which the children were judged.
        """
        if is_called:
            self._take_signals()
        self._reap()
        if is_called:
            self._bus.answer_subscriptions()
            self._answer()
        now = time.monotonic()
        if now > expected_at + _OVERSLEPT_S:
            self._coordinator.overslept(now, now - expected_at)
        self._perform(self._coordinator.tick(now))
        self._service.tell(self._desk.publish_status(), self._coordinator, now)
        if now >= self._tell_at:
            self._tell_of_before()
        if now >= self._give_back_at:
            self._give_back_at = NEVER
            tricks.give_back()
        if now >= self._next_metrics - early_s:
            self._next_metrics = now + _METRICS_S
            self._bus.mark_published()
            self._note_progress()
            self._tell_of_transcript()
            self._desk.publish_metrics()
        return now

    def _hear(self) -> bool:
        """Read all that the children have sent, before anyone is judged; whether there was anything."""
        told = self._channel.hear()
        for child, message in told:
            self._perform(self._coordinator.heard(child, message, time.monotonic()))
            if isinstance(message, control.Connecting):
                self._note_progress()  # its number is not to be used again
        return bool(told)

    def _take_signals(self) -> None:
        stops = self._signals.take()  # first: with this the descriptor is no longer readable
        if self._signals.take_reload():
            why = "the configuration is read at the start only: restart the engine, nothing that was captured is lost"
            log.warning(Event("reload_refused", reason=why))
        for name in stops:
            now = time.monotonic()
            if self._has_stop_signal:
                log.warning(Event("stopping_at_once", signal=name))
                self._perform(self._coordinator.stop_at_once(f"stopped at once by {name}"))
                return
            self._has_stop_signal = True
            self._perform(self._coordinator.stop(now, name))

    def _reap(self) -> None:
        for child, process in list(self._processes.items()):
            fileno = process.fileno()
            status = process.reap()
            if status is None:
                continue
            if fileno is not None:
                self._poller.unregister(fileno)
            give_up = time.monotonic() + _DRAIN_LIMIT_S
            self._hear()
            while self._channel.may_have_more(child) and time.monotonic() < give_up:
                self._hear()
            self._channel.forget(child)
            del self._processes[child]
            self._perform(self._coordinator.exited(child, status, time.monotonic()))

    def _answer(self) -> None:
        for envelope, body in self._bus.questions():
            answer, actions = self._desk.answer(body, time.monotonic())
            self._perform(actions)
            self._bus.reply(envelope, answer)

    # Performing

    def _perform(self, actions: list[Action]) -> None:  # noqa: C901  a table, one case an action
        for action in actions:
            match action:
                case Publish(message=message, covers=covers):
                    self._bus.publish(message, covers=covers)
                case KeepGap(first=first, end=end):
                    self._bus.keep(ToldGap(first, end))
                case Acknowledge(sample=sample):
                    self._files.journal.acknowledge(sample)
                case Send(child=child, message=command):
                    self._channel.tell(child, command)
                case Log(level=level, event=event, fields=fields):
                    log.log(logging.getLevelNamesMapping()[level.upper()], Event(event, **fields))
                case Exit(exit_code=exit_code):
                    self._exit_code = exit_code
                case Spawn(child=child):
                    self._spawn(child)
                case Terminate(child=child) if child in self._processes:
                    self._processes[child].terminate()
                case Abort(child=child) if child in self._processes:
                    self._processes[child].abort()
                case Kill(child=child) if child in self._processes:
                    log.warning(Event("killing", child=child))
                    self._processes[child].kill()

    def _spawn(self, child: Child) -> None:
        identity = self._channel.new_identity(child)
        settings = self._settings.of(child, identity, self._coordinator)
        listener = self._listener.fileno() if child is Child.RECOGNISER and self._listener else None
        now = time.monotonic()
        try:
            process = self._spawner.start(child.value, settings, inherit_fd=listener)
        except OSError as error:
            self._perform(self._coordinator.spawn_failed(child, str(error), now))
            return
        self._processes[child] = process
        fileno = process.fileno()
        if fileno is not None:
            self._poller.register(fileno, zmq.POLLIN)
        self._coordinator.spawned(child, process.pid, now)

    def _tell_of_before(self) -> None:
        """What the supervisor before us left to tell, now that there is somebody to hear it."""
        if self._tell_at == NEVER:
            return
        if self._bus.has_to_publish_again:  # at the end of a very short life
            time.sleep(max(0.0, self._tell_at - time.monotonic()))
        self._tell_at = NEVER
        self._bus.publish_again()
        text = self._files.abandoned
        if text:
            error = messages.Error(source="supervisor", code=messages.ErrorCode.RUN_ABANDONED, message=text)
            self._perform([Log("warning", error.code, {"message": text}), Publish(error)])

    def _tell_of_transcript(self) -> None:
        for error in self._transcript.notices() if self._transcript is not None else ():
            self._perform([Log("warning", error.code, {"message": error.message}), Publish(error)])

    def _note_progress(self) -> None:
        """For whoever may have to go on after us."""
        situation, journal = self._coordinator.situation, self._files.journal
        journal.progress(captured=situation.captured, sent=situation.highest_sent, connection=situation.last_connection)
        if self._bus.is_journal_full is not self._coordinator.is_journal_full:
            self._perform(self._coordinator.journal_full(is_full=self._bus.is_journal_full))

    def _kill_all(self) -> None:
        """Nobody outlives us, whatever the way out."""
        for process in self._processes.values():
            process.kill()
        give_up = time.monotonic() + _GONE_LIMIT_S
        for process in self._processes.values():
            process.wait(max(0.0, give_up - time.monotonic()))
