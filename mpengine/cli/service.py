"""`mpengine service` prints a systemd unit for an engine of this installation."""

import argparse
import os
import re
import sys
from collections.abc import Iterable

import mpengine
from mpengine.cli.chosen import USUAL_NAME, usual_file
from mpengine.shared.config import secrets
from mpengine.shared.config_tables import NAME, NAME_VALUES
from mpengine.shared.errors import ConfigError, ExitCode

_PLAIN = re.compile(r"[A-Za-z0-9_./=+,-]+")
# The folders that ProtectHome= hides.
_HOMES = ("/home", "/root", "/run/user")
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
ProtectSystem=strict
PrivateTmp=yes
ProtectProc=invisible
# No ProcSubset=pid: the engine reads the machine's boot id in /proc/sys, to know whether its run can continue.
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
CapabilityBoundingSet=
UMask=0077
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


def main(arguments: argparse.Namespace) -> int:
    """See `service`."""
    return service(is_user=arguments.user, config=arguments.config, name=arguments.name, is_template=arguments.template)


def service(*, is_user: bool, config: str | None, name: str | None, is_template: bool = False) -> int:
    """Print the unit. Raises ConfigError for a name or a path that cannot stand in it."""
    if config:
        config = os.path.abspath(os.path.expanduser(config))
    else:
        name_of_file = f"{_SPECIFIER}.toml" if is_template else USUAL_NAME
        config = usual_file(os.environ, is_user=is_user, name=name_of_file)
    text = template(is_user=is_user, config=config) if is_template else unit(is_user=is_user, config=config, name=name)
    print(text, end="")
    return int(ExitCode.OK)


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
    if name is not None and not NAME.fullmatch(name):
        raise ConfigError("engine.name", f"expected {NAME_VALUES}")
    # -P: Python must not import from the working directory.
    command = [sys.executable, "-P", "-m", "mpengine", "run", "--wait", "--config", config]
    if name is not None:
        command.append(f"--name={name}")
    label = "mpengine" if name is None else f"mpengine-{name}"
    return (_USER if is_user else _SYSTEM).format(
        unit=label,
        file=file or label,
        target="" if name is None else f" --name {name}",
        service=_SERVICE.format(command=" ".join(_quoted(word).replace("$", "$$") for word in command)).strip(),
        credentials="\n".join(f"LoadCredential={variable}" for variable in secrets().values()),
        homes=_homes([*_installation(), config]),
        sandbox=_SANDBOX.strip(),
    )


def _installation() -> Iterable[str]:
    """The folders of this Python and this package."""
    package = os.path.dirname(os.path.abspath(mpengine.__file__))
    return (sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable)), package)


def _homes(needed: Iterable[str]) -> str:
    """The lines that hide all home folders but the paths in `needed`, which may be in a folder closed to others."""
    inside = sorted({path for path in needed if path.startswith(tuple(f"{home}/" for home in _HOMES))})
    if not inside:
        return "ProtectHome=yes"
    says = "# The engine sees nothing else in home folders: the configuration's files must be in other folders."
    # An unescaped colon would begin the path of the mount.
    binds = ["BindReadOnlyPaths=" + _quoted(path).replace(":", "\\:") for path in inside]
    return "\n".join([says, "ProtectHome=tmpfs", *binds])


def _quoted(word: str) -> str:
    """`word` in the syntax of systemd.syntax(7), without escapes or specifiers. Raises ConfigError for controls."""
    if _PLAIN.fullmatch(word):
        return word
    if not word.isprintable():
        raise ConfigError("", f"{word!r} cannot stand in a unit")
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{word}"'
