"""`mpengine service` prints a systemd unit for an engine of this installation, or for a program beside it."""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Sequence

import mpengine
from mpengine import cli
from mpengine.cli.chosen import USUAL_FILE, usual_file
from mpengine.client.finding import require_name
from mpengine.shared.config import secrets
from mpengine.shared.errors import ConfigError, ExitCode
from mpengine.shared.standard_streams import complain

_PLAIN = re.compile(r"[A-Za-z0-9_./=+,-]+")
# The folders that ProtectHome= hides.
_HOMES = ("/home", "/root", "/run/user")
# The folders that PrivateTmp= hides. The machine removes old files in them.
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108  nothing is written there
# The name of an engine in a template: systemd puts the words behind the @ of the service's name there.
_SPECIFIER = "%i"
_INSTANCE = "NAME-OF-THE-INSTANCE"  # stands for it until all else is quoted
_TEMPLATE = """\
# A template: `systemctl {whose}enable --now mpengine@desk` runs an engine called desk, with the configuration
# {config}
"""

_SYSTEM = """\
# /etc/systemd/system/{file}.service
# The engine opens ALSA devices. A desktop's sound server (PipeWire, PulseAudio) serves its own user alone: there, use
# the unit that `mpengine service --user` prints.
# Only root can use the engine's sockets (XDG_RUNTIME_DIR=/run/{unit} mpengine listen{target}). To let everybody on this
# machine use them, set bus.publish and bus.query to tcp://127.0.0.1:PORT.

[Unit]
Description=mpengine, speech as typed results ({unit})
After=sound.target network.target
# A microphone that is not there yet is tried again for as long as it takes.
StartLimitIntervalSec=0

[Service]
{service}

# The journal, and audio that has no result yet, survive a stop: the next start continues with them.
RuntimeDirectory={unit}
RuntimeDirectoryPreserve=yes
RuntimeDirectoryMode=0700
Environment=XDG_RUNTIME_DIR=%t/{unit}

# Secrets are read from files in /etc/credstore, for root alone (mode 0600). A file that is missing is no error.
{credentials}

# A user of its own, with access to sound devices only.
DynamicUser=yes
SupplementaryGroups=audio
DevicePolicy=closed
DeviceAllow=char-alsa rw
{homes}
# No ProcSubset=pid: the engine reads the machine's boot id in /proc/sys, to know whether its run can continue.
{machine}
{sandbox}

[Install]
WantedBy=multi-user.target
"""

_USER = """\
# ~/.config/systemd/user/{file}.service
# The engine uses the user's sound server (PipeWire, PulseAudio), and ends with the user's last session. To start it
# with the machine: loginctl enable-linger

[Unit]
Description=mpengine, speech as typed results ({unit})
After=pipewire.service pipewire-pulse.service pulseaudio.service
# A microphone that is not there yet is tried again for as long as it takes.
StartLimitIntervalSec=0

[Service]
{service}

# No RuntimeDirectory: the engine makes its own, where `mpengine listen` finds it. The next start continues with what
# is left there after a stop.

{sandbox}

[Install]
WantedBy=default.target
"""

_SERVICE = """\
Type=notify
NotifyAccess=main
ExecStart={command}
# A slow board may take a minute to open its device.
TimeoutStartSec=120
# The watchdog is fed only while capture and streaming make progress. The engine itself restarts a child that hangs for
# 20 s: the watchdog is for the case that it cannot.
WatchdogSec=60
Restart=on-failure
RestartSec=1
# A wrong configuration stays wrong. The engine itself waits for a missing device, and for a recogniser that refuses it.
RestartPreventExitStatus=2
# A stop waits for the last results: supervisor.stop_limit_s, and some more.
TimeoutStopSec=45
KillMode=mixed
# The engine bounds what others send, but for questions of very many parts, which ZeroMQ collects by itself. Beyond this
# the kernel kills the process that has the most: the engine restarts a child, systemd restarts the engine, and nothing
# captured is lost. A window in memory counts, with 2 MB a minute (buffer.seconds).
MemoryMax=512M
# When the kernel kills a child for lack of memory, the engine restarts it.
OOMPolicy=continue
# A core file would contain keys and speech.
LimitCORE=0
"""

_BESIDE = """\
# {place}
# It starts, stops and restarts with {engine}.service, when it is enabled by
# systemctl {whose}enable {file}

[Unit]
Description=mpengine {command} beside {engine}
BindsTo={engine}.service
PartOf={engine}.service
# Started before the engine and stopped behind it: the last results and the last audio come at the engine's own end.
Before={engine}.service
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={words}
Restart=on-failure
RestartSec=5
# A wrong option stays wrong.
RestartPreventExitStatus=2
TimeoutStopSec=20
MemoryMax=256M
LimitCORE=0
StateDirectory={label}
StateDirectoryMode=0700
{more}

{sandbox}

[Install]
WantedBy={engine}.service
"""

_BESIDE_SYSTEM = """\
Environment=XDG_RUNTIME_DIR=%t/{runtime} XDG_STATE_HOME=%S/{label}
{credentials}
# The engine's own user, which exists while one of the two runs: so its sockets and its window can be read.
DynamicUser=yes
User={user}
DevicePolicy=closed
{homes}
{machine}
"""

BESIDE = ("web", "relay", "record")
"""The commands that run beside an engine."""
# Options of theirs that name a file which the service's user cannot read.
_FILES = ("--token-file", "--creds", "--password-file", "--ca-file", "--cert-file", "--key-file", "--client-key")
_LONGEST_USER = 31
# These stand for systemd's specifiers until all else is quoted.
_STATE, _CREDENTIALS = "/STATE-OF-THE-UNIT", "/CREDENTIALS-OF-THE-UNIT"

# For units of the machine alone.
_MACHINE_SANDBOX = """\
ProtectSystem=strict
PrivateTmp=yes
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
CapabilityBoundingSet=
UMask=0077
"""

# All of these work in a user's unit too.
_SANDBOX = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
# Netlink: ZeroMQ needs it to find the interface of a tcp endpoint, and ends the process without it.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
# @resources stays allowed: ZeroMQ ends the process when a thread must not set its scheduling. No
# MemoryDenyWriteExecute: cffi writes the code of PortAudio's callback into Python.
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--system", action="store_true", help="a unit for the machine, with ALSA devices (default)")
    whose.add_argument("--user", action="store_true", help="a unit for your user, with the desktop's sound server")
    parser.add_argument(
        "--config", metavar="FILE", help="default: mic.toml in /etc/mpengine, with --user in ~/.config/mpengine"
    )
    one_or_several = parser.add_mutually_exclusive_group()
    one_or_several.add_argument("--name", help="the engine's name, if the file does not have it")
    one_or_several.add_argument(
        "--template",
        action="store_true",
        help="mpengine@.service for several engines: the instance is the engine's name, and %%i in --config "
        "(default: %%i.toml in the same folder)",
    )
    parser.add_argument(
        "--for",
        dest="beside",
        choices=[name for name in BESIDE if name in cli.COMMANDS],
        help="a unit for this command beside the engine, tied to the engine's unit",
    )
    parser.add_argument("options", nargs="*", metavar="-- OPTIONS", help="with --for: the options of that command")


def main(arguments: argparse.Namespace) -> int:
    """See `service` and `beside`."""
    if arguments.beside is not None:
        text = beside(
            arguments.beside,
            arguments.options,
            is_user=arguments.user,
            name=arguments.name,
            is_template=arguments.template,
        )
        print(text, end="")
        _complain_of_temporary(_installation(), is_user=arguments.user)
        return int(ExitCode.OK)
    if arguments.options:
        raise ConfigError("", "options of a command need --for, as in: mpengine service --for record -- --keep-days 30")
    return service(is_user=arguments.user, config=arguments.config, name=arguments.name, is_template=arguments.template)


def service(*, is_user: bool, config: str | None, name: str | None, is_template: bool = False) -> int:
    """Print the unit. Raises ConfigError for a name or a path that cannot stand in it."""
    if config:
        config = os.path.abspath(os.path.expanduser(config))
    else:
        name_of_file = f"{_SPECIFIER}.toml" if is_template else USUAL_FILE
        config = usual_file(os.environ, is_user=is_user, name=name_of_file)
    text = template(is_user=is_user, config=config) if is_template else unit(is_user=is_user, config=config, name=name)
    print(text, end="")
    _complain_of_temporary([*_installation(), config], is_user=is_user)
    return int(ExitCode.OK)


def _complain_of_temporary(needed: Iterable[str], *, is_user: bool) -> None:
    """Tell the first of the paths in `needed` that is in a folder for temporary files: such a unit does not last."""
    inside = _inside(needed, _TEMPORARY)
    if inside:
        why = "the machine removes old files there" if is_user else "the unit does not see that folder (PrivateTmp)"
        complain(f"{inside[0]} is not for a service, because {why}: put it elsewhere, and make the unit again")


def template(*, is_user: bool, config: str) -> str:
    """The template unit of engines that are called like their instances, and have the files `config` with `%i` in it.

    Raises ConfigError for a path without `%i`.
    """
    if _SPECIFIER not in config:
        text = f"with --template the path of the configuration needs {_SPECIFIER}, the instance"
        raise ConfigError("", f"{config}: {text}")
    text = unit(is_user=is_user, config=config.replace(_SPECIFIER, _INSTANCE), name=_INSTANCE, file="mpengine@")
    place, _, rest = text.replace(_INSTANCE, _SPECIFIER).partition("\n")
    whose = "--user " if is_user else ""
    return f"{place}\n{_TEMPLATE.format(whose=whose, config=config.replace(_SPECIFIER, 'desk'))}{rest}"


def unit(*, is_user: bool, config: str, name: str | None, file: str | None = None) -> str:
    """The unit of an engine with the file `config`. `name` overrides the engine's name in that file.

    `file` is the name of a template, without its ending.
    """
    label = _label(name)
    words = ["run", "--wait", "--config", config, *([] if name is None else [f"--name={name}"])]
    return (_USER if is_user else _SYSTEM).format(
        unit=label,
        file=file or label,
        target="" if name is None else f" --name {name}",
        service=_SERVICE.format(command=_command(words)).strip(),
        credentials="\n".join(f"LoadCredential={variable}" for variable in secrets().values()),
        homes=_homes([*_installation(), config]),
        machine=_MACHINE_SANDBOX.strip(),
        sandbox=_SANDBOX.strip(),
    )


def beside(command: str, options: Sequence[str], *, is_user: bool, name: str | None, is_template: bool = False) -> str:
    """The unit that runs `command` with `options` beside the engine called `name`, or beside each instance.

    Raises ConfigError, also for options that the command does not take.
    """
    name = _INSTANCE if is_template else name
    runtime = _label(name)
    # No engine's name has a dot: so no unit of an engine is called like this one.
    label = f"{runtime}.{command}"
    engine, file, user = runtime, label, runtime
    if is_template:
        engine, file, user = f"mpengine@{name}", f"mpengine.{command}@", "mpengine"
    if not is_user and len(user) > _LONGEST_USER:
        text = f"a name of more than {_LONGEST_USER - len('mpengine-')} letters is too long for the user of a unit"
        raise ConfigError("engine.name", f"{text}: use --template")
    if command == "record" and not any(word.startswith("--output") for word in options):
        options = ["--output", f"{_STATE}/{label}", *options]
    elif command == "record" and not is_user:
        text = "this unit keeps recordings in its own folder, below /var/lib; for another one use --user"
        raise ConfigError("--output", text)
    given = [command, *([] if name is None else [f"--name={name}"]), *options]
    cli.parser_for(command).parse_args(given)
    given, credentials = _with_files(given, is_user=is_user)
    more = ""
    if not is_user:
        loads = "".join(f"LoadCredential={key}:{_quoted(path)}\n" for key, path in credentials.items())
        more = _BESIDE_SYSTEM.format(
            runtime=runtime,
            label=label,
            user=user,
            credentials=loads,
            homes=_homes(_installation()),
            machine=_MACHINE_SANDBOX.strip(),
        )
    text = _BESIDE.format(
        place=f"{'~/.config/systemd/user' if is_user else '/etc/systemd/system'}/{file}.service",
        file=f"{file}desk" if is_template else file,
        whose="--user " if is_user else "",
        command=command,
        engine=engine,
        label=label,
        words=_command(given).replace(_STATE, "%S").replace(_CREDENTIALS, "%d"),
        more=more.strip(),
        sandbox=_SANDBOX.strip(),
    )
    return text.replace(_INSTANCE, _SPECIFIER)


def _label(name: str | None) -> str:
    """How the unit and the folders of the engine called `name` are called. Raises ConfigError."""
    if name is None:
        return "mpengine"
    require_name(name)
    return f"mpengine-{name}"


def _command(words: Iterable[str]) -> str:
    """The value of ExecStart for `mpengine` with `words`."""
    # -P: Python must not import from the working directory.
    return " ".join(_quoted(word).replace("$", "$$") for word in [sys.executable, "-P", "-m", "mpengine", *words])


def _with_files(words: Sequence[str], *, is_user: bool) -> tuple[list[str], dict[str, str]]:
    """`words` with whole paths; for the machine, with credentials in the place of files. Returns those files, too."""
    found: dict[str, str] = {}
    given: list[str] = []
    for word in words:
        option, equals, path = word.partition("=")
        if not equals and given and given[-1] in (*_FILES, "--output"):
            option, path = given.pop(), word
        if option not in (*_FILES, "--output") or not path:
            given.append(word)
            continue
        path = os.path.abspath(os.path.expanduser(path))
        if option in _FILES and not is_user:
            key = option.lstrip("-")
            found[key] = path
            path = f"{_CREDENTIALS}/{key}"
        given.append(f"{option}={path}")
    return given, found


def _installation() -> Iterable[str]:
    """The folders of this Python and this package."""
    package = os.path.dirname(os.path.abspath(mpengine.__file__))
    return (sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable)), package)


def _homes(needed: Iterable[str]) -> str:
    """The lines that hide all home folders but the paths in `needed`, which may be in a folder closed to others."""
    inside = _inside(needed, _HOMES)
    if not inside:
        return "ProtectHome=yes"
    says = "# Nothing else in home folders is seen: files that the configuration or an option names must be elsewhere."
    # An unescaped colon would begin the path of the mount.
    binds = ["BindReadOnlyPaths=" + _quoted(path).replace(":", "\\:") for path in inside]
    return "\n".join([says, "ProtectHome=tmpfs", *binds])


def _inside(paths: Iterable[str], folders: Iterable[str]) -> list[str]:
    """Those of `paths` that are below one of `folders`, each once, in order."""
    return sorted({path for path in paths if path.startswith(tuple(f"{folder}/" for folder in folders))})


def _quoted(word: str) -> str:
    """`word` in the syntax of systemd.syntax(7), without escapes or specifiers. Raises ConfigError for controls."""
    if _PLAIN.fullmatch(word):
        return word
    if not word.isprintable():
        raise ConfigError("", f"{word!r} cannot stand in a unit")
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{word}"'
