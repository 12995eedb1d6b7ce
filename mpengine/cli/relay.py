"""`mpengine relay` hands what engines hear to a broker, NATS JetStream or MQTT, as a process of its own."""

import argparse
import functools
import importlib.util
import os
import socket
import ssl

import mpengine
from mpengine.cli.extras import missing
from mpengine.cli.options import MOST_ENGINES, add_target, names_of, target_of, whole
from mpengine.client.finding import require_name
from mpengine.relay.broker import Login, Wanted
from mpengine.relay.naming import Names, Server, host_token, servers_in
from mpengine.shared.config import Config
from mpengine.shared.errors import ConfigError
from mpengine.shared.secret import secret_in
from mpengine.shared.user_folders import folder_to_write

_WINDOW = 32
_MOST_WINDOW = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add_target(parser, "publish", "query", is_several=True)
    parser.add_argument(
        "--to",
        metavar="URL",
        required=True,
        help="the broker: nats://, tls:// (NATS inside TLS), mqtt:// or mqtts:// and ADDRESS:PORT; several servers of "
        "one cluster with commas between them",
    )
    parser.add_argument("--user", metavar="NAME", help="who this relay is to the broker")
    parser.add_argument(
        "--password-file", metavar="FILE", help="a file with the password; for NATS without --user, with the token"
    )
    parser.add_argument("--creds", metavar="FILE", help="a file with credentials for NATS, as nsc makes it")
    parser.add_argument("--ca-file", metavar="FILE", help="the certificates by which the broker is known (PEM)")
    parser.add_argument("--cert-file", metavar="FILE", help="a certificate of this relay's own (PEM)")
    parser.add_argument("--key-file", metavar="FILE", help="the key of that certificate (PEM)")
    parser.add_argument("--host", metavar="NAME", help="the name of this machine in subjects (default: its host name)")
    parser.add_argument(
        "--state",
        metavar="DIRECTORY",
        help="the folder for notes of what the broker has (default: one a broker in $XDG_STATE_HOME/mpengine/relay)",
    )
    parser.add_argument(
        "--transcript",
        metavar="[NAME=]FILE",
        action="append",
        default=[],
        help="the engine's bus.transcript: what its history no longer has is taken from there (--config says it, too)",
    )
    parser.add_argument(
        "--window",
        metavar="N",
        type=whole(1, _MOST_WINDOW),
        default=_WINDOW,
        help=f"how many messages of an engine may wait for their acknowledgement (default: {_WINDOW})",
    )
    parser.add_argument("--create-stream", action="store_true", help="NATS: make the stream mpengine if none is there")
    parser.add_argument("--home-assistant", action="store_true", help="MQTT: make the engines known to Home Assistant")


def main(arguments: argparse.Namespace) -> int:
    """Relay until Ctrl-C. Raises ConfigError, and MpengineError where the packages of the extra are missing."""
    try:
        servers = servers_in(arguments.to)
    except ValueError as error:
        raise ConfigError("--to", str(error)) from None
    engines = names_of(arguments, most=MOST_ENGINES)
    for name in engines:
        require_name(name)
    if arguments.publish and not arguments.query:
        raise ConfigError("--publish", "expected --query with it: an engine that is not asked loses words on the way")
    target = target_of(arguments)
    engines = engines or (target.name,)
    _check_kind(arguments, servers[0])
    wanted = Wanted(
        names=Names(host_token(arguments.host or socket.gethostname())),
        engines=engines,
        version=mpengine.__version__,
        creates_stream=arguments.create_stream,
        has_discovery=arguments.home_assistant,
    )
    from mpengine.relay.process import Options, relay  # noqa: PLC0415  wrong arguments are told without it

    return relay(
        Options(
            servers=servers,
            wanted=wanted,
            login=functools.partial(_login, arguments, servers[0]),
            state=arguments.state or _state_directory(servers[0]),
            window=arguments.window,
            transcripts=_transcripts(arguments, engines),
            publish=target.publish,
            query=target.query,
            server_key=target.server_key,
            client_key=target.client_key,
        )
    )


def _check_kind(arguments: argparse.Namespace, server: Server) -> None:
    """Refuse options that this kind of broker has not, and a kind whose library is missing."""
    is_mqtt = server.kind.is_mqtt
    for option, is_given, is_for_mqtt in (
        ("--creds", arguments.creds, False),
        ("--create-stream", arguments.create_stream, False),
        ("--home-assistant", arguments.home_assistant, True),
    ):
        if is_given and is_mqtt != is_for_mqtt:
            raise ConfigError(option, f"this is for {'MQTT' if is_for_mqtt else 'NATS'}, and --to names another broker")
    if importlib.util.find_spec("paho" if is_mqtt else "nats") is None:
        raise missing("paho-mqtt" if is_mqtt else "nats-py", "relay")


def _login(arguments: argparse.Namespace, server: Server) -> Login:
    password = None if arguments.password_file is None else _secret("--password-file", arguments.password_file)
    if arguments.creds is not None:
        _secret("--creds", arguments.creds)  # the library itself reads it
    if arguments.user is not None and password is None:
        raise ConfigError("--user", "the password is missing: --password-file FILE")
    if arguments.user is None and password is not None and server.kind.is_mqtt:
        raise ConfigError("--password-file", "the user is missing: --user NAME")
    return Login(arguments.user, password, arguments.creds, _tls(arguments, server))


def _secret(option: str, path: str) -> str:
    secret = secret_in(path, option)
    if not secret:
        raise ConfigError(option, f"{path} is empty")
    return secret


def _tls(arguments: argparse.Namespace, server: Server) -> ssl.SSLContext | None:
    files = {"--ca-file": arguments.ca_file, "--cert-file": arguments.cert_file, "--key-file": arguments.key_file}
    if not server.kind.is_tls:
        for option, given in files.items():
            if given is not None:
                with_tls = "mqtts://" if server.kind.is_mqtt else "tls://"
                raise ConfigError(option, f"{server.scheme}:// has no TLS: write {with_tls} in --to")
        return None
    if arguments.key_file is not None and arguments.cert_file is None:
        raise ConfigError("--key-file", "the certificate is missing: --cert-file FILE")
    option, path = "--ca-file", arguments.ca_file
    try:
        context = ssl.create_default_context(cafile=path)
        if arguments.cert_file is not None:
            option, path = "--cert-file", arguments.cert_file
            # Without this a key with a password would ask for it at the terminal.
            context.load_cert_chain(arguments.cert_file, arguments.key_file, password=lambda: "")
    except ssl.SSLError:
        raise ConfigError(option, f"{path} has no certificate (or key) in PEM that can be used") from None
    except OSError as error:
        raise ConfigError(option, f"cannot read {path}: {error.strerror}") from None
    return context


def _transcripts(arguments: argparse.Namespace, engines: tuple[str, ...]) -> dict[str, str]:
    """The engines' transcript files, as the arguments say, otherwise the configuration."""
    found: dict[str, str] = {}
    if arguments.config is not None:
        configured = Config.load_bus(arguments.config)[1].transcript
        found |= {} if configured is None else {engines[0]: configured}
    for each in arguments.transcript:
        name, equals, path = each.partition("=")
        if not equals or name not in engines:
            if len(engines) > 1:
                raise ConfigError("--transcript", f"expected NAME=FILE with one of {', '.join(engines)}")
            name, path = engines[0], each
        found[name] = path
    return found


def _state_directory(server: Server) -> str:
    folder = folder_to_write("STATE", os.environ)
    return os.path.join(folder, "mpengine", "relay", f"{server.scheme}-{server.host}-{server.port}")
