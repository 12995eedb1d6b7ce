"""What microphones there are, each under a name of its own, which `mpengine devices` prints. Pure.

A microphone is reached in one of three ways: as a source of the sound server (PulseAudio, or PipeWire, which speaks
its protocol), as the capture side of an ALSA card, or as any other entry of PortAudio's list, such as a PCM of the ALSA
configuration.
"""

import enum
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

OWN_PROGRAM = "mpe-capture"
"""The name of a capture process, see `processes.beginning`: a holder with this name is an engine."""
HARDWARE = re.compile(r"\A(?P<base>.*) \(hw:(?P<card>\d+),(?P<device>\d+)\)\Z", re.DOTALL)


class Holder(NamedTuple):
    """The process that has a device open."""

    pid: int
    program: str


class Input(NamedTuple):
    """An entry of PortAudio's list. `number` may differ in another process, and after a device has come or gone."""

    number: int
    name: str
    host_api: str
    channels: int
    rate_hz: int
    is_default: bool = False


class Pcm(NamedTuple):
    """The capture side of an ALSA card as the kernel has it. PortAudio hides it while it cannot be opened.

    `name` is what PortAudio would print, without the number of the card. `usb_path` names the socket that the device
    is plugged into. `needs_group`: this process may not open it, and this group may. `is_member`: this user is in that
    group by now, and this process is not.
    """

    card: int
    device: int
    card_id: str
    name: str
    usb_path: str = ""
    serial: str = ""
    holder: Holder | None = None
    needs_group: str = ""
    is_member: bool = False


class ServerSource(NamedTuple):
    """A source of the sound server. A monitor gives what a loudspeaker plays. `card`: the ALSA card behind it."""

    name: str
    description: str
    channels: int
    rate_hz: int
    is_monitor: bool = False
    is_default: bool = False
    card: int | None = None


class Present(NamedTuple):
    """What there is. `server`: why no sound server could be asked, in words; empty where it has answered."""

    inputs: Sequence[Input]
    pcms: Sequence[Pcm] = ()
    sources: Sequence[ServerSource] = ()
    server: str = ""


class Way(enum.StrEnum):
    """How a microphone is reached."""

    SERVER = "sound server"
    CARD = "card"
    OTHER = "other"


class Known(NamedTuple):
    """One microphone. `name` is what `mpengine devices` prints; `also` are other whole names that mean it.

    `input` is None where PortAudio hides it. A source is opened through an entry of PortAudio's that all sources share.
    """

    name: str
    way: Way
    also: tuple[str, ...] = ()
    input: Input | None = None
    pcm: Pcm | None = None
    source: ServerSource | None = None

    @property
    def is_hidden(self) -> bool:
        """Whether PortAudio cannot open it now."""
        return self.way is Way.CARD and self.input is None

    @property
    def obstacle(self) -> str:
        """Why it cannot be opened, in words; empty where nothing stands in the way."""
        pcm = self.pcm
        if pcm is not None and pcm.needs_group:
            return _permission(pcm)
        if pcm is not None and pcm.holder is not None:
            return f"it is busy: PID {pcm.holder.pid} ({pcm.holder.program}) has it open"
        return "PortAudio cannot open it" if self.is_hidden else ""


def known(present: Present) -> list[Known]:
    """Everything that `audio.device` may name, as `mpengine devices` lists it, with what PortAudio hides.

    Monitors are left out. They are found by their whole name alone.
    """
    sources = [of_source(source) for source in present.sources if not source.is_monitor]
    return [*sources, *_cards(present), *_others(present)]


def fold(text: str) -> str:
    """`text` as it is compared: upper and lower case are equal, and so are composed and decomposed letters."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())


def of_source(source: ServerSource) -> Known:
    """A source under its name; a monitor, too."""
    return Known(source.name, Way.SERVER, (source.description,), source=source)


def _cards(present: Present) -> list[Known]:
    """The capture sides of cards: PortAudio's, and those that it hides."""
    pcms = {(pcm.card, pcm.device): pcm for pcm in present.pcms}
    found: list[Known] = []
    seen = set()
    for entry in present.inputs:
        match = HARDWARE.match(entry.name)
        if match is None:
            continue
        place = int(match["card"]), int(match["device"])
        seen.add(place)
        pcm = pcms.get(place)
        found.append(Known(match["base"], Way.CARD, (entry.name,), input=entry, pcm=pcm))
    found += [of_pcm(pcm) for place, pcm in pcms.items() if place not in seen]
    return [_told_apart(one, found) for one in found]


def of_pcm(pcm: Pcm) -> Known:
    """A card that PortAudio hides, before it is told apart from others of its name."""
    return Known(pcm.name, Way.CARD, pcm=pcm)


def _told_apart(one: Known, cards: Sequence[Known]) -> Known:
    """`one` under a name of its own: with its USB path or its card id, if another card has the same name."""
    twins = [other for other in cards if fold(other.name) == fold(one.name)]
    others = [mark for other in twins if other is not one for mark in marks_of(other)]
    own = marks_of(one)
    also = (*(f"{one.name} [{mark}]" for mark in own), *one.also)
    if len(twins) == 1:
        return one._replace(also=also)
    return one._replace(name=f"{one.name} [{next(mark for mark in own if mark not in others)}]", also=also)


def marks_of(one: Known) -> list[str]:
    """What tells a card apart from another of its name, best first, and each other PCM of the card in the end.

    A USB path is its socket; a card id may change. The numbers are the last resort.
    """
    card, device = hardware(one)
    marks = [mark for mark in (one.pcm.usb_path, one.pcm.card_id) if mark] if one.pcm is not None else []
    return [*marks, *(f"{mark},{device}" for mark in marks), f"hw:{card},{device}"]


def _others(present: Present) -> list[Known]:
    """PortAudio's other entries. Of those with one name (by several host APIs) the first counts."""
    found: dict[str, Known] = {}
    for entry in present.inputs:
        if not HARDWARE.match(entry.name):
            found.setdefault(entry.name, Known(entry.name, Way.OTHER, input=entry))
    return list(found.values())


def whole_names(one: Known) -> set[str]:
    """The whole names that mean `one`, folded."""
    names = {fold(name) for name in (one.name, *one.also)}
    if one.way is Way.CARD:
        names.add(fold(base_name(one)))
    return names


def _permission(pcm: Pcm) -> str:
    """Who may open it, and how this user gets the right."""
    group = pcm.needs_group
    words = f"this user may not open it: only members of the group {group} may"
    if pcm.is_member:
        return f"{words}, and this user became one after this session began: log in again"
    if group.isdigit():
        return f"{words}, which has no name here (for a container, docker run --group-add {group})"
    return f"{words} (as root: usermod -aG {group} USER; then log in again)"


def base_name(one: Known) -> str:
    """The name of a card without what tells it apart."""
    if one.pcm is not None and one.input is None:
        return one.pcm.name
    match = HARDWARE.match(one.input.name) if one.input is not None else None
    return match["base"] if match else one.name


def hardware(one: Known) -> tuple[int, int]:
    """The numbers of the card and of its PCM."""
    if one.pcm is not None:
        return one.pcm.card, one.pcm.device
    match = HARDWARE.match(one.input.name) if one.input is not None else None
    return (int(match["card"]), int(match["device"])) if match else (-1, -1)
