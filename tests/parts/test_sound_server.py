"""The sound server's sources, and which of them feeds a process, with a PulseAudio daemon of our own."""

import contextlib
import os
import subprocess
import sys
import time

import pytest

from mpengine.capture import sound_server
from mpengine.capture.inventory import ServerSource
from mpengine.capture.sound_server import ServerError, SoundServer
from mpengine.shared.errors import DeviceError
from tests.rig.microphone import VirtualMicrophone
from tests.rig.processes import spawn
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

pytestmark = pytest.mark.device

_BACKLOG = 16  # more connections than a server lets wait

# Opens what `audio.device` means, and says after each line that it gets which source feeds it.
LISTENER = """
import sys
from mpengine.capture import devices, portaudio
from mpengine.shared.errors import DeviceError
choice = devices.look_for(sys.argv[1] or None, "")[0]
devices.prepare(choice)
stream = portaudio.sounddevice.RawInputStream(samplerate=16000, channels=1, dtype="int16", device=choice.number)
stream.start()
feed = devices.Feed(choice)
for _ in sys.stdin:
    try:
        print(choice.name, feed.source(), choice.source, flush=True)
    except DeviceError as error:
        print("lost:", error, flush=True)
feed.close()
print("closed", feed.source(), flush=True)
"""


@pytest.fixture(scope="module")
def _server():
    with VirtualMicrophone() as server:
        yield server


@pytest.fixture
def server(_server, monkeypatch):
    """A sound server with two microphones, "usbmic" and "deskmic", the latter being the default."""
    _server.check()
    for name, description in (("usbmic", "USB Mikrofon"), ("deskmic", "Tischmikrofon groß")):
        _server.add_source(name, description)
    _server.set_default_source("deskmic")
    for name, value in _server.environment.items():
        monkeypatch.setenv(name, value)
    yield _server
    for name in list(_server._sources):
        _server.remove_source(name)


class Listener:
    """A process that records."""

    def __init__(self, server, wanted):
        self.process = spawn(
            [sys.executable, "-c", LISTENER, wanted],
            env=os.environ | server.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def said(self):
        """What it says now."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def wait_until_it_says(self, words):
        wait_until(lambda: self.said() == words, PATIENCE_S, words)


@pytest.fixture
def listen(server):
    """`listen(WANTED)` starts a process that records from what is wanted."""
    listeners = []

    def start(wanted):
        listeners.append(Listener(server, wanted))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.process.stdin.close()
        assert listener.process.stdout.read().strip() == "closed None"
        listener.process.stdout.close()
        assert listener.process.wait(scaled(PATIENCE_S)) == 0


def test_the_sources_are_listed_with_their_names_monitors_and_default(server):
    asked = SoundServer()
    monitor, usb, desk = asked.sources()
    assert (monitor.name, monitor.is_monitor, monitor.is_default) == ("virtualmic.monitor", True, False)
    assert usb == ServerSource("usbmic", "USB Mikrofon", 1, 16000)
    assert desk == ServerSource("deskmic", "Tischmikrofon groß", 1, 16000, is_default=True)
    server.set_default_source("usbmic")
    assert [source.is_default for source in asked.sources()] == [False, True, False]
    asked.close()
    asked.close()


@pytest.mark.parametrize("wanted", ["usbmic", "USB Mikrofon", "mikrofon gross"])
def test_a_source_is_opened_by_its_name_its_description_or_a_part_of_it(listen, server, wanted):
    name = "deskmic" if "gross" in wanted else "usbmic"
    listener = listen(wanted)
    assert listener.said() == f"{name} None {name}"
    assert server.recorded_sources()[listener.process.pid] == name


def test_the_source_that_was_chosen_is_lost_when_the_server_moves_the_stream(listen, server):
    listener = listen("usbmic")
    assert listener.said() == "usbmic None usbmic"
    server.remove_source("usbmic")
    listener.wait_until_it_says('lost: "usbmic" has gone: the sound server has put "deskmic" in its place')


def test_of_the_default_it_is_told_which_source_it_is_now(listen, server):
    listener = listen("pulse")
    assert listener.said() == "pulse deskmic None"
    server.set_default_source("usbmic")
    listener.wait_until_it_says("pulse usbmic None")


def test_a_change_is_told_by_the_server_which_is_not_asked_for_it(server):
    as_this_process = {"PULSE_PROP": f"application.process.id={os.getpid()}"}
    recorder = spawn(["parec", "--raw"], env=os.environ | server.environment | as_this_process, stdout=subprocess.PIPE)
    assert recorder.stdout.read(1)
    asked = SoundServer()
    asked.settle(scaled(PATIENCE_S))
    wait_until(lambda: asked.feeding() == "deskmic", PATIENCE_S, "the default source")
    asked._ask_at = float("inf")
    assert asked.feeding() == "deskmic"
    assert not asked.has_news()
    server.set_default_source("usbmic")
    wait_until(asked.has_news, PATIENCE_S, "the news")
    wait_until(lambda: asked.feeding() == "usbmic", PATIENCE_S, "the other source")
    recorder.kill()
    recorder.wait()
    wait_until(lambda: asked.feeding() is None, PATIENCE_S, "the end of the stream")
    recorder.stdout.close()
    asked.close()
    assert not asked.has_news()


def test_a_server_that_hangs_is_waited_for_only_briefly(server):
    asked = SoundServer()
    asked.sources()
    server.stop()
    try:
        begun = time.monotonic()
        for one in (asked, SoundServer()):
            with pytest.raises(ServerError, match=r"the sound server at PULSE_SERVER=unix:.*/native does not answer"):
                one.sources()
            assert one.feeding() is None
        with pytest.raises(DeviceError, match="does not answer: restart it"):
            sound_server.check()
        assert time.monotonic() - begun < scaled(6)
        # Connections that were given up fill the server's socket, until it takes no more.
        for _ in range(_BACKLOG):
            with contextlib.suppress(ServerError):
                connecting = SoundServer()
                connecting.feeding()
            connecting.close()
        with pytest.raises(DeviceError, match="does not answer: restart it"):
            sound_server.check()
    finally:
        server.go_on()
    assert len(asked.sources()) == 3
    asked.close()
    sound_server.check()


def test_a_server_that_ends_and_one_that_is_not_there_are_told(server, monkeypatch, tmp_path):
    asked = SoundServer()
    asked.sources()
    server.kill()
    with pytest.raises(ServerError, match="cannot be reached"):
        asked.sources()
    with pytest.raises(ServerError, match="cannot be reached"):
        asked.feeding()
    asked.close()
    server.restart()
    server._sources.clear()
    monkeypatch.delenv("PULSE_SERVER")
    monkeypatch.delenv("PULSE_RUNTIME_PATH")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(ServerError, match=rf"the sound server at {tmp_path}/pulse/native cannot be reached"):
        SoundServer().sources()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ServerError, match="the sound server cannot be reached: XDG_RUNTIME_DIR, "):
        SoundServer().sources()
    sound_server.check()
    assert not list(tmp_path.rglob("pid"))  # none was started for that
