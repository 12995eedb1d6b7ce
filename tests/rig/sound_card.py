"""Sound cards without hardware: ALSA devices of the rig's own, which refuse, stall, freeze, vanish and come back.

`scripts/install --test` builds them (tests/rig/alsa). Nothing of the user's sound system is touched: the ALSA
configuration, the list of cards and each device's control file lie in a private directory. Its owner writes them, from
one thread; the processes that record read them.
"""

import re
import shutil
import sys
import tempfile
import time
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Self

from tests.rig.waiting import PATIENCE_S, wait_until

BUILT = Path(sys.prefix) / "rig"
FORMATS = ("U8", "S16_LE", "S24_3LE", "S24_LE", "S32_LE", "FLOAT_LE")

_CONFIGURATION = """\
pcm_type.mpengine_rig {{ lib "{plugin}" }}
pcm.hw {{
    @args [ CARD DEV ]
    @args.CARD {{ type string default "0" }}
    @args.DEV {{ type string default "0" }}
    type mpengine_rig cards "{cards}" card $CARD dev $DEV
}}
pcm.plughw {{
    @args [ CARD DEV ]
    @args.CARD {{ type string default "0" }}
    @args.DEV {{ type string default "0" }}
    type plug slave.pcm {{ type mpengine_rig cards "{cards}" card $CARD dev $DEV }}
}}
pcm.plug {{ @args [ SLAVE ] @args.SLAVE {{ type string }} type plug slave.pcm $SLAVE }}
"""


class Card(NamedTuple):
    """A sound card as ALSA lists it: PortAudio calls it "NAME: PCM_NAME (hw:NUMBER,0)". Names may be any bytes; the
    kernel cuts `name` at 31 of them. `socket` and `serial`: where it is plugged into USB, as "1.2", and its number."""

    number: int
    id: str
    name: str | bytes
    pcm_name: str | bytes = "USB Audio"
    socket: str = "1"
    serial: str = ""


class Event(NamedTuple):
    """A line of a device's log. `what` is "open" or the error of a refused opening, "start", "stop", "overrun",
    "played" or "close"; `position` is the sample of the device's clock that would be read next."""

    at_ns: int
    pid: int
    what: str
    position: int
    rate_hz: int


class PretendedDevice:
    """One microphone. Made by `SoundCards.add`."""

    def __init__(self, directory: Path, name: str, rates_hz: Sequence[int], drift_ppm: int, card: Card | None) -> None:
        self.name = name
        self.rates_hz = tuple(rates_hz)
        self.drift_ppm = drift_ppm
        self.card = card
        self.plugged = True
        self.node: Path | None = None  # in the place of /dev/snd/pcmCxD0c
        self.epoch_ns = time.monotonic_ns()
        self.control, self.log = directory / f"{name}.control", directory / f"{name}.log"
        self._words: dict[str, str | int] = {}
        self._sounds = 0
        self.log.touch()
        self.set()

    @property
    def held(self) -> Path:
        """Where a card's present plugging says who has it open, as /proc/asound does."""
        return Path(f"{self.control.with_suffix('.held')}{self._words.get('plugged', 0)}")

    # Faults.

    def set(
        self,
        *,
        open: Literal["ok", "EBUSY", "EACCES", "ENODEV", "ENOENT", "HANG"] | None = None,  # noqa: A002
        run: Literal["ok", "stall", "frozen", "gone"] | None = None,
        signal: Literal["code", "zeros", "noise", "clip"] | None = None,
        level: int | None = None,
        dc: int | None = None,
        burst_ms: int | None = None,
        short_permille: int | None = None,
    ) -> None:
        """Change how the device behaves from now on; what is not named stays as it is.

        `open`: what an opening gets; HANG never returns. `run`: "stall" gives nothing until "ok", and its backlog is
        an overrun if it does not fit the buffer; "frozen" gives nothing for ever and no error, as a card that was
        pulled out; "gone" is ENODEV at each call, for ever. `signal`: the code of positions, digital silence, noise,
        or a square wave at full scale. `level`: of code and noise, of 32767 (1 with noise: nearly silent). `dc`: is
        added. `burst_ms`: samples come in lumps of this length. `short_permille`: so many of the clock's samples
        are left out without a flag, 20 ms at a time.
        """
        words = {
            "open": open,
            "run": run,
            "signal": signal,
            "level": level,
            "dc": dc,
            "burst_ms": burst_ms,
            "short_permille": short_permille,
        }
        self._write({key: value for key, value in words.items() if value is not None})
        if open and self.node is not None:
            self.node.chmod(0 if open == "EACCES" else 0o660)

    def lose(self, samples: int) -> None:
        """Leave out so many samples, once and without a flag, for those who record now."""
        self._write({"lose_samples": int(self._words.get("lose_samples", 0)) + samples})

    def unplug(self, how: Literal["gone", "frozen"] = "frozen") -> None:
        """Take the device away: for those who record it is dead for ever (see `set`), and nobody can open it."""
        assert self.plugged, f"{self.name} is unplugged"
        self.plugged = False
        self._write({"open": "ENODEV", "died": how, "plugged": int(self._words.get("plugged", 0)) + 1})

    def plug(self) -> None:
        """Bring it back. With a card behind it, use `SoundCards.plug`."""
        assert not self.plugged, f"{self.name} is plugged in"
        self.plugged = True
        self._write({"open": "ok", "run": "ok"})

    # Sound.

    def play(self, sound: bytes | str | Path, *, rate_hz: int | None = None, loop: bool = False) -> int:
        """Have the device hear 16-bit mono PCM at 16 kHz (bytes, or a WAV file) from now on, instead of its signal;
        then the signal comes again. Returns the position of its first sample.

        `rate_hz`: at which the device is or will be opened; needed where it takes several.
        """
        rate_hz = rate_hz or self._only_rate()
        if not isinstance(sound, bytes):
            with wave.open(str(sound)) as file:
                assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2), sound
                sound = file.readframes(file.getnframes())
        self._sounds += 1
        path = self.control.with_suffix(f".sound{self._sounds}")
        path.write_bytes(converted(sound, rate_hz))
        begin_ns = time.monotonic_ns() + 20_000_000  # what a reader has read by now is past
        self._write({"sound": str(path), "sound_from_ns": begin_ns, "loop": int(loop)})
        return self.position(begin_ns, rate_hz)

    def stop_playing(self) -> None:
        """The signal again, at once."""
        self._words.pop("sound", None)
        self._write({})

    def play_and_wait(self, sound: bytes | str | Path, timeout: float = PATIENCE_S) -> int:
        """`play`, and wait until somebody has read its last sample."""
        before = len(self.events("played"))
        position = self.play(sound)
        wait_until(lambda: len(self.events("played")) > before, timeout, f"the end of the sound that {self.name} hears")
        return position

    # The truth.

    def position(self, at_ns: int, rate_hz: int | None = None) -> int:
        """The device's clock at a moment of CLOCK_MONOTONIC (`time.monotonic_ns`), in samples."""
        rate = (rate_hz or self._only_rate()) * (1_000_000 + self.drift_ppm)
        return (at_ns - self.epoch_ns) * rate // 10**15

    def moment_ns(self, position: float, rate_hz: int | None = None) -> int:
        """When this sample of the device's clock was there, of CLOCK_MONOTONIC."""
        rate = (rate_hz or self._only_rate()) * (1_000_000 + self.drift_ppm)
        return self.epoch_ns + int(position * 10**15 / rate)

    def events(self, *what: str) -> list[Event]:
        """What has happened to the device, in order; with `what`, only such events."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        events = [Event(int(at), int(pid), word, int(position), int(rate)) for at, pid, word, position, rate in lines]
        return [event for event in events if not what or event.what in what]

    def wait_for(self, what: str, count: int = 1, timeout: float = PATIENCE_S) -> Event:
        """Wait for the `count`th event of this kind, and return it."""
        wait_until(lambda: len(self.events(what)) >= count, timeout, f"{count} x {what} of {self.name}")
        return self.events(what)[count - 1]

    def _only_rate(self) -> int:
        assert len(self.rates_hz) == 1, f"{self.name} takes {self.rates_hz}: say rate_hz"
        return self.rates_hz[0]

    def _write(self, words: dict[str, str | int]) -> None:
        self._words |= words
        new = self.control.with_suffix(".new")
        new.write_text("".join(f"{key} {value}\n" for key, value in self._words.items()))
        new.rename(self.control)


class SoundCards:
    """Context manager. `environment` goes to the processes that shall record: they see these devices and no others.

    `default` is the ALSA name behind the default device, as "plughw:1" or a device's name; None: there is none.
    """

    def __init__(self, default: str | None = None) -> None:
        self.directory = Path()
        self.default = default
        self.devices: dict[str, PretendedDevice] = {}
        self._definitions: dict[str, str] = {}

    def __enter__(self) -> Self:
        if missing := [name for name in ("device.so", "cards.so") if not (BUILT / name).exists()]:
            raise AssertionError(f"no {', '.join(missing)} in {BUILT}: run scripts/install --test")
        self.directory = Path(tempfile.mkdtemp(prefix="mpcards-"))
        self._write()
        return self

    def __exit__(self, *exc: object) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def root(self) -> Path:
        """Has what the kernel says of these cards, in proc/asound, dev/snd and sys/class/sound. With `environment` a
        process finds it at its usual place."""
        return self.directory / "root"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead PortAudio, through ALSA, to these devices and to no others."""
        return {
            "ALSA_CONFIG_PATH": f"{self.directory}/alsa.conf",
            "LD_PRELOAD": str(BUILT / "cards.so"),
            "MPENGINE_RIG_CARDS": f"{self.directory}/cards",
            "MPENGINE_RIG_ROOT": str(self.root),
            "PULSE_SERVER": f"unix:{self.directory}/no-server",
            "HOME": str(self.directory),
            "LC_ALL": "C.UTF-8",
        }

    def add(
        self,
        name: str,
        *,
        rates_hz: Sequence[int] = (16000,),
        channels: Sequence[int] = (1,),
        formats: Sequence[str] = ("S16_LE",),
        sounding: Sequence[int] | None = None,
        card: Card | None = None,
        drift_ppm: int = 0,
        period_steps: bool = False,
        buffer_bytes: int = 1 << 20,
    ) -> PretendedDevice:
        """One more microphone, plugged in. It takes these rates, numbers of channels and formats, and no others.

        `sounding`: the channels that have the sound, all unless given; the others are zero. `card`: it is device 0 of
        this card; without one, PortAudio lists it by `name`. `drift_ppm`: how much faster than the true time its clock
        runs. `period_steps`: what is available moves by whole periods, as on a card. `buffer_bytes`: its largest.
        """
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name), f"{name!r} is no name for an ALSA device"
        assert name not in self.devices, f"{name} is there"
        assert set(formats) <= set(FORMATS), formats
        device = PretendedDevice(self.directory, name, rates_hz, drift_ppm, card)
        definition = {
            "rates": " ".join(map(str, rates_hz)),
            "channels": " ".join(map(str, channels)),
            "formats": " ".join(formats),
            "sounding": " ".join(map(str, range(max(channels)) if sounding is None else sounding)),
            "control": device.control,
            "log": device.log,
            "epoch_ns": device.epoch_ns,
            "drift_ppm": drift_ppm,
            "period_steps": "yes" if period_steps else "no",
            "buffer_bytes": buffer_bytes,
            "held": device.held.with_suffix(".held") if card else "",
        }
        words = "\n".join(f'    {key} "{value}"' for key, value in definition.items())
        self._definitions[name] = f"mpengine_rig.{name} {{\n{words}\n}}\n"
        self.devices[name] = device
        self._write()
        return device

    def unplug(self, name: str, how: Literal["gone", "frozen"] = "frozen") -> None:
        """Take a device away, and its card."""
        self.devices[name].unplug(how)
        self._write()

    def plug(self, name: str, number: int | None = None) -> None:
        """Bring it back, its card under another `number` if one is given."""
        device = self.devices[name]
        if number is not None:
            assert device.card is not None, f"{name} has no card"
            device.card = device.card._replace(number=number)
        device.plug()
        self._write()

    def _write(self) -> None:
        """The list of cards and a small alsa.conf; each replaces its old one in one step."""
        there = [device for device in self.devices.values() if device.card is not None and device.plugged]
        numbers = [device.card.number for device in there if device.card]
        assert len(set(numbers)) == len(numbers), f"two cards of one number: {numbers}"
        cards = b"".join(_line(device.card, device.name) for device in there if device.card)
        blocks = [_CONFIGURATION.format(plugin=BUILT / "device.so", cards=self.directory / "cards")]
        blocks += self._definitions.values()
        blocks += [
            f'pcm.{name} {{ type mpengine_rig device "{name}" }}\n'
            for name, device in self.devices.items()
            if not device.card
        ]
        default = 'type mpengine_rig device "none"' if self.default is None else f'type plug slave.pcm "{self.default}"'
        blocks.append(f"pcm.!default {{ {default} }}\n")
        for name, content in (("cards", cards), ("alsa.conf", "".join(blocks).encode())):
            new = self.directory / f"{name}.new"
            new.write_bytes(content)
            new.rename(self.directory / name)
        self._write_kernel_files([(device, device.card) for device in there if device.card])

    def _write_kernel_files(self, there: list[tuple[PretendedDevice, Card]]) -> None:
        """The cards' files come and go, in directories that stay, as inotify needs it."""
        asound, nodes, system = (self.root / path for path in ("proc/asound", "dev/snd", "sys/class/sound"))
        for folder in (asound, nodes, system / "devices"):
            folder.mkdir(parents=True, exist_ok=True)
        wanted = {f"card{card.number}" for _, card in there}
        for old in [*asound.glob("card[0-9]*"), *system.glob("card[0-9]*")]:
            if old.name in wanted and (asound / old.name / "of").read_text() == self._of(old.name, there):
                continue
            shutil.rmtree(old) if not old.is_symlink() else old.unlink()
            for node in nodes.glob(f"*C{old.name[4:]}*"):
                node.unlink()
        lines = []
        for device, card in sorted(there, key=lambda entry: entry[1].number):
            usb = f"0000:00:14.0/usb1/1-{card.socket}"
            lines.append(f" {card.number} [{card.id:<15}]: USB-Audio - ".encode() + _bytes(card.name)[:31] + b"\n")
            lines.append(f"{'':22}of mpengine's tests at usb-0000:00:14.0-{card.socket}, full speed\n".encode())
            folder = asound / f"card{card.number}"
            if folder.exists():
                continue
            (folder / "pcm0c/sub0").mkdir(parents=True)
            (folder / "id").write_text(f"{card.id}\n")
            (folder / "of").write_text(self._of(folder.name, there))
            (folder / "pcm0c/info").write_bytes(
                f"card: {card.number}\ndevice: 0\nsubdevice: 0\nstream: CAPTURE\nid: USB Audio\nname: ".encode()
                + _bytes(card.pcm_name)
                + b"\nsubname: subdevice #0\nclass: 0\nsubclass: 0\nsubdevices_count: 1\nsubdevices_avail: 1\n"
            )
            if not device.held.exists():
                device.held.write_text("closed\n")
            (folder / "pcm0c/sub0/status").symlink_to(device.held)
            interface = system / "devices" / usb / f"1-{card.socket}:1.0"
            interface.mkdir(parents=True, exist_ok=True)
            (interface.parent / "serial").write_text(f"{card.serial}\n")
            (system / folder.name).mkdir()
            (system / folder.name / "device").symlink_to(f"/sys/class/sound/devices/{usb}/1-{card.socket}:1.0")
            device.node = nodes / f"pcmC{card.number}D0c"
            device.node.touch(0o660)
            (nodes / f"controlC{card.number}").touch(0o660)
        (asound / "cards").write_bytes(b"".join(lines) or b"--- no soundcards ---\n")

    def _of(self, folder: str, there: list[tuple[PretendedDevice, Card]]) -> str:
        """Which plugging of which device the files of a card belong to."""
        return next(f"{device.held}" for device, card in there if f"card{card.number}" == folder)


def converted(pcm: bytes, rate_hz: int) -> bytes:
    """Mono 16-bit samples of 16 kHz at another rate, without delay and without any filter but the band's own end."""
    from tests.rig.numeric import np  # noqa: PLC0415 - conftest imports this module, and few tests need numpy

    if rate_hz == 16000:
        return pcm
    samples = np.frombuffer(pcm, "<i2").astype(float)
    samples = np.pad(samples, (0, -len(samples) % 160))  # then the new length is whole at every usual rate
    count = len(samples) * rate_hz // 16000
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    return np.clip(np.rint(np.fft.irfft(spectrum, count) * rate_hz / 16000), -32768, 32767).astype("<i2").tobytes()


def _line(card: Card, definition: str) -> bytes:
    name, pcm_name = _bytes(card.name), _bytes(card.pcm_name)
    assert not set(b"|\n\0") & set(name + pcm_name), card
    fields = [str(card.number).encode(), card.id.encode(), name[:31], pcm_name[:79], definition.encode()]
    return b"|".join(fields) + b"\n"


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
