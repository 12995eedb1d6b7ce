"""Which frames streaming takes, and how it asks for those that went astray."""

import random

import pytest

from mpengine.shared import control
from mpengine.shared.frames import Frame, FrameSequence
from mpengine.shared.messages import ErrorCode
from mpengine.streaming.actions import Tell
from mpengine.supervisor.decide.actions import Child, Publish, Send
from tests.pure.engine_history import Engine, S, sent
from tests.pure.session_history import ready_session
from tests.pure.support import RUN, of_kind, pcm

BLOCK = 320


def frame(number, *, attempt=1, first=0, grant=1):
    return Frame(RUN, grant, first, pcm(first, first + BLOCK), attempt=attempt, number=number)


def taken(numbers):
    """Which of these (attempt, number) are taken."""
    sequence = FrameSequence()
    return [(attempt, number) for attempt, number in numbers if sequence.takes(frame(number, attempt=attempt))]


@pytest.mark.parametrize(
    ("come", "expected"),
    [
        ([(1, 0), (1, 1), (1, 2)], [(1, 0), (1, 1), (1, 2)]),
        ([(1, 0), (1, 2), (1, 3)], [(1, 0)]),  # behind a missing one nothing is taken
        ([(1, 1), (1, 2)], []),
        ([(1, 0), (1, 2), (2, 0), (2, 1)], [(1, 0), (2, 0), (2, 1)]),
        ([(2, 0), (1, 1), (2, 1)], [(2, 0), (2, 1)]),  # of an older attempt: stale, but nothing is missing
        ([(1, 0), (3, 1), (4, 0)], [(1, 0), (4, 0)]),
        ([(1, 0), (1, 0)], [(1, 0)]),
    ],
)
def test_frames_are_taken_in_order_and_none_behind_a_missing_one(come, expected):
    assert taken(come) == expected


def test_a_session_asks_once_an_attempt_from_the_first_sample_that_is_missing():
    session = ready_session()
    assert session.follows(frame(0))
    session.audio(frame(0), 100.0)
    assert session.missed_frames() == []
    assert not session.follows(frame(2, first=2 * BLOCK))
    ask = Tell(control.FramesMissed(connection=1, attempt=1, sample=BLOCK))
    assert session.missed_frames() == [ask]
    assert not session.follows(frame(3, first=3 * BLOCK))
    assert session.missed_frames() == []
    assert session.follows(frame(0, attempt=2, first=BLOCK))
    assert session.missed_frames() == []


def test_a_stale_frame_of_another_connection_is_no_sign_of_a_missing_one():
    session = ready_session()
    assert not session.follows(frame(5, grant=7))
    assert session.missed_frames() == []


@pytest.mark.parametrize("seed", range(5))
def test_every_sample_goes_out_once_however_many_frames_somebody_else_reads(seed):
    """A model of capture and supervisor: what is asked for is sent again from there, until all has come."""
    chance = random.Random(seed)
    session, attempt, begin, number = ready_session(), 1, 0, 0
    got = []
    for _ in range(10_000):
        if begin >= 200 * BLOCK:
            break
        frame_sent = frame(number, attempt=attempt, first=begin)
        begin, number = begin + BLOCK, number + 1
        if chance.random() < 0.5 and begin < 200 * BLOCK:
            continue
        if session.follows(frame_sent):
            got.append(bytes(session.audio(frame_sent, 100.0)))
        for action in session.missed_frames():
            assert action.message.attempt == attempt
            attempt, begin, number = attempt + 1, action.message.sample, 0
    assert b"".join(got) == pcm(0, 200 * BLOCK)


def test_the_supervisor_grants_again_from_the_first_missing_sample_on():
    engine = Engine().start()
    engine.connect()
    missed = control.FramesMissed(connection=1, attempt=1, sample=2 * S)
    again = control.Grant(connection=1, sample=2 * S, attempt=2)
    assert sent(engine.says(Child.STREAMING, missed)) == [Send(Child.CAPTURE, again)]


def test_the_supervisor_answers_each_attempt_once():
    engine = Engine().start()
    engine.connect()
    for attempt, expected in ((1, 2), (1, None), (2, 3)):
        actions = engine.says(Child.STREAMING, control.FramesMissed(connection=1, attempt=attempt, sample=S))
        grants = [action.message.attempt for action in of_kind(actions, Send)]
        assert grants == ([expected] if expected else [])
        codes = [getattr(action.message, "code", None) for action in of_kind(actions, Publish)]
        assert codes == ([ErrorCode.FRAMES_MISSED] if expected == 2 else [])
