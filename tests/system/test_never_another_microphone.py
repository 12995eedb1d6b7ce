"""Which microphone an engine listens to when its own goes away, and others are there."""

import os
import subprocess
import sys

import pytest

from tests.rig.configs import byok
from tests.rig.deepgram import FakeDeepgram
from tests.rig.microphone import VirtualMicrophone
from tests.rig.sound_card import Card
from tests.rig.waiting import PATIENCE_S, wait_until

MIC = "USB PnP Sound Device"
NAME = f"{MIC}: Audio"


@pytest.fixture
def server():
    with FakeDeepgram(echoing=True) as made:
        yield made


@pytest.fixture
def desktop():
    """A sound server with two microphones, "usbmic" and "deskmic", the latter being the default."""
    with VirtualMicrophone() as made:
        for name in ("usbmic", "deskmic"):
            made.add_source(name, f"The {name}")
        made.set_default_source("deskmic")
        yield made


def listed(cards):
    """What `mpengine devices` prints."""
    words = [sys.executable, "-m", "mpengine", "devices"]
    environment = os.environ | cards.environment
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout


def is_lost(message):
    return message["type"] == "status" and message["state"] == "degraded" and message["device"] is None


def wait_until_lost(running):
    """The reason."""
    return running.bus.wait_for(is_lost, what="the loss")["reason"]


def wait_until_back(running):
    """The device."""
    running.bus.wait_for(lambda m: m["type"] == "gap")
    return running.wait_for_state("running")["device"]


@pytest.mark.slow
@pytest.mark.parametrize("wanted", ["USB", 0])
def test_another_one_that_fits_is_not_taken_while_the_wanted_one_is_away(cards, engine, server, wanted):
    mine = cards.add("mine", card=Card(1, "Device", MIC, socket="1"))
    running = engine(byok(server) | {"audio": {"device": wanted}}, cards)
    assert running.wait_for_state("running")["device"] == NAME
    running.bus.wait_for(lambda m: m["type"] == "transcript")
    assert f"busy: mpengine (PID {running.child_pid('capture')})" in listed(cards)
    twin = cards.add("twin", card=Card(0, "Device_1", MIC, socket="2"))
    camera = cards.add("camera", card=Card(2, "C920", "USB Camera", socket="3"))
    cards.unplug("mine")
    wait_until_lost(running)
    away = f'"{NAME} [usb-0000:00:14.0-1]", which was open before, is away'
    running.bus.wait_for(lambda m: is_lost(m) and away in m["reason"])
    first_pid = running.signal_child("capture")
    running.child_pid("capture", other_than=first_pid)
    running.bus.wait_for(lambda m: is_lost(m) and away in m["reason"] and m["children"]["capture"]["pid"] != first_pid)
    cards.plug("mine", number=5)
    assert wait_until_back(running) == f"{NAME} [usb-0000:00:14.0-1]"
    assert len(mine.events("start")) == 2
    assert not twin.events("start") + camera.events("start")
    assert running.stop() == 0


@pytest.mark.slow
def test_of_a_list_the_next_one_is_taken(cards, engine, server):
    cards.add("mine", card=Card(1, "Device", MIC, socket="1"))
    cards.add("camera", card=Card(2, "C920", "USB Camera", socket="2"))
    running = engine(byok(server) | {"audio": {"device": ["Jabra", "PnP", "Camera"]}}, cards)
    assert running.wait_for_state("running")["device"] == NAME
    running.bus.wait_for(lambda m: m["type"] == "transcript")
    cards.unplug("mine")
    assert wait_until_back(running) == "USB Camera: Audio"
    assert running.stop() == 0


@pytest.mark.slow
def test_a_source_that_the_server_replaces_is_a_lost_device_and_is_taken_again(desktop, engine, server):
    running = engine(byok(server) | {"audio": {"device": "The usbmic"}}, desktop)
    assert running.wait_for_state("running")["device"] == "usbmic"
    running.bus.wait_for(lambda m: m["type"] == "transcript")
    desktop.remove_source("usbmic")
    wait_until_lost(running)
    running.bus.wait_for(lambda m: is_lost(m) and '"usbmic", which was open before, is away' in m["reason"])
    moved = '"usbmic" has gone: the sound server has put "deskmic" in its place'
    assert [m["message"] for m in running.bus.of_type("error")] == [moved]
    desktop.add_source("usbmic", "The usbmic")
    assert wait_until_back(running) == "usbmic"
    assert running.stop() == 0


@pytest.mark.slow
def test_of_the_default_it_is_told_which_source_it_is(desktop, engine, server):
    running = engine(byok(server) | {"audio": {"device": "pulse"}}, desktop)

    def is_told(device):
        return running.query({"type": "status"})["device"] == device

    wait_until(lambda: is_told("pulse (fed by deskmic)"), PATIENCE_S, "the default source")
    desktop.set_default_source("usbmic")
    wait_until(lambda: is_told("pulse (fed by usbmic)"), PATIENCE_S, "the other source")
    assert running.stop() == 0
