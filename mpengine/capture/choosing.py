"""Which microphone is meant: `audio.device`, the one that was open before, and what there is. Pure.

A microphone is never replaced by another one silently. What was open once is remembered (`Choice.identity`), for each
entry of `audio.device` by itself. From then on this entry means that microphone alone, whatever else its words fit.
A list is an order of preference: there the next entry may be taken, because that is asked for.

A microphone is reached in one of three ways: as a source of the sound server (PulseAudio, or PipeWire, which speaks
its protocol), as the capture side of an ALSA card, or as any other entry of PortAudio's list, such as a PCM of the ALSA
configuration. `known` puts all of them under the names that `mpengine devices` prints.
"""

import enum
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from mpengine.shared.errors import DeviceError

Wanted = str | int | None

# What the ALSA plugins of the two sound servers read, where their PCM names no source itself.
VARIABLES = ("PULSE_SOURCE", "PIPEWIRE_NODE")
# The PCMs that lead to the sound server, best first: the last one may lead elsewhere.
_DOORS = ("pulse", "pipewire", "default")
_DEFAULT = "default"
_ALSA = "ALSA"
_HARDWARE = re.compile(r"\A(?P<base>.*) \(hw:(?P<card>\d+),(?P<device>\d+)\)\Z", re.DOTALL)
_PRINTED = re.compile(r"\A(?P<base>.*) \[(?P<mark>[^\[\]]+)\]\Z", re.DOTALL)
_CARD_NAME = re.compile(r"\A(?P<kind>\w+):(?P<key>CARD=)?(?P<card>[^,\s]+)(?:,(?:DEV=)?(?P<device>\d+))?\Z")
_ANY_ALSA_NAME = re.compile(r"\A[A-Za-z_]\w*:\S+\Z")


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


class Choice(NamedTuple):
    """The microphone to open: by PortAudio's `number`, or, where that is None, by its ALSA name.

    `environment` has to be set before the opening, and those of `VARIABLES` that are not in it have to be as they were.
    `name` is printed and published, and stays the same when the machine starts again. `identity` is to be remembered.
    """

    name: str
    number: int | None
    alsa_name: str | None
    environment: dict[str, str]
    identity: str
    is_card: bool = False
    """Whether it is a card itself, so that no sound server stands between."""
    channels: int = 0
    """How many channels it has, and its usual rate in `rate_hz`: 0 if that is not known."""
    rate_hz: int = 0
    led_to: str = ""
    """The card to which the ALSA configuration has led, see `led`; empty if that is not known."""
    plug_name: str = ""
    """For a card: the ALSA name under which ALSA converts its samples."""

    @property
    def source(self) -> str | None:
        """The source of the sound server that has to feed this microphone; None if any may, or no server is asked."""
        return self.environment.get(VARIABLES[0])


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


class NotFound(DeviceError):
    """None of the microphones is meant. `summary` is for those who have their list before them."""

    def __init__(self, text: str, summary: str) -> None:
        super().__init__(text)
        self.summary = summary


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a microphone is known again. A PCM of the ALSA configuration and a source have a name; a card has facts."""

    source: str = ""
    other: str = ""
    card_name: str = ""
    card_id: str = ""
    device: int = 0
    usb_path: str = ""
    serial: str = ""

    @property
    def name(self) -> str:
        """For people."""
        return self.source or self.other or self.card

    @property
    def card(self) -> str:
        """The card, for people."""
        mark = self.usb_path or self.card_id
        return f"{self.card_name} [{mark}]" if mark else self.card_name

    @property
    def leads_to_card(self) -> bool:
        """Whether it is a name of the ALSA configuration, and the card is known to which that led."""
        return bool(self.other and self.card_name)


_Memory = dict[str, _Record]
_read_memory = msgspec.json.Decoder(_Memory).decode
_write = msgspec.json.Encoder(order="deterministic").encode


def choose(wanted: Wanted | Sequence[str | int], remembered: str, present: Present) -> Choice:
    """The microphone to open. Raises DeviceError, which says why there is none and what would help."""
    return choices(wanted, remembered, present)[0]


def choices(wanted: Wanted | Sequence[str | int], remembered: str, present: Present) -> list[Choice]:
    """The microphones to try, best first, and at least one.

    There are several if `wanted` is a list, or if the ALSA configuration led it to a card, which `led` remembers.

    `remembered` is the identity of the choice that was open last, or empty. Raises DeviceError.
    """
    memory = _memory(remembered)
    entries: list[Wanted] = [wanted] if wanted is None or isinstance(wanted, str | int) else list(wanted)
    memory = {key: record for key, record in memory.items() if key in map(_key, entries)}
    found: list[Choice] = []
    failures: list[tuple[Wanted, DeviceError]] = []
    for entry in entries:
        try:
            found += _Search(entry, memory, present).choices()
        except DeviceError as error:
            failures.append((entry, error))
    if found:
        return found
    if len(failures) == 1:
        raise failures[0][1]
    words = "; ".join(f"{entry!r}: {error}" for entry, error in failures)
    raise DeviceError(f"nothing of the list audio.device is there: {words}")


def known(present: Present) -> list[Known]:
    """Everything that `audio.device` may name, as `mpengine devices` lists it, with what PortAudio hides.

    Monitors are left out. They are found by their whole name alone.
    """
    sources = [_of_source(source) for source in present.sources if not source.is_monitor]
    return [*sources, *_cards(present), *_others(present)]


def fold(text: str) -> str:
    """`text` as it is compared: upper and lower case are equal, and so are composed and decomposed letters."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())


def moved(choice: Choice, feeding: str) -> str | None:
    """Why the microphone is lost, although samples come: another source of the sound server feeds us. None: it is not.

    A sound server moves a stream to another microphone when its own goes, and says nothing.
    """
    if choice.source is None or choice.source == feeding:
        return None
    return f'"{choice.source}" has gone: the sound server has put "{feeding}" in its place'


def led(choice: Choice, remembered: str, pcms: Sequence[Pcm], pid: int) -> Choice:
    """`choice`, which process `pid` has just opened, with the card behind it: that is remembered, too.

    A name of the ALSA configuration, such as "default", leads to another card when the numbers of the cards change.
    Raises DeviceError when it leads to another one than before. One of the same name is accepted while the other one is
    away, because nobody has chosen between them: it is mostly the same one in another USB socket.
    """
    held = next((pcm for pcm in pcms if pcm.holder is not None and pcm.holder.pid == pid), None)
    if held is None or choice.is_card or choice.source is not None:
        return choice
    memory, before = _memory(choice.identity), _memory(remembered)
    for key, record in memory.items():
        if record.other != choice.name:
            continue
        old = before.get(key, record)
        if old.other == record.other and old.card_name and not _may_be(held, old, pcms):
            raise DeviceError(
                f'"{choice.name}" leads to "{held.name}" now, and not to "{old.card}", which was open before; set '
                "audio.device to the one that is meant"
            )
        memory[key] = msgspec.structs.replace(_record(_of_pcm(held)), other=record.other)
    return choice._replace(identity=_write(memory).decode(), led_to=held.name)


class _Search:
    """One entry of `audio.device` on its way to a choice."""

    def __init__(self, wanted: Wanted, memory: _Memory, present: Present) -> None:
        self._wanted = wanted
        self._memory = memory
        self._record = memory.get(_key(wanted))
        self._present = present
        self._known = known(present)

    def choices(self) -> list[Choice]:
        """The choice, and behind it the card to which it led before. Raises DeviceError."""
        cards = self._card_behind()
        try:
            first = self.choice()
        except DeviceError:
            if not cards:
                raise
            return cards
        return [first] if first.is_card or first.source is not None else [first, *cards]

    def _card_behind(self) -> list[Choice]:
        """The card to which a name of the ALSA configuration led, if it is there, maybe under another number."""
        record = self._record
        if record is None or not record.leads_to_card:
            return []
        for one in self._known:
            if one.input is not None and one.way is Way.CARD and _is_same_card(one, record):
                return [self._listed(one.name, one.input, msgspec.structs.replace(_record(one), other=record.other))]
        return []

    def choice(self) -> Choice:
        """Raises DeviceError."""
        wanted = self._wanted
        if wanted is None:
            return self._default()
        if isinstance(wanted, int):
            return self._chosen(self._held(lambda one: one.input is not None and one.input.number == wanted))
        by_card = _CARD_NAME.match(wanted)
        if by_card is not None and (by_card["key"] or by_card["kind"] in {"hw", "plughw"}):
            return self._of_card_name(by_card)
        text = fold(wanted)
        monitors = [_of_source(source) for source in self._present.sources if source.is_monitor]
        return self._named(text, monitors)

    # By name

    def _named(self, text: str, monitors: list[Known]) -> Choice:
        whole = [one for one in [*self._known, *monitors] if text in _whole_names(one)]
        printed = _PRINTED.match(str(self._wanted))
        if printed and len(whole) == 1 and printed["mark"] in _marks(whole[0]):
            return self._chosen(whole[0])  # the mark names one card, which needs no memory
        if not whole and (numbered := _HARDWARE.match(str(self._wanted))):
            # Printed when the card had another number.
            base = fold(numbered["base"])
            whole = [one for one in self._known if base in _whole_names(one)]
        if self._record is not None:
            return self._chosen(self._remembered(self._record))
        found = whole or [one for one in self._known if any(text in fold(name) for name in (one.name, *one.also))]
        if not found and text == _DEFAULT:
            return self._default()
        if not found and _ANY_ALSA_NAME.match(str(self._wanted)):
            return self._by_alsa_name(str(self._wanted), _Record(other=str(self._wanted)))
        return self._chosen(self._only(found))

    def _only(self, found: list[Known]) -> Known:
        """The one that is meant. A card that the sound server offers as a source, too, is meant as that source."""
        if not found:
            raise self._missing()
        if len(found) > 1:
            cards = {one.source.card for one in found if one.source is not None}
            found = [one for one in found if one.pcm is None or one.pcm.card not in cards]
        if len(found) > 1:
            raise DeviceError(f"audio.device {self._wanted!r} fits several: {_listed(found)}; name one of them")
        return found[0]

    def _held(self, fits: Callable[[Known], bool]) -> Known:
        if self._record is not None:
            return self._remembered(self._record)
        return self._only([one for one in self._known if fits(one)][:1])

    def _remembered(self, record: _Record) -> Known:
        """The one that was open before. Raises DeviceError while it is away, whatever else there is."""
        found = [one for one in self._known if _is_same(one, record)]
        if record.source and not found:
            monitors = (_of_source(source) for source in self._present.sources if source.is_monitor)
            found = [one for one in monitors if _is_same(one, record)]
        if record.serial and len(found) > 1:  # cheap devices of one kind have one serial number
            found = [one for one in found if one.pcm is not None and one.pcm.usb_path == record.usb_path]
        if not found:
            raise self._away(record)
        if len(found) > 1:
            words = f"may be any of: {_listed(found)}; name one of them"
            raise DeviceError(f'"{record.name}", which was open before, {words}')
        one = found[0]
        if one.is_hidden and one.pcm is not None:
            # The sound server has the card: it is the same microphone by another way.
            card = one.pcm.card
            return next((other for other in self._known if other.source and other.source.card == card), one)
        return one

    # By ALSA name

    def _of_card_name(self, match: re.Match[str]) -> Choice:
        """`hw:CARD=Device,DEV=0`, `plughw:1,0` and the like."""
        device = int(match["device"] or 0)
        has_number = match["key"] is None and match["card"].isdigit()
        cards = [one for one in self._known if one.way is Way.CARD]
        found = [
            one
            for one in cards
            if _hardware(one)[1] == device
            and (
                _hardware(one)[0] == int(match["card"])
                if match["card"].isdigit()
                else one.pcm is not None and one.pcm.card_id == match["card"]
            )
        ]
        if has_number and self._record is not None:  # a card's number is no name
            found = [self._remembered(self._record)]
        elif not found and self._present.pcms:
            raise self._missing()
        if not found:
            return self._by_alsa_name(match.string, _Record(other=match.string))
        one = found[0]
        if match["kind"] == "hw" or one.way is not Way.CARD:
            return self._chosen(one)
        if one.is_hidden and one.pcm is not None and (one.pcm.holder or one.pcm.needs_group):
            raise self._blocked(one)
        card, device = _hardware(one)
        name = f"{match['kind']}:{card},{device}" if has_number else match.string
        return self._by_alsa_name(name, _record(one), match.string if not has_number else name)

    def _by_alsa_name(self, alsa_name: str, record: _Record, name: str | None = None) -> Choice:
        is_card = bool(record.card_name)
        return Choice(name or alsa_name, None, alsa_name, {}, self._identity(record), is_card)

    # The default

    def _default(self) -> Choice:
        """What the system calls its default. PortAudio calls its first entry so where ALSA's default is hidden."""
        for entry in self._present.inputs:
            is_alsa = entry.host_api == _ALSA
            if (is_alsa and entry.name == _DEFAULT) or (not is_alsa and entry.is_default):
                return self._listed(entry.name, entry, _Record(other=entry.name))
        if not self._known:
            raise self._nothing()
        words = f'there is no default audio input device: ALSA\'s "{_DEFAULT}" takes no audio'
        usable = [one for one in self._known if not one.is_hidden]
        remedy = _remedy(usable)
        others = f"; there are: {_listed(usable)}" if len(usable) > 1 else ""
        summary = f"{words}{remedy or _in_the_way(self._known)}"
        raise NotFound(f"{words}{self._hints(self._known)}{others}{remedy}", summary)

    # Results

    def _chosen(self, one: Known) -> Choice:
        if one.source is not None:
            return self._through_server(one, one.source)
        if one.input is None:
            raise self._blocked(one)
        return self._listed(one.name, one.input, _record(one))

    def _through_server(self, one: Known, source: ServerSource) -> Choice:
        doors = {entry.name: entry for entry in reversed(self._present.inputs) if entry.host_api == _ALSA}
        door = next((doors[name] for name in _DOORS if name in doors), None)
        if door is None:
            raise DeviceError(
                f'the sound server has "{source.name}", but ALSA has no way to it: on Debian, apt-get install '
                "libasound2-plugins (PulseAudio) or pipewire-alsa (PipeWire)"
            )
        choice = self._listed(one.name, door, _record(one))
        environment = dict.fromkeys(VARIABLES, source.name)
        return choice._replace(environment=environment, channels=source.channels, rate_hz=source.rate_hz)

    def _listed(self, name: str, entry: Input, record: _Record) -> Choice:
        identity = self._identity(record)
        plug_name = f"plughw:CARD={record.card_id},DEV={record.device}" if record.card_id else ""
        is_card = bool(record.card_name)
        choice = Choice(name, entry.number, None, {}, identity, is_card, entry.channels, entry.rate_hz)
        return choice._replace(plug_name=plug_name)

    def _identity(self, record: _Record) -> str:
        """What is remembered: this microphone, and those of the other entries of the list."""
        return _write(self._memory | {_key(self._wanted): record}).decode()

    # Errors

    def _missing(self) -> DeviceError:
        if not self._known:
            return self._nothing()
        hints = "" if self._present.sources else self._hints(())
        words, is_number = f"no audio input device {self._wanted!r}", isinstance(self._wanted, int)
        return NotFound(f"{words}{hints}; there are: {_listed(self._known, with_numbers=is_number)}", words)

    def _nothing(self) -> DeviceError:
        return DeviceError(
            f"there is no audio input device{self._hints(())}; plug in a microphone, or set audio.source to a WAV file"
        )

    def _blocked(self, one: Known) -> DeviceError:
        return DeviceError(f'"{one.name}" is there, but {one.obstacle}')

    def _away(self, record: _Record) -> DeviceError:
        alike = [one for one in self._known if record.card_name and fold(record.card_name) == fold(_base(one))]
        more = f"; there are: {_listed(self._known)}" if self._known else ""
        if alike:
            mark = alike[0].pcm.usb_path or alike[0].pcm.card_id if alike[0].pcm is not None else ""
            name = f"{_base(alike[0])} [{mark}]" if mark else alike[0].name
            more = f'; if it is "{name}" now, set audio.device to that'
        hints = self._hints(()) if record.source else ""
        return DeviceError(f'"{record.name}", which was open before, is away{hints}{more}')

    def _hints(self, blocked: Iterable[Known]) -> str:
        """What stands in the way, in brackets."""
        return _in_the_way(blocked, self._present.server)


# What there is, under its names


def _of_source(source: ServerSource) -> Known:
    return Known(source.name, Way.SERVER, (source.description,), source=source)


def _cards(present: Present) -> list[Known]:
    """The capture sides of cards: PortAudio's, and those that it hides."""
    pcms = {(pcm.card, pcm.device): pcm for pcm in present.pcms}
    found: list[Known] = []
    seen = set()
    for entry in present.inputs:
        match = _HARDWARE.match(entry.name)
        if match is None:
            continue
        place = int(match["card"]), int(match["device"])
        seen.add(place)
        pcm = pcms.get(place)
        found.append(Known(match["base"], Way.CARD, (entry.name,), input=entry, pcm=pcm))
    found += [_of_pcm(pcm) for place, pcm in pcms.items() if place not in seen]
    return [_told_apart(one, found) for one in found]


def _of_pcm(pcm: Pcm) -> Known:
    return Known(pcm.name, Way.CARD, pcm=pcm)


def _told_apart(one: Known, cards: Sequence[Known]) -> Known:
    """`one` under a name of its own: with its USB path or its card id, if another card has the same name."""
    twins = [other for other in cards if fold(other.name) == fold(one.name)]
    others = [mark for other in twins if other is not one for mark in _marks(other)]
    own = _marks(one)
    also = (*(f"{one.name} [{mark}]" for mark in own), *one.also)
    if len(twins) == 1:
        return one._replace(also=also)
    return one._replace(name=f"{one.name} [{next(mark for mark in own if mark not in others)}]", also=also)


def _marks(one: Known) -> list[str]:
    """What tells a card apart from another of its name, best first, and each other PCM of the card in the end.

    A USB path is its socket; a card id may change. The numbers are the last resort.
    """
    card, device = _hardware(one)
    marks = [mark for mark in (one.pcm.usb_path, one.pcm.card_id) if mark] if one.pcm is not None else []
    return [*marks, *(f"{mark},{device}" for mark in marks), f"hw:{card},{device}"]


def _others(present: Present) -> list[Known]:
    """PortAudio's other entries. Of those with one name (by several host APIs) the first counts."""
    found: dict[str, Known] = {}
    for entry in present.inputs:
        if not _HARDWARE.match(entry.name):
            found.setdefault(entry.name, Known(entry.name, Way.OTHER, input=entry))
    return list(found.values())


def _whole_names(one: Known) -> set[str]:
    names = {fold(name) for name in (one.name, *one.also)}
    if one.way is Way.CARD:
        names.add(fold(_base(one)))
    return names


def _in_the_way(blocked: Iterable[Known], server: str = "") -> str:
    """Why the microphones cannot be opened, in brackets."""
    hints = [f'"{one.name}": {one.obstacle}' for one in blocked if one.obstacle]
    hints += [server] if server else []
    return f" ({'; '.join(hints)})" if hints else ""


def _permission(pcm: Pcm) -> str:
    """Who may open it, and what lets this user."""
    group = pcm.needs_group
    words = f"this user may not open it: only members of the group {group} may"
    if pcm.is_member:
        return f"{words}, and this user is one since after this session began: log in again"
    if group.isdigit():
        return f"{words}, which has no name here (for a container, docker run --group-add {group})"
    return f"{words} (as root: usermod -aG {group} USER; then log in again)"


def _base(one: Known) -> str:
    """The name of a card without what tells it apart."""
    if one.pcm is not None and one.input is None:
        return one.pcm.name
    match = _HARDWARE.match(one.input.name) if one.input is not None else None
    return match["base"] if match else one.name


def _hardware(one: Known) -> tuple[int, int]:
    """The numbers of the card and of its PCM."""
    if one.pcm is not None:
        return one.pcm.card, one.pcm.device
    match = _HARDWARE.match(one.input.name) if one.input is not None else None
    return (int(match["card"]), int(match["device"])) if match else (-1, -1)


def _listed(found: Sequence[Known], *, with_numbers: bool = False) -> str:
    return ", ".join(
        f'"{one.name}"{" (cannot be opened now)" if one.is_hidden else ""}'
        + (f" (number {one.input.number})" if with_numbers and one.input is not None else "")
        for one in found
    )


def _remedy(usable: Sequence[Known]) -> str:
    """The line of the configuration that would name a microphone, if one of them can be opened."""
    if not usable:
        return ""
    name = usable[0].name
    # A literal text of TOML needs no escapes, which a log would write once more.
    text = f"'{name}'" if "'" not in name and name.isprintable() else _write(name).decode()
    return f"; write under [audio]: device = {text}" + (", or another name" if len(usable) > 1 else "")


# Memory


def _key(wanted: Wanted) -> str:
    return _write(wanted).decode()


def _memory(remembered: str) -> _Memory:
    try:
        return _read_memory(remembered)
    except msgspec.MsgspecError:
        return {}


def _record(one: Known) -> _Record:
    if one.source is not None:
        return _Record(source=one.source.name)
    if one.way is Way.OTHER:
        return _Record(other=one.name)
    pcm = one.pcm
    if pcm is None:
        return _Record(card_name=_base(one), device=_hardware(one)[1])
    return _Record(
        card_name=_base(one), card_id=pcm.card_id, device=pcm.device, usb_path=pcm.usb_path, serial=pcm.serial
    )


def _is_same(one: Known, record: _Record) -> bool:
    """Whether `one` is the microphone of `record`.

    A device with a serial number is the same in any socket. One without is the same in its socket alone, since another
    of its kind looks just like it. Cards that are not plugged in keep their id.
    """
    if one.source is not None:
        return one.source.name == record.source
    if one.way is Way.OTHER or record.other:
        return one.way is Way.OTHER and one.name == record.other
    return _is_same_card(one, record)


def _is_same_card(one: Known, record: _Record) -> bool:
    if not record.card_name or fold(_base(one)) != fold(record.card_name) or _hardware(one)[1] != record.device:
        return False
    pcm = one.pcm
    if pcm is None:
        return True
    if record.serial:
        return pcm.serial == record.serial
    if record.usb_path:
        return pcm.usb_path == record.usb_path
    return not record.card_id or pcm.card_id == record.card_id


def _may_be(held: Pcm, record: _Record, pcms: Sequence[Pcm]) -> bool:
    """Whether `held` is the card of `record`, or one of its name while that card is away."""
    if _is_same_card(_of_pcm(held), record):
        return True
    is_away = not any(_is_same_card(_of_pcm(pcm), record) for pcm in pcms)
    return is_away and (fold(held.name), held.device) == (fold(record.card_name), record.device)
