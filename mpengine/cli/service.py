"""`mpengine service`: a systemd unit for an engine of this installation, on standard output."""

import os
import re
import sys
from collections.abc import Iterable

import mpengine
from mpengine.shared.config import secrets
from mpengine.shared.config_tables import NAME, NAME_VALUES
from mpengine.shared.errors import ConfigError, ExitCode

_PLAIN = re.compile(r"[A-Za-z0-9_./=+,-]+")
# What ProtectHome= takes away.
_HOMES = ("/home", "/root", "/run/user")

_SYSTEM = """\
# /etc/systemd/system/{unit}.service
# It hears ALSA devices. The sound server of a desktop (PipeWire, PulseAudio) is its user's alone: there, take
# mpengine service --user.
# Its sockets are for root (XDG_RUNTIME_DIR=/run/{unit} mpengine listen{target}). For everybody on this machine, set
# bus.publish and bus.query to tcp://127.0.0.1:PORT.

[Unit]
Description=mpengine, speech as typed results ({unit})
After=sound.target network.target
# A microphone that is not there yet is tried again for as long as it takes.
StartLimitIntervalSec=0

[Service]
{service}

# Audio that has no result yet, and the journal, survive a stop: the next start goes on with them.
RuntimeDirectory={unit}
RuntimeDirectoryPreserve=yes
RuntimeDirectoryMode=0700
Environment=XDG_RUNTIME_DIR=%t/{unit}

# Secrets are read from /etc/credstore, where they are root's alone (mode 0600); what is not there is not needed.
{credentials}

# A user of its own, who may use sound devices and no others.
DynamicUser=yes
SupplementaryGroups=audio
DevicePolicy=closed
DeviceAllow=char-alsa rw
{homes}
ProtectSystem=strict
PrivateTmp=yes
ProtectProc=invisible
# No ProcSubset=pid: by the boot id in /proc/sys the engine knows whether its run can go on.
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
# ~/.config/systemd/user/{unit}.service
# It hears what the user's sound server has (PipeWire, PulseAudio), and ends with the user's last session; to start it
# with the machine: loginctl enable-linger

[Unit]
Description=mpengine, speech as typed results ({unit})
After=pipewire.service pipewire-pulse.service pulseaudio.service
# A microphone that is not there yet is tried again for as long as it takes.
StartLimitIntervalSec=0

[Service]
{service}

# No RuntimeDirectory: the engine makes its own, where `mpengine listen` finds it, and what it left there at a stop is
# taken up by the next start.

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
# Fed only while capture and streaming make progress. The engine itself starts again what hangs (20 s): this is for
# when it cannot.
WatchdogSec=60
Restart=on-failure
RestartSec=1
# A wrong configuration (2) and a refused account (4) stay wrong. A missing device (3) may come.
RestartPreventExitStatus=2 4
# Last results are awaited: supervisor.stop_limit_s, and some more.
TimeoutStopSec=45
KillMode=mixed
# A child that the kernel kills for its memory is started again by the engine.
OOMPolicy=continue
# A core file would hold keys, and what was said.
LimitCORE=0
"""

# All of these work in a user's unit, too.
_SANDBOX = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
# Netlink: with it ZeroMQ looks for the interface of a tcp endpoint, and ends the process when it may not.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
# Nothing of @resources is taken away: ZeroMQ ends the process when its thread may not set its scheduling. And no
# MemoryDenyWriteExecute: PortAudio's callback into Python is code that cffi writes.
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
"""


def service(*, is_user: bool, config: str | None, name: str | None) -> int:
    """Print the unit. Raises ConfigError for a name or a path that cannot stand in it."""
    config = os.path.abspath(os.path.expanduser(config)) if config else _usual_config(is_user=is_user)
    print(unit(is_user=is_user, config=config, name=name), end="")
    return int(ExitCode.OK)


def unit(*, is_user: bool, config: str, name: str | None) -> str:
    """The unit of the engine that runs with the file `config`, under its `name` or the one in the file."""
    if name is not None and not NAME.fullmatch(name):
        raise ConfigError("engine.name", f"expected {NAME_VALUES}")
    # -P: the folder that it is started in is no place to import from.
    command = [sys.executable, "-P", "-m", "mpengine", "run", "--config", config]
    if name is not None:
        command += ["--set", f"engine.name={name}"]
    return (_USER if is_user else _SYSTEM).format(
        unit="mpengine" if name is None else f"mpengine-{name}",
        target="" if name is None else f" --name {name}",
        service=_SERVICE.format(command=" ".join(_quoted(word).replace("$", "$$") for word in command)).strip(),
        credentials="\n".join(f"LoadCredential={variable}" for variable in secrets().values()),
        homes=_homes([*_installation(), config]),
        sandbox=_SANDBOX.strip(),
    )


def _usual_config(*, is_user: bool) -> str:
    users = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(users if is_user else "/etc", "mpengine", "mic.toml")


def _installation() -> Iterable[str]:
    """What this Python and this package consist of."""
    package = os.path.dirname(os.path.abspath(mpengine.__file__))
    return (sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable)), package)


def _homes(needed: Iterable[str]) -> str:
    """No home folder is seen but for what is `needed` of it. It need not be open to others itself."""
    inside = sorted({path for path in needed if path.startswith(tuple(f"{home}/" for home in _HOMES))})
    if not inside:
        return "ProtectHome=yes"
    says = "# Of home folders nothing else is seen: what the configuration names must lie elsewhere."
    # A colon would be followed by where to show it.
    binds = ["BindReadOnlyPaths=" + _quoted(path).replace(":", "\\:") for path in inside]
    return "\n".join([says, "ProtectHome=tmpfs", *binds])


def _quoted(word: str) -> str:
    """`word` as systemd.syntax(7) has it, where nothing of it is an escape or a specifier."""
    if _PLAIN.fullmatch(word):
        return word
    if not word.isprintable():
        raise ConfigError("", f"{word!r} cannot stand in a unit")
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{word}"'
