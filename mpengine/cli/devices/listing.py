"""The list of `mpengine devices`: the microphones under the names that `audio.device` takes."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mpengine.capture import devices as microphones
from mpengine.capture import portaudio
from mpengine.capture.choosing import Choice, NotFound, choose
from mpengine.capture.device_format import MOST_CHANNELS, rates_to_try
from mpengine.capture.inventory import OWN_PROGRAM, Known, Present, Way, known
from mpengine.shared.config import Config
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import DeviceError, ExitCode
from mpengine.shared.text import harmless

if TYPE_CHECKING:
    from rich.text import Text

_SERVERS = ("pulse", "pipewire")
_HEADINGS = ("  NAME", "CH", "RATE", "STATE", "WHAT IT IS")


class Row(NamedTuple):
    """One microphone. `opened_at_hz`: the rate at which it would be opened; 0 if that cannot be known now."""

    one: Known
    is_chosen: bool
    opened_at_hz: int
    state: str

    @property
    def channels(self) -> int:
        """How many channels it has; 0 if that is not known."""
        facts = self.one.source or self.one.input
        return facts.channels if facts is not None and facts.channels <= MOST_CHANNELS else 0

    @property
    def alsa_name(self) -> str:
        """For a card: its name in ALSA, which holds no number."""
        pcm = self.one.pcm
        return f"hw:CARD={pcm.card_id},DEV={pcm.device}" if pcm is not None and pcm.card_id else ""


class Listing(NamedTuple):
    """All microphones. `choice` is the one that would be opened; without one `trouble` says why."""

    rows: list[Row]
    choice: Choice | None
    trouble: str
    present: Present


def list_them(config_path: str | None, *, as_json: bool) -> int:
    """Print the microphones. Returns exit code 3 when none can be opened. Raises DeviceError, ConfigError."""
    audio = Config.load_audio(config_path)
    listing = look(audio)
    if as_json:
        print(json.dumps([_entry(row) for row in listing.rows], indent=2))
    else:
        print("\n".join(lines(listing, audio)))
    return int(ExitCode.OK if any(not row.one.is_hidden for row in listing.rows) else ExitCode.DEVICE)


def look(audio: AudioConfig) -> Listing:
    """What there is now, and which of it `audio` means. Raises DeviceError when PortAudio does not work."""
    present = microphones.present()
    choice, trouble = None, ""
    try:
        choice = choose(audio.device, "", present)
    except NotFound as error:
        trouble = error.summary
    except DeviceError as error:
        trouble = str(error)
    rows = [
        Row(one, choice is not None and one.name == choice.name, _opened_at_hz(one, audio), _state(one))
        for one in known(present)
    ]
    return Listing(rows, choice, trouble, present)


def _opened_at_hz(one: Known, audio: AudioConfig) -> int:
    if one.source is not None:
        return audio.sample_rate  # the sound server converts
    if one.input is None:
        return 0
    channels = min(audio.channels, one.input.channels)
    for rate_hz in rates_to_try(audio.sample_rate, one.input.rate_hz):
        if portaudio.takes(one.input.number, rate_hz=rate_hz, channels=channels):
            return rate_hz
    return 0


def _state(one: Known) -> str:
    pcm = one.pcm
    if pcm is not None and pcm.holder is not None and pcm.holder.program == OWN_PROGRAM:
        return f"busy: mpengine (PID {pcm.holder.pid})"
    if pcm is not None and pcm.holder is not None:
        return f"busy: PID {pcm.holder.pid} ({pcm.holder.program})"
    if pcm is not None and pcm.needs_group:
        return f"no permission (group {pcm.needs_group})"
    return "cannot be opened" if one.is_hidden else "free"


def lines(listing: Listing, audio: AudioConfig) -> list[str]:
    """The list for people, for standard output."""
    from mpengine.cli.terminal import drawing  # noqa: PLC0415  JSON is not drawn

    rows, wanted = listing.rows, audio.device
    remarks = []
    if not rows:
        remarks.append("no audio input device: plug in a microphone (in a container, pass in /dev/snd)")
    if listing.present.server:
        remarks.append(listing.present.server)
    if listing.trouble and rows:
        remarks.append(listing.trouble)
    elif listing.choice is not None and not any(row.is_chosen for row in rows):
        remarks.append(f"* {listing.choice.name}")
    if listing.choice is not None:
        means = "is used when audio.device is not set" if wanted is None else "is what audio.device means now"
        remarks.append(f"* {means}")
    to = drawing.standard_output()
    table = _table(rows, audio.sample_rate) if rows else []
    return table + [line for text in remarks for line in drawing.lines(harmless(text), to)]


def _table(rows: Sequence[Row], wanted_hz: int) -> list[str]:
    """A line a microphone. Where that is too wide, its name has a line of its own."""
    from mpengine.cli.terminal import drawing  # noqa: PLC0415  JSON is not drawn

    to = drawing.standard_output()
    cells: list[list[str | Text]] = []
    for row in rows:
        name, channels, rate, words, what = _cells(row, wanted_hz)
        mark = "* " if row.is_chosen else "  "
        word, _, rest = words.partition(":")
        cells.append([mark + name, channels, rate, drawing.state(word, f":{rest}" if rest else ""), what])
    table = drawing.table([drawing.Head(word) for word in _HEADINGS], cells, to, gap=2)
    return drawing.lines(table, to)


def _cells(row: Row, wanted_hz: int) -> tuple[str, ...]:
    rate = {0: "-", wanted_hz: f"{wanted_hz}"}.get(row.opened_at_hz, f"{wanted_hz} from {row.opened_at_hz}")
    return harmless(row.one.name), str(row.channels or "-"), rate, harmless(row.state), harmless(_what(row))


def _what(row: Row) -> str:
    one = row.one
    if one.source is not None:
        return one.source.description
    if one.way is Way.CARD:
        return row.alsa_name or "ALSA card"
    if one.name in _SERVERS:
        return "the sound server's default"
    return one.input.host_api if one.input is not None else ""


def _entry(row: Row) -> dict[str, Any]:
    """For programs. None stands for what does not apply or is not known."""
    one = row.one
    entry, pcm, source = one.input, one.pcm, one.source
    return {
        "name": one.name,
        "way": one.way,
        "is_chosen": row.is_chosen,
        "is_default": source.is_default if source is not None else entry is not None and entry.is_default,
        "number": None if entry is None else entry.number,
        "host_api": None if entry is None else entry.host_api,
        "channels": row.channels or None,
        "sample_rate": next((facts.rate_hz for facts in (source, entry) if facts is not None), None),
        "opened_at_hz": row.opened_at_hz or None,
        "state": row.state,
        "holder": None if pcm is None or pcm.holder is None else pcm.holder._asdict(),
        "needs_group": pcm.needs_group or None if pcm is not None else None,
        "alsa_name": row.alsa_name or None,
        "usb_path": pcm.usb_path or None if pcm is not None else None,
        "description": None if source is None else source.description,
    }
