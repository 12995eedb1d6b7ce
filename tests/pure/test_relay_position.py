"""What the relay still has to send of an engine, after which restart of whom, and what a transcript file fills."""

import json

import pytest

from mpengine.client.position import HOLE, Hole, Received, loss
from mpengine.relay.position import Position, entry_of, filled, hole_entry, lost, message_entry, position_of
from mpengine.shared.messages import FINALS


def final(seq, run="r", prev=0, text="words"):
    body = {"type": "transcript", "is_final": True, "run": run, "boot": "b", "seq": seq, "prev": prev, "text": text}
    return message_entry(FINALS, json.dumps(body).encode())


def other(kind, seq, run="r", **fields):
    return message_entry(kind, json.dumps({"type": kind, "run": run, "seq": seq, **fields}).encode())


def hole(first, last, topic=FINALS, run="r"):
    return Hole(topic=topic, run=run, first_seq=first, last_seq=last)


def position(*entries):
    found = Position()
    for entry in entries:
        found = found.after(entry)
    return found


@pytest.mark.parametrize("topic", [FINALS, "gap", "error", "status", "metrics"])
def test_what_is_relayed_and_metrics_are_entries(topic):
    entry = entry_of(Received("desk", topic, b'{"run":"r","seq":3}'))
    assert (entry.topic, entry.run, entry.seq, entry.key) == (topic, "r", 3, "r:3")


@pytest.mark.parametrize("topic", ["transcript.interim", "level", "metadata", "something.new"])
def test_nothing_else_is(topic):
    assert entry_of(Received("desk", topic, b'{"run":"r","seq":3}')) is None


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"run":"r"}', b'{"seq":3}', b'{"run":"r","seq":"x"}'])
def test_bytes_without_a_place_in_a_run_are_left_out(body):
    assert entry_of(Received("desk", FINALS, body)) is None


def test_a_hole_is_an_entry_with_a_key_of_its_own():
    keys = [entry_of(loss("desk", each)).key for each in (hole(3, 4), hole(3, None), hole(3, 4, topic="gap"))]
    assert keys == ["r:3-4:transcript.final", "r:3-:transcript.final", "r:3-4:gap"]


def test_each_topic_is_counted_by_itself():
    """A gap that was lost on its way may come behind a final with a higher number."""
    there = position(final(10))
    assert there.rest(final(10)) is None
    assert there.rest(final(9)) is None
    assert there.rest(other("gap", 9)) == other("gap", 9)
    assert there.rest(final(11)) == final(11)


def test_another_run_begins_anew():
    there = position(final(10), other("metrics", 11))
    assert there.rest(final(1, run="s")) == final(1, run="s")
    assert there.after(final(1, run="s")) == Position(run="s", topics={FINALS: 1})


def test_a_restart_goes_on_behind_metrics_for_nothing_can_come_before_them_any_more():
    assert Position().since is None
    assert position(final(10)).since == ("r", 0)
    assert position(final(10), other("metrics", 11), final(12)).since == ("r", 11)


@pytest.mark.parametrize(
    ("first", "last", "rest"),
    [(1, 20, (11, 20)), (1, 10, None), (1, None, (11, None)), (15, 20, (15, 20)), (11, 11, (11, 11))],
)
def test_of_a_hole_only_what_the_broker_has_not_got_is_missing(first, last, rest):
    left = position(final(10)).rest(hole_entry(hole(first, last)))
    assert (left and (left.hole.first_seq, left.hole.last_seq)) == rest
    assert left is None or json.loads(left.body)["first_seq"] == rest[0]


def test_a_hole_that_was_sent_is_not_sent_again():
    there = position(final(10), hole_entry(hole(11, 20)))
    assert there.rest(hole_entry(hole(11, 20))) is None
    assert there.rest(final(20)) is None
    there = there.after(hole_entry(hole(21, None)))
    assert there.rest(hole_entry(hole(21, None))) is None
    assert there.rest(hole_entry(hole(1, None, topic="gap"))) is not None


def test_an_engine_that_was_heard_to_its_end_leaves_no_hole():
    end = hole_entry(hole(11, None))
    running = position(final(10), other("status", 9, state="running"), other("metrics", 11))
    assert running.rest(end) is not None
    stopped = running.after(other("status", 12, state="stopped"))
    assert stopped.rest(end) is None
    assert stopped.after(other("status", 13, state="starting")).rest(end) is not None
    assert position(final(10), other("status", 12, state="stopped")).rest(end) is not None


def test_the_note_and_the_stream_know_more_together():
    note = position(final(10), other("gap", 8), other("status", 5, state="stopped"), other("metrics", 9))
    stream = position(other("status", 13, state="running"), final(12))
    assert note.joined(stream) == Position(run="r", through=9, topics={FINALS: 12, "gap": 8, "status": 13})
    assert note.joined(Position()) == note
    assert note.joined(position(final(1, run="s"))).run == "s"


def test_the_last_messages_in_a_stream_show_the_position():
    stored = [(7, final(30)), (9, other("gap", 28)), (8, hole_entry(hole(31, 40))), (2, other("error", 5, run="old"))]
    assert position_of(stored) == Position(run="r", topics={FINALS: 40, "gap": 28})
    assert position_of([]) == Position()


def test_a_message_that_no_broker_takes_is_told_as_a_hole():
    assert lost(final(7)).hole == hole(7, 7)
    assert lost(final(7)).topic == HOLE


# The transcript file

FILE = [final(seq, prev=prev).body for seq, prev in ((2, 0), (4, 2), (5, 4), (9, 5), (12, 9))]


def shown(entries):
    return [entry.seq or (entry.hole.first_seq, entry.hole.last_seq) for entry in entries]


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [
        (1, 9, [2, 4, 5, 9]),
        (3, 11, [4, 5, 9, (10, 11)]),
        (3, 9, [4, 5, 9]),
        (3, None, [4, 5, 9, 12]),
        (13, 20, [(13, 20)]),
        (13, None, []),
    ],
)
def test_a_transcript_file_fills_a_hole(first, last, found):
    assert shown(filled(hole(first, last), FILE)) == found


def test_what_the_file_does_not_have_either_stays_a_hole():
    assert shown(filled(hole(1, 9), [FILE[0], *FILE[3:]])) == [2, (3, 5), 9]
    assert shown(filled(hole(1, 9), [])) == [(1, 9)]
    assert shown(filled(hole(1, None), [])) == [(1, None)]


def test_lines_of_others_and_broken_lines_are_passed_over():
    lines = [b"", b"{", b"\xff", final(3, run="s").body, other("gap", 3).body, final(4).body, final(6).body[:40]]
    assert shown(filled(hole(3, 4), lines)) == [4]
