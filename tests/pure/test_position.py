"""What a subscriber is handed."""

import msgspec

from mpengine.client.position import Hole, Received, loss
from mpengine.shared import messages

HOLE = Hole(topic="gap", run="r", first_seq=3)


def test_a_loss_is_handed_over_as_it_is_and_has_json_of_its_own():
    received = loss("n", HOLE)
    assert (received.name, received.topic, received.message, received.hole) == ("n", "hole", HOLE, HOLE)
    assert msgspec.json.decode(received.body, type=Hole) == HOLE


def test_what_only_says_that_it_is_a_loss_is_none():
    assert Received("n", "level", msgspec.json.encode(HOLE)).message is None


def test_a_message_is_decoded_when_asked_for():
    spoken = messages.SpeechStarted(at_s=1.0)
    assert Received("n", "speech_started", messages.encode(spoken)).message == spoken
