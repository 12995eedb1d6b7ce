"""The outbox of the relay: order, window, bound, and what a lost connection and a stream's answer change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.client.position import HOLE
from mpengine.relay.outbox import MOST_BYTES, Outbox
from mpengine.relay.position import Position
from mpengine.shared.messages import FINALS
from tests.pure.test_relay_position import final, hole, hole_entry, other


def outbox(*entries, window=2, position=None):
    box = Outbox(position, window=window)
    for entry in entries:
        box.put(entry)
    return box


def send(box):
    """Send what may be sent; the slots."""
    sent = []
    while slot := box.next():
        box.note_sent(slot)
        sent.append(slot)
    return sent


def seqs(slots):
    return [slot.entry.seq for slot in slots]


def test_a_window_is_in_flight_and_each_acknowledgement_lets_one_more_go():
    box = outbox(*map(final, (1, 2, 3, 4)))
    first, second = send(box)
    assert seqs((first, second)) == [1, 2]
    box.note_done(first)
    assert seqs(send(box)) == [3]
    assert box.position.topics == {FINALS: 1}


def test_done_is_what_has_no_gap_before_it():
    box = outbox(*map(final, (1, 2, 3)), window=3)
    first, second, third = send(box)
    box.note_done(third)
    box.note_done(second)
    assert box.position is None
    box.note_done(first)
    assert box.position.topics == {FINALS: 3}
    assert box.is_empty


def test_metrics_are_not_sent_and_count_when_all_before_them_is_done():
    box = outbox(final(1), other("metrics", 2), final(3), window=3)
    first, third = send(box)
    assert (first.entry.seq, third.entry.seq) == (1, 3)
    box.note_done(first)
    assert box.position.since == ("r", 2)


def test_a_lost_connection_leaves_everything_to_be_sent_again_in_order():
    box = outbox(*map(final, (1, 2, 3)), window=3)
    first, *_ = send(box)
    box.note_done(first)
    box.disconnect()
    assert seqs(send(box)) == [2, 3]


def test_what_the_stream_has_is_not_sent_again():
    box = outbox(*map(final, (1, 2, 3, 4)), other("gap", 5), window=9)
    send(box)
    box.disconnect()
    box.meet(Position(run="r", topics={FINALS: 3}))
    assert seqs(send(box)) == [4, 5]


def test_what_stood_before_a_run_that_the_stream_has_is_in_the_stream_too():
    old, status = hole_entry(hole(7, None)), other("status", 1, run="s")
    box = outbox(old, status, final(2, run="s"), final(3, run="s"), window=9, position=Position(run="r"))
    box.meet(Position(run="s", topics={FINALS: 2, "status": 1}))
    assert seqs(send(box)) == [3]


def test_a_status_of_a_run_in_the_stream_says_nothing_of_the_finals_before_it():
    box = outbox(final(9), other("status", 1, run="s"), window=9)
    box.meet(Position(run="s", topics={"status": 1}))
    assert seqs(send(box)) == [9]


def test_what_the_broker_has_is_not_even_put_in():
    box = outbox(final(1), final(5), position=Position(run="r", topics={FINALS: 4}))
    assert seqs(send(box)) == [5]


def test_a_message_that_the_broker_never_takes_becomes_a_hole_in_its_place():
    box = outbox(*map(final, (1, 2, 3)), window=3)
    first, second, third = send(box)
    box.replace_by_hole(second)
    box.note_done(first)
    box.note_done(third)
    (again,) = send(box)
    assert (again.entry.topic, again.entry.hole) == (HOLE, hole(2, 2))
    box.replace_by_hole(again)
    assert box.is_empty
    assert box.position.topics == {FINALS: 3}


def test_it_is_bounded_in_bytes():
    box = outbox(window=1)
    count = 0
    while not box.is_full:
        count += 1
        box.put(final(100 + count, text="x" * 10000))
    assert count == -(-MOST_BYTES // len(final(100, text="x" * 10000).body))
    box.note_done(send(box)[0])
    assert not box.is_full


def test_it_is_bounded_in_messages():
    box = outbox(*map(final, range(1, 5001)))
    assert box.is_full


@given(st.lists(st.sampled_from(["put", "send", "done", "lose", "restart"]), max_size=60), st.integers(1, 4))
def test_a_stream_gets_each_final_once_and_in_order_whatever_is_lost(steps, window):
    """The stream takes all that is sent, in order; acknowledgements get lost with the connection."""
    said, stored, note = 0, [], Position()
    box, flying = Outbox(note, window=window), []
    for step in [*steps, "restart", *["send", "done"] * 70]:
        match step:
            case "put":
                said += 1
                box.put(final(said))
            case "send" if slot := box.next():
                box.note_sent(slot)
                stored.append(slot.entry.seq)
                flying.append(slot)
            case "done" if flying:
                box.note_done(flying.pop(0))
            case "lose":
                box.disconnect()
                flying = []
                box.meet(Position(run="r", topics={FINALS: stored[-1]}) if stored else Position())
            case "restart":  # with an old note: the history has everything once more
                box, flying = Outbox(note, window=window), []
                for seq in range(1, said + 1):
                    box.put(final(seq))
                box.meet(Position(run="r", topics={FINALS: stored[-1]}) if stored else Position())
    assert stored == list(range(1, said + 1))
    assert box.is_empty


@pytest.mark.parametrize("window", [1, 3])
def test_nothing_is_sent_beyond_the_window_after_replacements(window):
    box = outbox(*map(final, range(1, 9)), window=window)
    for slot in send(box):
        box.replace_by_hole(slot)
    assert len(send(box)) == window
