"""The bus's numbers, and what it leaves out."""

import contextlib
import json

import pytest
import zmq

from mpengine.shared import messages
from mpengine.shared.config_tables import Secret
from mpengine.supervisor.bus.bus import Bus
from mpengine.supervisor.bus.history import History
from mpengine.supervisor.bus.journal import Identity, Journal
from tests.rig.small_disk import fill
from tests.rig.waiting import scaled

LEVEL = messages.Level(rms_dbfs=-30.0, peak_dbfs=-10.0, digital_silence=False)
WORDS = messages.Transcript(text="words", is_final=True)


class Radio:
    """A bus called `n`, and those who hear it."""

    def __init__(self, stack, path, journal_in=None):
        self._stack = stack
        self._context = stack.enter_context(zmq.Context())
        journal = Journal.create(f"{journal_in or path}/journal", Identity("r", "m", 16000, 1, "portaudio"), History())
        stack.callback(journal.close, remove=True)
        where = {"publish": f"ipc://{path}/results", "query": f"ipc://{path}/query"}
        self.bus = Bus(
            self._context, name="n", **where, curve_secret_key=Secret(), run="r", boot="b", journal=journal, seq=0
        )
        stack.callback(self.bus.close)

    def listener(self, *topics):
        """A socket on which these topics are live."""
        socket = self._stack.enter_context(self._context.socket(zmq.SUB))
        socket.connect(self.bus.publish_endpoint)
        for topic in (*topics, b"n.sync.token"):
            socket.subscribe(topic)
        while not socket.poll(10):
            self.bus.answer_subscriptions()
        assert socket.recv_multipart()[0] == b"n.sync.token"
        socket.unsubscribe(b"n.sync.token")
        return socket


@pytest.fixture
def radio(tmp_path):
    with contextlib.ExitStack() as stack:
        yield Radio(stack, tmp_path)


def next_of(socket):
    assert socket.poll(scaled(30) * 1000)
    topic, body = socket.recv_multipart()
    message = json.loads(body)
    return topic, message["seq"], message["prev"]


def test_levels_begin_when_somebody_wants_them_and_no_number_is_lost_by_those_before(radio):
    finals = radio.listener(b"n.transcript.final")
    assert not radio.bus.is_heard(messages.Level)
    for message in (LEVEL, WORDS, LEVEL, WORDS):
        radio.bus.publish(message)
    assert [next_of(finals)[1:] for _ in range(2)] == [(1, 0), (2, 1)]
    levels = radio.listener(b"n.level")
    assert radio.bus.is_heard(messages.Level)
    assert not radio.bus.is_heard(messages.Metrics)
    for message in (LEVEL, WORDS, LEVEL):
        radio.bus.publish(message)
    assert [next_of(levels)[1:] for _ in range(2)] == [(3, 0), (5, 3)]
    assert next_of(finals)[1:] == (4, 2)


@pytest.mark.parametrize("topic", [b"", b"n", b"n.", b"n.le", b"n.level"])
def test_who_subscribes_to_a_part_of_a_topic_wants_it(radio, topic):
    levels = radio.listener(topic)
    radio.bus.publish(LEVEL)
    assert next_of(levels)[0] == b"n.level"


@pytest.mark.parametrize("topic", [b"n.levels", b"n.transcript", b"other.", b"N.level"])
def test_who_subscribes_to_others_does_not(radio, topic):
    radio.listener(topic)
    assert not radio.bus.is_heard(messages.Level)


def test_what_the_history_keeps_is_there_for_whoever_comes_later(radio):
    assert all(radio.bus.is_heard(kind) for kind in (messages.Transcript, messages.Gap, messages.Error))
    radio.bus.publish(WORDS)
    assert json.loads(radio.bus.snapshot(0))["messages"][0]["text"] == "words"


def test_a_full_disk_below_the_journal_is_an_error_once_until_there_is_room_again(small_disk, tmp_path):
    final = messages.Transcript(text="words " * 1000, is_final=True)
    with contextlib.ExitStack() as stack:
        radio = Radio(stack, tmp_path, small_disk)

        def codes():
            radio.bus.publish(final)
            return [error.code for error in radio.bus.notices()]

        assert codes() == []
        for _ in range(2):
            filler = fill(small_disk)
            assert [codes() for _ in range(3)] == [["journal_full"], [], []]
            filler.unlink()
            assert codes() == []
        finals = radio.listener(b"n.transcript.final")
        radio.bus.publish(final)
        assert next_of(finals) == (b"n.transcript.final", 10, 9)
