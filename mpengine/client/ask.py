"""A question to an engine with its answer, and a socket that is connected to one."""

import time

import zmq

from mpengine.client.finding import find, is_running, require_name, running
from mpengine.shared import doorkeeper, messages, sockets
from mpengine.shared.config_tables import USUAL_NAME, name_option
from mpengine.shared.errors import ConfigError, EngineUnreachable

_KEY_CHARACTERS = 40
# So often a question looks whether its engine has said meanwhile that it is elsewhere: one that starts answers nobody
# before its file is there.
_LOOK_MS = 100
# So many of the engines that run are named to somebody who has asked for another one.
_MOST_NAMES = 5


def ask(
    question: messages.Command,
    *,
    name: str = USUAL_NAME,
    query: str | None = None,
    command: str | None = None,
    server_key: str | None = None,
    client_key: str | None = None,
    timeout_s: float = 3.0,
) -> bytes:
    """The engine's answer to `question`, as JSON. Raises EngineUnreachable when none comes within `timeout_s`.

    `query`, `command`: the engine's endpoints; None for those where the engine `name` of this user is. A command goes
    to the endpoint for commands; where `query` alone is given, it goes there. `server_key` is the engine's public CURVE
    key, if the engine has one and is not found by its name; `client_key` is a secret key of your own, which the engine
    may ask for (`bus.curve_clients`). Raises ConfigError for an invalid name, endpoint or key.
    """
    require_name(name)
    is_command = not isinstance(question, messages.QUESTIONS) and (command is not None or query is None)
    given, kind = (command, "command") if is_command else (query, "query")
    give_up_s = time.monotonic() + timeout_s
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        while True:
            found = find(name) if given is None else None
            endpoint, key = given or "", server_key
            if found is not None:
                endpoint = found.command if is_command else found.query
                key = found.server_key if server_key is None else server_key
            socket = sockets.make(context, zmq.REQ)
            connect(socket, endpoint, f"bus.{kind}", key, client_key)
            # An engine with a key refuses a connection without one for good: then nothing can be sent.
            is_sent = sockets.try_send(socket, [messages.encode(question)])
            while is_sent and (rest_ms := int((give_up_s - time.monotonic()) * 1000)) > 0:
                if socket.poll(min(rest_ms, _LOOK_MS)):
                    return socket.recv()
                if found is not None and find(name) != found:
                    break
            else:
                raise EngineUnreachable(_why(name, endpoint, timeout_s, is_named=given is None))
            socket.close()
    finally:
        context.destroy(linger=0)


def _why(name: str, endpoint: str, timeout_s: float, *, is_named: bool) -> str:
    """Why the engine may not have answered, and what would mend it."""
    if doorkeeper.is_full(endpoint):
        return f'the engine "{name}" has too many clients at {endpoint} (bus.clients): close some, or ask again'
    if is_named and endpoint.startswith("ipc:") and is_running(name):
        text = f'the engine "{name}" runs, but has not answered at {endpoint} in {timeout_s:g} s'
        return f"{text}; ask again, or end its process, which `mpengine list` shows"
    # Over tcp, a wrong key and no engine look the same from here.
    is_clear = endpoint.startswith("ipc:") or (is_named and not is_running(name))
    doubts = "is it running, is the server key right, and the client key known?"
    advice = f"start one with: mpengine run{name_option(name)}" if is_clear else doubts
    others = _others() if is_named and is_clear else ""
    return f'no engine called "{name}" answers at {endpoint}; {others}{advice}'


def _others() -> str:
    """The engines of this user that run, for somebody who meant one of them; empty where none runs."""
    names = running()
    told = names[:_MOST_NAMES] + ["others"] * (len(names) > _MOST_NAMES)
    return f"running: {', '.join(told)} (choose with --name); " if told else ""


def connect(
    socket: "zmq.Socket[bytes]", endpoint: str, path: str, server_key: str | None, client_key: str | None
) -> None:
    """Connect `socket`, encrypted if there is a key. Raises ConfigError with the key `path` for a bad endpoint."""
    if server_key is not None:
        _encrypt(socket, server_key, client_key)
    sockets.prepare(socket, endpoint)
    try:
        socket.connect(endpoint)
    except (zmq.ZMQError, ValueError) as error:  # ValueError: text that is no UTF-8
        raise ConfigError(path, f"{error}; expected ipc://PATH or tcp://ADDRESS:PORT") from None


def _encrypt(socket: "zmq.Socket[bytes]", server_key: str, client_key: str | None) -> None:
    """Set up CURVE; without a `client_key` with a new one, for engines that do not list their clients."""
    if client_key is None:
        public, secret = zmq.curve_keypair()
    else:
        try:
            secret = client_key.encode("ascii")
            public = zmq.curve_public(secret)
        except (zmq.ZMQError, ValueError):
            text = "expected a secret CURVE key of 40 characters (Z85), as `mpengine keys` makes it"
            raise ConfigError("client_key", text) from None
    socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
    try:
        # Padded, because libzmq would take 32 characters as a binary key.
        socket.setsockopt(zmq.CURVE_SERVERKEY, server_key.encode("ascii").ljust(_KEY_CHARACTERS))
    except (zmq.ZMQError, ValueError):
        raise ConfigError("server_key", "expected the engine's public CURVE key, 40 characters (Z85)") from None
