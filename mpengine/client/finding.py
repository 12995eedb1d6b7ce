"""How a program finds an engine: by the endpoints it was given, otherwise by the engine's own file, by its name."""

from typing import NamedTuple

from mpengine.shared import one_writer, runtime, whereabouts
from mpengine.shared.config_tables import NAME, NAME_VALUES
from mpengine.shared.errors import require

_EVERY_ADDRESS = {"*", "0.0.0.0", "[::]"}  # noqa: S104  nothing is bound here


class Found(NamedTuple):
    """Where an engine's sockets are. `server_key`: its public CURVE key; None for an engine without one."""

    publish: str
    query: str
    command: str
    server_key: str | None = None


def find(name: str) -> Found:
    """Where the engine called `name` is: as the file in its runtime directory says, otherwise in that directory.

    Raises ConfigError for a name that cannot be, RuntimeDirError where no such directory can be.
    """
    return noted(name) or found_at(name, None, None, None)


def noted(name: str) -> Found | None:
    """Where the file of the engine called `name` says that it is; None without such a file. Raises as `find` does."""
    require_name(name)
    said = whereabouts.read(runtime.runtime_path(name))
    if said is None:
        return None
    return found_at(name, said.publish, said.query, said.command)._replace(server_key=said.public_key)


def found_at(name: str, publish: str | None, query: str | None, command: str | None) -> Found:
    """Where the engine called `name` is with these endpoints. None stands for the one in its runtime directory."""
    path = runtime.runtime_path(name)
    ends = {"results": publish, "query": query, "command": command}
    return Found(
        *(runtime.endpoint(path, socket) if end is None else reachable(end, None) for socket, end in ends.items())
    )


def window_of(name: str) -> str:
    """Where the replay window of the engine called `name` is, or will be. Raises as `find` does."""
    require_name(name)
    path = runtime.runtime_path(name)
    said = whereabouts.read(path)
    return said.window if said is not None and said.window else runtime.window_path(path, name)


def is_noted(name: str) -> bool:
    """Whether there is a file that says where the engine called `name` is. Raises as `find` does."""
    return noted(name) is not None


def is_running(name: str) -> bool:
    """Whether an engine of this user called `name` holds its runtime directory. Raises as `find` does."""
    require_name(name)
    return one_writer.is_held(runtime.lock_path(runtime.runtime_path(name)))


def running() -> list[str]:
    """The names of the engines of this user that run, in order. Raises RuntimeDirError where none can."""
    return [name for name in runtime.names() if NAME.fullmatch(name) and is_running(name)]


def require_name(name: str) -> None:
    """Raise ConfigError unless an engine may be called `name`."""
    require("engine.name", NAME.fullmatch(name), f"expected {NAME_VALUES}")


def reachable(endpoint: str, query: str | None) -> str:
    """Where to connect to when the engine binds `endpoint`: for "every address", with the host of `query`."""
    scheme, _, address = endpoint.partition("://")
    host, _, port = address.rpartition(":")
    if scheme != "tcp" or host not in _EVERY_ADDRESS:
        return endpoint
    known = query if query is not None and query.startswith("tcp://") else "tcp://127.0.0.1:"
    return f"{known.rpartition(':')[0]}:{port}"
