"""`mpengine run`: an engine, in this terminal, until it is stopped."""

from collections.abc import Sequence

from mpengine.shared import logs
from mpengine.shared.config import Config
from mpengine.shared.config_file import parse_override
from mpengine.supervisor.process import Supervisor


def run(config_path: str | None, overrides: Sequence[str], log_level: str, log_format: str) -> int:
    """Run the engine; returns its exit code."""
    config = Config.load(config_path, overrides=dict(parse_override(text) for text in overrides))
    logs.setup("supervisor", log_level, log_format)
    return Supervisor(config, log_level=log_level, log_format=log_format).run()
