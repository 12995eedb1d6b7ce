"""Which microphone is meant: `audio.device`, the one that was open before, and what there is. Pure.

A microphone is never replaced by another one silently. What was open once is remembered (`Choice.identity`), for each
entry of `audio.device` by itself. From then on this entry means that microphone alone, whatever else its words fit.
A list is an order of preference: there the next entry may be taken, because that is asked for.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from mpengine.capture.identity import (
    Memory,
    Record,
    Wanted,
    is_same,
    is_same_card,
    key_of,
    may_be,
    read_memory,
    record_of,
    write_json,
)
from mpengine.capture.inventory import (
    HARDWARE,
    Input,
    Known,
    Pcm,
    Present,
    ServerSource,
    Way,
    base_name,
    fold,
    hardware,
    known,
    marks_of,
    of_pcm,
    of_source,
    whole_names,
)
from mpengine.shared.errors import DeviceError

# What the ALSA plugins of the two sound servers read, where their PCM names no source itself.
VARIABLES = ("PULSE_SOURCE", "PIPEWIRE_NODE")
# The PCMs that lead to the sound server, best first: the last one may lead elsewhere.
_DOORS = ("pulse", "pipewire", "default")
_DEFAULT = "default"
_ALSA = "ALSA"
_PRINTED = re.compile(r"\A(?P<base>.*) \[(?P<mark>[^\[\]]+)\]\Z", re.DOTALL)
_CARD_NAME = re.compile(r"\A(?P<kind>\w+):(?P<key>CARD=)?(?P<card>[^,\s]+)(?:,(?:DEV=)?(?P<device>\d+))?\Z")
_ANY_ALSA_NAME = re.compile(r"\A[A-Za-z_]\w*:\S+\Z")


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


class NotFound(DeviceError):
    """None of the microphones is meant. `summary` is for those who have their list before them."""

    def __init__(self, text: str, summary: str) -> None:
        super().__init__(text)
        self.summary = summary


def choose(wanted: Wanted | Sequence[str | int], remembered: str, present: Present) -> Choice:
    """The microphone to open. Raises DeviceError, which says why there is none and what would help."""
    return choices(wanted, remembered, present)[0]


def choices(wanted: Wanted | Sequence[str | int], remembered: str, present: Present) -> list[Choice]:
    """The microphones to try, best first, and at least one.

    There are several if `wanted` is a list, or if the ALSA configuration led it to a card, which `led` remembers.
    `remembered` is the identity of the choice that was open last, or empty. Raises DeviceError.
    """
    memory = read_memory(remembered)
    entries: list[Wanted] = [wanted] if wanted is None or isinstance(wanted, str | int) else list(wanted)
    memory = {key: record for key, record in memory.items() if key in map(key_of, entries)}
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


def moved(choice: Choice, feeding: str) -> str | None:
    """Why the microphone is lost, although samples come: another source of the sound server feeds us. None: it is not.

    A sound server moves a stream to another microphone when its own goes, and says nothing.
    """
    if choice.source is None or choice.source == feeding:
        return None
    return f'"{choice.source}" has gone: the sound server has put "{feeding}" in its place'


def led(choice: Choice, remembered: str, pcms: Sequence[Pcm], pid: int) -> Choice:
    """`choice`, which process `pid` has just opened, with the card to which it leads: that is remembered, too.

    A name of the ALSA configuration, such as "default", leads to another card when the numbers of the cards change.
    Raises DeviceError when it leads to another one than before. One of the same name is accepted while the other one is
    away, because nobody has chosen between them: it is mostly the same one in another USB socket.
    """
    held = next((pcm for pcm in pcms if pcm.holder is not None and pcm.holder.pid == pid), None)
    if held is None or choice.is_card or choice.source is not None:
        return choice
    memory, before = read_memory(choice.identity), read_memory(remembered)
    for key, record in memory.items():
        if record.other != choice.name:
            continue
        old = before.get(key, record)
        if old.other == record.other and old.card_name and not may_be(held, old, pcms):
            raise DeviceError(
                f'"{choice.name}" leads to "{held.name}" now, and not to "{old.card}", which was open before; set '
                "audio.device to the one that is meant"
            )
        memory[key] = msgspec.structs.replace(record_of(of_pcm(held)), other=record.other)
    return choice._replace(identity=write_json(memory).decode(), led_to=held.name)


class _Search:
    """One entry of `audio.device` on its way to a choice."""

    def __init__(self, wanted: Wanted, memory: Memory, present: Present) -> None:
        self._wanted = wanted
        self._memory = memory
        self._record = memory.get(key_of(wanted))
        self._present = present
        self._known = known(present)

    def choices(self) -> list[Choice]:
        """The choice, and after it the card to which it led before. Raises DeviceError."""
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
            if one.input is not None and one.way is Way.CARD and is_same_card(one, record):
                return [self._listed(one.name, one.input, msgspec.structs.replace(record_of(one), other=record.other))]
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
        monitors = [of_source(source) for source in self._present.sources if source.is_monitor]
        return self._named(text, monitors)

    # By name

    def _named(self, text: str, monitors: list[Known]) -> Choice:
        whole = [one for one in [*self._known, *monitors] if text in whole_names(one)]
        printed = _PRINTED.match(str(self._wanted))
        if printed and len(whole) == 1 and printed["mark"] in marks_of(whole[0]):
            return self._chosen(whole[0])  # the mark names one card, which needs no memory
        if not whole and (numbered := HARDWARE.match(str(self._wanted))):
            # Printed when the card had another number.
            base = fold(numbered["base"])
            whole = [one for one in self._known if base in whole_names(one)]
        if self._record is not None:
            return self._chosen(self._remembered(self._record))
        found = whole or [one for one in self._known if any(text in fold(name) for name in (one.name, *one.also))]
        if not found and text == _DEFAULT:
            return self._default()
        if not found and _ANY_ALSA_NAME.match(str(self._wanted)):
            return self._by_alsa_name(str(self._wanted), Record(other=str(self._wanted)))
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

    def _remembered(self, record: Record) -> Known:
        """The one that was open before. Raises DeviceError while it is away, whatever else there is."""
        found = [one for one in self._known if is_same(one, record)]
        if record.source and not found:
            monitors = (of_source(source) for source in self._present.sources if source.is_monitor)
            found = [one for one in monitors if is_same(one, record)]
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
            if hardware(one)[1] == device
            and (
                hardware(one)[0] == int(match["card"])
                if match["card"].isdigit()
                else one.pcm is not None and one.pcm.card_id == match["card"]
            )
        ]
        if has_number and self._record is not None:  # a card's number is no name
            found = [self._remembered(self._record)]
        elif not found and self._present.pcms:
            raise self._missing()
        if not found:
            return self._by_alsa_name(match.string, Record(other=match.string))
        one = found[0]
        if match["kind"] == "hw" or one.way is not Way.CARD:
            return self._chosen(one)
        if one.is_hidden and one.pcm is not None and (one.pcm.holder or one.pcm.needs_group):
            raise self._blocked(one)
        card, device = hardware(one)
        name = f"{match['kind']}:{card},{device}" if has_number else match.string
        return self._by_alsa_name(name, record_of(one), match.string if not has_number else name)

    def _by_alsa_name(self, alsa_name: str, record: Record, name: str | None = None) -> Choice:
        is_card = bool(record.card_name)
        return Choice(name or alsa_name, None, alsa_name, {}, self._identity(record), is_card)

    # The default

    def _default(self) -> Choice:
        """What the system calls its default. PortAudio calls its first entry so where ALSA's default is hidden."""
        for entry in self._present.inputs:
            is_alsa = entry.host_api == _ALSA
            if (is_alsa and entry.name == _DEFAULT) or (not is_alsa and entry.is_default):
                return self._listed(entry.name, entry, Record(other=entry.name))
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
        return self._listed(one.name, one.input, record_of(one))

    def _through_server(self, one: Known, source: ServerSource) -> Choice:
        doors = {entry.name: entry for entry in reversed(self._present.inputs) if entry.host_api == _ALSA}
        door = next((doors[name] for name in _DOORS if name in doors), None)
        if door is None:
            raise DeviceError(
                f'the sound server has "{source.name}", but ALSA has no way to it: on Debian, apt-get install '
                "libasound2-plugins (PulseAudio) or pipewire-alsa (PipeWire)"
            )
        choice = self._listed(one.name, door, record_of(one))
        environment = dict.fromkeys(VARIABLES, source.name)
        return choice._replace(environment=environment, channels=source.channels, rate_hz=source.rate_hz)

    def _listed(self, name: str, entry: Input, record: Record) -> Choice:
        identity = self._identity(record)
        plug_name = f"plughw:CARD={record.card_id},DEV={record.device}" if record.card_id else ""
        is_card = bool(record.card_name)
        choice = Choice(name, entry.number, None, {}, identity, is_card, entry.channels, entry.rate_hz)
        return choice._replace(plug_name=plug_name)

    def _identity(self, record: Record) -> str:
        """What is remembered: this microphone, and those of the other entries of the list."""
        return write_json(self._memory | {key_of(self._wanted): record}).decode()

    # Errors

    def _missing(self) -> DeviceError:
        if not self._known:
            return self._nothing()
        hints = "" if self._present.sources else self._hints(())
        words, is_number = f"no audio input device {self._wanted!r}", isinstance(self._wanted, int)
        like = self._like()
        there = _listed(self._known, with_numbers=is_number)
        return NotFound(f"{words}{hints}; there are: {there}{like}", f"{words}{like}")

    def _like(self) -> str:
        """The end of an error that suggests the microphone with the most similar name; empty if there is none.

        An ALSA name and a name with its mark are no names that somebody has misspelt.
        """
        wanted = str(self._wanted)
        if wanted.isdigit() or _PRINTED.match(wanted) or _ANY_ALSA_NAME.match(wanted):
            return ""
        from mpengine.shared.guess import nearest_name, suggestion  # noqa: PLC0415  only for errors

        found = nearest_name(wanted, [one.name for one in self._known if not one.is_hidden])
        return suggestion(found) if found is not None else ""

    def _nothing(self) -> DeviceError:
        return DeviceError(
            f"there is no audio input device{self._hints(())}; plug in a microphone, or set audio.source to a WAV file"
        )

    def _blocked(self, one: Known) -> DeviceError:
        return DeviceError(f'"{one.name}" is there, but {one.obstacle}')

    def _away(self, record: Record) -> DeviceError:
        alike = [one for one in self._known if record.card_name and fold(record.card_name) == fold(base_name(one))]
        more = f"; there are: {_listed(self._known)}" if self._known else ""
        if alike:
            mark = alike[0].pcm.usb_path or alike[0].pcm.card_id if alike[0].pcm is not None else ""
            name = f"{base_name(alike[0])} [{mark}]" if mark else alike[0].name
            more = f'; if it is "{name}" now, set audio.device to that'
        hints = self._hints(()) if record.source else ""
        return DeviceError(f'"{record.name}", which was open before, is away{hints}{more}')

    def _hints(self, blocked: Iterable[Known]) -> str:
        """What stands in the way, in brackets."""
        return _in_the_way(blocked, self._present.server)


def _in_the_way(blocked: Iterable[Known], server: str = "") -> str:
    """Why the microphones cannot be opened, in brackets."""
    hints = [f'"{one.name}": {one.obstacle}' for one in blocked if one.obstacle]
    hints += [server] if server else []
    return f" ({'; '.join(hints)})" if hints else ""


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
    text = f"'{name}'" if "'" not in name and name.isprintable() else write_json(name).decode()
    return f"; write under [audio]: device = {text}" + (", or another name" if len(usable) > 1 else "")
