"""The capture sides of the ALSA cards as the kernel shows them, also those that PortAudio hides.

PortAudio leaves out what it cannot open. /proc/asound says who has it open, /dev/snd who may open it, and /sys into
which USB socket it is plugged. A file that is missing or odd costs that fact alone: Docker hides /proc/asound.
"""

import os
import re

from mpengine.capture.inventory import Holder, Pcm

_CARD = re.compile(r"^ *(\d+) \[.*?\]: .*? - (.*)$", re.MULTILINE)
_CARD_FOLDER = re.compile(r"card(\d+)")
_PCM_FOLDER = re.compile(r"pcm(\d+)c")
_PCM_NODE = re.compile(r"pcmC(\d+)D(\d+)c")
_USB_SOCKET = re.compile(r"\d+-([\d.]+)")
_USB_HUB = re.compile(r"usb\d+")
_LONGEST = 65536
_CLOSED = "closed"


def pcms(root: str = "") -> list[Pcm]:
    """The capture sides of all cards, by card and device. `root` stands before /proc, /sys and /dev."""
    asound, sound = f"{root}/proc/asound", f"{root}/sys/class/sound"
    names = {int(number): name.strip() for number, name in _CARD.findall(_text(f"{asound}/cards"))}
    places = {(int(node[1]), int(node[2])) for node in map(_PCM_NODE.fullmatch, _names(sound)) if node}
    for card in filter(None, map(_CARD_FOLDER.fullmatch, _names(asound))):
        inside = map(_PCM_FOLDER.fullmatch, _names(f"{asound}/{card[0]}"))
        places.update((int(card[1]), int(pcm[1])) for pcm in inside if pcm)
    return [_pcm(root, card, device, names.get(card, "")) for card, device in sorted(places)]


def _pcm(root: str, card: int, device: int, name: str) -> Pcm:
    proc, sys = f"{root}/proc/asound/card{card}", f"{root}/sys/class/sound/card{card}"
    needs_group, is_member = _group(f"{root}/dev/snd/pcmC{card}D{device}c")
    card_id = (_text(f"{proc}/id") or _text(f"{sys}/id")).strip()
    usb_path, serial = _usb(f"{sys}/device")
    return Pcm(
        card=card,
        device=device,
        card_id=card_id,
        name=f"{name}: {_further(_fact(_text(f'{proc}/pcm{device}c/info'), 'name'), name)}" if name else card_id,
        usb_path=usb_path,
        serial=serial,
        holder=_holder(root, f"{proc}/pcm{device}c"),
        needs_group=needs_group,
        is_member=is_member,
    )


def _further(name: str, card: str) -> str:
    """The name of a PCM without the beginning that is in its card's name, too, just as PortAudio prints it."""
    kept = 0  # the end of the last word that was found
    for start in [0, *(place + 1 for place, character in enumerate(card) if character == " ")]:
        end = kept
        for one, other in zip(name[kept:], card[start:], strict=False):
            if one != other:
                break
            end += 1
            if end == len(name) or name[end] == " ":
                kept = end
    if kept == len(name):
        return "-"
    rest = name[kept:].lstrip(" ")
    return rest[2:] if rest.startswith(("- ", ": ")) else rest


def _usb(device: str) -> tuple[str, str]:
    """The socket, in the kernel's words for it ("usb-0000:00:14.0-1.2"), and the serial number; empty without."""
    parts = os.path.realpath(device).split("/")
    hub = next((place for place, part in enumerate(parts) if _USB_HUB.fullmatch(part)), None)
    if hub is None:
        return "", ""
    # After the hub of the controller come the hubs on the way, the device, and its interface, which has a colon.
    sockets = [place for place in range(hub + 1, len(parts)) if _USB_SOCKET.fullmatch(parts[place])]
    if not sockets:
        return "", ""
    socket = _USB_SOCKET.fullmatch(parts[sockets[-1]])
    serial = _text(f"{'/'.join(parts[: sockets[-1] + 1])}/serial").strip()
    return f"usb-{parts[hub - 1]}-{socket[1] if socket else ''}", serial


def _holder(root: str, pcm: str) -> Holder | None:
    """Who has all of it open; None while a part of it is free."""
    states = [_text(f"{pcm}/{sub}/status").strip() for sub in _names(pcm) if sub.startswith("sub")]
    taken = [state for state in states if state and state != _CLOSED]
    if not taken or len(taken) < len(states):
        return None
    thread = _fact(taken[0], "owner_pid")
    if not thread.isdigit() or thread == "0":
        return Holder(0, "a process of another container")
    status = _text(f"{root}/proc/{thread}/status")
    return Holder(int(_fact(status, "Tgid") or thread), _fact(status, "Name") or "unknown")


def _group(node: str) -> tuple[str, bool]:
    """The group that may open `node`, if this process may not; empty otherwise. And whether this user is in it."""
    try:
        if os.access(node, os.R_OK | os.W_OK):
            return "", False
        gid = os.stat(node).st_gid
    except OSError:
        return "", False
    import grp  # noqa: PLC0415  hardly ever needed
    import pwd  # noqa: PLC0415

    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return str(gid), False
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return group.gr_name, False
    return group.gr_name, user in group.gr_mem


def _fact(text: str, name: str) -> str:
    """The value of the line "name : value"."""
    found = re.search(rf"^{name}\s*:[ \t]*(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _names(folder: str) -> list[str]:
    """What is in a folder; nothing without one."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _text(path: str) -> str:
    """The beginning of a file, with bytes that are no UTF-8 as PortAudio's names have them; empty without one."""
    try:
        with open(path, "rb") as file:
            return file.read(_LONGEST).decode("utf-8", "backslashreplace")
    except OSError:
        return ""
