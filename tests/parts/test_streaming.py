"""How streaming takes frames, from a real PUSH; the connection writes down what is sent on it."""

import os
from types import SimpleNamespace

import pytest
import zmq

from mpengine.dialects import packed
from mpengine.dialects.deepgram import ByokConfig
from mpengine.processes.beginning import StreamingSettings
from mpengine.shared import control, frames
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ConnectionLost
from mpengine.shared.frames import Frame
from mpengine.streaming.process import Streaming
from mpengine.streaming.websocket.events import Opened

RUN = bytes(8)
S = 16000
ENDPOINT = "inproc://frames"  # what was sent waits at the other end at once


class Recorder:
    """In place of a connection: it is open at once, and its sends are written down until it is lost."""

    def __init__(self, **_):
        self.sent, self.is_lost = [], False
        self._events = [Opened()]

    def start(self):
        pass

    def fileno(self):
        return 1000

    def events(self):
        events, self._events = self._events, []
        return events

    def send_audio(self, pcm):
        if self.is_lost:
            raise ConnectionLost("reset by peer")
        self.sent.append(bytes(pcm))

    def send_text(self, text):
        self.sent.append(text)

    def send_ping(self, payload):
        self.sent.append(payload)

    def abandon(self):
        pass


class Loop:
    """In place of a child's loop: where that one would wait, it leaves, and what it watches happens when told."""

    def __init__(self, context, commands):
        self.context, self.leaving = context, False
        self.control = SimpleNamespace(
            socket="control",
            tell=lambda _: None,
            mention=lambda _: None,
            flush=lambda: True,
            has_many=False,
            receive=lambda: [commands.pop(0) for _ in list(commands)],
        )
        self.watched = {}

    def watch(self, what, deed, events=zmq.POLLIN):
        self.watched[what] = deed

    def unwatch(self, what):
        self.watched.pop(what, None)

    def wait(self, _limit_s):
        self.leaving = True


class Ends:
    """Streaming with a recogniser that takes audio, and the peer that pushes frames."""

    def __init__(self, *, pace):
        self.context = zmq.Context()
        self.push = self.context.socket(zmq.PUSH)
        self.push.bind(ENDPOINT)
        self.commands = []
        self.loop = Loop(self.context, self.commands)
        self.connection = Recorder()
        settings = StreamingSettings(
            parent_pid=os.getpid(),
            identity="streaming.1",
            control="",
            log_level="info",
            run=RUN.hex(),
            frames=ENDPOINT,
            remote=packed(ByokConfig()),
            audio=AudioConfig(),
            first_connection=1,
            pace=pace,
        )
        self.streaming = Streaming(settings, self.loop, connect=lambda **_: self.connection)
        self.streaming.run()
        self.loop.watched[self.connection.fileno()]()
        self.loop.leaving = False
        self.streaming.run()
        (self.frames,) = (each for each in self.loop.watched if isinstance(each, zmq.Socket))

    def pushed(self, count, *, run=RUN):
        """That many seconds of audio wait in the socket; they are returned."""
        blocks = [bytes([number + 1]) * 2 * S for number in range(count)]
        for number, pcm in enumerate(blocks):
            self.push.send(frames.pack(Frame(run, 1, number * S, pcm, number=number)))
        return blocks

    def frame_comes(self):
        """The loop finds that a frame waits."""
        self.loop.watched[self.frames]()

    def command_comes(self, command):
        """The supervisor says so."""
        self.commands.append(command)
        self.loop.watched["control"]()

    def close(self):
        self.streaming.close()
        self.context.destroy(linger=0)


@pytest.fixture
def ends(request):
    made = Ends(pace=getattr(request, "param", None))
    yield made
    made.close()


def test_one_message_is_taken_and_sent_at_a_time(ends):
    first, _ = ends.pushed(2)
    ends.frame_comes()
    assert ends.connection.sent == [first]


def test_where_nothing_waits_nothing_happens(ends):
    ends.frame_comes()
    assert ends.connection.sent == []


def test_frames_of_another_run_are_dropped(ends):
    ends.pushed(1, run=b"another.")
    ends.frame_comes()
    assert ends.connection.sent == []


def test_what_capture_had_sent_before_it_went_goes_out_before_the_end(ends):
    blocks = ends.pushed(3)
    ends.command_comes(control.Finish())
    assert ends.connection.sent == [*blocks, b"mpengine end", '{"type":"CloseStream"}']


@pytest.mark.parametrize("ends", [1.25], indirect=True)
def test_even_then_no_more_goes_out_than_the_pace_allows(ends):
    first, second, _ = ends.pushed(3)
    ends.command_comes(control.Finish())
    assert ends.connection.sent[:-2] == [first, second]  # a second is free, and one more is owed


@pytest.mark.parametrize(("value", "told"), [("http://me:hidden@10.0.0.1:3128", 1), ("socks5://me:hidden@10.0.0.1", 0)])
def test_the_proxy_on_the_way_is_told_without_its_password(monkeypatch, caplog, request, value, told):
    caplog.set_level("INFO")
    monkeypatch.setenv("https_proxy", value)
    monkeypatch.setenv("no_proxy", "")
    request.getfixturevalue("ends")
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ['proxy_used proxy="proxy http://10.0.0.1:3128 (https_proxy)"'] * told


def test_on_a_lost_connection_no_more_is_taken(ends):
    ends.connection.is_lost = True
    ends.pushed(2)
    ends.command_comes(control.Finish())
    ends.frame_comes()
    assert ends.frames.poll(0)
    assert ends.connection.sent == []


def test_while_the_supervisor_does_not_keep_up_the_recogniser_is_not_read(ends):
    connection = ends.connection.fileno()
    for has_many in (True, False):
        ends.loop.control.has_many = has_many
        ends.loop.leaving = False
        ends.command_comes(control.Expect(audio=True))  # so that a turn comes
        ends.streaming.run()
        assert (connection in ends.loop.watched) is not has_many
