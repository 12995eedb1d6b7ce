"""The settings of each child when it is spawned: the part of the configuration that it needs, and no more."""

import os
import socket
from typing import Any, NamedTuple

from mpengine import dialects
from mpengine.dialects.base import RemoteConfig
from mpengine.processes.beginning import CaptureSettings, ChildSettings, RecogniserSettings, StreamingSettings
from mpengine.shared import runtime
from mpengine.shared.config import Config
from mpengine.shared.config_tables import Secret
from mpengine.supervisor.decide.actions import Child
from mpengine.supervisor.decide.coordinator import Coordinator


class SettingsFor(NamedTuple):
    """Makes the settings of a child.

    `path` is the runtime directory. `listener` and `token` belong to the local recogniser; without one, `listener` is
    None.
    """

    config: Config
    path: str
    run: str
    window_path: str
    log_level: str
    log_format: str
    listener: socket.socket | None
    token: Secret

    def __call__(self, child: Child, identity: str, coordinator: Coordinator) -> ChildSettings:
        """The settings of `child`, whose process has this `identity` on the control channel, if it is spawned now."""
        config = self.config
        common: dict[str, Any] = {
            "identity": identity,
            "control": runtime.endpoint(self.path, "control"),
            "log_level": self.log_level,
            "log_format": self.log_format,
            "parent_pid": os.getpid(),
        }
        frames: dict[str, Any] = {"run": self.run, "frames": runtime.endpoint(self.path, "frames")}
        match child:
            case Child.RECOGNISER:
                return RecogniserSettings(**common, token=self.token.reveal())
            case Child.CAPTURE:
                ledger, situation = coordinator.results.ledger, coordinator.situation
                # A source that can be read again still has the audio that the window may have lost.
                captured = ledger.acknowledged if config.audio.kind.seekable else situation.captured
                return CaptureSettings(
                    **common,
                    **frames,
                    audio=config.audio,
                    buffer=config.buffer,
                    window_path=self.window_path,
                    open_device=coordinator.may_open_device,
                    lost_reason=situation.lost_reason,
                    captured=captured,
                    captured_before=situation.captured,
                    remembered=situation.remembered,
                    waits_for_device=coordinator.waits_for_device,
                    hang_over_s=config.remote.hang_over_s,
                    has_notes=config.audio.home.is_pipe,
                    supervisor_pid=os.getpid(),
                )
            case Child.STREAMING:
                ledger, situation = coordinator.results.ledger, coordinator.situation
                remote = self._remote()
                return StreamingSettings(
                    **common,
                    **frames,
                    remote=dialects.packed(remote),
                    audio=config.audio,
                    first_connection=situation.last_connection + 1,
                    pace=config.pace,
                    # The last beat of an earlier process may be old, but all audio with results had been sent.
                    sent_before=max(situation.highest_sent, ledger.transcribed),
                    expects_audio=coordinator.expects_audio,
                    refusals_end=coordinator.lives.gives_up,
                    secret_path=dialects.secret_of(remote).path,
                )

    def _remote(self) -> RemoteConfig:
        """The recogniser to connect to: the local one, where this supervisor starts it."""
        remote = self.config.remote
        if self.listener is None:
            return remote
        url = f"ws://127.0.0.1:{self.listener.getsockname()[1]}"
        return remote.started_at(url, self.token)
