"""What a trial of the source has found, as `mpengine.capture.trial` tells it step by step. Pure."""

import msgspec

from mpengine.capture.inventory import Pcm


class Cards(msgspec.Struct, tag="cards", frozen=True):
    """The capture sides of the ALSA cards, as the kernel has them. `library`: PortAudio's version."""

    pcms: list[Pcm]
    library: str


class Found(msgspec.Struct, tag="found", frozen=True):
    """The microphone that is meant. `source`: of the sound server; None where no source was chosen there."""

    name: str
    is_card: bool
    source: str | None


class Opened(msgspec.Struct, tag="opened", frozen=True):
    """The source is open. `rate_hz`: of the device, before a conversion; 0 if that is not known."""

    name: str
    rate_hz: int


class Level(msgspec.Struct, tag="level", frozen=True):
    """The level of a tenth of a second."""

    rms_dbfs: float
    peak_dbfs: float


class Listened(msgspec.Struct, tag="listened", frozen=True):
    """The end of the listening. `loudest_dbfs` and `softest_dbfs`: the RMS of the loudest and the softest tenth of a
    second. The others are of all that was heard; `clipped` and `dc` as in `level.Loudness`.
    """

    seconds: float
    loudest_dbfs: float
    softest_dbfs: float
    peak_dbfs: float
    digital_silence: bool
    clipped: float
    dc: float


class Trouble(msgspec.Struct, tag="trouble", frozen=True):
    """The trial cannot go on. `exit_code`: with which a run would end."""

    text: str
    exit_code: int


Event = Cards | Found | Opened | Level | Listened | Trouble
decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
