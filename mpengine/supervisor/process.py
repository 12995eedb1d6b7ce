"""The supervisor's loop: it hands messages, signals, ends of children, questions and time to the coordinator.

The main thread owns all sockets and spawns all processes.
"""

import contextlib
import functools
import logging
import os
import random
import socket
import time
from collections.abc import Callable

import zmq

from mpengine.processes.freed_memory import FreedMemory
from mpengine.shared import control, doorkeeper, runtime
from mpengine.shared.config import Config
from mpengine.shared.config_tables import Secret
from mpengine.shared.deciding import NEVER
from mpengine.shared.doorkeeper import Doorkeeper
from mpengine.shared.errors import ExitCode, MpengineError
from mpengine.shared.logs import Event
from mpengine.shared.messages import Error, ErrorCode
from mpengine.shared.runtime import RuntimeDir
from mpengine.shared.whereabouts import Whereabouts
from mpengine.supervisor.authentication import Authenticator
from mpengine.supervisor.bus.answers import Answers
from mpengine.supervisor.bus.bus import Bus
from mpengine.supervisor.bus.journal import OpenDevice, ToldGap
from mpengine.supervisor.bus.transcript_file import TranscriptFile
from mpengine.supervisor.children.channel import ChildChannel
from mpengine.supervisor.children.held_pipe import HeldPipe
from mpengine.supervisor.children.process import ChildProcess
from mpengine.supervisor.children.settings_for import SettingsFor
from mpengine.supervisor.children.spawner import Spawner
from mpengine.supervisor.decide.actions import (
    Abort,
    Acknowledge,
    Action,
    Child,
    Exit,
    KeepDevice,
    KeepGap,
    Kill,
    Log,
    LookAt,
    Publish,
    Send,
    Spawn,
    Terminate,
    heard,
    report,
    traced,
)
from mpengine.supervisor.decide.child_life import ChildState
from mpengine.supervisor.decide.coordinator import Coordinator
from mpengine.supervisor.decide.names import Name
from mpengine.supervisor.decide.reports import ROUTINE, told_of_door
from mpengine.supervisor.host import descriptors, proc
from mpengine.supervisor.host.signals import StopSignals
from mpengine.supervisor.host.systemd import SystemdNotices
from mpengine.supervisor.name_keeper import NameKeeper
from mpengine.supervisor.run_files import RunFiles

log = logging.getLogger("mpengine.supervisor")

# So often the metrics are published and everything is looked at, with news or without. A turn of the loop for another
# reason also does what is due soon: children speak once a second or more often, so extra wakes are rare.
_METRICS_S = 1.1
_EARLY_S = 0.2
# A turn of the loop that comes so much too late means that the supervisor was stopped, or the machine slept.
_OVERSLEPT_S = 1.0
_DRAIN_LIMIT_S = 1.0
# How long programs may take to connect to the engine for which they have waited: 500 of them took 0.21 s.
_RECONNECT_S = 0.5
# How long a first subscriber takes to ask for what was before it came.
_FILL_S = 0.25
# How long killed processes may take to be gone. One in uninterruptible sleep is left to the kernel.
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
        journal_path: str | None = None,
    ) -> None:
        """`spawner` starts the children; None for the usual one. `awaits_subscriber_s`: how long to hold messages back
        for a first subscriber that does not come. `ends_process`: whether the process ends after `run`. `journal_path`:
        where the journal is, if not in the runtime directory.

        Raises RuntimeDirError when the runtime directory cannot be used.
        """
        self._config = config
        self._directory = RuntimeDir(config.engine.name)
        self._boot = os.urandom(8).hex()
        self._log_level = log_level
        self._log_format = log_format
        self._processes: dict[Child, ChildProcess] = {}
        self._poller = zmq.Poller()
        self._spawner = spawner or Spawner()
        self._awaits_subscriber_s = awaits_subscriber_s
        self._ends_process = ends_process
        self._journal_path = journal_path
        self.on_progress: Callable[[float, float], None] | None = None
        """Called about once a second while a file is read, with the seconds that are transcribed, and of how many."""
        self._exit_code: ExitCode | None = None
        self._has_stop_signal = False
        self._traces = log.isEnabledFor(logging.DEBUG)
        self._systemd = SystemdNotices(config.supervisor.stop_limit_s)

    def run(self) -> int:
        """Start everything, work, stop cleanly. Raises AlreadyRunning, RuntimeDirError, MpengineError."""
        most_descriptors = descriptors.raise_limit()
        self._directory.lock()
        with contextlib.ExitStack() as stack:
            stack.callback(self._directory.unlock)
            self._files = RunFiles(self._config, self._directory.path, self._journal_path)
            stack.callback(lambda: self._files.close(is_done=self._is_done))
            # An engine ends with its terminal. Without one, SIGHUP asks a daemon to read its files again.
            has_terminal = any(os.isatty(fd) for fd in range(3))
            self._signals = stack.enter_context(StopSignals(hangup_stops=has_terminal, ends_process=self._ends_process))
            context: zmq.Context[zmq.Socket[bytes]] = stack.enter_context(zmq.Context())
            self._doors = Doorkeeper(context)
            stack.callback(self._doors.close)  # where a socket cannot be bound
            self._clients = min(self._config.bus.clients, descriptors.most_clients(most_descriptors))
            self._open_sockets(context, stack)
            stack.callback(self._doors.close)
            self._reserve = descriptors.Reserve(most_descriptors)
            stack.callback(self._reserve.close)
            self._listener = None
            if self._config.remote.starts_recogniser:  # the socket is the supervisor's, so that the port stays the same
                self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            self._held_pipe = None
            if self._config.audio.home.is_pipe:
                self._held_pipe = stack.enter_context(contextlib.closing(HeldPipe(self._config.audio)))
            self._settings_for = SettingsFor(
                self._config,
                path=self._directory.path,
                run=self._files.run,
                window_path=self._files.window_path,
                log_level=self._log_level,
                log_format=self._log_format,
                listener=self._listener,
                token=Secret(os.urandom(16).hex()),
            )
            stack.callback(self._spawner.close)
            stack.callback(self._kill_all)
            self._begin()
            self._loop()
        assert self._exit_code is not None
        return int(self._exit_code)

    @property
    def _is_done(self) -> bool:
        """Whether no other supervisor needs to go on with this run."""
        return self._exit_code == ExitCode.OK and self._coordinator.situation.is_done

    # Preparing

    def _open_sockets(self, context: "zmq.Context[zmq.Socket[bytes]]", stack: contextlib.ExitStack) -> None:
        config, path, recovered = self._config, self._directory.path, self._files.recovered
        is_ours = functools.partial(doorkeeper.is_of_engine, supervisor_pid=os.getpid())
        self._authenticator = Authenticator(context, config.bus.curve_clients, is_ours=is_ours)
        stack.callback(self._authenticator.close)
        control_endpoint = runtime.endpoint(path, Name.CONTROL)
        self._channel = ChildChannel(context, control_endpoint, self._doors)
        stack.callback(self._channel.close)
        transcript = None
        if config.bus.transcript is not None:
            most_bytes = int(config.bus.transcript_mb * 1e6)
            transcript = TranscriptFile(config.bus.transcript, most_bytes=most_bytes, files=config.bus.transcript_files)
            stack.callback(transcript.close)
        query = config.bus.query or runtime.endpoint(path, Name.QUERY)
        self._bus = Bus(
            context,
            name=config.engine.name,
            publish=config.bus.publish or runtime.endpoint(path, Name.RESULTS),
            query=query,
            command=config.bus.command or runtime.endpoint(path, Name.COMMAND),
            takes_commands_by_query=runtime.is_inside(path, query),
            curve_secret_key=config.bus.curve_secret_key,
            run=self._files.run,
            boot=self._boot,
            journal=self._files.journal,
            seq=recovered.seq if recovered else 0,
            again=recovered.unpublished if recovered else (),
            transcript=transcript,
            doors=self._doors,
            clients=self._clients,
        )
        self._bound_at = time.monotonic()
        stack.callback(self._bus.close)
        bus = self._bus
        self._names = NameKeeper(
            self._directory,
            self._files.journal,
            window_path=self._files.window_path,
            bound={
                Name.CONTROL: (self._channel.socket, control_endpoint),
                Name.RESULTS: (bus.subscriptions, bus.publish_endpoint),
                Name.QUERY: (bus.queries, bus.query_endpoint),
                Name.COMMAND: (bus.commands, bus.command_endpoint),
            },
            says=Whereabouts(
                name=config.engine.name,
                pid=os.getpid(),
                publish=config.bus.publish,
                query=config.bus.query,
                command=config.bus.command,
                public_key=bus.public_key,
                window=os.path.abspath(self._files.window_path) if config.buffer.directory else None,
            ),
            doors=self._doors,
            now=self._bound_at,
        )
        stack.callback(self._names.close)
        where = {"results": bus.publish_endpoint, "query": bus.query_endpoint, "command": bus.command_endpoint}
        log.info(Event("publishing", name=config.engine.name, **where, public_key=bus.public_key))

    def _begin(self) -> None:
        """Begin a run, or go on where the supervisor before this one was killed."""
        now = time.monotonic()
        self._coordinator = Coordinator(self._config, chance=random.random, now=now)
        self._answers = Answers(self._config, self._coordinator, self._bus, self._processes)
        recovered = self._files.recovered
        if recovered is not None:
            self._coordinator.continues(
                acknowledged=recovered.acknowledged,
                captured=recovered.captured,
                sent=recovered.sent,
                connection=recovered.connection,
                gaps=recovered.gaps,
                device=self._files.remembered,
                finals=list(filter(None, (final.transcript() for final in recovered.recent))),
            )
            rest_s = (recovered.captured - recovered.acknowledged) / recovered.identity.sample_rate
            log.info(Event("run_continued", run=self._files.run, unacknowledged_s=rest_s))
        if text := self._files.abandoned:
            self._perform(report(Error(source="supervisor", code=ErrorCode.RUN_ABANDONED, message=text)))

    # Working

    def _loop(self) -> None:
        """Most turns hear routine messages of children and do nothing more: the rest costs several times as much."""
        for source in (self._channel.socket, self._authenticator.socket, *self._bus.sources, self._signals.fileno()):
            self._poller.register(source, zmq.POLLIN)
        awake_at = due_at = time.monotonic()
        self._metrics_at = awake_at + _METRICS_S
        self._freed_memory = FreedMemory(awake_at)
        while self._exit_code is None:
            wait_s = max(0.0, due_at - time.monotonic())
            is_called = False  # by anything but a message of a child
            for source, _ in self._poller.poll(int(wait_s * 1000) + 1 if wait_s > 0 else 0):
                is_called |= source is not self._channel.socket
            self._hear()
            now = time.monotonic()
            if is_called or self._coordinator.has_news or now >= due_at - _EARLY_S:
                now = self._attend(awake_at + wait_s, is_called=is_called)
                due_at = min(self._coordinator.deadline, self._metrics_at, self._opens_at, self._bus.deadline)
            awake_at = now
        self._wait_for_subscribers()
        self._answers.publish_metrics()  # its `last` shows a subscriber whether it missed the end
        self._answers.publish_status()
        self._tell_end(self._exit_code)

    def _tell_end(self, exit_code: ExitCode) -> None:
        """Log how the engine ends, and what it leaves to the next start."""
        results, situation = self._coordinator.results, self._coordinator.situation
        log.info(
            Event(
                "ended",
                exit_code=int(exit_code),
                finals=results.finals,
                unacknowledged_s=results.seconds(situation.unacknowledged),
                reason=situation.fatal_reason or None,
            )
        )

    def _attend(self, expected_at: float, *, is_called: bool) -> float:
        """Look after everything. The loop meant to be here at `expected_at`.

        Returns the time at which the children were judged.
        """
        if is_called:
            self._take_signals()
        self._reap()
        if is_called:
            self._authenticator.answer(time.monotonic())
            self._bus.answer_subscriptions()
            self._answer()
        now = time.monotonic()
        if now > expected_at + _OVERSLEPT_S:
            self._coordinator.overslept(now, now - expected_at)
        self._perform(self._coordinator.tick(now))
        if not self._coordinator.is_stopping:
            self._look_at_names(now)
        status = self._answers.publish_status()
        self._systemd.update(status, self._coordinator, now, is_reachable=self._names.are_ours)
        if now >= self._opens_at:
            self._bus.open()
        self._bus.repeat_interims(now)
        self._freed_memory.look(now)
        if now >= self._metrics_at - _EARLY_S:
            self._metrics_at = now + _METRICS_S
            self._bus.mark_published()
            self._note_progress()
            for error in self._bus.notices():
                self._perform(report(error, "error" if error.code == ErrorCode.JOURNAL_FULL else "warning"))
            for news in self._doors.news():
                self._perform(told_of_door(news))
            self._answers.publish_metrics()
            self._tell_progress()
        return now

    def _tell_progress(self) -> None:
        if self.on_progress is not None and (progress := self._coordinator.situation.progress) is not None:
            self.on_progress(*progress)

    def _look_at_names(self, now: float) -> None:
        capture = self._processes.get(Child.CAPTURE)
        works = self._coordinator.lives[Child.CAPTURE].state is ChildState.RUNNING
        try:
            self._perform(self._names.look(now, capture=capture.pid if capture and works else None))
        except MpengineError as error:
            self._perform(self._coordinator.unreachable(now, str(error)))

    def _hear(self) -> None:
        """Read all messages of the children, before any child is judged."""
        for child, message in self._channel.hear():
            if self._traces and type(message) not in ROUTINE:
                self._perform([heard(child, message)])
            self._perform(self._coordinator.heard(child, message, time.monotonic()))
            if isinstance(message, control.Connecting):
                self._note_progress()  # so that no later supervisor uses its number again

    def _take_signals(self) -> None:
        stops = self._signals.take()  # first, because it makes the descriptor unreadable
        if self._signals.take_reload():
            why = (
                "the configuration is read only at the start; restart the engine. `mpengine help configuration` says "
                "which changes give up waiting audio"
            )
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
        for question in self._bus.questions():
            answer, actions = self._answers.to(question.body, time.monotonic(), may_command=question.may_command)
            self._perform(actions)
            self._bus.reply(question, answer)

    # Performing

    def _perform(self, actions: list[Action]) -> None:  # noqa: C901, PLR0912  a table, one case an action
        for action in actions:
            if self._traces and (line := traced(action)) is not None:
                log.debug(Event(line.event, **line.fields))
            match action:
                case Publish(message=message, covers=covers):
                    self._bus.publish(message, covers=covers)
                case KeepGap(first=first, end=end):
                    self._bus.keep(ToldGap(first, end))
                case KeepDevice(identity=identity):
                    self._bus.keep(OpenDevice(identity, self._files.wanted_device))
                case Acknowledge(sample=sample):
                    self._files.journal.acknowledge(sample)
                case Send(child=child, message=command):
                    self._channel.send(child, command)
                case Log(level=level, event=event, fields=fields):
                    log.log(logging.getLevelNamesMapping()[level.upper()], Event(event, **fields))
                case Exit(exit_code=exit_code):
                    self._exit_code = exit_code
                case Spawn(child=child):
                    self._spawn(child)
                case Terminate(child=child) if child in self._processes:
                    self._processes[child].terminate()
                case LookAt(child=child) if child in self._processes:
                    now = time.monotonic()
                    look = proc.look_at(self._processes[child].pid, now)
                    self._perform(self._coordinator.lives.looked(child, look, now))
                case Abort(child=child) if child in self._processes:
                    self._processes[child].abort()
                case Kill(child=child) if child in self._processes:
                    log.warning(Event("killing", child=child))
                    self._processes[child].kill()

    def _spawn(self, child: Child) -> None:
        identity = self._channel.new_identity(child)
        settings = self._settings_for(child, identity, self._coordinator)
        inherited = self._listener.fileno() if child is Child.RECOGNISER and self._listener else None
        if child is Child.CAPTURE and self._held_pipe is not None:
            inherited = self._held_pipe.notes_fd()
        now = time.monotonic()
        try:
            with self._reserve.used():
                process = self._spawner.start(child.value, settings, inherit_fd=inherited)
        except OSError as error:
            self._perform(self._coordinator.lives.spawn_failed(child, str(error), now))
            return
        self._processes[child] = process
        fileno = process.fileno()
        if fileno is not None:
            self._poller.register(fileno, zmq.POLLIN)
        self._coordinator.spawned(child, process.pid, now)

    @property
    def _opens_at(self) -> float:
        """When the bus opens, in monotonic time; NEVER after that."""
        if self._bus.is_open:
            return NEVER
        joined_at = min(self._bus.joined_at + _FILL_S, self._bound_at + self._awaits_subscriber_s)
        return max(self._bound_at + _RECONNECT_S, joined_at)

    def _wait_for_subscribers(self) -> None:
        """Answer subscriptions and questions until the bus opens, in an engine that ends earlier than that."""
        poller = zmq.Poller()
        for source in (self._authenticator.socket, *self._bus.sources):
            poller.register(source, zmq.POLLIN)
        while not self._bus.is_open:
            rest_s = self._opens_at - time.monotonic()
            if rest_s <= 0:
                self._bus.open()
                return
            poller.poll(int(rest_s * 1000) + 1)
            self._authenticator.answer(time.monotonic())
            self._bus.answer_subscriptions()
            self._answer()

    def _note_progress(self) -> None:
        """Put the progress into the journal, for a supervisor that may have to go on after this one."""
        situation, journal = self._coordinator.situation, self._files.journal
        journal.progress(captured=situation.captured, sent=situation.highest_sent, connection=situation.last_connection)

    def _kill_all(self) -> None:
        """No child outlives the supervisor, whatever the way out."""
        for process in self._processes.values():
            process.kill()
        give_up = time.monotonic() + _GONE_LIMIT_S
        for process in self._processes.values():
            process.wait(max(0.0, give_up - time.monotonic()))
