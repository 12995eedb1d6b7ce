"""What each child is told when it is spawned: the part of the configuration that it needs, and no more."""

import os
import socket
from typing import Any

from mpengine import dialects
from mpengine.dialects.base import RemoteConfig
from mpengine.processes.beginning import CaptureSettings, ChildSettings, RecogniserSettings, StreamingSettings
from mpengine.shared import runtime
from mpengine.shared.config import Config
from mpengine.shared.config_tables import Secret
from mpengine.supervisor.decide.actions import Child
from mpengine.supervisor.decide.coordinator import Coordinator


class Settings:
    """Puts together the settings of children. `listener` and `token` are the local recogniser's."""

    def __init__(
        self,
        config: Config,
        *,
        path: str,
        run: str,
        window_path: str,
        log_level: str,
        log_format: str,
        listener: socket.socket | None,
        token: Secret,
    ) -> None:
        self._config = config
        self._path = path
        self._run = run
        self._window_path = window_path
        self._log_level = log_level
        self._log_format = log_format
        self._listener = listener
        self._token = token

    def of(self, child: Child, identity: str, coordinator: Coordinator) -> ChildSettings:
        """The settings of `child` as things stand now."""
        config = self._config
        common: dict[str, Any] = {
            "identity": identity,
            "control": runtime.endpoint(self._path, "control"),
            "log_level": self._log_level,
            "log_format": self._log_format,
            "parent_pid": os.getpid(),
        }
        frames: dict[str, Any] = {"run": self._run, "frames": runtime.endpoint(self._path, "frames")}
        match child:
            case Child.RECOGNISER:
                return RecogniserSettings(**common, token=self._token.reveal())
            case Child.CAPTURE:
                return CaptureSettings(
                    **common,
                    **frames,
                    audio=config.audio,
                    buffer=config.buffer,
                    window_path=self._window_path,
                    open_device=coordinator.may_open_device,
                    lost_reason=coordinator.lost_reason,
                    captured=self._captured(coordinator),
                )
            case Child.STREAMING:
                return StreamingSettings(
                    **common,
                    **frames,
                    remote=dialects.packed(self._remote()),
                    audio=config.audio,
                    first_connection=coordinator.situation.last_connection + 1,
                    pace=config.pace,
                    sent_before=self._sent_before(coordinator),
                    expects_audio=coordinator.expects_audio,
                )

    def _captured(self, coordinator: Coordinator) -> int:
        """Where capture goes on at least. A source that can be read again still has what the window may have lost."""
        situation, ledger = coordinator.situation, coordinator.results.ledger
        return ledger.acknowledged if self._config.audio.kind.seekable else situation.captured

    def _sent_before(self, coordinator: Coordinator) -> int:
        """How far an earlier life had sent, at least: its last beat may be old, but what was heard had been sent."""
        return max(coordinator.situation.highest_sent, coordinator.results.ledger.transcribed)

    def _remote(self) -> RemoteConfig:
        """The recogniser to connect to; it may be the one that we have started."""
        remote = self._config.remote
        if self._listener is None:
            return remote
        url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}"
        return remote.started_at(url, self._token)
