"""Status and metrics as they are published, and the answers to questions on the bus.

The answer to a snapshot question is made in `history`.
"""

import os
import time
from collections.abc import Mapping

import msgspec

from mpengine.shared import messages
from mpengine.shared.config import Config
from mpengine.shared.messages import UNREADABLE
from mpengine.supervisor.bus.bus import Bus
from mpengine.supervisor.children.process import ChildProcess
from mpengine.supervisor.decide.actions import Action, Child
from mpengine.supervisor.decide.coordinator import Coordinator
from mpengine.supervisor.host.proc import usage_of

_command = msgspec.json.Decoder(messages.Command)


class Answers:
    """Publishes how the engine is when that changes, and answers each question."""

    def __init__(
        self, config: Config, coordinator: Coordinator, bus: Bus, processes: Mapping[Child, ChildProcess]
    ) -> None:
        self._config = config
        self._coordinator = coordinator
        self._bus = bus
        self._processes = processes
        self._last_status: messages.Status | None = None

    def publish_status(self) -> messages.Status:
        """Publish the status if it has changed, apart from figures that change all the time. Returns it."""
        status = self._status()
        children = {name: msgspec.structs.replace(child, next_try_in_s=None) for name, child in status.children.items()}
        steady = msgspec.structs.replace(status, unacknowledged_s=0.0, children=children)
        if steady != self._last_status:
            self._last_status = steady
            self._bus.publish(status)
        return status

    def publish_metrics(self) -> None:
        """Publish the positions, and the CPU time and memory of the processes."""
        if self._bus.is_heard(messages.Metrics):
            self._bus.publish(self._metrics())

    def to(self, body: bytes, now: float, *, may_command: bool = True) -> tuple[bytes, list[Action]]:
        """The answer to the question in `body`, and the actions for it. An unreadable question gets an `error`.

        So does a command, unless it `may_command`.
        """
        coordinator = self._coordinator
        actions: list[Action] = []
        try:
            command = _command.decode(body)
        except UNREADABLE as error:
            bad = messages.Error(source="supervisor", code=messages.ErrorCode.BAD_COMMAND, message=str(error))
            return messages.encode(bad), []
        if not may_command and not isinstance(command, messages.QUESTIONS):
            text = f"commands are taken at {self._bus.command_endpoint} (bus.command), not here"
            code = messages.ErrorCode.COMMANDS_ELSEWHERE
            return messages.encode(messages.Error(source="supervisor", code=code, message=text)), []
        match command:
            case messages.StatusQuery():
                return messages.encode(self._status_answer()), []
            case messages.SnapshotQuery(since=since, beginnings=topics):
                return self._bus.snapshot(since, topics), []
            case messages.Stop():
                actions = coordinator.stop(now, "stop command")
            case messages.Pause():
                actions = coordinator.pause()
            case messages.Resume():
                actions = coordinator.resume()
            case messages.SetUserName(user_name=user_name):
                coordinator.results.user_name = user_name
        return messages.encode(messages.Done()), actions

    def _status(self) -> messages.Status:
        coordinator = self._coordinator
        return coordinator.situation.status(coordinator.lives, coordinator.phase.name, time.monotonic())

    def _metrics(self) -> messages.Metrics:
        usage = {child.value: usage_of(process.pid) for child, process in self._processes.items()}
        usage["supervisor"] = usage_of(os.getpid())
        coordinator = self._coordinator
        return coordinator.situation.metrics(coordinator.lives, usage, self._bus.last, time.monotonic())

    def _status_answer(self) -> messages.StatusAnswer:
        situation, now = self._coordinator.situation, time.monotonic()
        status = msgspec.structs.asdict(self._status()) | {
            "run": self._bus.run,
            "boot": self._bus.boot,
            "children": situation.children(self._coordinator.lives, now),
        }
        return messages.StatusAnswer(
            **status,
            name=self._config.engine.name,
            pid=os.getpid(),
            mode=self._config.remote.mode,
            publish=self._bus.publish_endpoint,
            query=self._bus.query_endpoint,
            command=self._bus.command_endpoint,
            paused=self._coordinator.situation.is_paused,
            level=situation.level(now),
            last_disconnect=situation.last_disconnect,
            last_disconnect_ago_s=situation.last_disconnect_ago_s(now),
            not_running_s=round(situation.not_running_s(now), 1),
            buffer_s=self._config.buffer.seconds,
            metrics=self._metrics(),
        )
