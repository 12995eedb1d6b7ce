"""How far a result goes through the code: a reader has to follow it, and a small board has to run it."""

import collections
import json
import sys

import pytest
import zmq

from mpengine.dialects.deepgram import ByokConfig
from mpengine.shared import control
from mpengine.shared.config import Config
from mpengine.shared.config_tables import AudioConfig, Secret
from mpengine.shared.frames import Frame
from mpengine.streaming.actions import Mention, Tell
from mpengine.streaming.placing import Placing
from mpengine.streaming.session import Session
from mpengine.streaming.websocket.events import Opened, Received
from mpengine.supervisor.bus.bus import Bus
from mpengine.supervisor.bus.journal import Identity, Journal
from mpengine.supervisor.decide.actions import Acknowledge, Child, Publish
from mpengine.supervisor.decide.coordinator import Coordinator
from tests.pure.support import RUN, pcm

S = 16000
KEY = "0123456789abcdef"
MOST_CALLS, MOST_MODULES = 70, 14


class Engine:
    """Session, coordinator, journal and bus, joined by hand: all that a result passes but the two sockets between."""

    def __init__(self, directory, context):
        service = ByokConfig(byok_api_key=Secret(KEY)).dialect(AudioConfig())
        self.session = Session(
            dialect=service,
            placing=Placing(sample_rate=S, sample_bytes=2, hold_s=3.0, sent_before=0),
            pace=None,
            first_connection=1,
            expects_audio=True,
            chance=lambda: 0.5,
            now=100.0,
        )
        config = Config.parse({"remote": {"mode": "byok", "byok_api_key": KEY}})
        self.coordinator = Coordinator(config, chance=lambda: 0.5, now=100.0)
        self.journal = Journal.create(str(directory / "journal"), Identity("r", "m", S, 1, "portaudio"))
        self.bus = Bus(
            context,
            name="rig",
            publish=f"ipc://{directory}/results",
            query=f"ipc://{directory}/query",
            command=f"ipc://{directory}/command",
            curve_secret_key=Secret(),
            run="0123456789abcdef",
            boot="b",
            journal=self.journal,
            seq=0,
        )
        self.bus.open()

    def connect(self):
        self.coordinator.tick(100.0)
        for child in (Child.CAPTURE, Child.STREAMING):
            self.coordinator.spawned(child, 1, 100.0)
            self.coordinator.heard(child, control.Hello(pid=1), 100.0)
        opened = control.DeviceOpened(name="USB", sample_rate=S, channels=1, latency_s=0.08)
        self.coordinator.heard(Child.CAPTURE, opened, 100.0)
        self.coordinator.heard(Child.CAPTURE, control.CaptureBeat(captured=320), 100.0)
        self.coordinator.heard(Child.CAPTURE, control.Anchor(sample=0, utc_ns=10**18), 100.0)
        self.perform(self.session.tick(100.0))
        self.perform(self.session.event(Opened({}), 100.1))
        self.session.audio(Frame(RUN, 1, 0, memoryview(pcm(0, 3 * S))), 103.0)
        self.says("first", 0.0)

    def says(self, text, start_s):
        """The recogniser says two words in half a second."""
        words = [
            {"word": text, "start": start_s, "end": start_s + 0.2, "confidence": 0.5, "punctuated_word": text},
            {"word": "word", "start": start_s + 0.25, "end": start_s + 0.5, "confidence": 0.5},
        ]
        alternative = {"transcript": f"{text} word", "confidence": 0.5, "words": words}
        message = {"type": "Results", "start": start_s, "duration": 0.5, "is_final": True}
        message["channel"] = {"alternatives": [alternative]}
        event = Received(json.dumps(message))
        self.perform(self.session.event(event, 104.0))

    def perform(self, actions):
        for action in actions:
            if isinstance(action, (Tell, Mention)):
                message = control.decode_up.decode(control.encode(action.message))
                for done in self.coordinator.heard(Child.STREAMING, message, 104.0):
                    if isinstance(done, Publish):
                        self.bus.publish(done.message, covers=done.covers)
                    elif isinstance(done, Acknowledge):
                        self.journal.acknowledge(done.sample)

    def close(self):
        self.bus.close()
        self.journal.close(remove=True)


@pytest.fixture
def context():
    with zmq.Context() as context:
        yield context


def test_a_final_of_two_words_goes_a_short_way(tmp_path, context):
    engine = Engine(tmp_path, context)
    calls = collections.Counter()

    def count(frame, event, _):
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.startswith("mpengine"):
            calls[module] += 1

    try:
        engine.connect()
        published = len(list(engine.journal.history.entries()))
        sys.setprofile(count)
        try:
            engine.says("second", 0.5)
        finally:
            sys.setprofile(None)
        assert len(list(engine.journal.history.entries())) == published + 1
    finally:
        engine.close()
    assert calls.total() <= MOST_CALLS, calls
    assert len(calls) <= MOST_MODULES, calls
