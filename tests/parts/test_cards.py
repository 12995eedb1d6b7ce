"""What the kernel says of sound cards, in files of our own."""

import grp
import os

import pytest

from mpengine.capture.cards import pcms
from mpengine.capture.inventory import Holder, Pcm

CARDS = """\
 0 [PCH            ]: HDA-Intel - HDA Intel PCH
                      HDA Intel PCH at 0xf7d10000 irq 30
 1 [Device         ]: USB-Audio - USB PnP Sound Device
                      C-Media Electronics Inc. USB PnP Sound Device at usb-0000:00:14.0-1.2, full speed
"""
INFO = "card: 1\ndevice: 0\nsubdevice: 0\nstream: CAPTURE\nid: USB Audio\nname: USB Audio\nsubname: subdevice #0\n"
OPEN = "state: RUNNING\nowner_pid   : 813\ntrigger_time: 5.1\n"


@pytest.fixture
def machine(tmp_path):
    """A root with two cards: the first one plays only, the second one is a USB microphone."""

    def write(path, content):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content if isinstance(content, bytes) else content.encode())

    write("proc/asound/cards", CARDS)
    write("proc/asound/card0/id", "PCH\n")
    write("proc/asound/card0/pcm0p/info", "name: ALC255 Analog\n")
    write("proc/asound/card1/id", "Device\n")
    write("proc/asound/card1/pcm0c/info", INFO)
    write("proc/asound/card1/pcm0c/sub0/status", "closed\n")
    write("dev/snd/pcmC1D0c", "")
    usb = "sys/devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1.2"
    write(f"{usb}/serial", "0001A\n")
    write(f"{usb}/1-1.2:1.0/sound/card1/id", "Device\n")
    (tmp_path / f"{usb}/1-1.2:1.0/sound/card1/device").symlink_to("../..")
    write(f"{usb}/1-1.2:1.0/sound/card1/pcmC1D0c/dev", "116:4\n")
    classes = tmp_path / "sys/class/sound"
    classes.mkdir(parents=True)
    for name in ("card1", "card1/pcmC1D0c"):
        (classes / os.path.basename(name)).symlink_to(f"../../../{usb}/1-1.2:1.0/sound/{name}")
    machine = tmp_path
    machine_write = write
    return machine, machine_write


FREE = Pcm(1, 0, "Device", "USB PnP Sound Device: Audio", "usb-0000:00:14.0-1.2", "0001A")


def test_a_capture_side_has_its_name_its_id_its_socket_and_its_serial_number(machine):
    root, _ = machine
    assert pcms(str(root)) == [FREE]


def test_who_has_it_open_is_told_by_process_and_not_by_thread(machine):
    root, write = machine
    write("proc/asound/card1/pcm0c/sub0/status", OPEN)
    write("proc/813/status", "Name:\tarecord\nTgid:\t812\nPid:\t813\n")
    assert pcms(str(root))[0].holder == Holder(812, "arecord")


def test_a_process_that_cannot_be_seen_is_told_as_that(machine):
    root, write = machine
    write("proc/asound/card1/pcm0c/sub0/status", OPEN.replace("813", "0"))
    assert pcms(str(root))[0].holder == Holder(0, "a process of another container")
    write("proc/asound/card1/pcm0c/sub0/status", OPEN)
    assert pcms(str(root))[0].holder == Holder(813, "unknown")


def test_it_is_free_while_a_part_of_it_is(machine):
    root, write = machine
    write("proc/asound/card1/pcm0c/sub0/status", OPEN)
    write("proc/asound/card1/pcm0c/sub1/status", "closed\n")
    assert pcms(str(root))[0].holder is None


def test_the_group_that_may_open_it_is_told_to_a_user_who_may_not(machine, monkeypatch):
    root, _ = machine
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert pcms(str(root))[0].needs_group == grp.getgrgid(os.getgid()).gr_name


def test_where_proc_is_hidden_the_rest_is_known(machine):
    root, _ = machine
    (root / "proc").rename(root / "hidden")
    assert pcms(str(root)) == [FREE._replace(name="Device")]


def test_where_sys_is_hidden_the_rest_is_known(machine):
    root, _ = machine
    (root / "sys").rename(root / "hidden")
    assert pcms(str(root)) == [FREE._replace(usb_path="", serial="")]


def test_a_name_may_be_any_bytes(machine):
    root, write = machine
    write("proc/asound/cards", CARDS.encode().replace(b"USB PnP", b"M\xfcller"))
    assert pcms(str(root))[0].name == r"M\xfcller Sound Device: USB Audio"


@pytest.mark.parametrize(
    ("card", "name", "printed"),
    [
        ("HDA Intel PCH", "ALC255 Analog", "ALC255 Analog"),
        ("USB PnP Sound Device", "USB Audio", "Audio"),
        ("USB Audio", "USB Audio", "-"),
        ("USB Audio Device", "USB Audio #1", "#1"),
        ("Loopback", "Loopback PCM", "PCM"),
        ("bcm2835 Headphones", "bcm2835 - Headphones", "Headphones"),
        ("USBX", "USB Audio", "Audio"),
    ],
)
def test_a_name_is_as_portaudio_prints_it(machine, card, name, printed):
    root, write = machine
    write("proc/asound/cards", CARDS.replace("USB PnP Sound Device\n", f"{card}\n", 1))
    write("proc/asound/card1/pcm0c/info", INFO.replace("\nname: USB Audio", f"\nname: {name}"))
    assert pcms(str(root))[0].name == f"{card}: {printed}"


def test_without_cards_there_is_nothing(tmp_path):
    assert pcms(str(tmp_path)) == []


@pytest.mark.parametrize("content", [b"", b"\xff" * 5000, b" 1 [", b"--- no soundcards ---\n"])
def test_odd_files_harm_nothing(machine, content):
    root, write = machine
    for path in list(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            write(path.relative_to(root), content)
    assert len(pcms(str(root))) == 1
