"""What systemd says, by `systemctl`: the units that run an engine, and the time of the start of the machine."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence

from mpengine.cli.check.verdicts import Unit
from mpengine.shared.clocks import Clocks

_LIMIT_S = 3.0
_RUNS = "/run/systemd/system"  # sd_booted(3)
_PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,ExecStart"
_PATTERN = "mpengine*.service"


class SystemctlError(Exception):
    """systemctl did not answer; the text says why."""


def is_here() -> bool:
    """Whether systemd runs this machine."""
    return os.path.isdir(_RUNS) and shutil.which("systemctl") is not None


def units() -> list[Unit]:
    """The units of the machine and of this user that run an engine. Raises SystemctlError if neither can be asked."""
    found: list[Unit] = []
    errors = []
    for manager in ((), ("--user",)):
        try:
            found += units_in(_shown(manager), manager)
        except SystemctlError as error:  # without a session there is no manager for this user
            errors.append(error)
    if len(errors) > 1:
        raise errors[0]
    return found


def units_in(shown: str, manager: Sequence[str]) -> list[Unit]:
    """The units in the output of `systemctl show`."""
    found = []
    for block in shown.strip().split("\n\n"):
        facts = dict(line.partition("=")[::2] for line in block.splitlines())
        if facts.get("LoadState") == "loaded":
            found.append(
                Unit(
                    facts.get("Id", ""),
                    "".join(f"{word} " for word in manager),
                    facts.get("ActiveState", ""),
                    facts.get("UnitFileState", ""),
                    _config(facts.get("ExecStart", "")),
                )
            )
    return found


def _shown(manager: Sequence[str]) -> str:
    """The units by their files, and those that run. A template has no state: its instances are seen while they run."""
    listed = _asked([*manager, "list-unit-files", "--no-legend", "--plain", _PATTERN])
    running = _asked([*manager, "list-units", "--all", "--no-legend", "--plain", _PATTERN])
    names = [line.split()[0] for line in (listed + running).splitlines() if line.strip()]
    names = [name for name in dict.fromkeys(names) if not name.endswith("@.service")]
    return _asked([*manager, "show", f"--property={_PROPERTIES}", "--", *names]) if names else ""


def _config(command: str) -> str:
    """The path behind `--config` in ExecStart: `{ path=… ; argv[]=… ; … }`."""
    try:
        words = shlex.split(command.partition("argv[]=")[2].partition(" ; ")[0])
    except ValueError:
        return ""
    for place, word in enumerate(words):
        if word == "--config":
            return words[place + 1] if place + 1 < len(words) else ""
        if word.startswith("--config="):
            return word.partition("=")[2]
    return ""


def clocks_at_boot() -> Clocks | None:
    """The clocks when the machine started, to the second; None if systemd does not tell."""
    names = ("--property=UserspaceTimestamp", "--property=UserspaceTimestampMonotonic")
    try:
        return clocks_in(_asked(["--timestamp=unix", "show", *names]))
    except SystemctlError:
        return None


def clocks_in(shown: str) -> Clocks | None:
    """The same from the output of `systemctl show`."""
    facts = dict(line.partition("=")[::2] for line in shown.splitlines())
    utc, monotonic = facts.get("UserspaceTimestamp", ""), facts.get("UserspaceTimestampMonotonic", "")
    if not (utc.startswith("@") and utc[1:].isdecimal() and monotonic.isdecimal()):
        return None
    return Clocks(utc_ahead_ns=int(utc[1:]) * 1_000_000_000 - int(monotonic) * 1000)


def _asked(words: Sequence[str]) -> str:
    """The output of `systemctl`. Raises SystemctlError."""
    environment = os.environ | {"SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0", "LC_ALL": "C"}
    try:
        ended = subprocess.run(  # noqa: S603
            ["systemctl", *words],  # noqa: S607  the one of this machine
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SystemctlError(f"systemctl has not answered for {_LIMIT_S:g} s") from None
    except OSError as error:
        raise SystemctlError(f"systemctl cannot be started: {error.strerror}") from None
    words_of_error = ended.stderr.decode(errors="replace").strip().splitlines()
    if ended.returncode and words_of_error:  # without words it has found nothing
        raise SystemctlError(words_of_error[-1])
    return ended.stdout.decode(errors="replace")
