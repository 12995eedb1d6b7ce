"""`mpengine run`: an engine, in this terminal, until it is stopped."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mpengine.processes import proc_title, zygote
from mpengine.shared.config import Config, secrets

if TYPE_CHECKING:
    from mpengine.processes.zygote import ForkedZygote


def run(config_path: str | None, overrides: Sequence[str], log_level: str, log_format: str) -> int:
    """Run the engine; returns its exit code. To be called by a process that has one thread, early."""
    environment = dict(os.environ)
    forked = _forked_zygote()
    # The zygote shall not have these.
    from mpengine.shared import logs  # noqa: PLC0415
    from mpengine.shared.config.file import parse_override  # noqa: PLC0415
    from mpengine.supervisor.children.spawner import Spawner  # noqa: PLC0415
    from mpengine.supervisor.process import Supervisor  # noqa: PLC0415

    spawner = Spawner(zygote=forked)
    try:
        given = dict(parse_override(text) for text in overrides)
        config = Config.load(config_path, overrides=given, environment=environment)
        logs.setup("supervisor", log_level, log_format)
        supervisor = Supervisor(config, log_level=log_level, log_format=log_format, spawner=spawner, ends_process=True)
        return supervisor.run()
    finally:
        spawner.close()


def _forked_zygote() -> "ForkedZygote | None":
    """A zygote that was forked while this process holds little more than it; None: the supervisor starts one itself.

    It shows others the environment of this process, so that secrets are taken out of that first.
    """
    variables = set(secrets().values())
    if not proc_title.hide(variables):
        return None
    for name in variables:
        os.environ.pop(name, None)
    try:
        return zygote.fork()
    except OSError:
        return None
