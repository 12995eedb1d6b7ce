"""The capture sides of the ALSA cards as the kernel shows them, also those that PortAudio hides.

PortAudio leaves out what it cannot open. /proc/asound says who has it open, /dev/snd who may open it, and /sys into
which USB socket it is plugged. A file that is missing or odd costs that fact alone: Docker hides /proc/asound.
"""

import grp
import os
import re
from pathlib import Path

from mpengine.capture.choosing import Holder, Pcm

_CARD = re.compile(r"^ *(\d+) \[.*?\]: .*? - (.*)$", re.MULTILINE)
_IN_PROC = re.compile(r"/card(\d+)/pcm(\d+)c$")
_IN_SYS = re.compile(r"/pcmC(\d+)D(\d+)c$")
_LONGEST = 65536
_CLOSED = "closed"


def pcms(root: Path = Path("/")) -> list[Pcm]:
    """The capture sides of all cards, by card and device. `root` is where proc, sys and dev lie."""
    names = {int(number): name.strip() for number, name in _CARD.findall(_text(root / "proc/asound/cards"))}
    asound, sound = (root / "proc/asound").glob("card*/pcm*c"), (root / "sys/class/sound").glob("pcmC*D*c")
    found = [_IN_PROC.search(str(path)) for path in asound] + [_IN_SYS.search(str(path)) for path in sound]
    places = {(int(match[1]), int(match[2])) for match in found if match is not None}
    return [_pcm(root, card, device, names.get(card, "")) for card, device in sorted(places)]


def _pcm(root: Path, card: int, device: int, name: str) -> Pcm:
    proc, sys = root / f"proc/asound/card{card}", root / f"sys/class/sound/card{card}"
    card_id = (_text(proc / "id") or _text(sys / "id")).strip()
    usb_path, serial = _usb(sys / "device")
    return Pcm(
        card=card,
        device=device,
        card_id=card_id,
        name=f"{name}: {_fact(_text(proc / f'pcm{device}c/info'), 'name')}" if name else card_id,
        usb_path=usb_path,
        serial=serial,
        holder=_holder(root, proc / f"pcm{device}c"),
        needs_group=_group(root / f"dev/snd/pcmC{card}D{device}c"),
    )


def _usb(device: Path) -> tuple[str, str]:
    """The socket, in the kernel's words for it ("usb-0000:00:14.0-1.2"), and the serial number; empty without."""
    try:
        path = device.resolve(strict=True)
    except (OSError, RuntimeError):
        return "", ""
    for folder in (path, *path.parents):
        if match := re.fullmatch(r"\d+-([\d.]+)", folder.name):
            hub = next((parent for parent in folder.parents if re.fullmatch(r"usb\d+", parent.name)), None)
            if hub is not None:
                return f"usb-{hub.parent.name}-{match[1]}", _text(folder / "serial").strip()
    return "", ""


def _holder(root: Path, pcm: Path) -> Holder | None:
    """Who has all of it open; None while a part of it is free."""
    states = [_text(status).strip() for status in pcm.glob("sub*/status")]
    taken = [state for state in states if state and state != _CLOSED]
    if not taken or len(taken) < len(states):
        return None
    thread = _fact(taken[0], "owner_pid")
    if not thread.isdigit() or thread == "0":
        return Holder(0, "a process of another container")
    status = _text(root / f"proc/{thread}/status")
    return Holder(int(_fact(status, "Tgid") or thread), _fact(status, "Name") or "unknown")


def _group(node: Path) -> str:
    """The group that may open `node`, if this user may not; empty otherwise."""
    try:
        if os.access(node, os.R_OK | os.W_OK):
            return ""
        gid = node.stat().st_gid
    except OSError:
        return ""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _fact(text: str, name: str) -> str:
    """The value of the line "name : value"."""
    found = re.search(rf"^{name}\s*:[ \t]*(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _text(path: Path) -> str:
    """The beginning of a file, with bytes that are no UTF-8 as PortAudio's names have them; empty without one."""
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST).decode("utf-8", "backslashreplace")
    except OSError:
        return ""
