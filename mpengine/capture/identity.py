"""How a microphone that was open is known again: what is remembered of it for an entry of `audio.device`. Pure."""

from collections.abc import Sequence

import msgspec

from mpengine.capture.inventory import Known, Pcm, Way, base_name, fold, hardware, of_pcm

Wanted = str | int | None
"""An entry of `audio.device`, or none."""


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
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


Memory = dict[str, Record]
"""By `key_of` the entry of `audio.device`."""
_read_memory = msgspec.json.Decoder(Memory).decode
write_json = msgspec.json.Encoder(order="deterministic").encode


def key_of(wanted: Wanted) -> str:
    """Under which key the memory has the microphone of an entry."""
    return write_json(wanted).decode()


def read_memory(remembered: str) -> Memory:
    """The memory in a `Choice.identity`; empty where that cannot be read."""
    try:
        return _read_memory(remembered)
    except msgspec.MsgspecError:
        return {}


def record_of(one: Known) -> Record:
    """What is to be remembered of `one`."""
    if one.source is not None:
        return Record(source=one.source.name)
    if one.way is Way.OTHER:
        return Record(other=one.name)
    pcm = one.pcm
    if pcm is None:
        return Record(card_name=base_name(one), device=hardware(one)[1])
    return Record(
        card_name=base_name(one), card_id=pcm.card_id, device=pcm.device, usb_path=pcm.usb_path, serial=pcm.serial
    )


def is_same(one: Known, record: Record) -> bool:
    """Whether `one` is the microphone of `record`.

    A device with a serial number is the same in any socket. One without is the same in its socket alone, since another
    of its kind looks just like it. Cards that are not plugged in keep their id. A card is another one if only its name
    is known now, and more was known before: it can be opened some milliseconds before the kernel shows more.
    """
    if one.source is not None:
        return one.source.name == record.source
    if one.way is Way.OTHER or record.other:
        return one.way is Way.OTHER and one.name == record.other
    return is_same_card(one, record)


def is_same_card(one: Known, record: Record) -> bool:
    """Whether `one` is the card of `record`, see `is_same`."""
    if not record.card_name or fold(base_name(one)) != fold(record.card_name) or hardware(one)[1] != record.device:
        return False
    pcm = one.pcm
    if pcm is None:
        return not (record.serial or record.usb_path or record.card_id)
    if record.serial:
        return pcm.serial == record.serial
    if record.usb_path:
        return pcm.usb_path == record.usb_path
    return not record.card_id or pcm.card_id == record.card_id


def may_be(held: Pcm, record: Record, pcms: Sequence[Pcm]) -> bool:
    """Whether `held` is the card of `record`, or one of its name while that card is away."""
    if is_same_card(of_pcm(held), record):
        return True
    is_away = not any(is_same_card(of_pcm(pcm), record) for pcm in pcms)
    return is_away and (fold(held.name), held.device) == (fold(record.card_name), record.device)
