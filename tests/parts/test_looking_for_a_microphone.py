"""Which microphone a process finds, as cards come, go and change their numbers."""

import json
import os
import subprocess
import sys

import pytest

from tests.rig.sound_card import Card
from tests.rig.waiting import scaled

FINDER = """
import json, sys
from mpengine.capture import devices, portaudio
from mpengine.shared.errors import DeviceError
wanted, remembered = json.loads(sys.argv[1])
try:
    choice = devices.look_for(wanted, remembered)[0]
    entries = {entry.number: entry.name for entry in portaudio.inputs()}
    print(json.dumps([choice.name, entries.get(choice.number, choice.alsa_name), choice.identity]))
except DeviceError as error:
    print(json.dumps(["none", str(error), remembered]))
"""
MIC = "USB PnP Sound Device"
NAME = f"{MIC}: Audio"


@pytest.fixture
def found(cards):
    """`found(WANTED, REMEMBERED)` is the name, the entry of PortAudio's, and the identity; or "none" and why."""

    def find(wanted, remembered=""):
        words = [sys.executable, "-c", FINDER, json.dumps([wanted, remembered])]
        ended = subprocess.run(
            words, env=os.environ | cards.environment, capture_output=True, timeout=scaled(60), check=True
        )
        return json.loads(ended.stdout)

    return find


@pytest.mark.parametrize("wanted", ["USB", NAME, 0, f"{NAME} (hw:1,0)", "plughw:1,0"])
def test_it_is_found_again_under_another_number_and_no_other_is_taken(cards, found, wanted):
    cards.add("mine", card=Card(1, "Device", MIC, "Audio", socket="1"))
    name, entry, identity = found(wanted)
    assert entry in (f"{NAME} (hw:1,0)", "plughw:1,0")
    cards.unplug("mine")
    cards.add("twin", card=Card(1, "Device", MIC, "Audio", socket="2"))
    cards.add("camera", card=Card(0, "C920", "USB Camera", "Audio", socket="3"))
    away = f'"{NAME} [usb-0000:00:14.0-1]", which was open before, is away; '
    hint = f'if it is "{NAME} [usb-0000:00:14.0-2]" now, set audio.device to that'
    assert found(wanted, identity)[:2] == ["none", away + hint]
    cards.plug("mine", number=5)
    _, entry, again = found(wanted, identity)
    assert entry in (f"{NAME} (hw:5,0)", "plughw:5,0")
    assert again == identity
    assert name


@pytest.mark.parametrize(
    ("card", "name"),
    [
        ("USB PnP Sound Device", "USB Audio"),
        ("USB Audio", "USB Audio"),
        ("USB Audio Device", "USB Audio #1"),
        ("HDA Intel PCH", "HDA - Intel"),
        ("HDA Intel PCH", "PCH"),
        ("Loopback", "Loopback PCM"),
        ("bcm2835 Headphones", "bcm2835 - Headphones"),
        ("bcm2835 Headphones", "bcm2835 Headphones - in"),
        ("USBX", "USB Audio"),
        ("a b c d", "a c e"),
        ("a b c d", "b a"),
    ],
)
def test_a_card_has_one_name_whether_portaudio_lists_it_or_hides_it(cards, found, card, name):
    mic = cards.add("mic", card=Card(1, "Device", card, name))
    listed, *_ = found(0)
    mic.set(open="EACCES")
    assert found("hw:CARD=Device")[1].startswith(f'"{listed}" is there, but this user may not open it')


def test_a_serial_number_is_known_in_any_socket(cards, found):
    cards.add("mine", card=Card(1, "Device", MIC, "Audio", socket="1", serial="A"))
    identity = found("USB")[2]
    cards.unplug("mine")
    cards.add("twin", card=Card(1, "Device", MIC, "Audio", socket="2", serial="B"))
    assert found("USB", identity)[0] == "none"
    cards.devices["mine"].card = cards.devices["mine"].card._replace(socket="7")
    cards.plug("mine", number=2)
    assert found("USB", identity)[1] == f"{NAME} (hw:2,0)"


def test_what_is_hidden_is_explained_and_nothing_else_is_taken(cards, found):
    cards.default = "plughw:1"
    mine = cards.add("mine", card=Card(1, "Device", MIC, "Audio"))
    cards.add("other")
    assert found(None)[0] == "default"
    mine.set(open="EACCES")
    assert "this user may not open it: only members of the group" in found("USB")[1]
    words = found(None)[1]
    assert words.startswith('there is no default audio input device: ALSA\'s "default" takes no audio')
    assert f'"{NAME}": this user may not open it' in words
    assert "no-server cannot be reached" in words
    assert words.endswith(f'there are: "{NAME}" (hidden), 0 "other"; set audio.device to one of them')


def test_a_list_falls_back_and_comes_back(cards, found):
    cards.add("mine", card=Card(1, "Device", MIC, "Audio", socket="1"))
    cards.add("camera", card=Card(2, "C920", "USB Camera", "Audio", socket="2"))
    wanted = ["PnP", "Camera"]
    identity = found(wanted)[2]
    cards.unplug("mine")
    name, _, identity = found(wanted, identity)
    assert name == "USB Camera: Audio"
    cards.plug("mine", number=0)
    assert found(wanted, identity)[1] == f"{NAME} (hw:0,0)"
