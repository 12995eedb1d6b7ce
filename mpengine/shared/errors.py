"""The errors that mpengine raises on purpose, by what the caller can do about them. Pure.

MpengineError
├── ConfigError          a key is wrong: the message starts with its path        exit code 2
├── RuntimeDirError      the runtime directory cannot be used                    exit code 1
│   └── AlreadyRunning   another engine of that name holds it                    exit code 1
├── DeviceError          no such device, or it cannot be opened                  exit code 3
├── WindowError          the replay window cannot be made or trusted             exit code 1
├── ConnectionLost       the WebSocket is dead: open another one
└── EngineUnreachable    no engine answers at an endpoint                        exit code 1
"""

import enum


class ExitCode(enum.IntEnum):
    """The exit codes of all processes, for the shell and for the supervisor."""

    OK = 0
    CRASH = 1
    CONFIG = 2
    DEVICE = 3
    ACCOUNT = 4


class MpengineError(Exception):
    """Base of all errors raised on purpose. Its text is one line that says what to do."""

    exit_code = ExitCode.CRASH
    more: tuple[str, ...] = ()
    """Further lines for a person at a terminal, in our own words: nothing in them is from outside."""


class ConfigError(MpengineError):
    """A configuration key is unknown or has an impossible value. `path` names the key, as in ``audio.block_ms``.

    `place` is where the key stands, as in ``mic.toml:3``; empty if that is not known.
    """

    exit_code = ExitCode.CONFIG

    def __init__(self, path: str, expected: str, place: str = "") -> None:
        super().__init__(": ".join(filter(None, (place, path, expected))))
        self.path, self.place = path, place
        self._expected = expected

    def at(self, place: str) -> "ConfigError":
        """The same error, which tells its `place`."""
        return ConfigError(self.path, self._expected, place)

    def with_hint(self, hint: str) -> "ConfigError":
        """The same error, with `hint` at the end of its text."""
        return ConfigError(self.path, f"{self._expected}{hint}", self.place)


def install(extra: str) -> str:
    """The command that installs the packages of an `extra` of this distribution."""
    return f"pip install 'mpengine-stt[{extra}]'"


def require(path: str, condition: object, expected: str) -> None:
    """Raise ConfigError for the key at `path` unless `condition` holds."""
    if not condition:
        raise ConfigError(path, expected)


class RuntimeDirError(MpengineError):
    """The runtime directory cannot be made, is not ours, or its path is too long for a socket."""


class AlreadyRunning(RuntimeDirError):
    """A live engine holds the runtime directory."""


class DeviceError(MpengineError):
    """The audio device is missing, busy, or refuses the rate or the channels."""

    exit_code = ExitCode.DEVICE


class WindowError(MpengineError):
    """The replay window's file cannot be created (disk full), is locked, or is of another format."""


class ConnectionLost(MpengineError):
    """The WebSocket can carry nothing more. Audio that is not acknowledged is sent again on the next one."""


class EngineUnreachable(MpengineError):
    """No engine answers at the query endpoint."""
